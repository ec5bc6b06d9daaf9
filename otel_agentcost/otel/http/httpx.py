"""httpx and httpx2: move the bytes of their clients past the decision core; the module is passed in.

Wrapped is the one method that every request of a client goes through, whatever its transport (default, mock, ASGI,
aiohttp-backed): `_send_single_request`, once per HTTP attempt and redirect. Where a version lacks it, `send` is
wrapped instead. opentelemetry-instrumentation-httpx wraps transports, one layer below: both orders compose.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from opentelemetry.context import attach, detach

from otel_agentcost.otel.health import guard
from otel_agentcost.otel.http.decision import Current, Tap, undressed
from otel_agentcost.otel.http.exchange import Exchange
from otel_agentcost.otel.http.patching import Function, wrap


def patch(module: Any, tap: Current) -> None:
    """Follow every request of `module.Client` and `module.AsyncClient`; doing so twice changes nothing."""
    tapped_stream, tapped_async_stream = _stream_classes(module)
    for client, make in (
        (module.Client, lambda original: _wrap_sync(original, tapped_stream, tap)),
        (module.AsyncClient, lambda original: _wrap_async(original, tapped_async_stream, tap)),
    ):
        method = "_send_single_request" if hasattr(client, "_send_single_request") else "send"
        wrap(client, method, make)


def _wrap_sync(original: Function, tapped_stream: type, tap: Current) -> Function:
    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        exchange = _begin(tap(), request)
        if exchange is None:
            return original(self, request, *args, **kwargs)
        token = attach(exchange.context)
        try:
            response = original(self, request, *args, **kwargs)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            detach(token)
        _respond(exchange, response, tapped_stream)
        return response

    return send


def _wrap_async(original: Callable[..., Awaitable[Any]], tapped_stream: type, tap: Current) -> Function:
    async def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        exchange = _begin(tap(), request)
        if exchange is None:
            return await original(self, request, *args, **kwargs)
        token = attach(exchange.context)
        try:
            response = await original(self, request, *args, **kwargs)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            detach(token)
        _respond(exchange, response, tapped_stream)
        return response

    return send


def _begin(tap: Tap | None, request: Any) -> Exchange | None:
    if tap is None:
        return None
    with guard("tap.begin"):
        return tap.begin(request.method, str(request.url), body_of(request))
    return None


def body_of(request: Any) -> bytes | None:
    """Return the request's body if it lies in memory already; a streamed one is not touched."""
    content: bytes | None = getattr(request, "_content", None)
    return content


def _respond(exchange: Exchange, response: Any, tapped_stream: type) -> None:
    """Follow the body, whether it is still to come or (mock transports, `send`) in memory already."""
    with guard("tap.respond"):
        if response.is_closed:
            exchange.respond(response.status_code, undressed(response.headers))
            body = getattr(response, "_content", b"")
            if body:
                exchange.feed(body)
            exchange.end(complete=True)
        else:
            exchange.respond(response.status_code, response.headers)
            response.stream = tapped_stream(response.stream, exchange)
            exchange.hand_over()


def _stream_classes(module: Any) -> tuple[type, type]:
    """Make the two stream classes of one module; its responses insist on their own base classes."""

    class TappedStream(module.SyncByteStream):  # type: ignore[misc]
        """Pass a response body through untouched, the very same objects, and tell the exchange."""

        def __init__(self, stream: Any, exchange: Exchange) -> None:
            self._stream = stream
            self._exchange = exchange

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def __iter__(self) -> Generator[bytes, None, None]:
            exchange = self._exchange
            feed = exchange.feed
            try:
                for chunk in self._stream:
                    try:
                        feed(chunk)
                    except Exception as error:
                        feed = exchange.stumble(error)
                    yield chunk
            except GeneratorExit:
                exchange.end(complete=False)
                raise
            except BaseException as error:
                exchange.fail(error)
                raise
            exchange.end(complete=True)

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._exchange.end(complete=False)

    class TappedAsyncStream(module.AsyncByteStream):  # type: ignore[misc]
        """The same for async clients."""

        def __init__(self, stream: Any, exchange: Exchange) -> None:
            self._stream = stream
            self._exchange = exchange

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        async def __aiter__(self) -> AsyncGenerator[bytes, None]:
            exchange = self._exchange
            feed = exchange.feed
            chunks = self._stream.__aiter__()
            try:
                async for chunk in chunks:
                    try:
                        feed(chunk)
                    except Exception as error:
                        feed = exchange.stumble(error)
                    yield chunk
            except GeneratorExit:
                # Closed from outside: close what is below now, as without us the finaliser would.
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()
                exchange.end(complete=False)
                raise
            except BaseException as error:
                exchange.fail(error)
                raise
            exchange.end(complete=True)

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._exchange.end(complete=False)

    return TappedStream, TappedAsyncStream
