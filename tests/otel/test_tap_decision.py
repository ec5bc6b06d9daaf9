"""The tap decides: which span carries a call, what is left alone; and it harms nobody, many at once or broken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_agentcost.otel import evidence
from otel_agentcost.otel.health import snapshot
from otel_agentcost.otel.http import uninstall
from otel_agentcost.usage.reading import Usage
from tests.otel.tap_fixtures import MODULES, Collected, tapped
from tests.otel.tap_server import EVENT_STREAM, Answer, Wire, chat, chat_events, cut, wire

REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a secret prompt"}]}
STREAM = REQUEST | {"stream": True, "stream_options": {"include_usage": True}}
PATH = "/v1/chat/completions"
HEADERS = {"authorization": "Bearer sk-secret-key", "x-secret-header": "header-secret"}


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def server() -> Iterator[Wire]:
    with wire() as server:
        server.answers[PATH] = Answer(body=chat())
        yield server


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    monkeypatch.setenv("AGENTCOST_RAISE", "1")
    with tapped() as collected:
        yield collected


def stream_answer(**more: Any) -> Answer:
    return Answer(chunks=chat_events(), headers=EVENT_STREAM, **more)


def totals(usage: Usage | None) -> tuple[object, object]:
    assert usage is not None
    return usage.get("input_tokens"), usage.get("output_tokens")


# ---- which span carries it


def test_a_current_call_span_is_enriched_and_no_span_is_started(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """A span that says it is the model call gets the exact reading; the tap starts none."""
    marks: list[dict[str, Any]] = [
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"},
        {"openinference.span.kind": "LLM"},
        {"llm.request.type": "chat"},
        {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"},
    ]
    with module.Client() as client:
        for attributes in marks:
            with seen.tracer.start_as_current_span("call", attributes=attributes):
                client.post(server.url + PATH, json=REQUEST)
    assert seen.calls == []
    assert len(seen.spans) == len(marks)
    assert [totals(reading.usage) for reading in seen.readings] == [(12, 7)] * len(marks)


def test_agent_tool_and_workflow_spans_are_not_calls(module: ModuleType, server: Wire, seen: Collected) -> None:
    """Under a span that is an agent, a tool or a chain, the call gets its own span."""
    marks: list[dict[str, Any]] = [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o"},
        {"gen_ai.operation.name": "execute_tool"},
        {"openinference.span.kind": "AGENT"},
        {"openinference.span.kind": "CHAIN", "gen_ai.request.model": "gpt-4o"},
        {"traceloop.span.kind": "task"},
        {"http.method": "POST"},
    ]
    with module.Client() as client:
        for attributes in marks:
            with seen.tracer.start_as_current_span("outer", attributes=attributes):
                client.post(server.url + PATH, json=REQUEST)
    assert len(seen.calls) == len(marks)


def test_the_context_of_an_instrumented_sdk_marks_its_client_span(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """While opentelemetry-util-genai follows a call, the current CLIENT span is that call."""
    with seen.tracer.start_as_current_span("x", kind=SpanKind.CLIENT), module.Client() as client:
        token = otel_context.attach(otel_context.set_value("opentelemetry.genai.client.inference.context", object()))
        try:
            client.post(server.url + PATH, json=REQUEST)
        finally:
            otel_context.detach(token)
    assert seen.calls == []
    assert len(seen.readings) == 1


def test_attempts_of_one_sdk_call_lie_side_by_side_on_its_span(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """A retry inside an SDK: two readings on the one enriched span, the failed one first and not billed."""
    server.answers[PATH] = [Answer(status=429, body=b"{}"), Answer(body=chat())]
    call = seen.tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"})
    with call, module.Client() as client:
        client.post(server.url + PATH, json=REQUEST)
        client.post(server.url + PATH, json=REQUEST)
    (readings,) = seen.evidence.values()
    assert [bool(reading.usage) for reading in readings] == [False, True]


def test_a_call_span_that_ends_before_its_stream_gets_a_child_with_the_true_times(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """Evidence for a span that is over goes to a child span over the time of the exchange."""
    server.answers[PATH] = stream_answer(pause=0.005)
    with module.Client() as client:
        with seen.tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}) as outer:
            response = client.send(client.build_request("POST", server.url + PATH, json=STREAM), stream=True)
        response.read()
    span, reading = seen.only()
    assert totals(reading.usage) == (12, 7)
    assert span.parent is not None
    assert span.parent.span_id == outer.get_span_context().span_id
    assert span.start_time is not None
    assert span.end_time is not None
    assert outer.end_time < span.end_time  # type: ignore[attr-defined]
    assert outer.start_time <= span.start_time < outer.end_time  # type: ignore[attr-defined]


def test_the_span_is_current_while_sending_and_only_then(module: ModuleType, seen: Collected) -> None:
    """Spans of the transport become children; the application's own context is untouched afterwards."""
    inside: list[int] = []

    def handler(request: Any) -> Any:
        inside.append(trace.get_current_span().get_span_context().span_id)
        return module.Response(200, json=json.loads(chat()))

    with seen.tracer.start_as_current_span("step") as step:
        with module.Client(transport=module.MockTransport(handler)) as client:
            client.post("https://api.openai.com" + PATH, json=REQUEST)
        assert trace.get_current_span() is step
    context = seen.calls[0].get_span_context()
    assert context is not None
    assert inside == [context.span_id]


