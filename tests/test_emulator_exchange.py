"""One request in, one exchange out: errors, retries, scripts, streams that break, answers read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_agentcost.testing import ProviderEmulator, Rates, Reply, ToolCall
from otel_agentcost.testing.emulator.transfer import ConnectionCut

CHAT = "/v1/chat/completions"


@pytest.fixture
def emulator() -> ProviderEmulator:
    return ProviderEmulator()


def chat(text: str = "Hello there", model: str = "gpt-4o", **more: Any) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


def post(emulator: ProviderEmulator, path: str, body: bytes, **headers: str) -> tuple[int, Any, dict[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    exchange = emulator.respond("POST", path, body=body, headers=named)
    return exchange.status, json.loads(b"".join(exchange.body)), dict(exchange.headers)


def test_equal_requests_get_equal_answers(emulator: ProviderEmulator) -> None:
    """Two emulators that are asked the same say and bill the same, ids included."""
    other = ProviderEmulator()

    assert post(emulator, CHAT, chat()) == post(other, CHAT, chat())
    assert emulator.billed == other.billed


def test_a_seed_tells_the_ids_of_two_emulators_apart() -> None:
    """Ids contain the seed and the number of the request."""
    emulator = ProviderEmulator(seed="blue")
    _, answer, headers = post(emulator, CHAT, chat())

    assert answer["id"] == "chatcmpl-blue00000001" == emulator.billed[0].response_id
    assert headers["x-request-id"] == "req_blue00000001"


@pytest.mark.parametrize(
    ("path", "body", "provider"),
    [
        (CHAT, chat(), "openai"),
        ("/chat/completions", chat(), "openai"),
        (CHAT, chat(model="gpt-4o-2024-08-06"), "openai"),
        (CHAT, chat(model="mistral-small-2603"), "mistral"),
        ("/mistral" + CHAT, chat(model="mistral-small-2603"), "mistral"),
        ("/openai/v1/chat/completions", chat(model="llama-3.1-8b-instant"), "groq"),
        ("/groq/openai/v1/chat/completions", chat(model="llama-3.1-8b-instant"), "groq"),
        ("/api/v1/chat/completions", chat(model="openai/gpt-4o-mini"), "openrouter"),
        ("http://api.groq.com" + CHAT, chat(model="llama-3.1-8b-instant"), "groq"),
        ("http://openrouter.ai/api/v1/chat/completions", chat(model="openai/gpt-4o-mini"), "openrouter"),
    ],
)
def test_path_host_and_model_say_who_serves(emulator: ProviderEmulator, path: str, body: bytes, provider: str) -> None:
    """One address serves all providers; a prefix or a known host settles it where the model does not."""
    status, _, _ = post(emulator, path, body)

    assert (status, provider) == (200, emulator.billed[0].provider)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat(model="gpt-nonsense")),
        ("/v1/responses", b'{"model": "gpt-nonsense", "input": "x"}'),
        ("/v1/messages", chat(model="claude-0", max_tokens=5)),
        ("/v1beta/models/gemini-0:generateContent", b'{"contents": []}'),
        ("/v2/chat", chat(model="command-0")),
        ("/api/chat", chat(model="llama0")),
        ("/model/nova-0/converse", b'{"messages": []}'),
    ],
)
def test_an_unknown_model_is_a_404_that_costs_nothing(emulator: ProviderEmulator, path: str, body: bytes) -> None:
    """In the provider's own form; the attempt is on the bill with 0."""
    status, answer, _ = post(emulator, path, body)

    assert status == 404
    assert "does not exist" in json.dumps(answer)
    assert [(call.status, call.amount_pico) for call in emulator.billed] == [(404, 0)]


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"model": "gpt-4o", "messages": 7}', chat("[[sing]]")])
def test_a_request_that_cannot_be_read_is_a_400(emulator: ProviderEmulator, body: bytes) -> None:
    """Broken JSON, missing keys, wrong types and unknown directives are answered, not raised."""
    status, answer, _ = post(emulator, CHAT, body)

    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert emulator.total_pico == 0


def test_paths_nobody_serves_are_a_404(emulator: ProviderEmulator) -> None:
    """And are not billed."""
    assert post(emulator, "/v1/teleport", b"{}")[0] == 404
    assert emulator.respond("GET", CHAT).status == 404
    assert emulator.billed == []


