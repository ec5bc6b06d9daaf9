"""Streams without reading them: keep the start and the last events, find what carries usage from the end.

Providers state usage in the last events, so the bytes between are let go as they pass. `Tail` keeps references (no
copies) to the first `HEAD` bytes and to the last few whole events, however long the stream is; an event that is
itself large (a final event repeats the whole response) is kept whole up to `MAX_EVENT`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

HEAD = 2048
KEEP_EVENTS = 8
KEEP_BYTES = 2048
LARGE = 256 * 1024
MAX_EVENT = 16 * 1024 * 1024
FRAMES_KEEP = 256 * 1024
MAX_LOOKS = 64
"""How many events are parsed, at most, in the search for one that carries usage."""

Format = Literal["events", "lines", "frames", "document"]

_CONTENT_TYPES: Mapping[str, Format] = {
    "text/event-stream": "events",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "application/x-jsonlines": "lines",
    "application/stream+json": "lines",
    "application/vnd.amazon.eventstream": "frames",
}


def stream_format(content_type: str | None, start: bytes, *, asked: bool) -> Format:
    """Decide how a body is framed: by its content type, else by its first bytes.

    `asked` says whether the request asked for a stream: then a JSON object may be the first of several lines.
    """
    kind = (content_type or "").split(";", 1)[0].strip().lower()
    known = _CONTENT_TYPES.get(kind)
    if known:
        return known
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"data:", b"event:", b"id:", b"retry:", b": ")):
        return "events"
    if asked and text.startswith(b"{") and kind != "application/json":
        return "lines"
    if len(start) >= 16 and start[:1] == b"\0" and b":event-type" in start[:256]:
        return "frames"
    return "document"


class Tail:
    """Keep the first bytes and the last whole events of a stream; memory does not grow with its length.

    `break_at` is what ends an event: a blank line (server-sent events) or a line feed (JSON lines). A chunk
    boundary may fall anywhere, also inside `break_at`: then an event is only let go a little later. `marks` are
    byte strings whose chunks are kept wherever they stand (bounded), for facts that do not come last.
    """

    __slots__ = (
        "_breaks", "_current", "_current_size", "_head", "_head_size", "_lines", "_marked", "_marked_size",
        "_marks", "_previous", "overflow", "size", "trimmed",
    )  # fmt: skip

    def __init__(self, *, lines: bool = False, marks: tuple[bytes, ...] = ()) -> None:
        self._lines = lines
        self._head: list[bytes] = []
        self._head_size = 0
        self._previous: list[bytes] = []
        self._current: list[bytes] = []
        self._current_size = 0
        self._breaks = 0
        self._marks = marks
        self._marked: list[bytes] = []
        self._marked_size = 0
        self.size = 0
        self.trimmed = False
        """Bytes between head and tail were let go."""
        self.overflow = False
        """An event larger than MAX_EVENT lost its beginning."""

    def feed(self, chunk: bytes) -> None:
        """Take one more chunk by reference."""
        if self._head_size < HEAD:
            part = chunk[: HEAD - self._head_size]
            self._head.append(part)
            self._head_size += len(part)
        size = len(chunk)
        self.size += size
        if b"\n" in chunk if self._lines else (b"\n\n" in chunk or b"\r\n\r\n" in chunk or b"\r\r" in chunk):
            enough = self._breaks >= KEEP_EVENTS and self._current_size >= KEEP_BYTES
            if enough or (self._breaks >= 2 and self._current_size >= LARGE):
                self._turn()
            self._breaks += 1
        elif self._current_size > MAX_EVENT:
            self._turn()
            self.overflow = True
        self._current.append(chunk)
        self._current_size += size
        if self._marks and self._marked_size < LARGE and any(mark in chunk for mark in self._marks):
            self._marked.append(chunk)
            self._marked_size += size

    def _turn(self) -> None:
        if self._previous:
            self.trimmed = True
        self._previous = self._current
        self._current = []
        self._current_size = 0
        self._breaks = 0

    @property
    def head(self) -> bytes:
        """The first bytes of the stream."""
        return b"".join(self._head)

    @property
    def tail(self) -> bytes:
        """The last bytes; the whole stream when nothing was let go."""
        return b"".join((*self._previous, *self._current))

    @property
    def marked(self) -> tuple[bytes, ...]:
        """Chunks that held a mark, when bytes were let go (else everything is in `tail` anyway)."""
        return tuple(self._marked) if self.trimmed else ()


class FrameTail:
    """Keep the start and the last bytes of a binary event stream, whose frames cannot be seen from outside."""

    __slots__ = ("_chunks", "_head", "_head_size", "_size", "overflow", "size", "trimmed")

    def __init__(self) -> None:
        self._head: list[bytes] = []
        self._head_size = 0
        self._chunks: list[bytes] = []
        self._size = 0
        self.size = 0
        self.trimmed = False
        self.overflow = False

    def feed(self, chunk: bytes) -> None:
        """Take one more chunk by reference."""
        if self._head_size < 2 * HEAD:
            self._head.append(chunk)
            self._head_size += len(chunk)
        self._chunks.append(chunk)
        self._size += len(chunk)
        self.size += len(chunk)
        if self._size > 4 * FRAMES_KEEP:
            self._drop()

    def _drop(self) -> None:
        # Rarely, and half at a time, so that dropping costs nothing per chunk.
        kept = 0
        index = len(self._chunks)
        while index > 0 and kept < FRAMES_KEEP:
            index -= 1
            kept += len(self._chunks[index])
        if index:
            self.trimmed = True
            self._chunks = self._chunks[index:]
            self._size = kept

    @property
    def head(self) -> bytes:
        return b"".join(self._head)

    @property
    def tail(self) -> bytes:
        return b"".join(self._chunks)

    @property
    def marked(self) -> tuple[bytes, ...]:
        return ()


def events(data: bytes) -> Iterator[bytes]:
    """Yield the payload of every server-sent event, first to last; CR, LF and CRLF all end lines.

    Comments and events without data are left out; several data lines of one event are joined by a line feed.
    """
    payload: list[bytes] = []
    for line in _lines(data):
        if not line:
            if payload:
                yield b"\n".join(payload)
                payload = []
        elif line.startswith(b"data:"):
            payload.append(line[6:] if line[5:6] == b" " else line[5:])
    if payload:
        yield b"\n".join(payload)


def events_backwards(data: bytes) -> Iterator[bytes]:
    """Yield the payload of every server-sent event, last to first, without splitting what is not reached."""
    payload: list[bytes] = []
    for line in _lines_backwards(data):
        if not line:
            if payload:
                yield b"\n".join(reversed(payload))
                payload = []
        elif line.startswith(b"data:"):
            payload.append(line[6:] if line[5:6] == b" " else line[5:])
    if payload:
        yield b"\n".join(reversed(payload))


def lines(data: bytes) -> Iterator[bytes]:
    """Yield the non-empty lines, first to last; a leading `data:` is taken off (some servers mix the two)."""
    for line in _lines(data):
        text = line.strip()
        if text:
            yield text[5:].strip() if text.startswith(b"data:") else text


def lines_backwards(data: bytes) -> Iterator[bytes]:
    """Yield the non-empty lines, last to first."""
    for line in _lines_backwards(data):
        text = line.strip()
        if text:
            yield text[5:].strip() if text.startswith(b"data:") else text


def _lines(data: bytes) -> Iterator[bytes]:
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    only_cr = b"\n" not in data
    end = b"\r" if only_cr else b"\n"
    start = 0
    while True:
        at = data.find(end, start)
        if at < 0:
            if start < len(data):
                yield data[start:].rstrip(b"\r")
            return
        yield data[start:at].rstrip(b"\r")
        start = at + 1


def _lines_backwards(data: bytes) -> Iterator[bytes]:
    only_cr = b"\n" not in data
    end = b"\r" if only_cr else b"\n"
    stop = len(data)
    while stop > 0:
        at = data.rfind(end, 0, stop)
        line = data[at + 1 : stop].rstrip(b"\r")
        yield line.removeprefix(b"\xef\xbb\xbf") if at < 0 else line
        stop = at
        if at < 0:
            return
    if stop == 0:
        yield b""


def frames(data: bytes, *, resync: bool = False) -> Iterator[tuple[Mapping[str, str], bytes]]:
    """Yield headers and payload of every frame of an AWS event stream; checksums are not looked at.

    With `resync`, data may begin inside a frame: reading starts at the first recognisable one. A cut last frame is
    left out.
    """
    at = _first_frame(data) if resync else 0
    size = len(data)
    while at >= 0 and at + 16 <= size:
        total = int.from_bytes(data[at : at + 4], "big")
        header_size = int.from_bytes(data[at + 4 : at + 8], "big")
        if total < 16 + header_size or at + total > size:
            # Not a frame (or one cut off): look for the next place that is one.
            if total <= MAX_EVENT and total >= 16 + header_size and header_size <= 65536:
                return
            at = _first_frame(data, at + 1)
            continue
        headers = _frame_headers(data[at + 12 : at + 12 + header_size])
        yield headers, data[at + 12 + header_size : at + total - 4]
        at += total


def _first_frame(data: bytes, start: int = 0) -> int:
    """Find where a frame starts by its first header name, which follows the 12 bytes of its prelude."""
    while True:
        found = data.find(b":event-type", start)
        if found < 0:
            return -1
        at = found - 13
        if at >= 0:
            total = int.from_bytes(data[at : at + 4], "big")
            header_size = int.from_bytes(data[at + 4 : at + 8], "big")
            if data[found - 1] == 11 and 16 + header_size <= total <= MAX_EVENT:
                return at
        start = found + 1


def _frame_headers(data: bytes) -> Mapping[str, str]:
    """Read the string headers of a frame; other types end the reading, none of them matters here."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(data):
        name_size = data[at]
        name = data[at + 1 : at + 1 + name_size].decode("utf-8", "replace")
        at += 1 + name_size
        if at >= len(data) or data[at] != 7:
            break
        value_size = int.from_bytes(data[at + 1 : at + 3], "big")
        headers[name] = data[at + 3 : at + 3 + value_size].decode("utf-8", "replace")
        at += 3 + value_size
    return headers


def json_object(text: bytes) -> dict[str, object] | None:
    """Parse one JSON object; anything else, also nesting too deep to parse, gives None."""
    if text.lstrip()[:1] != b"{":
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_objects(texts: Iterable[bytes], marker: bytes = b"") -> Iterator[dict[str, object]]:
    """Parse those texts that contain `marker`, up to MAX_LOOKS of them; what does not parse is left out."""
    looks = 0
    for text in texts:
        if marker and marker not in text:
            continue
        value = json_object(text)
        if value is not None:
            yield value
        looks += 1
        if looks >= MAX_LOOKS:
            return
