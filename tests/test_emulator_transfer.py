"""Encodings, chunk sizes and broken connections."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator

import brotli
import pytest
import zstandard

from otel_agentcost.testing.emulator.transfer import ConnectionCut, choose, encoded, split_into

PIECES = [b"data: one\n\n", b"", "data: zw\u00f6lf\n\n".encode(), b"data: [DONE]\n\n"]
WHOLE = b"".join(PIECES)


def decode(encoding: str, body: bytes) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    if encoding == "br":
        return bytes(brotli.decompress(body))
    return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(body))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_an_encoded_body_decodes_to_the_same(encoding: str) -> None:
    """All four content encodings round-trip."""
    assert decode(encoding, b"".join(encoded(PIECES, encoding))) == WHOLE


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_every_event_leaves_at_once(encoding: str) -> None:
    """A client can decode the first event before the second is there."""
    first = next(encoded(PIECES, encoding))

    assert PIECES[0] == zlib.decompressobj(31 if encoding == "gzip" else 15).decompress(first)


def test_an_encoding_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """br and zstd need packages; auto falls back to what is there."""
    monkeypatch.setitem(sys.modules, "brotli", None)

    with pytest.raises(RuntimeError, match=r"otel-agentcost\[codecs\]"):
        next(encoded(PIECES, "br"))
    with pytest.raises(RuntimeError, match="unknown content encoding 'lzma'"):
        next(encoded(PIECES, "lzma"))
    assert choose("auto", "br, gzip;q=0.5") == "gzip"


@pytest.mark.parametrize(
    ("wanted", "accepted", "chosen"),
    [
        ("identity", "gzip", "identity"),
        ("gzip", "deflate, gzip", "gzip"),
        ("gzip", "", "identity"),
        ("br", "gzip", "identity"),
        ("auto", "gzip, br, zstd", "zstd"),
        ("auto", "GZIP, deflate", "gzip"),
        ("auto", "", "identity"),
    ],
)
def test_nothing_is_sent_that_the_client_does_not_accept(wanted: str, accepted: str, chosen: str) -> None:
    """A wanted encoding is used only when offered; auto takes the best."""
    assert chosen == choose(wanted, accepted)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_chunks_have_the_size_asked_for(size: int) -> None:
    """Only the last chunk is shorter; nothing is lost, edges of events and characters do not matter."""
    chunks = list(split_into(PIECES, size))

    assert b"".join(chunks) == WHOLE
    assert {size} >= {len(chunk) for chunk in chunks[:-1]}


def test_a_cut_comes_after_everything_that_was_produced() -> None:
    """Splitting does not swallow what was produced before the connection breaks."""

    def broken() -> Iterator[bytes]:
        yield b"abcde"
        raise ConnectionCut

    chunks = split_into(broken(), 2)
    assert [next(chunks), next(chunks), next(chunks)] == [b"ab", b"cd", b"e"]
    with pytest.raises(ConnectionCut):
        next(chunks)