def test_a_rate_limit_is_answered_once_then_the_request_succeeds(emulator: ProviderEmulator) -> None:
    """429 with retry-after in seconds and milliseconds; the refused attempt costs nothing; a new call fails anew."""
    body = chat("Hi [[fail 429]] [[retry-after 0.02]]")
    first = post(emulator, CHAT, body)
    second = post(emulator, CHAT, body)
    third = post(emulator, CHAT, body)

    assert [first[0], second[0], third[0]] == [429, 200, 429]
    assert (first[2]["retry-after"], first[2]["retry-after-ms"]) == ("0.02", "20.0")
    assert first[1]["error"]["code"] == "rate_limit_exceeded"
    assert [call.status for call in emulator.billed] == [429, 200, 429]
    assert [call.amount_pico for call in emulator.billed if call.status == 429] == [0, 0]


def test_as_many_attempts_fail_as_asked(emulator: ProviderEmulator) -> None:
    """times counts attempts of the same request."""
    body = chat("Hi [[fail 500]] [[times 3]]")

    assert [post(emulator, CHAT, body)[0] for _ in range(4)] == [500, 500, 500, 200]


def test_the_header_steers_one_request(emulator: ProviderEmulator) -> None:
    """It has the field names of Reply and lies over the directives."""
    header = json.dumps({"text": "From the header.", "output_tokens": 7})
    _, answer, _ = post(emulator, CHAT, chat("Hi [[say From the text.]] [[input 100]]"), x_emulator_reply=header)

    assert answer["choices"][0]["message"]["content"] == "From the header."
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (100, 7)


@pytest.mark.parametrize("header", ["{", '{"stauts": 1}'])
def test_a_wrong_header_is_a_400(emulator: ProviderEmulator, header: str) -> None:
    """Typos in the steering are told."""
    assert post(emulator, CHAT, chat(), x_emulator_reply=header)[0] == 400


def test_a_script_steers_the_next_requests_in_order(emulator: ProviderEmulator) -> None:
    """Each request takes one reply; with a model, only requests for it do."""
    emulator.script([Reply(text="one"), Reply(text="two")], model="gpt-4o")
    emulator.script([Reply(tools=(ToolCall("find", {"q": 1}),))], model="o3")
    said = [post(emulator, CHAT, chat(model=model))[1] for model in ("gpt-4o", "o3", "gpt-4o", "gpt-4o")]

    messages = [answer["choices"][0]["message"] for answer in said]
    assert [m["content"] for m in messages] == ["one", None, "two", "You asked: Hello there"]
    assert messages[1]["tool_calls"][0]["function"] == {"name": "find", "arguments": '{"q":1}'}


def test_usage_numbers_can_be_dictated(emulator: ProviderEmulator) -> None:
    """100 input of which 40 cached, 10 output: 60 x 2.5 + 40 x 1.25 + 10 x 10 per million."""
    emulator.script([Reply(input_tokens=100, cached_tokens=40, output_tokens=10)])
    _, answer, _ = post(emulator, CHAT, chat())

    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 40
    assert emulator.total_pico == 150_000_000 + 50_000_000 + 100_000_000


def test_withheld_usage_is_billed_all_the_same(emulator: ProviderEmulator) -> None:
    """A provider that tells nothing still sends its bill."""
    _, answer, _ = post(emulator, CHAT, chat("Hello there [[usage off]]"))

    assert "usage" not in answer
    assert emulator.total_pico > 0


def test_a_broken_stream_is_billed_for_what_was_produced(emulator: ProviderEmulator) -> None:
    """Input in full, output up to the last event that left; the row says it is not complete."""
    exchange = emulator.respond("POST", CHAT, body=chat("Hi [[output 40]] [[cut 11]]", stream=True))
    with pytest.raises(ConnectionCut):
        list(exchange.body)

    call = emulator.billed[0]
    assert (call.input, call.output, call.complete) == (call.input, 10, False)
    assert call.amount_pico == call.input * 2_500_000 + 10 * 10_000_000


def test_the_bill_is_written_before_the_bytes_leave(emulator: ProviderEmulator) -> None:
    """Whatever the client has read is billed; the last event completes the row."""
    exchange = emulator.respond("POST", CHAT, body=chat("Hi [[output 3]]", stream=True))
    seen = [(emulator.billed[0].output, emulator.billed[0].complete) for _ in exchange.body]

    assert seen == [(0, False), (1, False), (2, False), (3, False), (3, False), (3, True)]


def test_an_answer_nobody_reads_is_billed_for_its_input(emulator: ProviderEmulator) -> None:
    """A stream that was dropped before its first event has produced nothing."""
    emulator.respond("POST", CHAT, body=chat("Hi [[output 3]]", stream=True))

    assert (emulator.billed[0].output, emulator.billed[0].complete) == (0, False)


