"""Undo content encodings: gzip, deflate (zlib and raw), br, zstd, and stacks of them; cut input gives what it can.

br and zstd need an optional library (`brotli` or `brotlicffi`; `compression.zstd` of Python 3.14 or `zstandard`);
without it the body stays unread and says so (`no_codec:br`). Every decoder works on pieces, never asks for more than
`PIECE` bytes at once where the library allows it, and stops after `MAX_OUTPUT` bytes, so a bomb costs little.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

PIECE = 256 * 1024
MAX_OUTPUT = 64 * 1024 * 1024
MAX_STREAM = 512 * 1024 * 1024
"""A stream decoded while it passes is not followed beyond this."""
IDENTITY = ("", "identity", "none")
_MAGIC = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
ENOUGH = 24
"""So many first bytes tell text from br or deflate."""
_PLAIN_STARTS = (b"{", b"[", b"data:", b"event:", b"id:", b":", b"\xef\xbb\xbf")


Step = Callable[[Any, bytes], tuple[bytes, bool]]
"""(engine, data) -> a piece, and whether more output waits without more input."""


class Decoder(Protocol):
    """One content encoding, undone piece by piece. `problem` is empty while all is well."""

    problem: str
    ended: bool
    """The encoding's own end was seen, so nothing is missing."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what this much more input gives."""
        ...


class Inflate:
    """gzip (also several members in a row) and deflate (zlib wrapped, or raw as some servers send it)."""

    def __init__(self, encoding: str) -> None:
        self.problem = ""
        self.ended = False
        self._gzip = encoding in ("gzip", "x-gzip")
        self._seen = b""
        self._engine: Any = zlib.decompressobj(zlib.MAX_WBITS | 16) if self._gzip else None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self.problem or (self.ended and not self._gzip):
            return
        if self._engine is None:
            self._seen += chunk
            if len(self._seen) < 2:
                return
            chunk, self._seen = self._seen, b""
            # A zlib header is a multiple of 31 with method 8 (RFC 1950); anything else is raw deflate.
            wrapped = (chunk[0] & 0x0F) == 8 and ((chunk[0] << 8) | chunk[1]) % 31 == 0
            self._engine = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        while chunk:
            if self._engine.eof:
                # Another member, or the zero padding some tools append.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    return
                self._engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
                self.ended = False
            try:
                piece = self._engine.decompress(chunk, PIECE)
            except zlib.error as error:
                # Bytes after a complete member are not ours to judge.
                self.problem = "" if self.ended else f"undecodable:{error}"[:80]
                return
            if piece:
                yield piece
            self.ended = self._engine.eof
            chunk = self._engine.unused_data if self.ended else self._engine.unconsumed_tail
            if self.ended and not self._gzip:
                return


class Library:
    """br or zstd through whatever library is installed.

    `step(engine, data)` gives a bounded piece; where the library cannot bound its output the input is cut so small
    that no piece is dangerous.
    """

    def __init__(self, make: Callable[[], Any], step: Step, cut: int, finished: Callable[[Any], bool]) -> None:
        self.problem = ""
        self.ended = False
        self._make = make
        self._step = step
        self._cut = cut
        self._finished = finished
        self._engine = make()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        for start in range(0, len(chunk), self._cut):
            yield from self._part(chunk[start : start + self._cut])

    def _part(self, part: bytes) -> Iterator[bytes]:
        more = True
        while more and not self.problem:
            try:
                if self.ended:
                    self._engine = self._make()
                piece, more = self._step(self._engine, part)
            except Exception as error:  # each library has an error class of its own
                # Bytes after a complete member are not ours to judge.
                self.problem = "" if self.ended else f"undecodable:{type(error).__name__}"
                return
            part = b""
            if piece:
                yield piece
            self.ended = self._finished(self._engine)
            if self.ended:
                part = getattr(self._engine, "unused_data", b"")
                more = bool(part)


class Missing:
    """An encoding nobody here can undo."""

    def __init__(self, encoding: str) -> None:
        self.problem = f"no_codec:{encoding[:20]}"
        self.ended = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        return iter(())


def _optional(*names: str) -> Any:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def _brotli() -> Decoder:
    library = _optional("brotli", "brotlicffi")
    if library is None:
        return Missing("br")

    def bounded(engine: Any, data: bytes) -> tuple[bytes, bool]:
        piece = engine.process(data, output_buffer_limit=PIECE)
        return piece, not engine.is_finished() and not engine.can_accept_more_data()

    def whole(engine: Any, data: bytes) -> tuple[bytes, bool]:
        return engine.process(data), False

    limited = hasattr(library.Decompressor, "can_accept_more_data")
    return Library(
        library.Decompressor,
        bounded if limited else whole,
        16384 if limited else 64,
        lambda one: bool(one.is_finished()),
    )


