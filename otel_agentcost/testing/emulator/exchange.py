"""One request in, one exchange out: find the API, read the prompt, bill it, and write the answer piece by piece.

The core is synchronous and knows no server: the ASGI application and the in-process transports only move bytes.
A row of the till is always written before the bytes it stands for are handed out, so what an application has
received is on the bill.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from otel_agentcost.testing.emulator.billing import Row, Till
from otel_agentcost.testing.emulator.fees import FeeDesk
from otel_agentcost.testing.emulator.model import Answer, Model
from otel_agentcost.testing.emulator.prices import PRICES, Rates
from otel_agentcost.testing.emulator.prompt import JSON, Prompt
from otel_agentcost.testing.emulator.reply import HEADER, RULE, Reply, from_mapping, over, split_directives
from otel_agentcost.testing.emulator.transfer import ConnectionCut, choose, encoded, split_into
from otel_agentcost.testing.emulator.wire import Event, Request, Wire
from otel_agentcost.testing.emulator.wire.table import HOSTS, WIRES

RETRYABLE = (408, 429, 500, 502, 503, 504, 529)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The answer to one request: its head, and its body as an iterator that may end in `ConnectionCut`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Iterator[bytes]
    delay: float = 0.0
    """Seconds to wait before every piece of the body."""


@dataclass(slots=True)
class Providers:
    """All emulated providers behind one address."""

    models: Mapping[str, Mapping[str, Rates]] = field(default_factory=lambda: PRICES)
    cache_minimum: int = 1024
    encoding: str = "identity"
    """Content encoding of answers when no reply says another: identity, auto (by Accept-Encoding), gzip, br ..."""
    seed: str = "emu"
    """Part of every id, to tell the ids of two emulators apart."""
    desk: FeeDesk = field(default_factory=FeeDesk)
    till: Till = field(default_factory=Till)
    script: list[tuple[Reply, str]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    stored: dict[str, JSON] = field(default_factory=dict)
    """Answers that can be read again (OpenAI responses), by id."""
    attempts: Counter[str] = field(default_factory=Counter)
    serial: int = 0
    model: Model = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards script, requests, stored, attempts and serial."""

    def __post_init__(self) -> None:
        self.model = Model(cache_minimum=self.cache_minimum)

    def reset(self) -> None:
        """Forget bills, caches, scripts and attempts; ids go on, as no provider ever gives one twice."""
        with self.lock:
            self.script.clear()
            self.requests.clear()
            self.stored.clear()
            self.attempts.clear()
            self.model = Model(cache_minimum=self.cache_minimum)
        self.till.clear()

    def respond(self, request: Request) -> Exchange:
        """Answer a request; an unknown path is a 404, a request that cannot be read a 400."""
        with self.lock:
            self.requests.append(request)
            self.serial += 1
            serial = self.serial
        stored = self._stored(request)
        if stored is not None:
            return stored
        paid = self.desk.serve(request, self.till)
        if paid is not None:
            status, body, headers = paid
            return _plain(status, body, headers)
        provider, path = _provider_prefix(request.host, request.path, self.models)
        for wire in WIRES:
            found = wire.path.fullmatch(path)
            if found is not None and request.method == "POST":
                groups = {k: v for k, v in found.groupdict().items() if v is not None}
                return self._call(request, wire, provider or groups.pop("provider", ""), groups, serial)
        return _plain(404, {"error": {"message": f"the emulator has no {request.method} {request.path}"}})

    def _call(self, request: Request, wire: Wire, provider: str, groups: Mapping[str, str], serial: int) -> Exchange:
        head = [(wire.request_id, f"req_{self.seed}{serial:08d}")]
        try:
            parsed = json.loads(request.body)
            if not isinstance(parsed, dict):
                raise ValueError("the request body is not a JSON object")
            self._continue_stored(parsed)
            prompt = wire.read(parsed, groups)
            question, rounds = split_directives(prompt.question)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return self._refused(wire, provider or wire.provider, "", 400, f"{type(error).__name__}: {error}", head)
        provider = provider or prompt.provider or self._seller(wire, prompt.model)
        prompt = replace(prompt, provider=provider)
        rates = self.models.get(provider, {}).get(prompt.model) or self._by_snapshot(provider, prompt.model)
        try:
            reply = self._reply(request, prompt, rounds)
        except (ValueError, TypeError) as error:
            return self._refused(wire, provider, prompt.model, 400, str(error), head)
        if rates is None:
            known = ", ".join(sorted(self.models.get(provider, {})))
            message = f"The model `{prompt.model}` does not exist at {provider or 'any provider'}; known: {known}"
            return self._refused(wire, provider, prompt.model, 404, message, head)
        if wire.free:
            counted = Answer(response_id="", serial=serial, model=prompt.model, input=prompt.input_tokens)
            return _plain(200, wire.whole(prompt, counted), head)
        if reply.status != 200:
            if reply.status in RETRYABLE:
                head += [("retry-after", str(reply.retry_after)), ("retry-after-ms", str(reply.retry_after * 1000))]
            message = f"the emulator was asked for a {reply.status}"
            return self._refused(wire, provider, prompt.model, reply.status, message, head)
        response_id = f"{wire.prefix}{self.seed}{serial:08d}"
        answer = self.model.answer(prompt, rates, question, reply, response_id, serial)
        head += list(wire.headers(prompt, answer).items())
        return self._answered(request, wire, prompt, answer, reply, rates, head)

    def _answered(
        self,
        request: Request,
        wire: Wire,
        prompt: Prompt,
        answer: Answer,
        reply: Reply,
        rates: Rates,
        head: list[tuple[str, str]],
    ) -> Exchange:
        row = self.till.open(_row(wire, prompt, answer, rates))
        answer = replace(answer, cost_pico=row.billed().amount_pico)
        body: Iterator[bytes]
        if prompt.stream:
            head.append(("content-type", wire.media))
            row.output, row.reasoning, row.complete = 0, 0, False
            body = _streamed(wire.stream(prompt, answer), row, answer, reply.cut_after)
        else:
            head.append(("content-type", "application/json"))
            document = wire.whole(prompt, answer)
            self._keep(prompt, answer, document)
            body = _cut_in_half(dump(document), row) if reply.cut_after is not None else iter([dump(document)])
        encoding = choose(reply.encoding or self.encoding, request.headers.get("accept-encoding", ""))
        if encoding != "identity":
            head.append(("content-encoding", encoding))
            body = encoded(body, encoding)
        if reply.split:
            body = split_into(body, reply.split)
        return Exchange(status=200, headers=tuple(head), body=body, delay=reply.delay)

    def _reply(self, request: Request, prompt: Prompt, rounds: list[Reply]) -> Reply:
        """Lay script over header over directives; an error status is spent after `times` attempts."""
        said = rounds[prompt.rounds] if prompt.rounds < len(rounds) else RULE
        if HEADER in request.headers:
            said = over(from_mapping(json.loads(request.headers[HEADER])), said)
        with self.lock:
            for at, (scripted, model) in enumerate(self.script):
                if not model or model == prompt.model:
                    del self.script[at]
                    return over(scripted, said)
            if said.status == 200:
                return said
            key = hashlib.sha256(request.path.encode() + b"\n" + request.body).hexdigest()
            self.attempts[key] += 1
            if self.attempts[key] <= said.times:
                return said
            del self.attempts[key]
        return replace(said, status=200)

    def _refused(
        self, wire: Wire, provider: str, model: str, status: int, message: str, head: list[tuple[str, str]]
    ) -> Exchange:
        self.till.open(Row(provider=provider, api=wire.api, model=model, status=status))
        return _plain(status, wire.refuse(status, message), head)

    def _seller(self, wire: Wire, model: str) -> str:
        """Find who sells a model: the API's own provider first, then anybody."""
        for provider in (wire.provider, *self.models):
            if model in self.models.get(provider, {}) or self._by_snapshot(provider, model):
                return provider
        return wire.provider

    def _by_snapshot(self, provider: str, model: str) -> Rates | None:
        for rates in self.models.get(provider, {}).values():
            if rates.snapshot and rates.snapshot == model:
                return rates
        return None

    def _keep(self, prompt: Prompt, answer: Answer, document: JSON) -> None:
        if prompt.api == "openai.responses" and prompt.extra.get("store", True):
            kept = {**document, "_input": [*prompt.extra["input"], *document["output"]]}
            with self.lock:
                self.stored[answer.response_id] = kept

    def _continue_stored(self, body: JSON) -> None:
        """Put the conversation so far before the input of a response that continues another."""
        previous = body.get("previous_response_id")
        if previous is None:
            return
        with self.lock:
            kept = self.stored.get(previous)
        if kept is None:
            raise ValueError(f"Previous response with id '{previous}' not found.")
        asked = body.get("input", [])
        asked = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        body["input"] = [*kept["_input"], *asked]

    def _stored(self, request: Request) -> Exchange | None:
        """Serve GET /v1/responses/{id}: the same answer again, free of charge."""
        if request.method != "GET" or "/responses/" not in request.path:
            return None
        with self.lock:
            kept = self.stored.get(request.path.rsplit("/", 1)[-1])
        if kept is None:
            return _plain(404, {"error": {"message": "no such response", "type": "invalid_request_error"}})
        return _plain(200, {k: v for k, v in kept.items() if k != "_input"})


