"""urllib3: follow the requests of its connection pools, and with them those of requests and botocore (Bedrock).

Wrapped is `HTTPConnectionPool.urlopen`, which both call for every attempt; a retry or redirect that urllib3 makes by
itself happens inside, and its last answer counts. The response keeps being what it is: its class becomes a subclass
that sees the raw, still compressed bytes where they come from the connection. Requests are never changed here:
those of AWS are signed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.context import attach, detach

from otel_agentcost.otel.health import count, guard
from otel_agentcost.otel.http.decision import Current, Tap, undressed
from otel_agentcost.otel.http.exchange import Exchange
from otel_agentcost.otel.http.orphans import ORPHANAGE
from otel_agentcost.otel.http.patching import Function, wrap

DEFAULT_PORTS = {"http": 80, "https": 443}
SOURCES = ("_fp_read", "_handle_chunk")
"""Where a response takes bytes from the connection (urllib3 since 1.26.16): whole bodies, and chunks."""


def patch(module: Any, tap: Current) -> None:
    """Follow every request of `module.HTTPConnectionPool`; `module` is urllib3.connectionpool."""
    wrap(module.HTTPConnectionPool, "urlopen", lambda original: _wrap(original, tap))


def _wrap(original: Callable[..., Any], tap: Current) -> Function:
    def urlopen(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        exchange = _begin(tap(), self, method, url, args, kwargs)
        if exchange is None:
            return original(self, method, url, *args, **kwargs)
        token = attach(exchange.context)
        try:
            response = original(self, method, url, *args, **kwargs)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            detach(token)
        _respond(exchange, response)
        return response

    return urlopen


def _begin(
    tap: Tap | None, pool: Any, method: str, url: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Exchange | None:
    if tap is None:
        return None
    with guard("tap.begin"):
        if not tap.might_be_call(url):
            return None
        body = kwargs.get("body", args[0] if args else None)
        if isinstance(body, str):
            body = body.encode()
        return tap.begin(method, address_of(pool, url), bytes(body) if isinstance(body, (bytes, bytearray)) else None)
    return None


def address_of(pool: Any, url: str) -> str:
    """Return the whole address: a pool is usually asked for a path of its own host."""
    if "://" in url:
        return url
    host = f"[{pool.host}]" if ":" in pool.host else pool.host
    port = f":{pool.port}" if pool.port and pool.port != DEFAULT_PORTS.get(pool.scheme) else ""
    return f"{pool.scheme}://{host}{port}{url}"


def _respond(exchange: Exchange, response: Any) -> None:
    with guard("tap.respond"):
        if not all(hasattr(response, source) for source in SOURCES):
            count("unpatched", owner=type(response).__name__, method=SOURCES[0])
            exchange.respond(response.status, {})
            exchange.end(complete=False)
            return
        body = getattr(response, "_body", None)
        if body is not None:  # `preload_content`: read and decoded already
            exchange.respond(response.status, undressed(response.headers))
            exchange.feed(body)
            exchange.end(complete=True)
            return
        exchange.respond(response.status, response.headers)
        response._agentcost = Following(exchange, response.length_remaining)
        response.__class__ = _tapped(type(response))
        exchange.hand_over()


class Following:
    """How far one body has come."""

    __slots__ = ("chunked", "exchange", "missing", "reading")

    def __init__(self, exchange: Exchange, length: int | None) -> None:
        self.exchange = exchange
        self.missing = length
        """Bytes still to come, where the length is known."""
        self.chunked = False
        """Chunks are read one by one; then the chunk of length 0 is the end."""
        self.reading = False
        """The connection is being read: if the response closes itself now, an error is on its way."""

    def saw(self, data: bytes | None) -> None:
        """Take bytes as they came from the connection."""
        if data:
            if self.missing is not None:
                self.missing -= len(data)
            try:
                self.exchange.feed(data)
            except Exception as error:
                self.exchange.stumble(error)

    def closed(self, response: Any) -> None:
        """The connection goes back to its pool: the body is over, or the other side hung up before."""
        if not self.chunked and self.missing:
            from http.client import IncompleteRead

            self.exchange.fail(IncompleteRead(b"", self.missing))
        else:
            self.exchange.end(complete=self.over(response))

    def over(self, response: Any) -> bool:
        """Tell whether a body that is closed came to its end before."""
        return bool(response.chunk_left == 0) if self.chunked else not self.missing


_classes: dict[Any, type] = {}


def _tapped(kind: Any) -> type:
    """Return the subclass of a response class that shows what it reads; there are one or two in a process."""
    found = _classes.get(kind)
    return found if found is not None else _classes.setdefault(kind, _make(kind))


def _make(kind: Any) -> type:
    class Tapped(kind):  # type: ignore[misc]
        _agentcost: Following | None

        def _fp_read(self, *args: Any, **kwargs: Any) -> Any:
            return self._agentcost_read(super()._fp_read, args, kwargs)

        def _handle_chunk(self, *args: Any, **kwargs: Any) -> Any:
            if self._agentcost is not None:
                self._agentcost.chunked = True
            return self._agentcost_read(super()._handle_chunk, args, kwargs)

        def _update_chunk_length(self) -> Any:
            return self._agentcost_read(super()._update_chunk_length, (), {})

        def _agentcost_read(self, read: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            following = self._agentcost
            if following is None:
                return read(*args, **kwargs)
            following.reading = True
            try:
                data = read(*args, **kwargs)
            except BaseException as error:
                following.exchange.fail(error)
                raise
            finally:
                following.reading = False
            following.saw(data)
            return data

        def release_conn(self) -> Any:
            following = self._agentcost
            if following is not None and self.closed:
                following.closed(self)
            return super().release_conn()

        def close(self) -> None:
            following = self._agentcost
            complete = following is not None and self.closed and following.over(self)
            try:
                super().close()
            finally:
                if following is not None and not following.reading:
                    following.exchange.end(complete=complete)

        def __del__(self) -> None:
            # The base class would call `close` from the garbage collector, where no span may be ended.
            following, self._agentcost = self.__dict__.get("_agentcost"), None
            if following is not None and not following.exchange.ended:
                ORPHANAGE.adopt(following.exchange)
            super().__del__()

    Tapped.__name__, Tapped.__qualname__, Tapped.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    return Tapped
