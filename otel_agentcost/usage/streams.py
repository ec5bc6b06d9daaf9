"""Streams without reading them: keep the start and the last events, find what carries usage from the end.

Providers state usage in the last events, so the bytes between are let go as they pass. `Tail` keeps references (no
copies) to the first `HEAD` bytes and to the last few whole events, however long the stream is; an event that is
itself large (a final event repeats the whole response) is kept whole up to `MAX_EVENT`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

HEAD = 1024
HEAD_EVENT = 16 * 1024
MARK_EDGE = 64
KEEP_EVENTS = 2
KEEP_BYTES = 1024
LARGE = 256 * 1024
MAX_EVENT = 16 * 1024 * 1024
FRAMES_KEEP = 256 * 1024
_BLANK = re.compile(rb"\n\n|\r\n\r\n|\r\r")
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
    """Keep the first event and the last whole events of a stream; memory does not grow with its length.

    What ends an event is a blank line (server-sent events) or a line feed (`lines`). Chunks may be cut anywhere.
    They come several at a time, so that one chunk costs little. `marks` are byte strings whose surroundings are kept
    wherever they stand (bounded), for facts that do not come last.
    """

    __slots__ = (
        "_end", "_enough", "_head_open", "_marked", "_marked_size", "_marking", "_marks", "_old", "_whole", "_young",
        "_young_size", "head", "overflow", "size", "trimmed",
    )  # fmt: skip

    def __init__(self, *, lines: bool = False, marks: tuple[bytes, ...] = ()) -> None:
        self.head = b""
        """The first bytes of the stream: HEAD of them, and the first event whole up to HEAD_EVENT."""
        self._head_open = True
        self._end = b"\n" if lines else b"\n\n"
        self._old: list[bytes] = []
        """The chunks before the young ones; let go when the young ones are enough and grow old themselves."""
        self._young: list[bytes] = []
        self._young_size = 0
        self._whole = False
        """The young chunks have the events and bytes that are always to be kept."""
        self._enough = KEEP_BYTES
        """Bytes from which on the young chunks are worth a look."""
        self._marks = marks
        self._marked: list[bytes] = []
        self._marked_size = 0
        self._marking = False
        self.size = 0
        """Bytes of the whole stream so far, also those that were let go."""
        self.trimmed = False
        """Bytes between head and tail were let go."""
        self.overflow = False
        """An event larger than MAX_EVENT lost its beginning."""

    def take(self, chunks: list[bytes]) -> int:
        """Take the next chunks, and the list itself; return how many bytes they have."""
        size = sum(map(len, chunks))
        self.size += size
        if self._head_open:
            self._open(b"".join(chunks))
        if self._marks and self._marked_size < LARGE:
            self._mark(b"".join(chunks))
        if self._whole:
            if self._old:
                self.trimmed = True
            self._old = self._young
            self._young = chunks
            self._young_size = size
            self._enough = KEEP_BYTES
            self._whole = False
        else:
            self._young += chunks
            self._young_size += size
        if self._young_size >= self._enough:
            end = self._end
            # Most servers send whole events: then their number can be told without a look inside.
            self._whole = (
                len(chunks) > 2 and chunks[-1].endswith(end) and chunks[-2].endswith(end) and chunks[-3].endswith(end)
            ) or self._look()
        return size

    def _look(self) -> bool:
        """Tell whether the young chunks have KEEP_EVENTS whole events, or are so large that older ones must go."""
        data = b"".join(self._young)
        end = self._end
        if end not in data and end != b"\n":
            end = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\r\r"
        place = len(data)
        for _ in range(KEEP_EVENTS + 1):  # the first end may be that of an event whose beginning is among the old
            place = data.rfind(end, 0, place) if place > 0 else -1
        self._young = [data]
        # Looking again only at twice the size keeps a large event linear.
        self._enough = min(2 * len(data), MAX_EVENT + 1)
        if place < 0 and len(data) > MAX_EVENT:
            self.overflow = True
        return place >= 0 or len(data) > MAX_EVENT

    def _open(self, block: bytes) -> None:
        """Take the beginning of the stream."""
        if len(self.head) < HEAD:
            wanted = HEAD - len(self.head)
            self.head += block[:wanted]
            block = block[wanted:]
        ends = b"\n" in self.head if self._end == b"\n" else _BLANK.search(self.head) is not None
        if not ends and block:
            self.head += block[: HEAD_EVENT - len(self.head)]
            ends = len(self.head) >= HEAD_EVENT
        self._head_open = len(self.head) < HEAD or not ends

    def _mark(self, block: bytes) -> None:
        """Keep a block with a mark, and those before and after it: its event may begin and end there."""
        before = self._young[-1] if self._young else self._old[-1] if self._old else b""
        edge = before[-MARK_EDGE:] + block
        if any(mark in edge for mark in self._marks):
            self._marked.append(block if self._marking else before + block)
            self._marking = True
        elif self._marking:
            self._marked.append(block)
            self._marking = False
        else:
            return
        self._marked_size += len(self._marked[-1])

    @property
    def tail(self) -> bytes:
        """The last bytes; the whole stream when nothing was let go."""
        data = b"".join((*self._old, *self._young))
        self._old, self._young = [], [data]  # nothing is held twice
        return data

    @property
    def marked(self) -> tuple[bytes, ...]:
        """Blocks that held a mark, when bytes were let go (else everything is in `tail` anyway)."""
        return (b"".join(self._marked),) if self.trimmed and self._marked else ()


class FrameTail:
    """Keep the start and the last bytes of a binary event stream, whose frames cannot be seen from outside."""

    __slots__ = ("_blocks", "_size", "head", "overflow", "trimmed")

    def __init__(self) -> None:
        self.head = b""
        self._blocks: list[bytes] = []
        self._size = 0
        self.trimmed = False
        self.overflow = False

    def take(self, chunks: list[bytes]) -> int:
        """Take the next chunks; return how many bytes they have."""
        block = b"".join(chunks)
        if len(self.head) < HEAD_EVENT:
            self.head += block[: HEAD_EVENT - len(self.head)]
        self._blocks.append(block)
        self._size += len(block)
        if self._size > 2 * FRAMES_KEEP and len(self._blocks) > 1:
            # Half at a time, so that letting go costs nothing per block.
            kept = b"".join(self._blocks)[-FRAMES_KEEP:]
            self._blocks, self._size, self.trimmed = [kept], len(kept), True
        return len(block)

    @property
    def tail(self) -> bytes:
        return b"".join(self._blocks)

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
            at = _first_frame(data, at + 14)  # a later frame has its first header's name later, too
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