def _row(wire: Wire, prompt: Prompt, answer: Answer, rates: Rates) -> Row:
    return Row(
        provider=prompt.provider,
        api=wire.api,
        rates=rates,
        model=answer.model,
        input=answer.input,
        cached=answer.cached,
        cache_write_5m=answer.cache_write_5m,
        cache_write_1h=answer.cache_write_1h,
        audio_input=answer.audio_input,
        output=answer.output,
        reasoning=answer.reasoning,
        web_searches=len(answer.queries),
        preview_search="preview" in prompt.search,
        service_tier=answer.tier,
        response_id=answer.response_id,
        streamed=prompt.stream,
    )


def _provider_prefix(host: str, path: str, models: Mapping[str, Mapping[str, Rates]]) -> tuple[str, str]:
    """Read the provider from a known host name or from the first segment of the path: `/mistral/v1/...`."""
    first, _, rest = path.lstrip("/").partition("/")
    if first in models and first != "openai":
        return first, "/" + rest
    name = host.rsplit(":", 1)[0].lower()
    for suffix, provider in HOSTS.items():
        if name == suffix or name.endswith("." + suffix):
            return provider, path
    return "", path


def _plain(status: int, document: JSON, headers: Iterable[tuple[str, str]] = ()) -> Exchange:
    head = (*headers, ("content-type", "application/json"))
    return Exchange(status=status, headers=head, body=iter([dump(document)]))


def dump(document: JSON) -> bytes:
    """Write JSON as a provider does: UTF-8, no spaces."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _streamed(events: Iterator[Event], row: Row, answer: Answer, cut_after: int | None) -> Iterator[bytes]:
    """Hand out events, noting on the bill what was produced before each leaves."""
    number, event = 0, next(events, None)
    while event is not None:
        if cut_after is not None and number >= cut_after:
            raise ConnectionCut
        following = next(events, None)
        row.output = event.produced
        row.reasoning = min(event.produced, answer.reasoning)
        row.complete = following is None
        yield event.data
        number, event = number + 1, following


def _cut_in_half(body: bytes, row: Row) -> Iterator[bytes]:
    row.complete = False
    yield body[: len(body) // 2]
    raise ConnectionCut