def test_suppressed_instrumentation_is_respected(module: ModuleType, server: Wire, seen: Collected) -> None:
    """Under the suppress keys (exporters, or a user who wants silence) nothing is followed."""
    for key in (otel_context._SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation"):
        token = otel_context.attach(otel_context.set_value(key, True))
        try:
            with module.Client() as client:
                client.post(server.url + PATH, json=REQUEST)
        finally:
            otel_context.detach(token)
    assert seen.spans == []


def test_other_traffic_is_left_alone(module: ModuleType, server: Wire, seen: Collected) -> None:
    """Requests that are no model calls get no span and keep their own stream object."""
    server.answers["/v1/traces"] = Answer(body=b"ok", headers={})
    server.answers["/search"] = Answer(chunks=[b"a", b"b"])
    with module.Client() as client:
        assert client.post(server.url + "/v1/traces", content=b"\x0a\x00").content == b"ok"
        with client.stream("GET", server.url + "/search?q=1") as response:
            assert type(response.stream).__name__.startswith("Bound")
            assert response.read() == b"ab"
    assert seen.spans == []


# ---- harmless


def test_an_error_of_ours_is_counted_and_the_application_sees_nothing(
    module: ModuleType, server: Wire, seen: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks inside the tap, at whichever point, the response is the same and a counter counts."""
    from otel_agentcost.otel.http import exchange as exchange_module

    monkeypatch.delenv("AGENTCOST_RAISE", raising=False)
    server.answers[PATH] = stream_answer()
    body = b"".join(chat_events())

    def broken(*args: object, **kwargs: object) -> Any:
        raise RuntimeError("ours")

    for owner, name in (
        (exchange_module, "Meter"),
        (exchange_module.Meter, "settle"),
        (exchange_module.Meter, "close"),
        (exchange_module, "describe"),
        (evidence, "attach"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            before = snapshot().get("errors", 0)
            with module.Client() as client:
                response = client.post(server.url + PATH, json=STREAM)
            assert response.content == body
            assert snapshot()["errors"] > before, name


def test_no_key_header_query_or_prompt_reaches_a_span(module: ModuleType, server: Wire, seen: Collected) -> None:
    """The whole OTLP payload is searched for what must stay inside the process."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    server.answers[PATH] = [
        Answer(body=chat(text="a secret completion"), headers={"x-reply": "reply-header-secret"}),
        Answer(status=401, body=b'{"error": {"message": "bad key sk-secret-key"}}'),
        stream_answer(),
        stream_answer(drop_after=2),
    ]  # fmt: skip
    url = server.url.replace("http://", "http://user-secret:password-secret@") + PATH + "?key=query-secret"
    with module.Client() as client:
        for body in (REQUEST, REQUEST, STREAM):
            client.post(url, json=body, headers=HEADERS)
        with pytest.raises(module.TransportError):
            client.post(url, json=STREAM, headers=HEADERS)
        with pytest.raises(module.ConnectError):
            client.post("http://127.0.0.1:1" + PATH + "?key=query-secret", json=REQUEST, headers=HEADERS)
    assert len(seen.calls) == 5
    payload = encode_spans(seen.calls).SerializeToString()
    for secret in (b"secret", b"word0", b"bad key", b"Bearer"):
        assert secret not in payload


def test_uninstalling_leaves_the_classes_as_they_were(module: ModuleType) -> None:
    """Install and uninstall, as often as you like: the methods are the original objects again."""
    before = (
        vars(module.Client)["_send_single_request"],
        vars(module.AsyncClient)["_send_single_request"],
    )
    for _ in range(2):
        with tapped(), tapped():
            assert vars(module.Client)["_send_single_request"] is not before[0]
    after = (
        vars(module.Client)["_send_single_request"],
        vars(module.AsyncClient)["_send_single_request"],
    )
    assert after == before


def test_installing_twice_follows_each_call_once(module: ModuleType, server: Wire) -> None:
    """A second installation changes the provider and adds no second span."""
    with tapped() as first, tapped() as second:
        with module.Client() as client:
            client.post(server.url + PATH, json=REQUEST)
        assert first.calls == []
        assert len(second.calls) == 1


def test_a_client_that_was_wrapped_after_us_keeps_working_when_we_go(
    module: ModuleType, server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody wrapped our wrapper: theirs stays in place after we are gone, and nothing is followed twice."""
    calls: list[str] = []
    with tapped() as seen:
        ours = module.Client._send_single_request

        def theirs(self: Any, request: Any) -> Any:
            calls.append("theirs")
            return ours(self, request)

        monkeypatch.setattr(module.Client, "_send_single_request", theirs)
        uninstall()
        with module.Client() as client:
            client.post(server.url + PATH, json=REQUEST)
        assert calls == ["theirs"]
        assert seen.calls == []
    with tapped() as again, module.Client() as client:
        client.post(server.url + PATH, json=REQUEST)
        assert len(again.calls) == 1
    monkeypatch.undo()
    uninstall()


def test_without_the_private_method_send_is_followed(
    module: ModuleType, server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version without `_send_single_request` is followed at the public `send`."""

    class OldClient(module.Client):  # type: ignore[misc, name-defined]
        pass

    class Old:
        SyncByteStream = module.SyncByteStream
        AsyncByteStream = module.AsyncByteStream
        Request = module.Request

    class Shell:
        """A client that only has the public method."""

        def __init__(self) -> None:
            self._client = module.Client()

        def send(self, request: Any, *, stream: bool = False) -> Any:
            return self._client.send(request, stream=stream)

    class AsyncShell(Shell):
        async def send(self, request: Any, *, stream: bool = False) -> Any:  # type: ignore[override]
            return self._client.send(request, stream=stream)

    from otel_agentcost.otel.http import httpx as adapter
    from otel_agentcost.otel.http.decision import Tap

    seen = Collected()
    tap = Tap(seen.provider)
    namespace = type("Old", (), {"Client": Shell, "AsyncClient": AsyncShell, **vars(Old)})
    adapter.patch(namespace, lambda: tap)
    shell = Shell()
    server.answers[PATH] = [Answer(body=chat()), stream_answer()]
    request = shell._client.build_request("POST", server.url + PATH, json=REQUEST)
    assert shell.send(request).content == chat()
    request = shell._client.build_request("POST", server.url + PATH, json=STREAM)
    assert shell.send(request, stream=True).read() == b"".join(chat_events())
    assert [totals(reading.usage) for reading in seen.readings] == [(12, 7)] * 2
    shell._client.close()


# ---- many at once


async def test_two_hundred_async_streams_at_once_do_not_mix(module: ModuleType, server: Wire, seen: Collected) -> None:
    """Each of 200 concurrent streams gets its own reading on its own span below its own parent."""

    def answer(request: Any) -> Answer:
        number = int(json.loads(request.body)["messages"][0]["content"])
        return Answer(
            chunks=cut(b"".join(chat_events(1000 + number, number, ident=f"id-{number}")), 97),
            headers=EVENT_STREAM,
        )

    server.answers[PATH] = answer
    parents: dict[int, int] = {}

    async def one(client: Any, number: int) -> None:
        with seen.tracer.start_as_current_span(f"step {number}") as span:
            parents[span.get_span_context().span_id] = number
            body = STREAM | {"messages": [{"role": "user", "content": str(number)}]}
            async with client.stream("POST", server.url + PATH, json=body) as response:
                received = b"".join([chunk async for chunk in response.aiter_raw()])
        assert received == b"".join(chat_events(1000 + number, number, ident=f"id-{number}"))

    limits = module.Limits(max_connections=50)
    async with module.AsyncClient(limits=limits, timeout=30) as client:
        await asyncio.gather(*(one(client, number) for number in range(200)))
    assert len(seen.calls) == 200
    for span in seen.calls:
        assert span.parent is not None
        context = span.get_span_context()
        assert context is not None
        number = parents[span.parent.span_id]
        (reading,) = seen.evidence[context.span_id]
        assert reading.identity[0] == f"id-{number}"
        assert totals(reading.usage) == (1000 + number, number)
    assert len(evidence.EVIDENCE) == 0


async def test_an_async_generator_request_body_is_not_touched(
    module: ModuleType, server: Wire, seen: Collected
) -> None:
    """A streamed request body stays a stream; the call is followed without knowing its model beforehand."""

    async def parts() -> AsyncIterator[bytes]:
        whole = json.dumps(REQUEST).encode()
        for piece in cut(whole, 10):
            yield piece

    async with module.AsyncClient() as client:
        response = await client.post(server.url + PATH, content=parts())
    assert response.content == chat()
    assert json.loads(server.seen[-1].body) == REQUEST
    assert [totals(reading.usage) for reading in seen.readings] == [(12, 7)]
