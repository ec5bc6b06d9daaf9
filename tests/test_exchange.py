"""Reading HTTP exchanges: hand-written vectors (tests/conformance/exchanges/http.json), recognition, bounds, fuzz."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_agentcost.usage.exchange import Call, Meter, read_exchange, recognise
from otel_agentcost.usage.reading import Reading

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "conformance" / "exchanges" / "http.json").read_text(encoding="utf-8")
)["vectors"]
CHAT = "https://api.openai.com/v1/chat/completions"


def frame(kind: str, payload: bytes) -> bytes:
    """Make one AWS event stream frame; its checksums are zero, because nobody here looks at them."""
    headers = b""
    for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
        headers += bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
    total = 16 + len(headers) + len(payload)
    prelude = total.to_bytes(4, "big") + len(headers).to_bytes(4, "big") + bytes(4)
    return prelude + headers + payload + bytes(4)


def answer_of(response: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return the bytes of a vector's answer and its headers."""
    headers = {str(k): str(v) for k, v in response.get("headers", {}).items()}
    named = {name.lower() for name in headers}
    if "events" in response:
        content = "text/event-stream"
        body = b"".join(
            b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n"
            for event in response["events"]
        )
    elif "lines" in response:
        content = "application/x-ndjson"
        body = b"".join(json.dumps(line).encode() + b"\n" for line in response["lines"])
    elif "frames" in response:
        content = "application/vnd.amazon.eventstream"
        body = b""
        for one in response["frames"]:
            if "chunk" in one:
                wrapped = base64.b64encode(json.dumps(one["chunk"]).encode()).decode()
                body += frame("chunk", json.dumps({"bytes": wrapped, "p": "abc"}).encode())
            else:
                body += frame(one["type"], json.dumps(one["payload"]).encode())
    elif "text" in response:
        content = "text/plain"
        body = response["text"].encode()
    else:
        content = "application/json"
        body = json.dumps(response["body"]).encode()
    if "content-type" not in named:
        headers["content-type"] = content
    return body, headers


def call_of(vector: Mapping[str, Any]) -> Call:
    """Recognise a vector's request."""
    request = vector["request"]
    body = json.dumps(request["body"]).encode() if "body" in request else None
    call = recognise(request["method"], request["url"], body)
    assert call is not None
    return call


def metered(call: Call, status: int, headers: Mapping[str, str], *chunks: bytes, complete: bool = True) -> Reading:
    """Feed chunks and close."""
    meter = Meter(call, status, headers)
    for chunk in chunks:
        meter.feed(chunk)
    return meter.close(complete)


def check(reading: Reading, expected: Mapping[str, Any]) -> None:
    """Compare a reading with the fields a vector names."""
    for field, wanted in expected.items():
        if field == "usage":
            usage = None if reading.usage is None else {unit: str(q) for unit, q in reading.usage.items()}
            assert usage == (None if wanted is None else {unit: str(q) for unit, q in wanted.items()})
        elif field == "parts":
            found = {part.model: [part.usage.input_tokens, part.usage.output_tokens] for part in reading.parts}
            assert found == wanted
        elif field == "cost":
            assert (reading.reported_cost, reading.reported_by) == (Decimal(wanted), "provider")
        elif field == "context":
            assert {key: reading.context.get(key) for key in wanted} == wanted
        elif field == "identity":
            assert list(reading.identity) == wanted
        else:
            assert getattr(reading, field) == wanted, field