def _zstd() -> Decoder:
    library = _optional("compression.zstd", "zstandard")
    if library is None:
        return Missing("zstd")

    def bounded(engine: Any, data: bytes) -> tuple[bytes, bool]:
        piece = engine.decompress(data, PIECE)
        return piece, not engine.eof and not engine.needs_input

    def whole(engine: Any, data: bytes) -> tuple[bytes, bool]:
        return engine.decompress(data), False

    limited = not hasattr(library.ZstdDecompressor, "decompressobj")
    make = library.ZstdDecompressor if limited else lambda: library.ZstdDecompressor().decompressobj()
    return Library(make, bounded if limited else whole, 16384 if limited else 256, lambda one: bool(one.eof))


def decoder(encoding: str) -> Decoder:
    """Return a fresh decoder for one encoding name; an unknown name gives one whose `problem` says so."""
    if encoding in ("gzip", "x-gzip", "deflate"):
        return Inflate(encoding)
    if encoding == "br":
        return _brotli()
    if encoding == "zstd":
        return _zstd()
    return Missing(encoding)


def encodings(header: str | None) -> tuple[str, ...]:
    """Split a Content-Encoding header into the encodings to undo, outermost first; identity is left out."""
    if not header:
        return ()
    names = [name.strip().lower() for name in header.split(",")]
    return tuple(name for name in reversed(names) if name not in IDENTITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A decoded body and what was wrong with it."""

    data: bytes
    problem: str = ""
    """`truncated`, `undecodable:...`, `no_codec:...`, `body_too_large`; empty when the body is whole."""


def decode(chunks: Iterable[bytes], header: str | None, *, limit: int = MAX_OUTPUT) -> Decoded:
    """Undo every encoding of a whole body; what could be decoded is returned even when the rest is missing.

    A body that claims an encoding but is plain text already (proxies and recorders do that) is returned as it is.
    """
    parts = list(chunks)
    stack = encodings(header)
    if not stack or looks_plain(_start(parts), stack[0]):
        return Decoded(data=b"".join(parts))
    pipe = Pipe(stack)
    out: list[bytes] = []
    size = 0
    for part in parts:
        for piece in pipe.feed(part):
            out.append(piece)
            size += len(piece)
            if size > limit:
                return Decoded(data=b"".join(out), problem="body_too_large")
    data = b"".join(out)
    return Decoded(data=data, problem=pipe.problem)


def _start(parts: list[bytes]) -> bytes:
    start = b""
    for part in parts:
        start += part[:ENOUGH]
        if len(start) >= ENOUGH:
            break
    return start


def looks_plain(start: bytes, encoding: str) -> bool:
    """Tell whether a body that claims `encoding` is in fact text.

    gzip and zstd begin with a magic number. br and deflate do not, so their bytes must be long enough to tell: valid
    text that begins like JSON or an event stream.
    """
    magic = _MAGIC.get(encoding)
    if magic is not None:
        return bool(start) and not (start.startswith(magic) or magic.startswith(start))
    if len(start) < ENOUGH:
        return False
    sample = start[:ENOUGH]
    return sample.lstrip(b" \t\r\n").startswith(_PLAIN_STARTS) and all(
        byte >= 32 or byte in (9, 10, 13) for byte in sample
    )


class Pipe:
    """Several encodings undone one after the other."""

    def __init__(self, stack: tuple[str, ...]) -> None:
        self._decoders = [decoder(name) for name in stack[:4]]
        if len(stack) > 4:
            self._decoders.append(Missing("too_many_encodings"))
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield decoded pieces, in all no more than MAX_STREAM bytes."""
        for piece in self._through(0, chunk):
            self._size += len(piece)
            if self._size > MAX_STREAM:
                return
            yield piece

    def _through(self, index: int, chunk: bytes) -> Iterator[bytes]:
        if index == len(self._decoders):
            yield chunk
            return
        for piece in self._decoders[index].feed(chunk):
            yield from self._through(index + 1, piece)

    @property
    def problem(self) -> str:
        """Say what is wrong so far; `truncated` when an encoding has not seen its own end."""
        if self._size > MAX_STREAM:
            return "body_too_large"
        for one in self._decoders:
            if one.problem:
                return one.problem
        return "" if all(one.ended for one in self._decoders) else "truncated"
