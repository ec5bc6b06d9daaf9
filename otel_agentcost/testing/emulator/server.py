"""The emulator as users meet it: a context manager with an address, an ASGI application, a transport for httpx.

with ProviderEmulator() as emulator:
    client = openai.OpenAI(base_url=f"{emulator.url}/v1", api_key="any")
    ...
    assert emulator.total_pico == what_the_trace_says
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from types import ModuleType, TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from otel_agentcost.testing.emulator.billing import BilledCall, by_provider
from otel_agentcost.testing.emulator.exchange import Exchange, Providers
from otel_agentcost.testing.emulator.fees import LIST, Fee, FeeDesk
from otel_agentcost.testing.emulator.prices import PRICES, Rates
from otel_agentcost.testing.emulator.reply import Reply
from otel_agentcost.testing.emulator.transfer import ConnectionCut
from otel_agentcost.testing.emulator.wire import Request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

START_SECONDS = 10.0


class ProviderEmulator:
    """Speak the wire formats of the big model providers on one loopback address, and keep the bill.

    Usage is computed from the request (`otel_agentcost.testing.emulator.model` states the rules) and can be steered:
    `script` for the next answers, directives in the user's text and the header `x-emulator-reply` for one request.
    One base address serves all: `/v1` for OpenAI, `/` for Anthropic, Gemini, Mistral, Cohere, Ollama and Bedrock,
    `/` or `/openai/v1` for Groq, `/api/v1` for OpenRouter. A first segment `/mistral`, `/groq` ... names the provider
    where the model alone would not. Used as an HTTP proxy, it knows the provider by the host that was asked.

    Args:
        models: rates of more models, by provider: `{"openai": {"my-model": Rates(input="1", output="2")}}`.
        fees: what paid APIs and tools charge; replaces the standard list.
        cache_minimum: fewest tokens of a beginning that is cached.
        encoding: content encoding of every answer (identity, gzip, deflate, br, zstd), or `auto` for what the client
            accepts best.
        seed: part of every response id.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, Mapping[str, Rates]] | None = None,
        fees: Iterable[Fee] = LIST,
        cache_minimum: int = 1024,
        encoding: str = "identity",
        seed: str = "emu",
    ) -> None:
        known = {**PRICES}
        for provider, more in (models or {}).items():
            known[provider] = {**known.get(provider, {}), **more}
        desk = FeeDesk(tuple(fees))
        self._providers = Providers(models=known, cache_minimum=cache_minimum, encoding=encoding, seed=seed, desk=desk)
        self._url = ""
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address, e.g. `http://127.0.0.1:53211`; only while the emulator runs."""
        if not self._url:
            raise RuntimeError(
                "the emulator is not running; use it as a context manager: `with ProviderEmulator() as e:`"
            )
        return self._url

    @property
    def billed(self) -> list[BilledCall]:
        """What was billed so far, in order of arrival, refused attempts included."""
        return self._providers.till.billed()

    @property
    def total_pico(self) -> int:
        """Everything that was billed, in pico-dollars (1e-12)."""
        return sum(call.amount_pico for call in self.billed)

    @property
    def totals_pico(self) -> Mapping[str, int]:
        """Pico-dollars by provider; a paid HTTP API is named by its host."""
        return by_provider(self.billed)

    @property
    def requests(self) -> list[Request]:
        """Every request as it arrived."""
        return list(self._providers.requests)

    def script(self, replies: Iterable[Reply], *, model: str = "") -> None:
        """Steer the next requests, one reply each in this order; with `model`, only requests for that model."""
        with self._providers.lock:
            self._providers.script += [(reply, model) for reply in replies]

    def reset(self) -> None:
        """Forget bills, caches, scripts and requests; ids go on, as no provider ever gives one twice."""
        self._providers.reset()

    def respond(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Exchange:
        """Answer one request in this process, without a server."""
        return self._providers.respond(_request(method, url, headers or {}, body))

    def transport(self, module: ModuleType) -> Any:
        """Return a `MockTransport` of `httpx` or `httpx2` (the module is passed in) that answers in this process.

        Host names stay what the application asked for, so `https://api.openai.com` is answered here too.
        """
        return module.MockTransport(_Handler(self._providers, module))

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            raise RuntimeError(f"the emulator speaks http only, not {scope['type']}")
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        raw = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        target = f"{raw}?{scope.get('query_string', b'').decode('latin-1')}"
        try:
            exchange = self._providers.respond(_request(scope["method"], target, headers, body))
        except Exception:
            exchange = _fault(traceback.format_exc())
        head = [(k.encode(), v.encode("latin-1")) for k, v in exchange.headers]
        if exchange.delay:
            await asyncio.sleep(exchange.delay)
        await send({"type": "http.response.start", "status": exchange.status, "headers": head})
        gone = asyncio.ensure_future(receive())
        try:
            async for piece in _paced(exchange):
                if gone.done():
                    return  # the client left: nothing more is produced, nothing more is billed
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    def __enter__(self) -> ProviderEmulator:
        """Serve on a free loopback port, in a thread of its own."""
        try:
            import uvicorn
        except ImportError as missing:
            raise ImportError(
                "ProviderEmulator as a server needs uvicorn: pip install 'otel-agentcost[testing]'"
            ) from missing
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        config = uvicorn.Config(
            self.app,
            log_config=None,
            log_level="critical",
            access_log=False,
            interface="asgi3",
            lifespan="off",
            loop="asyncio",
            http="h11",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="provider-emulator", daemon=True
        )
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise RuntimeError("the emulator's server did not start")
            time.sleep(0.002)
        self._url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving; the bill can still be read."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(START_SECONDS)
        self._url = ""


def _request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Request:
    """Build a request from a path or from an absolute address (as an HTTP proxy is asked)."""
    parts = urlsplit(url)
    lower = {name.lower(): value for name, value in headers.items()}
    return Request(
        method=method.upper(),
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers=lower,
        body=body,
        host=parts.netloc or lower.get("host", ""),
    )


def _fault(trace: str) -> Exchange:
    """Tell a bug of the emulator to the client, where a log line would be overlooked."""
    text = json.dumps({"error": {"message": f"fault of the emulator: {trace}", "type": "server_error"}})
    return Exchange(status=500, headers=(("content-type", "application/json"),), body=iter([text.encode()]))


async def _paced(exchange: Exchange) -> AsyncIterator[bytes]:
    for piece in exchange.body:
        await asyncio.sleep(exchange.delay)
        yield piece


class _Handler:
    """What a MockTransport calls: bodies stream, synchronously and asynchronously, and may break off."""

    def __init__(self, providers: Providers, module: ModuleType) -> None:
        self._providers = providers
        self._module = module
        broken: type[Exception] = module.RemoteProtocolError

        class Body(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[name-defined, misc]
            def __init__(self, exchange: Exchange) -> None:
                self._exchange = exchange

            def __iter__(self) -> Iterator[bytes]:
                try:
                    for piece in self._exchange.body:
                        if self._exchange.delay:
                            time.sleep(self._exchange.delay)
                        yield piece
                except ConnectionCut:
                    raise broken("peer closed connection without sending complete message body") from None

            async def __aiter__(self) -> AsyncIterator[bytes]:
                try:
                    async for piece in _paced(self._exchange):
                        yield piece
                except ConnectionCut:
                    raise broken("peer closed connection without sending complete message body") from None

        self._body = Body

    def __call__(self, request: Any) -> Any:
        headers = dict(request.headers.items())
        exchange = self._providers.respond(_request(request.method, str(request.url), headers, request.content))
        return self._module.Response(exchange.status, headers=list(exchange.headers), stream=self._body(exchange))
