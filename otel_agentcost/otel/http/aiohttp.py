"""aiohttp: follow the requests of `ClientSession`, whose bodies the application reads from a `StreamReader`.

google-genai's async client, litellm and optional clients of other SDKs speak through aiohttp. Wrapped is the one
coroutine behind every method of a session, `_request`; the reader of the response is replaced by one that passes
every read on and shows the exchange what was read. aiohttp decompresses before that, so the headers that described
the compressed body are left out.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from opentelemetry.context import attach, detach

from otel_agentcost.otel.health import guard
from otel_agentcost.otel.http.decision import Current, Tap, undressed
from otel_agentcost.otel.http.exchange import Exchange
from otel_agentcost.otel.http.patching import Function, wrap


def patch(module: Any, tap: Current) -> None:
    """Follow every request of `module.ClientSession`; doing so twice changes nothing."""
    tapped_reader = _reader_class(module)
    wrap(module.ClientSession, "_request", lambda original: _wrap(original, tapped_reader, tap))


def _wrap(original: Callable[..., Awaitable[Any]], tapped_reader: type, tap: Current) -> Function:
    async def _request(self: Any, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        exchange = _begin(tap(), self, method, str_or_url, kwargs)
        if exchange is None:
            return await original(self, method, str_or_url, **kwargs)
        token = attach(exchange.context)
        try:
            response = await original(self, method, str_or_url, **kwargs)
        except BaseException as error:
            _failed(exchange, error)
            raise
        finally:
            detach(token)
        _respond(exchange, response, tapped_reader, _decompressed(self, kwargs))
        return response

    return _request


def _begin(tap: Tap | None, session: Any, method: str, str_or_url: Any, kwargs: Mapping[str, Any]) -> Exchange | None:
    if tap is None:
        return None
    with guard("tap.begin"):
        url = str(str_or_url)
        if "://" not in url:
            url = str(session._build_url(str_or_url))
        if not tap.might_be_call(url):
            return None
        return tap.begin(method, url, body_of(kwargs))
    return None


def body_of(kwargs: Mapping[str, Any]) -> bytes | None:
    """Return the request's body if it lies in memory: bytes, text, or an object to be sent as JSON."""
    data = kwargs.get("data")
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    if isinstance(data, str):
        return data.encode()
    if data is None and kwargs.get("json") is not None:
        return json.dumps(kwargs["json"]).encode()
    return None


def _decompressed(session: Any, kwargs: Mapping[str, Any]) -> bool:
    asked = kwargs.get("auto_decompress")
    return bool(getattr(session, "_auto_decompress", True) if asked is None else asked)


def _failed(exchange: Exchange, error: BaseException) -> None:
    status = getattr(error, "status", None)
    if isinstance(status, int) and status >= 400:  # ClientResponseError of `raise_for_status`
        exchange.respond(status, {})
        exchange.end(complete=True)
    else:
        exchange.fail(error)


def _respond(exchange: Exchange, response: Any, tapped_reader: type, decompressed: bool) -> None:
    with guard("tap.respond"):
        exchange.respond(response.status, undressed(response.headers) if decompressed else response.headers)
        reader = response.content
        if reader is None or reader.at_eof():
            exchange.end(complete=True)
        else:
            response.content = tapped_reader(reader, exchange)
            exchange.hand_over()


def _reader_class(module: Any) -> type:
    """Make the reader class of this aiohttp: it has to be a `StreamReader`, people ask."""

    class TappedReader(module.StreamReader):  # type: ignore[misc]
        """Pass every read on to the real reader and show what it gave to the exchange."""

        def __init__(self, reader: Any, exchange: Exchange) -> None:
            # Nothing of the base class is set up: every attribute that is not here is the real reader's.
            self._tapped = reader
            self._exchange = exchange

        def __getattr__(self, name: str) -> Any:
            return getattr(object.__getattribute__(self, "_tapped"), name)

        def __repr__(self) -> str:
            return repr(self._tapped)

        def _saw(self, data: bytes) -> bytes:
            exchange = self._exchange
            try:
                exchange.feed(data)
            except Exception as error:
                exchange.stumble(error)
            if self._tapped.at_eof():
                exchange.end(complete=True)
            return data

        def set_exception(self, error: BaseException, *args: Any, **kwargs: Any) -> None:
            # The response was closed or released; what was not read yet never will be.
            try:
                self._tapped.set_exception(error, *args, **kwargs)
            finally:
                self._exchange.end(complete=False)

        async def readchunk(self) -> tuple[bytes, bool]:
            data, last = await self._awaited(self._tapped.readchunk())
            return self._saw(data), last

        def read_nowait(self, n: int = -1) -> bytes:
            return self._saw(self._tapped.read_nowait(n))

        async def _awaited(self, read: Awaitable[Any]) -> Any:
            try:
                return await read
            except Exception as error:
                partial = getattr(error, "partial", None)  # IncompleteReadError: the bytes left the reader
                if isinstance(partial, bytes) and partial:
                    self._saw(partial)
                elif self._tapped.exception() is not None:  # the body is broken, not only this read
                    self._exchange.fail(error)
                raise

    def reading(name: str) -> Callable[..., Awaitable[bytes]]:
        async def read(self: Any, *args: Any, **kwargs: Any) -> bytes:
            data: bytes = await self._awaited(getattr(self._tapped, name)(*args, **kwargs))
            return self._saw(data)  # type: ignore[no-any-return]

        read.__name__ = name
        return read

    def passed_on(name: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return getattr(self._tapped, name)(*args, **kwargs)

        call.__name__ = name
        return call

    def passed_property(name: str) -> property:
        return property(lambda self: getattr(self._tapped, name))

    for name in ("read", "readany", "readline", "readuntil", "readexactly"):
        if hasattr(module.StreamReader, name):
            setattr(TappedReader, name, reading(name))
    kept = {*vars(TappedReader), "iter_chunked", "iter_any", "iter_chunks", "__aiter__"}
    for name, member in vars(module.StreamReader).items():
        if name in kept or name.startswith("__"):
            continue
        if callable(member):
            setattr(TappedReader, name, passed_on(name))
        elif isinstance(member, property):
            setattr(TappedReader, name, passed_property(name))
    return TappedReader
