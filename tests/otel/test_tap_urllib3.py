"""The tap on urllib3, and through it on requests and botocore: same bytes, same objects, one span each."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import urllib3
from opentelemetry.trace import StatusCode

from otel_agentcost.otel.http.urllib3 import address_of
from otel_agentcost.testing.emulator import ProviderEmulator
from tests.otel.tap_fixtures import Collected, tapped
from tests.otel.tap_server import EVENT_STREAM, Answer, Wire, chat, chat_events, cut, wire, zipped

PATH = "/v1/chat/completions"
REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a secret prompt"}]}
STREAM = REQUEST | {"stream": True, "stream_options": {"include_usage": True}}
OLD = urllib3.__version__.startswith("1.")
"""That line did not mind a body shorter than its stated length."""
BODY, STREAM_BODY = json.dumps(REQUEST).encode(), json.dumps(STREAM).encode()
ZIPPED = {"content-type": "application/json", "content-encoding": "gzip"}


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


def usages(seen: Collected) -> list[tuple[int, int]]:
    return [(r.billable.input_tokens, r.billable.output_tokens) for r in seen.readings]


def test_requests_is_followed(server: Wire, seen: Collected) -> None:
    """A plain call through requests: one span, one reading, the same body."""
    with requests.Session() as session:
        answer = session.post(server.url + PATH, json=REQUEST, headers={"authorization": "Bearer sk-secret"})
        assert answer.content == chat()
    span, _ = seen.only()
    assert span.name == "chat gpt-4o"
    assert usages(seen) == [(12, 7)]
    assert "secret" not in span.to_json()


@pytest.mark.parametrize("size", [1, 7, 50, 100_000])
def test_streams_are_the_same_bytes_however_they_are_read(server: Wire, seen: Collected, size: int) -> None:
    """iter_content, iter_lines, raw reads: at every chunk boundary the same bytes, and a complete reading."""
    body = b"".join(chat_events())
    server.answers[PATH] = Answer(chunks=cut(body, size), headers=EVENT_STREAM)
    with requests.Session() as session:
        for chunk_size in (None, 1, 16, 4096):
            with session.post(server.url + PATH, json=STREAM, stream=True) as answer:
                assert b"".join(answer.iter_content(chunk_size)) == body
        with session.post(server.url + PATH, json=STREAM, stream=True) as answer:
            assert b"\n".join(answer.iter_lines()).replace(b"\n", b"") == body.replace(b"\n", b"")
        with session.post(server.url + PATH, json=STREAM, stream=True) as answer:
            assert answer.raw.read() == body
    assert usages(seen) == [(12, 7)] * 6
    assert [reading.reason for reading in seen.readings] == [""] * 6


def test_urllib3_itself_is_followed_in_every_way(server: Wire, seen: Collected) -> None:
    """Preloaded, streamed, read in parts, compressed: the same bytes and one reading each."""
    server.answers[PATH] = Answer(body=zipped(chat()), headers=ZIPPED)
    with urllib3.PoolManager() as pool:
        assert pool.request("POST", server.url + PATH, body=BODY).data == chat()
        for decode, expected in ((True, chat()), (False, zipped(chat()))):
            answer = pool.request("POST", server.url + PATH, body=BODY, preload_content=False)
            assert isinstance(answer, urllib3.HTTPResponse)
            assert b"".join(answer.stream(10, decode_content=decode)) == expected
            answer.release_conn()
        answer = pool.request("POST", server.url + PATH, body=BODY, preload_content=False)
        parts = b""
        while part := answer.read(8, decode_content=False):
            parts += part
        assert parts == zipped(chat())
        answer = pool.request("POST", server.url + PATH, body=BODY, preload_content=False)
        answer.drain_conn()
    assert usages(seen) == [(12, 7)] * 5
    assert len(seen.calls) == 5


def test_leaving_a_stream_early_hangs_up_and_ends_the_span(server: Wire, seen: Collected) -> None:
    """Leaving the `with` closes the socket as before; the reading says the stream was cut."""
    server.answers[PATH] = Answer(chunks=chat_events(), headers=EVENT_STREAM, stall_after=3)
    with (
        requests.Session() as session,
        session.post(server.url + PATH, json=STREAM, stream=True) as answer,
    ):
        for _ in answer.iter_content(1):
            break
    assert server.seen[-1].hung_up.wait(2)
    assert seen.only()[1].reason.startswith("cut")


def test_a_dropped_response_is_ended_by_the_garbage_collector(server: Wire, seen: Collected) -> None:
    """A stream nobody reads or closes ends its span when it is collected, once."""
    server.answers[PATH] = Answer(chunks=chat_events(), headers=EVENT_STREAM)
    with urllib3.PoolManager() as pool:
        answer = pool.request("POST", server.url + PATH, body=STREAM_BODY, preload_content=False)
        assert seen.calls == []
        del answer
        gc.collect()
        assert seen.only()[1].reason.startswith("cut")


@pytest.mark.parametrize("chunked", [True, False])
def test_a_broken_connection_passes_on_the_librarys_own_error(server: Wire, seen: Collected, chunked: bool) -> None:
    """The application gets its ProtocolError; the span names a type and keeps what was seen."""
    if chunked:
        server.answers[PATH] = Answer(chunks=chat_events(), headers=EVENT_STREAM, drop_after=4)
    else:
        server.answers[PATH] = Answer(
            chunks=[chat()[:100], b""], headers={"content-length": "1000"}, drop_after=1, pause=0.05
        )
    told = contextlib.nullcontext() if OLD and not chunked else pytest.raises(requests.RequestException)
    with requests.Session() as session, told:
        session.post(server.url + PATH, json=STREAM)
    span, reading = seen.only()
    assert not reading.usage or reading.estimated
    assert span.status.status_code is StatusCode.ERROR


def test_a_refused_connection_is_not_billed(seen: Collected) -> None:
    """Nobody was there: an error span, nothing billed."""
    with requests.Session() as session, pytest.raises(requests.ConnectionError):
        session.post("http://127.0.0.1:1" + PATH, json=REQUEST)
    assert seen.only()[1].status == "not_billed"


def test_retries_that_urllib3_makes_itself_are_one_call(server: Wire, seen: Collected) -> None:
    """A pool that retries: the answer that came is charged once."""
    server.answers[PATH] = [Answer(status=503, body=b"{}"), Answer(body=chat())]
    retries = urllib3.Retry(total=2, status_forcelist=[503], allowed_methods=None, backoff_factor=0)
    with urllib3.PoolManager(retries=retries) as pool:
        assert pool.request("POST", server.url + PATH, body=BODY).status == 200
    assert usages(seen) == [(12, 7)]


def test_other_requests_keep_their_class(server: Wire, seen: Collected) -> None:
    """A request that is no model call is returned as it is."""
    server.answers["/search"] = Answer(body=b"x")
    with urllib3.PoolManager() as pool:
        assert type(pool.request("GET", server.url + "/search?q=1", preload_content=False)) is urllib3.HTTPResponse
    assert seen.spans == []


@pytest.mark.parametrize(
    ("scheme", "host", "port", "address"),
    [
        ("https", "api.openai.com", 443, "https://api.openai.com/v1"),
        ("https", "api.openai.com", None, "https://api.openai.com/v1"),
        ("http", "localhost", 8080, "http://localhost:8080/v1"),
        ("http", "::1", 8080, "http://[::1]:8080/v1"),
    ],
)
def test_the_address_is_put_together_from_the_pool(scheme: str, host: str, port: int | None, address: str) -> None:
    """A pool knows scheme, host and port; the request names a path, or everything."""
    pool = type("Pool", (), {"scheme": scheme, "host": host, "port": port})
    assert address_of(pool, "/v1") == address
    assert address_of(pool, "https://other/x") == "https://other/x"


# ---- botocore


@pytest.fixture(scope="module")
def emulator() -> Iterator[ProviderEmulator]:
    with ProviderEmulator() as emulator:
        yield emulator


@pytest.fixture
def bedrock(emulator: ProviderEmulator) -> Iterator[Any]:
    emulator.reset()
    client = bedrock_client(emulator.url)
    yield client
    client.close()


def bedrock_client(url: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="AKIAsecretkey",
        aws_secret_access_key="secret-secret",
        config=Config(retries={"max_attempts": 1}),
    )


MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
MESSAGES = [{"role": "user", "content": [{"text": "What does it cost? [[output 40]]"}]}]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["converse", "converse_stream"])
def test_bedrock_is_read_as_it_was_billed(way: str, bedrock: Any, emulator: ProviderEmulator, seen: Collected) -> None:
    """boto3, whole answers and event streams: the emulator's figures, and the signature stays inside."""
    if way == "converse":
        bedrock.converse(modelId=MODEL, messages=MESSAGES)
    else:
        assert list(bedrock.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])
    span, reading = seen.only()
    (billed,) = emulator.billed
    assert reading.status == "usage", reading
    assert usages(seen) == [(billed.input, billed.output)]
    assert "secret" not in span.to_json()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_bedrock_bodies_that_the_application_reads_itself(server: Wire, seen: Collected) -> None:
    """`invoke_model` hands out a body to be read later, in pieces: same bytes, one reading at its end."""
    answer = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 12, "output_tokens": 7},
    }  # fmt: skip
    server.answers["/model/" + MODEL.replace(":", "%3A") + "/invoke"] = Answer(body=json.dumps(answer).encode())
    client = bedrock_client(server.url)
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []})
    received = client.invoke_model(modelId=MODEL, body=body)["body"]
    assert seen.calls == []
    assert json.loads(b"".join(received.iter_chunks(10))) == answer
    client.close()
    assert usages(seen) == [(12, 7)]