@pytest.mark.parametrize("vector", VECTORS, ids=[v["id"] for v in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    """Each vector reads as its rule says, in one piece."""
    body, headers = answer_of(vector["response"])
    check(metered(call_of(vector), vector["response"]["status"], headers, body), vector["expected"])


@pytest.mark.parametrize("vector", VECTORS, ids=[v["id"] for v in VECTORS])
def test_vector_byte_by_byte(vector: dict[str, Any]) -> None:
    """A cut at every byte changes nothing."""
    body, headers = answer_of(vector["response"])
    whole = metered(call_of(vector), vector["response"]["status"], headers, body)
    cut = metered(call_of(vector), vector["response"]["status"], headers, *(body[i : i + 1] for i in range(len(body))))
    assert cut == whole


@pytest.mark.parametrize("vector", VECTORS, ids=[v["id"] for v in VECTORS])
def test_vector_as_a_record(vector: dict[str, Any]) -> None:
    """The offline record form reads the same."""
    request, response = vector["request"], vector["response"]
    body, headers = answer_of(response)
    record = {
        "method": request["method"],
        "url": request["url"],
        "request_body": json.dumps(request["body"]) if "body" in request else "",
        "request_body_enc": "text",
        "status": response["status"],
        "response_headers": headers,
        "response_body": base64.b64encode(body).decode(),
        "response_body_enc": "base64",
        "content_encoding_recorded": "identity",
        "is_stream": "events" in response,
    }
    check(read_exchange(record), vector["expected"])


def test_parts_add_up_to_what_is_billed() -> None:
    """Where a call used several models, its parts are the whole bill."""
    seen = 0
    for vector in VECTORS:
        body, headers = answer_of(vector["response"])
        reading = metered(call_of(vector), vector["response"]["status"], headers, body)
        if reading.parts:
            seen += 1
            total = reading.parts[0].usage
            for part in reading.parts[1:]:
                total = total + part.usage
            tokens = {unit: q for unit, q in reading.billable.items() if unit.endswith("_tokens")}
            assert {unit: q for unit, q in total.items() if unit.endswith("_tokens")} == tokens
    assert seen >= 3


CHAT_BODY = b'{"model": "m", "messages": []}'


@pytest.mark.parametrize(
    ("method", "url", "body", "api"),
    [
        ("POST", CHAT, CHAT_BODY, "openai.chat"),
        ("post", "https://API.OPENAI.COM/v1/chat/completions", None, "openai.chat"),
        ("POST", "https://res.openai.azure.com//openai/deployments/d/chat/completions?a=b", b"{}", "openai.chat"),
        ("POST", "http://localhost:8000/v1/completions", b'{"model": "m", "prompt": "x"}', "openai.completions"),
        ("POST", "http://localhost:8000/v1/completions", b'{"rows": 3}', None),
        ("POST", "https://anything.example/v1/messages", b'{"model": "m", "messages": []}', "anthropic.messages"),
        ("POST", "https://anything.example/v1/messages", b'{"text": "hi", "to": "bob"}', None),
        ("POST", "https://anything.example/v1/messages", None, None),
        ("POST", "https://gw.example/v1/responses", b'{"model": "m", "input": "x"}', "openai.responses"),
        ("POST", "https://gw.example/v1/responses", b'{"survey": 1}', None),
        ("POST", "https://gw.example/rerank", b'{"query": "q", "documents": []}', "rerank"),
        ("POST", "https://gw.example/api/chat", b'{"model": "m", "messages": []}', "ollama.chat"),
        ("POST", "https://api.writer.com:443/v1/chat", b'{"model": "m", "messages": []}', "openai.chat.writer"),
        ("GET", "https://api.openai.com/v1/responses/resp_1", None, "openai.responses.stored"),
        ("POST", "https://api.openai.com/v1/responses/resp_1/cancel", b"{}", None),
        ("GET", CHAT, None, None),
        ("POST", "https://api.anthropic.com/v1/messages/count_tokens", CHAT_BODY, None),
        ("POST", "https://generativelanguage.googleapis.com/v1beta/models/g:countTokens", b"{}", None),
        ("POST", "https://api.openai.com/v1/responses/input_tokens", b'{"model": "m", "input": "x"}', None),
        ("GET", "https://api.openai.com/v1/models", None, None),
        ("POST", "https://api.openai.com/v1/files", b"--x", None),
        ("POST", "https://api.openai.com.evil.example/v1/messages", b"{}", None),
        ("POST", "ftp://api.openai.com/v1/chat/completions", CHAT_BODY, None),
        ("POST", "not a url", CHAT_BODY, None),
        ("POST", "https://api.openai.com", CHAT_BODY, None),
        ("POST", "", CHAT_BODY, None),
    ],
)
def test_recognition(method: str, url: str, body: bytes | None, api: str | None) -> None:
    """Known host and path, or path and body shape; nothing else."""
    call = recognise(method, url, body)
    assert (call and call.api) == api


def test_no_key_or_query_is_kept() -> None:
    """A call knows the host and nothing of the query, credentials or headers."""
    call = recognise(
        "POST",
        "https://user:hunter2@generativelanguage.googleapis.com/v1/models/g:generateContent?key=SECRET",
        b"{}",
    )
    assert call is not None
    assert call.host == "generativelanguage.googleapis.com"
    assert "SECRET" not in repr(call)
    assert "hunter2" not in repr(call)


def test_usage_can_be_asked_for_where_it_is_accepted() -> None:
    """A streaming chat call knows whether usage was asked for, and whether this host lets us ask."""
    plain = recognise("POST", CHAT, b'{"model": "m", "messages": [], "stream": true}')
    asked = recognise(
        "POST", CHAT, b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}'
    )
    unknown = recognise("POST", "https://gw.example/chat/completions", b'{"model":"m","messages":[],"stream":true}')
    assert plain is not None
    assert asked is not None
    assert unknown is not None
    assert (plain.can_ask_usage, plain.asks_usage) == (True, False)
    assert (asked.can_ask_usage, asked.asks_usage) == (True, True)
    assert unknown.can_ask_usage is False


def test_a_large_request_is_read_at_its_edges() -> None:
    """Of a request too large to parse the plain fields at its ends are known."""
    text = "x" * 400_000
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "stream": True}).encode()
    call = recognise("POST", CHAT, body)
    assert call is not None
    assert (call.request_model, call.streaming) == ("gpt-4o", True)