def test_a_body_that_is_cut_is_billed_in_full(emulator: ProviderEmulator) -> None:
    """The model had finished when the connection broke."""
    exchange = emulator.respond("POST", CHAT, body=chat("Hi [[output 40]] [[cut 1]]"))
    with pytest.raises(ConnectionCut):
        list(exchange.body)

    assert (emulator.billed[0].output, emulator.billed[0].complete) == (40, False)


def test_reading_a_stored_response_again_is_free(emulator: ProviderEmulator) -> None:
    """GET /v1/responses/{id} repeats the usage and is not billed; an unknown id is a 404."""
    _, made, _ = post(emulator, "/v1/responses", b'{"model": "gpt-5", "input": "Hi"}')
    total = emulator.total_pico
    again = json.loads(b"".join(emulator.respond("GET", f"/v1/responses/{made['id']}").body))

    assert (made, total, 1) == (again, emulator.total_pico, len(emulator.billed))
    assert emulator.respond("GET", "/v1/responses/resp_0").status == 404


def test_a_continued_response_pays_for_the_conversation_so_far(emulator: ProviderEmulator) -> None:
    """previous_response_id puts the earlier input and output before the new input."""
    _, first, _ = post(emulator, "/v1/responses", b'{"model": "gpt-4.1", "input": "Hello"}')
    follow = {"model": "gpt-4.1", "input": "More", "previous_response_id": first["id"]}
    _, second, _ = post(emulator, "/v1/responses", json.dumps(follow).encode())
    third = {**follow, "previous_response_id": "resp_0"}

    assert second["usage"]["input_tokens"] == (2 + 3) + (4 + 3) + (1 + 3)  # "Hello", "You asked: Hello", "More"
    assert second["previous_response_id"] == first["id"]
    assert post(emulator, "/v1/responses", json.dumps(third).encode())[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "counted"),
    [
        ("/v1/messages/count_tokens", chat(model="claude-haiku-4-5"), "input_tokens"),
        (
            "/v1beta/models/gemini-2.5-pro:countTokens",
            b'{"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}',
            "totalTokens",
        ),
    ],
)
def test_counting_tokens_is_free(emulator: ProviderEmulator, path: str, body: bytes, counted: str) -> None:
    """The count is the one that would be billed; nothing is."""
    status, answer, _ = post(emulator, path, body)

    assert (status, answer[counted]) == (200, 3 + 3)
    assert emulator.billed == []


def test_more_models_can_be_added() -> None:
    """A model that no price book knows is served and billed at the rates given."""
    emulator = ProviderEmulator(models={"openai": {"in-house-1": Rates(input="1", output="2")}})
    post(emulator, CHAT, chat(model="in-house-1"))
    post(emulator, CHAT, chat())

    assert emulator.billed[0].amount_pico == 6 * 1_000_000 + 6 * 2_000_000
    assert emulator.billed[1].model == "gpt-4o-2024-08-06"


def test_openrouter_states_what_it_charged(emulator: ProviderEmulator) -> None:
    """usage.cost is the billed amount to the last pico-dollar."""
    _, answer, _ = post(emulator, "/api/v1/chat/completions", chat(model="openai/gpt-4o-mini"))

    assert round(answer["usage"]["cost"] * 10**12) == emulator.total_pico == 6 * 150_000 + 6 * 600_000


def test_the_name_in_the_answer_can_be_dictated(emulator: ProviderEmulator) -> None:
    """A deployment answers with the model behind it; it is priced as the model that was asked for."""
    _, answer, _ = post(emulator, CHAT, chat("Hi [[model gpt-4o-2024-11-20]]"))

    assert answer["model"] == "gpt-4o-2024-11-20" == emulator.billed[0].model
    assert emulator.total_pico > 0


def test_reset_forgets_everything_but_the_ids(emulator: ProviderEmulator) -> None:
    """Bills, scripts and caches start anew; no id is given twice."""
    long = chat("x" * 6_000)
    _, first, _ = post(emulator, CHAT, long)
    emulator.script([Reply(text="never")])
    emulator.reset()

    assert (emulator.billed, emulator.requests) == ([], [])
    _, again, _ = post(emulator, CHAT, long)
    assert again["usage"] == first["usage"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert again["id"] != first["id"]


def test_requests_are_kept_as_they_came(emulator: ProviderEmulator) -> None:
    """What an SDK really sent can be looked at."""
    post(emulator, CHAT + "?a=b", chat(), Authorization="Bearer k")

    request = emulator.requests[0]
    assert (request.method, request.path, request.query) == ("POST", CHAT, {"a": "b"})
    assert request.headers == {"authorization": "Bearer k"}
    assert json.loads(request.body)["model"] == "gpt-4o"
