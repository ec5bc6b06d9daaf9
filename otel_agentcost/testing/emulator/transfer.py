"""How a body travels: content encodings that flush at every event, chunks of any size, connections that break."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator


class ConnectionCut(Exception):  # noqa: N818 - not an error of the program: a broken line, on request
    """The emulator breaks the connection here, because a reply asked for it."""


def choose(wanted: str, accepted: str) -> str:
    """Choose a content encoding the client accepts: the wanted one, or for `auto` the best; else none."""
    offered = {token.partition(";")[0].strip() for token in accepted.lower().split(",")}
    if wanted == "auto":
        known = ("zstd", "br", "gzip", "deflate")
        return next((name for name in known if name in offered and _available(name)), "identity")
    return wanted if wanted in offered else "identity"


def _available(encoding: str) -> bool:
    try:
        _compressor(encoding)
    except RuntimeError:
        return False
    return True


def _compressor(encoding: str) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Return `press` (compress and flush, so that every event leaves at once) and `finish` of a content encoding."""
    if encoding in ("gzip", "deflate"):
        packer = zlib.compressobj(6, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
        return (lambda data: packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)), packer.flush
    try:
        if encoding == "br":
            import brotli

            brotli_packer = brotli.Compressor(quality=4)
            return (lambda data: brotli_packer.process(data) + brotli_packer.flush()), brotli_packer.finish
        if encoding == "zstd":
            import zstandard

            zstd_packer = zstandard.ZstdCompressor().compressobj()
            block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
            return (lambda data: zstd_packer.compress(data) + zstd_packer.flush(block)), zstd_packer.flush
    except ImportError as missing:
        raise RuntimeError(f"content encoding {encoding!r} needs `pip install 'otel-agentcost[codecs]'`") from missing
    raise RuntimeError(f"unknown content encoding {encoding!r}")


def encoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Compress a body piece by piece."""
    press, finish = _compressor(encoding)
    for piece in pieces:
        packed = press(piece)
        if packed:
            yield packed
    yield finish()


def split_into(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Cut a body into chunks of `size` bytes, across the edges of events and characters."""
    rest = b""
    source = iter(pieces)
    while True:
        try:
            piece = next(source, None)
        except ConnectionCut:
            yield rest
            raise
        if piece is None:
            break
        rest += piece
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest:
        yield rest