def test_a_form_upload_names_its_model() -> None:
    """Transcriptions are multipart forms: the model stands in one of the parts."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
    )
    call = recognise("POST", "https://api.openai.com/v1/audio/transcriptions", body)
    assert call is not None
    assert call.request_model == "whisper-1"


def sse(*events: object) -> bytes:
    """Make a server-sent stream."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def test_a_long_stream_keeps_little() -> None:
    """However long a stream is, its first names and its last usage are found and little is held."""
    call = recognise("POST", "https://api.anthropic.com/v1/messages", b'{"model":"m","messages":[],"stream":true}')
    assert call is not None
    meter = Meter(call, 200, {"content-type": "text/event-stream"})
    meter.feed(
        sse({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "usage": {"input_tokens": 7}}})
    )
    delta = sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word " * 20}})
    for _ in range(5000):
        meter.feed(delta)
    keeper = meter._keeper
    assert keeper is not None
    assert keeper.trimmed
    assert len(keeper.head) + len(keeper.tail) < 16_000
    meter.feed(sse({"type": "message_delta", "usage": {"output_tokens": 99}}, {"type": "message_stop"}))
    reading = meter.close()
    assert (reading.identity, reading.model) == (("msg_1",), "claude-x")
    assert dict(reading.billable) == {"input_tokens": 7, "output_tokens": 99}


def test_a_final_event_of_many_chunks_is_whole() -> None:
    """An event that repeats the whole response is found, however large and however it is cut."""
    call = recognise("POST", "https://api.openai.com/v1/responses", b'{"model":"m","input":"x","stream":true}')
    assert call is not None
    deltas = sse(*({"type": "response.output_text.delta", "delta": "x" * 100} for _ in range(500)))
    final = sse(
        {
            "type": "response.completed",
            "response": {
                "id": "resp_1",
                "model": "gpt-5",
                "output": [{"type": "message", "content": "y" * 900_000}],
                "usage": {"input_tokens": 1, "output_tokens": 2},
            },
        }
    )
    body = deltas + final
    for size in (500, 4096, 65_536):
        chunks = [body[i : i + size] for i in range(0, len(body), size)]
        reading = metered(call, 200, {"content-type": "text/event-stream"}, *chunks)
        assert dict(reading.billable) == {"input_tokens": 1, "output_tokens": 2}


