"""httpx and httpx2: move the bytes of their clients past the decision core; the module is passed in.

Wrapped is the one method that every request of a client goes through, whatever its transport (default, mock, ASGI,
aiohttp-backed): `_send_single_request`, once per HTTP attempt and redirect. Where a version lacks it, `send` is
wrapped instead. opentelemetry-instrumentation-httpx wraps transports, one layer below: both orders compose.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import Any

from opentelemetry.context import attach, detach

from otel_agentcost.otel.health import guard
from otel_agentcost.otel.http.asking import REFUSALS, Hider
from otel_agentcost.otel.http.decision import Current, Tap, undressed
from otel_agentcost.otel.http.exchange import Exchange
from otel_agentcost.otel.http.patching import Function, wrap


def patch(module: Any, tap: Current) -> None:
    """Follow every request of `module.Client` and `module.AsyncClient`; doing so twice changes nothing."""
    streams = Streams(module)
    for client, make in ((module.Client, _wrap_sync), (module.AsyncClient, _wrap_async)):
        single = hasattr(client, "_send_single_request")
        method = "_send_single_request" if single else "send"
        wrap(client, method, partial(make, streams=streams, tap=tap, changeable=single))


def _wrap_sync(original: Function, *, streams: Streams, tap: Current, changeable: bool) -> Function:
    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        decider = tap()
        exchange = _begin(decider, request, changeable)
        if exchange is None or decider is None:
            return original(self, request, *args, **kwargs)
        sent = streams.to_send(exchange, request)
        token = attach(exchange.context)
        try:
            response = original(self, sent, *args, **kwargs)
            if sent is not request and response.status_code in REFUSALS:
                response.close()
                sent = request
                response = original(self, request, *args, **kwargs)
                if response.status_code < 400:
                    decider.refused(exchange)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            detach(token)
        _respond(exchange, response, request, sent, streams.sync, streams.hiding)
        return response

    return send


def _wrap_async(
    original: Callable[..., Awaitable[Any]], *, streams: Streams, tap: Current, changeable: bool
) -> Function:
    async def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        decider = tap()
        exchange = _begin(decider, request, changeable)
        if exchange is None or decider is None:
            return await original(self, request, *args, **kwargs)
        sent = streams.to_send(exchange, request)
        token = attach(exchange.context)
        try:
            response = await original(self, sent, *args, **kwargs)
            if sent is not request and response.status_code in REFUSALS:
                await response.aclose()
                sent = request
                response = await original(self, request, *args, **kwargs)
                if response.status_code < 400:
                    decider.refused(exchange)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            detach(token)
        _respond(exchange, response, request, sent, streams.asynchronous, streams.hiding_async)
        return response

    return send


def _begin(tap: Tap | None, request: Any, changeable: bool) -> Exchange | None:
    if tap is None:
        return None
    with guard("tap.begin"):
        return tap.begin(request.method, str(request.url), body_of(request), changeable=changeable)
    return None


def body_of(request: Any) -> bytes | None:
    """Return the request's body if it lies in memory already; a streamed one is not touched."""
    content: bytes | None = getattr(request, "_content", None)
    return content


def _respond(exchange: Exchange, response: Any, request: Any, sent: Any, tapped: type, hiding: type) -> None:
    """Follow the body, whether it is still to come or (mock transports, `send`) in memory already."""
    with guard("tap.respond"):
        hider: Hider | None = None
        if sent is not request:
            response.request = request  # the application meets the request it made
            if Hider.suits(response.status_code, response.headers):
                hider = Hider(None if response.is_closed else response.headers.get("content-encoding"))
        if response.is_closed:
            exchange.respond(response.status_code, undressed(response.headers))
            body = getattr(response, "_content", b"")
            if body:
                exchange.feed(body)
                if hider is not None:
                    response._content = hider.take(body) + hider.rest()
            exchange.end(complete=True)
            return
        exchange.respond(response.status_code, response.headers)
        response.stream = tapped(response.stream, exchange)
        if hider is not None:
            if hider.decodes:
                del response.headers["content-encoding"]
            response.stream = hiding(response.stream, hider)
        exchange.hand_over()


class Streams:
    """What has to be made of one module's own classes: its responses insist on them."""

    def __init__(self, module: Any) -> None:
        self._request = module.Request
        self.sync, self.asynchronous = _stream_classes(module)
        self.hiding, self.hiding_async = _hiding_classes(module)

    def to_send(self, exchange: Exchange, request: Any) -> Any:
        """Return the request to send: the application's own, or a copy that asks for usage."""
        if exchange.asking is not None:
            with guard("tap.ask"):
                headers = request.headers.copy()
                headers["content-length"] = str(len(exchange.asking))
                headers["accept-encoding"] = "identity"  # what has to be hidden must be seen
                return self._request(
                    request.method,
                    request.url,
                    headers=headers,
                    content=exchange.asking,
                    extensions=request.extensions,
                )
        return request


def _hiding_classes(module: Any) -> tuple[type, type]:
    """Make the two stream classes that take out what the application did not ask for."""

    class HidingStream(module.SyncByteStream):  # type: ignore[misc]
        """Show a response body without the usage that only we asked for."""

        def __init__(self, stream: Any, hider: Hider) -> None:
            self._stream = stream
            self._hider = hider

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def __iter__(self) -> Generator[bytes, None, None]:
            take = self._hider.take
            for chunk in self._stream:
                if shown := take(chunk):
                    yield shown
            if rest := self._hider.rest():
                yield rest

        def close(self) -> None:
            self._stream.close()

    class HidingAsyncStream(module.AsyncByteStream):  # type: ignore[misc]
        """The same for async clients."""

        def __init__(self, stream: Any, hider: Hider) -> None:
            self._stream = stream
            self._hider = hider

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        async def __aiter__(self) -> AsyncGenerator[bytes, None]:
            take = self._hider.take
            chunks = self._stream.__aiter__()
            try:
                async for chunk in chunks:
                    if shown := take(chunk):
                        yield shown
            except GeneratorExit:
                await chunks.aclose()
                raise
            if rest := self._hider.rest():
                yield rest

        async def aclose(self) -> None:
            await self._stream.aclose()

    return HidingStream, HidingAsyncStream


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
            pending, enough = exchange.pending, 1
            keep = pending.append
            try:
                for chunk in self._stream:
                    keep(chunk)  # no look at it, no call of ours: a stream may have thousands
                    if len(pending) >= enough:
                        try:
                            enough = exchange.settle()
                        except Exception as error:
                            exchange.stumble(error)
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
            pending, enough = exchange.pending, 1
            keep = pending.append
            chunks = self._stream.__aiter__()
            try:
                async for chunk in chunks:
                    keep(chunk)
                    if len(pending) >= enough:
                        try:
                            enough = exchange.settle()
                        except Exception as error:
                            exchange.stumble(error)
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
