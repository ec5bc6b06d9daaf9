"""Content encodings: every one undone, at any cut, truncated or false ones too."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agentcost.usage import codecs
from otel_agentcost.usage.codecs import Pipe, decode, encodings
from otel_agentcost.usage.exchange import Meter, recognise
from tests.test_corpus import compress

TEXT = b'{"usage": {"prompt_tokens": 1}, "text": "' + b"lorem ipsum " * 500 + b'"}'
NAMES = ["gzip", "deflate", "br", "zstd"]


def raw_deflate(body: bytes) -> bytes:
    """Deflate without the zlib wrapper, as some servers send it."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(body) + engine.flush()


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(name: str) -> None:
    """A whole body comes back whole."""
    assert decode([compress(TEXT, name)], name) == codecs.Decoded(data=TEXT)


def test_deflate_comes_in_two_forms() -> None:
    """`deflate` is zlib by the standard and raw in practice: both are read."""
    assert decode([zlib.compress(TEXT)], "deflate").data == TEXT
    assert decode([raw_deflate(TEXT)], "deflate").data == TEXT


@pytest.mark.parametrize("name", NAMES)
def test_cut_anywhere(name: str) -> None:
    """Chunk boundaries do not matter, one byte at a time."""
    wire = compress(TEXT, name)
    assert decode([wire[i : i + 1] for i in range(len(wire))], name) == codecs.Decoded(data=TEXT)


@pytest.mark.parametrize("name", NAMES)
def test_truncated_input_gives_what_it_can(name: str) -> None:
    """What could be decoded is returned, and the body is called truncated."""
    noise = TEXT + bytes(range(256)) * 200
    wire = compress(noise, name)
    decoded = decode([wire[: len(wire) * 3 // 4]], name)
    assert decoded.problem == "truncated"
    assert noise.startswith(decoded.data)


def test_members_in_a_row() -> None:
    """gzip and zstd may hold several members one after the other; gzip may end in zero padding."""
    assert decode([gzip.compress(b"one") + gzip.compress(b"two") + bytes(8)], "gzip").data == b"onetwo"
    assert decode([compress(b"one", "zstd") + compress(b"two", "zstd")], "zstd").data == b"onetwo"


def test_stacked_encodings_are_undone_from_the_outside() -> None:
    """`gzip, br` was first gzipped: br comes off first."""
    wire = compress(gzip.compress(TEXT), "br")
    assert decode([wire], "gzip, br").data == TEXT
    assert encodings("gzip, identity, br") == ("br", "gzip")
    assert encodings(None) == ()


@pytest.mark.parametrize("name", NAMES)
def test_text_that_claims_to_be_encoded(name: str) -> None:
    """A body stored decoded under its old header is taken as it is."""
    assert decode([TEXT], name) == codecs.Decoded(data=TEXT)
    assert decode([b"data: {}\n\n" * 5], name).data == b"data: {}\n\n" * 5


def test_an_unknown_encoding_says_so() -> None:
    """What nobody can undo is not guessed at."""
    assert decode([b"abc"], "lzma").problem == "no_codec:lzma"
    assert decode([gzip.compress(b"abc")], ",".join(["gzip"] * 9)).problem


def test_a_missing_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional library the body is unread, with the reason, and nothing fails."""
    wire = {name: compress(TEXT, name) for name in ("br", "zstd")}
    monkeypatch.setattr(codecs, "_optional", lambda *names: None)
    for name, body in wire.items():
        assert decode([body], name).problem == f"no_codec:{name}"
        call = recognise("POST", "https://api.openai.com/v1/chat/completions", b'{"model":"m","messages":[]}')
        assert call is not None
        meter = Meter(call, 200, {"content-encoding": name, "content-type": "application/json"})
        meter.feed(body)
        reading = meter.close()
        assert (reading.status, reading.reason) == ("no_usage", f"no_codec:{name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_bomb_is_bounded(name: str) -> None:
    """A small body that would become enormous is stopped at the limit, long before it is large."""
    bomb = compress(bytes(60_000_000), name)
    decoded = decode([bomb], name, limit=1_000_000)
    assert decoded.problem == "body_too_large"
    assert len(decoded.data) < 12_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_long_encoded_stream_is_not_held(name: str) -> None:
    """An encoded stream past the bound is decoded while it passes, and its last usage is found."""
    import random

    chance = random.Random(7)
    noise = b"".join(b'data: {"t":"' + chance.randbytes(300).hex().encode() + b'"}\n\n' for _ in range(5000))
    body = noise + b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
    wire = compress(body, name)
    assert len(wire) > 1_200_000
    call = recognise("POST", "https://api.openai.com/v1/chat/completions", b'{"model":"m","messages":[],"stream":true}')
    assert call is not None
    meter = Meter(call, 200, {"content-encoding": name, "content-type": "text/event-stream"})
    for at in range(0, len(wire), 16_384):
        meter.feed(wire[at : at + 16_384])
    assert meter._chunks == []
    assert dict(meter.close().billable) == {"input_tokens": 3, "output_tokens": 4}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([*NAMES, "gzip, br", "zstd, gzip"]), st.integers(1, 50))
def test_garbage_never_raises(data: bytes, name: str, size: int) -> None:
    """Any bytes under any encoding: a result with a problem, never an exception."""
    decoded = decode([data[i : i + size] for i in range(0, len(data), size)], name)
    assert isinstance(decoded.data, bytes)
    assert list(Pipe(encodings(name)).feed(b"")) == []