def test_grounding_in_the_middle_of_a_long_stream_is_kept() -> None:
    """Search queries stand wherever the model searched: a long stream does not lose them."""
    url = "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"
    call = recognise("POST", url, b"{}")
    assert call is not None

    def event(count: int, **more: object) -> bytes:
        candidate = {"content": {"parts": [{"text": "word " * 30}]}, **more}
        return sse({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": count}})

    stream = [event(i) for i in range(200)]
    stream[60] = event(60, groundingMetadata={"webSearchQueries": ["a", "b"]})
    stream.append(event(200, finishReason="STOP"))
    body = b"".join(stream)
    for size in (97, 700, 9000):
        chunks = [body[i : i + size] for i in range(0, len(body), size)]
        reading = metered(call, 200, {"content-type": "text/event-stream"}, *chunks)
        assert reading.billable["web_searches"] == 2
        assert reading.billable["output_tokens"] == 200


def test_an_embedding_answer_of_any_size_is_read_at_its_ends() -> None:
    """Answers full of numbers are never parsed whole when large: usage stands at one end."""
    call = recognise("POST", "https://api.openai.com/v1/embeddings", b'{"model": "e", "input": "x"}')
    assert call is not None
    head = b'{"object":"list","data":[{"embedding":['
    tail = b'0.5]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}'
    filler = b"0.123456789," * 5000
    reading = metered(call, 200, {"content-type": "application/json"}, head, *([filler] * 300), tail)
    assert (dict(reading.billable), reading.model) == ({"input_tokens": 8}, "text-embedding-3-small")


def test_a_body_too_large_says_so() -> None:
    """A JSON answer beyond the bound is not read, and says why."""
    call = recognise("POST", CHAT, CHAT_BODY)
    assert call is not None
    reading = metered(call, 200, {"content-type": "application/json"}, b'{"a":"', *([b"x" * 1_000_000] * 17), b'"}')
    assert (reading.status, reading.reason) == ("no_usage", "body_too_large")


def test_a_cut_body_is_read_as_far_as_it_goes() -> None:
    """Usage seen before an answer was cut counts, labelled; else the cut is the reason."""
    call = recognise("POST", CHAT, CHAT_BODY)
    assert call is not None
    headers = {"content-type": "application/json"}
    seen = metered(
        call, 200, headers, b'{"id":"c1","model":"gpt-4o","usage":{"prompt_tokens":3,"completion_tokens":1},"cho',
        complete=False,
    )  # fmt: skip
    assert (seen.status, seen.estimated, dict(seen.billable)) == (
        "usage",
        True,
        {"input_tokens": 3, "output_tokens": 1},
    )
    unseen = metered(call, 200, headers, b'{"id":"c1","model":"gpt-4o","cho', complete=False)
    assert (unseen.status, unseen.reason) == ("no_usage", "cut_body")
    nothing = metered(call, 200, headers, complete=False)
    assert (nothing.status, nothing.reason) == ("no_usage", "cut_before_body")


def test_usage_words_inside_a_text_are_not_usage() -> None:
    """A model that writes about usage does not change its own bill."""
    call = recognise("POST", CHAT, b'{"model":"m","messages":[],"stream":true}')
    assert call is not None
    lure = json.dumps({"usage": {"prompt_tokens": 999, "completion_tokens": 999}})
    body = sse(
        {"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        {"id": "c", "model": "m", "choices": [{"delta": {"content": lure, "args": {"usage": {"prompt_tokens": 9}}}}]},
    )
    reading = metered(call, 200, {"content-type": "text/event-stream"}, body)
    assert dict(reading.billable) == {"input_tokens": 1, "output_tokens": 2}


def test_records_nobody_meters() -> None:
    """A free endpoint is not billed, an unknown API has no usage; neither claims a cost."""
    free = read_exchange({"method": "GET", "url": "https://api.openai.com/v1/models", "response_body": "{}"})
    assert (free.kind, free.status, free.reason) == ("api", "not_billed", "free_endpoint")
    other = read_exchange({"method": "GET", "url": "https://example.com/x", "response_body": "{}", "status": 200})
    assert (other.kind, other.status, other.reason) == ("api", "no_usage", "unknown_api")
    assert read_exchange({}).status == "no_usage"


def test_a_record_without_a_url_reads_by_its_shape() -> None:
    """Where a recording lost its URL, the shape of the answer tells the API."""
    body = json.dumps({"type": "message", "role": "assistant", "model": "c", "usage": {"input_tokens": 1}})
    reading = read_exchange({"url": "**REDACTED**", "response_body": body, "status": 200})
    assert (reading.dialect, dict(reading.billable)) == ("anthropic.messages", {"input_tokens": 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def mutate(value: Any, path: list[int], replacement: Any) -> Any:
    """Replace the value a path of choices leads to."""
    if not path or not isinstance(value, (dict, list)) or not value:
        return replacement
    if isinstance(value, dict):
        key = sorted(value, key=str)[path[0] % len(value)]
        return {**value, key: mutate(value[key], path[1:], replacement)}
    index = path[0] % len(value)
    return [*value[:index], mutate(value[index], path[1:], replacement), *value[index + 1 :]]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    vector=st.sampled_from(VECTORS),
    path=st.lists(st.integers(0, 9), min_size=1, max_size=7),
    replacement=JSON,
    complete=st.booleans(),
)
def test_mutated_answers_never_raise(vector: dict[str, Any], path: list[int], replacement: Any, complete: bool) -> None:
    """Whatever stands where a number belongs: a Reading comes back, and never usage that contradicts itself."""
    response = dict(vector["response"])
    for form in ("body", "events", "lines"):
        if form in response:
            changed = mutate(response[form], path, replacement)
            response[form] = changed if form == "body" or isinstance(changed, list) else [changed]
    body, headers = answer_of(response)
    reading = metered(call_of(vector), response["status"], headers, body, complete=complete)
    assert not reading.reason.startswith("reader_error")
    if reading.usage is not None:
        assert reading.usage.contradiction() is None


@settings(max_examples=300, deadline=None)
@given(
    vector=st.sampled_from(VECTORS),
    at=st.integers(0, 3000),
    junk=st.binary(max_size=40),
    drop=st.integers(0, 60),
    encoding=st.sampled_from(["", "gzip", "br", "zstd", "deflate", "gzip, br", "nonsense"]),
)
def test_damaged_bytes_never_raise(vector: dict[str, Any], at: int, junk: bytes, drop: int, encoding: str) -> None:
    """Bytes lost, inserted, or claimed to be encoded: a Reading comes back."""
    body, headers = answer_of(vector["response"])
    at %= len(body) + 1
    headers["content-encoding"] = encoding
    reading = metered(call_of(vector), 200, headers, body[:at] + junk, body[at + drop :])
    assert not reading.reason.startswith("reader_error")
    if reading.usage is not None:
        assert reading.usage.contradiction() is None


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "x"]),
    host=st.sampled_from(["api.openai.com", "[::1", "a:b:c", "", "api.anthropic.com:99999"]),
    path=st.text(max_size=30) | st.sampled_from(["/v1/chat/completions", "/v1/messages", "/model//converse", "//:x"]),
    body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_recognition_never_raises(method: str, host: str, path: str, body: bytes) -> None:
    """Any method, URL and body: a Call or None."""
    call = recognise(method, f"https://{host}{path}", body)
    assert call is None or call.api
