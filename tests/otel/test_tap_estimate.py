"""Estimates from text: labelled, learned from calls that state usage, never in place of a stated figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agentcost.otel.config import Capture
from otel_agentcost.otel.http.estimate import CHARACTERS_PER_TOKEN, LESSONS, Ratios, estimated
from otel_agentcost.usage.reading import Reading, Usage
from otel_agentcost.usage.text_size import AROUND_MESSAGE, TextSize, answer_characters, request_characters
from tests.otel.tap_fixtures import Collected, tapped
from tests.otel.tap_server import EVENT_STREAM, Answer, Wire, chat_events, cut, event, wire

PATH = "/v1/chat/completions"
PROMPT = "word " * 100  # 500 characters
STREAM: dict[str, Any] = {"model": "local", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
WORDS = 6  # few enough for the stream to be kept whole
LONG = "quite a few words in one piece, "


@pytest.fixture
def server() -> Iterator[Wire]:
    with wire() as server:
        yield server


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    monkeypatch.setenv("AGENTCOST_RAISE", "1")
    with tapped() as collected:
        yield collected


def in_pieces(number: int, text: str, *, tokens: tuple[int, int] | None = None) -> list[bytes]:
    """A stream of `number` pieces of text, which states usage or does not."""
    events: list[dict[str, Any]] = [{"choices": [{"delta": {"content": text}}]} for _ in range(number)]
    if tokens is not None:
        events.append({"choices": [], "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}})
    return [*map(event, events), b"data: [DONE]\n\n"]


def silent(words: int = WORDS, **more: Any) -> Answer:
    return Answer(chunks=chat_events(words=words, usage=False), headers=EVENT_STREAM, **more)


def ask(server: Wire, body: dict[str, Any] = STREAM) -> None:
    with httpx.Client() as client:
        client.post(server.url + PATH, json=body)


def test_a_silent_stream_is_estimated_and_says_so(server: Wire, seen: Collected) -> None:
    """Never 0 and never unlabelled: characters by the usual figure, `estimated`, no token counts on the span."""
    server.answers[PATH] = silent()
    ask(server)
    span, reading = seen.only()
    assert reading.status == "usage"
    assert reading.estimated
    assert reading.reason == "estimated_from_text"
    assert reading.usage == Usage(
        input_tokens=(len(PROMPT) + AROUND_MESSAGE) // CHARACTERS_PER_TOKEN, output_tokens=WORDS
    )
    assert "gen_ai.usage.output_tokens" not in (span.attributes or {})


def test_calls_that_state_usage_teach_the_length_of_tokens(server: Wire, seen: Collected) -> None:
    """After one call of the model that told its usage, a silent one is estimated by the same measure."""
    server.answers[PATH] = [
        Answer(chunks=in_pieces(5, LONG, tokens=(250, 100)), headers=EVENT_STREAM),
        Answer(chunks=in_pieces(5, LONG), headers=EVENT_STREAM),
        Answer(chunks=in_pieces(10, LONG), headers=EVENT_STREAM),
    ]
    for _ in range(3):
        ask(server)
    told, same, longer = seen.readings
    assert not told.estimated
    assert same.usage == Usage(input_tokens=250, output_tokens=100)
    assert longer.usage == Usage(input_tokens=250, output_tokens=200)


def test_an_answer_in_large_pieces_is_estimated_by_its_length(server: Wire, seen: Collected) -> None:
    """Where a piece is more than a token, characters count."""
    server.answers[PATH] = Answer(chunks=in_pieces(4, LONG), headers=EVENT_STREAM)
    ask(server)
    assert seen.readings[0].billable.output_tokens == 4 * len(LONG) // CHARACTERS_PER_TOKEN


def test_other_models_have_their_own_measure(server: Wire, seen: Collected) -> None:
    """What one model taught is not used for another."""
    server.answers[PATH] = [Answer(chunks=chat_events(500, 500, words=WORDS), headers=EVENT_STREAM), silent()]
    ask(server)
    ask(server, STREAM | {"model": "another"})
    assert seen.readings[1].billable.input_tokens == (len(PROMPT) + AROUND_MESSAGE) // CHARACTERS_PER_TOKEN


def test_a_long_stream_is_estimated_from_its_ends(server: Wire, seen: Collected) -> None:
    """The middle of a long stream was let go; the share of text in its ends stands for all of it."""
    events = in_pieces(3000, "word ")
    server.answers[PATH] = Answer(chunks=cut(b"".join(events), 4000), headers=EVENT_STREAM)
    ask(server)
    assert seen.readings[0].billable.output_tokens == pytest.approx(3000, rel=0.1)


def test_a_cut_stream_is_charged_for_what_was_seen(server: Wire, seen: Collected) -> None:
    """Left early: the whole request, and as much of the answer as came."""
    server.answers[PATH] = silent(words=20, stall_after=10)
    with httpx.Client() as client, client.stream("POST", server.url + PATH, json=STREAM) as response:
        read_events(response, 10)
    (reading,) = seen.readings
    assert reading.reason == "cut_stream,estimated_from_text"
    assert reading.estimated
    assert reading.usage == Usage(input_tokens=(len(PROMPT) + AROUND_MESSAGE) // CHARACTERS_PER_TOKEN, output_tokens=10)


def read_events(response: httpx.Response, number: int) -> None:
    """Read so many events of a stream, and no further."""
    got = b""
    for chunk in response.iter_raw():
        got += chunk
        if got.count(b"\n\n") >= number:
            return


def test_a_cut_anthropic_stream_keeps_its_input_and_gains_the_output_seen(server: Wire, seen: Collected) -> None:
    """message_start told the input; the output it had told by then is less than what came after."""
    start = {
        "type": "message_start",
        "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": [],
            "usage": {"input_tokens": 900, "output_tokens": 1},
        },
    }  # fmt: skip
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 40}}
    chunks = [event(start), *(event(text) for _ in range(10)), b""]
    server.answers["/v1/messages"] = Answer(chunks=chunks, headers=EVENT_STREAM, stall_after=11)
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "stream": True, "messages": STREAM["messages"]}
    with httpx.Client() as client, client.stream("POST", server.url + "/v1/messages", json=body) as response:
        read_events(response, 11)
    (reading,) = seen.readings
    assert reading.billable.input_tokens == 900
    assert reading.billable.output_tokens == 400 // CHARACTERS_PER_TOKEN
    assert reading.estimated


def test_estimating_can_be_switched_off(server: Wire) -> None:
    """`capture.estimate_streams: false`: usage is unknown, and the reading says why."""
    server.answers[PATH] = silent()
    with tapped(config=Capture(estimate_streams=False)) as seen:
        ask(server)
        (reading,) = seen.readings
    assert reading.usage is None
    assert reading.reason == "stream_without_usage"


# ---- the parts


def test_learning_ends_after_a_few_calls() -> None:
    """The first calls teach; then a model costs nothing more to learn."""
    ratios = Ratios()
    for _ in range(LESSONS):
        assert ratios.wants("m", "input")
        ratios.learn("m", "input", 300, 100)
    assert not ratios.wants("m", "input")
    assert ratios.wants("m", "output")
    assert ratios.tokens("m", "input", 301) == 101


@given(st.integers(-5, 10**9), st.integers(-5, 10**9), st.integers(0, 10**9))
def test_no_lesson_can_break_the_measure(characters: int, tokens: int, asked: int) -> None:
    """Empty or absurd lessons teach nothing, and an estimate is a whole number of at least 0."""
    ratios = Ratios()
    ratios.learn("m", "input", characters, tokens)
    estimate = ratios.tokens("m", "input", asked)
    assert isinstance(estimate, int)
    assert estimate >= (1 if asked else 0)


@pytest.mark.parametrize(
    "reading",
    [
        Reading(kind="call", usage=Usage(input_tokens=1, output_tokens=1)),
        Reading(kind="call", status="not_billed", reason="http_429"),
        Reading(kind="call", status="no_usage", reason="answer_without_usage"),
        Reading(kind="call", status="invalid", reason="negative:input_tokens=-1"),
        Reading(kind="call", usage=Usage(input_tokens=9, output_tokens=99), estimated=True, reason="cut_stream"),
    ],
)
def test_what_is_stated_or_not_billed_is_never_estimated(reading: Reading) -> None:
    """Only streams that were billed in silence are guessed at."""
    assert estimated(reading, Ratios(), asked=1000, written=TextSize(100, 9)) is reading


def test_nothing_known_stays_unknown() -> None:
    """Without the request or the answer there is no estimate: usage stays None, not 0."""
    reading = Reading(kind="call", status="no_usage", reason="stream_without_usage")
    assert estimated(reading, Ratios(), asked=None, written=TextSize(5, 1)) is reading
    assert estimated(reading, Ratios(), asked=5, written=None) is reading


@pytest.mark.parametrize(
    ("request_body", "characters"),
    [
        ({"messages": [{"role": "user", "content": "four"}]}, 4),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "four"}]}]}, 4),
        ({"system": "two", "messages": [], "model": "ignored"}, 3),
        ({"contents": [{"role": "user", "parts": [{"text": "four"}]}]}, 4),
        ({"prompt": ["a", "bc"]}, 3),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:" + "A" * 9000}}]}]}, 0),
        ({"messages": [{"content": "A" * 9000}]}, 0),
        ({"tools": [{"name": "search"}]}, len('[{"name":"search"}]') // 2),
        ({}, 0),
    ],
)
def test_only_text_the_model_reads_is_counted(request_body: dict[str, Any], characters: int) -> None:
    """Names, roles, addresses and encoded pictures are not prose."""
    around = AROUND_MESSAGE * sum(len(request_body.get(key, ())) for key in ("messages", "contents"))
    assert request_characters(json.dumps(request_body).encode()) == characters + around


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"7", b'{"a":', b"[" * 100_000])
def test_a_request_that_cannot_be_read_has_no_known_length(body: bytes) -> None:
    """Broken and foreign bodies are unknown, and never an exception."""
    assert request_characters(body) is None


@pytest.mark.parametrize(
    ("payload", "characters"),
    [
        ({"choices": [{"delta": {"role": "assistant", "content": "four"}}]}, 4),
        ({"choices": [{"delta": {"tool_calls": [{"id": "x", "function": {"arguments": '{"a":1}'}}]}}]}, 7),
        ({"choices": [{"text": "four"}]}, 4),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "four"}}, 4),
        ({"candidates": [{"content": {"parts": [{"text": "four"}], "role": "model"}}]}, 4),
        ({"message": {"role": "assistant", "content": "four"}}, 4),
        ({"response": "four", "model": "llama"}, 4),
        ({"id": "abc", "model": "m", "choices": []}, 0),
    ],
)
def test_only_text_the_model_wrote_is_counted(payload: dict[str, object], characters: int) -> None:
    """The streams of every family: words and arguments, no ids."""
    assert answer_characters(payload) == characters
