"""Meter one answer as it passes and give one Reading at the end.

`feed` only keeps references (bounded, see streams.Tail) and never looks inside an event; `close` looks once. Bytes
may be cut anywhere and carry any of the usual content encodings. Nothing here raises, whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from otel_agentcost.usage.answers import (
    Answer,
    assemble,
    combine,
    has_usage,
    named,
    read_answer,
    unwrapped,
)
from otel_agentcost.usage.apis import Api, tables
from otel_agentcost.usage.bodies import (
    Edges,
    array_objects,
    frame_objects,
    gather_grounding,
    json_rows,
    skim,
    with_usage,
)
from otel_agentcost.usage.codecs import Pipe, decode, encodings, looks_plain
from otel_agentcost.usage.counting import at
from otel_agentcost.usage.reading import Reading
from otel_agentcost.usage.recognition import Call
from otel_agentcost.usage.streams import (
    FrameTail,
    Tail,
    events,
    events_backwards,
    frames,
    json_object,
    json_objects,
    lines,
    lines_backwards,
    stream_format,
)
from otel_agentcost.usage.text_size import TextSize, answer_characters

MAX_BODY = 16 * 1024 * 1024
"""A JSON answer larger than this is not read (`body_too_large`), except where its ends are enough."""
FOLD = 4
"""The first chunks are settled so many at a time."""
MOST = 32
"""Later ones so many at most: as many as make about SETTLED bytes."""
SETTLED = 2048
MERGED = 3
"""So many of the last events with usage are laid over each other where a provider spreads it."""
FRAMING = 8
"""Bytes around the payload of an event: `data: ` and a blank line."""
HELD_ENCODED = 1024 * 1024
"""So much of an encoded stream is held back before decoding starts while it passes."""


class Meter:
    """Collect what is needed of one answer while it passes, and read it when it is over."""

    __slots__ = (
        "_api", "_bytes", "_call", "_chunks", "_fold", "_headers", "_keeper", "_mode", "_pipe", "_stack", "_status",
        "_too_large", "pending",
    )  # fmt: skip

    def __init__(self, call: Call, status: int, headers: Mapping[str, str]) -> None:
        self._api: Api = tables().apis[call.api]
        self._call = call
        self._status = status
        self._headers = {str(name).lower(): str(value) for name, value in headers.items()}
        self._stack = encodings(self._headers.get("content-encoding"))
        self._mode = ""
        self.pending: list[bytes] = []
        """Chunks that came and were not looked at yet; always the same list."""
        self._fold = FOLD
        self._chunks: list[bytes] = []
        self._keeper: Tail | FrameTail | Edges | None = None
        self._pipe: Pipe | None = None
        self._bytes = 0
        self._too_large = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the answer as they came; costs about as much as appending to a list."""
        pending = self.pending
        pending.append(chunk)
        if len(pending) >= self._fold:
            self._fold = self.settle()

    def settle(self) -> int:
        """Settle the pending chunks: keep them whole, decode them, or let go what is not needed.

        Who appends to `pending` itself calls this when so many are there as the last call returned.
        """
        pending = self.pending
        if not pending:
            return FOLD
        chunks = pending.copy()
        pending.clear()
        if self._keeper is not None:
            if self._pipe is not None:
                chunks = [piece for chunk in chunks for piece in self._pipe.feed(chunk)]
            size = self._keeper.take(chunks)
            return FOLD if size >= SETTLED or not size else min(MOST, SETTLED * len(chunks) // size)
        size = sum(map(len, chunks))
        if not size or self._too_large:
            return FOLD
        self._bytes += size
        if not self._mode:
            keeper = self._begin(next(chunk for chunk in chunks if chunk))
            if keeper is not None:
                keeper.take(chunks)
                self._keeper = keeper
                return FOLD
        self._chunks += chunks
        if self._mode == "encoded":
            if self._bytes > HELD_ENCODED:
                self._decode_from_now_on()
        elif self._bytes > MAX_BODY:
            self._over()
        return FOLD

    def _begin(self, start: bytes) -> Tail | FrameTail | None:
        if self._stack and looks_plain(start, self._stack[0]):
            self._stack = ()
        if self._stack:
            self._mode = "encoded"
            return None
        self._mode = self._format(start)
        return self._new_keeper(self._mode)

    def _format(self, start: bytes) -> str:
        asked = self._call.streaming or bool(self._api.rows)
        return stream_format(self._headers.get("content-type"), start, asked=asked)

    def _new_keeper(self, mode: str) -> Tail | FrameTail | None:
        if self._api.rows:
            return None  # every row of a batch file counts
        if mode in ("events", "lines"):
            return Tail(lines=mode == "lines", marks=self._api.keep)
        return FrameTail() if mode == "frames" else None

    def _decode_from_now_on(self) -> None:
        """Start decoding while the answer passes: a long encoded stream must not be held whole."""
        pipe = Pipe(self._stack)
        keeper: Tail | FrameTail | None = None
        mode = ""
        for chunk in self._chunks:
            for piece in pipe.feed(chunk):
                if not mode:
                    mode = self._format(piece)
                    keeper = self._new_keeper(mode)
                if keeper is None:
                    self._mode = "held"
                    return
                keeper.take([piece])
        if keeper is not None:
            self._mode, self._pipe, self._keeper, self._chunks = mode, pipe, keeper, []

    def _over(self) -> None:
        """Give up a body that is too large, unless its two ends are enough."""
        self._too_large = True
        if self._api.skim and not self._stack:
            # Numbers or images fill such answers; what is asked for stands at one of the two ends.
            self._keeper = Edges()
            self._keeper.take(self._chunks)
            self._mode = "edges"
        self._chunks = []

    def close(self, complete: bool = True) -> Reading:
        """Return the Reading; `complete=False` when the answer was cut, closed early or cancelled."""
        try:
            return self._close(complete)
        except Exception as error:  # telemetry must not fail the application; the reason says what happened
            return self._none("no_usage", f"reader_error:{type(error).__name__}")

    def text_size(self) -> TextSize | None:
        """Return about how much text a stream carried, after `close`; None where that is unknown.

        Exact for a stream that is kept whole; of a longer one the share of text in its two ends is taken for all.
        """
        keeper = self._keeper
        if not isinstance(keeper, Tail):
            return None
        split = events if self._mode == "events" else lines
        whole = keeper.head + b"\n\n" + keeper.tail if keeper.trimmed else keeper.tail
        shown = pieces = taken = 0
        for payload in split(whole):
            event = json_object(payload)
            if event is not None:
                characters = answer_characters(event)
                shown += characters
                pieces += characters > 0
                taken += len(payload) + FRAMING
        if keeper.trimmed and taken:
            return TextSize(shown * keeper.size // taken, pieces * keeper.size // taken)
        return TextSize(shown, pieces)

    def _close(self, complete: bool) -> Reading:
        self.settle()
        if not self._bytes:
            return self._empty(complete)
        if self._too_large and self._keeper is None:
            return self._none("no_usage", "body_too_large")
        problem = self._pipe.problem if self._pipe is not None else ""
        if self._keeper is None and self._mode == "document" and len(self._chunks) == 1:
            return self._whole(self._chunks[0], "", complete)  # not encoded, not cut into pieces: the usual answer
        if self._keeper is None:
            body = decode(self._chunks, ",".join(reversed(self._stack)))
            problem = body.problem
            if problem.startswith("no_codec") or (problem and not body.data):
                return self._none("no_usage", problem)
            self._mode = self._format(body.data[:512])
            keeper = self._new_keeper(self._mode)
            if keeper is None:
                return self._whole(body.data, problem, complete)
            keeper.take([body.data])
            self._keeper = keeper
        return self._stream(self._keeper, problem, complete)

    def _whole(self, data: bytes, problem: str, complete: bool) -> Reading:
        if self._api.rows:
            return self._rows(data)
        if problem == "body_too_large" or len(data) > MAX_BODY:
            if not self._api.skim:
                return self._none("no_usage", "body_too_large")
            return self._judge(skim(data, data), complete)
        text = data.lstrip(b"\xef\xbb\xbf \t\r\n")
        if text[:1] == b"[":
            return self._array(text, complete and not problem)
        if text[:1] != b"{":
            return self._not_json(data)
        answer = json_object(text)
        if answer is None:
            found = skim(text, text)
            reading = self._judge(found, complete)
            if reading.status == "usage":
                return replace(reading, reason=problem or "cut_body", estimated=True)
            return self._none("no_usage", problem or ("cut_body" if not complete else "unreadable_body"))
        return self._judge(answer, complete)

    def _judge(self, answer: Answer, complete: bool) -> Reading:
        inner = unwrapped(self._api, dict(answer)) if self._api.unwrap else answer
        reading = read_answer(self._call, answer, self._headers, status=self._status)
        if reading.status == "no_usage" and inner is not answer:
            reading = read_answer(self._call, inner, self._headers, status=self._status)
        return reading

    def _not_json(self, data: bytes) -> Reading:
        """Sound, pictures, text: usage can only stand in the request or the headers."""
        return self._judge({}, True) if self._status < 400 else self._none("not_billed", f"http_{self._status}")

    def _array(self, text: bytes, complete: bool) -> Reading:
        """A stream sent as one JSON array (Gemini without `alt=sse`); cut ones are read as far as they go."""
        found = [event for event in array_objects(text) if isinstance(event, dict)]
        return self._assembled(iter(found), reversed(found), complete, text, (text,))

    def _rows(self, data: bytes) -> Reading:
        readings = []
        for row in json_rows(data):
            for path in self._api.rows:
                inner = at(row, path)
                if isinstance(inner, Mapping):
                    readings.append(read_answer(self._call, inner))
        return combine(self._call, readings) or self._none("no_usage", "answer_without_usage")

    def _stream(self, keeper: Any, problem: str, complete: bool) -> Reading:
        if isinstance(keeper, Edges):
            return self._judge(skim(keeper.head, keeper.tail), complete)
        tail = keeper.tail
        if self._mode == "frames":
            return self._frames(keeper, tail, complete)
        head = keeper.head if keeper.trimmed else tail
        first = events(head) if self._mode == "events" else lines(head)
        last = events_backwards(tail) if self._mode == "events" else lines_backwards(tail)
        reading = self._assembled(
            json_objects(first), with_usage(last), complete and not problem, tail, (*keeper.marked, tail)
        )
        if reading.status == "no_usage" and (keeper.overflow or problem):
            return replace(reading, reason=problem or "event_too_large")
        return reading

    def _frames(self, keeper: Any, tail: bytes, complete: bool) -> Reading:
        head = keeper.head if keeper.trimmed else tail
        first = frame_objects(frames(head))
        last = list(frame_objects(frames(tail, resync=keeper.trimmed)))
        return self._assembled(first, reversed(last), complete, tail, ())

    def _assembled(
        self,
        first: Iterator[dict[str, Any]],
        backwards: Iterable[dict[str, Any]],
        complete: bool,
        tail: bytes,
        marked: tuple[bytes, ...],
    ) -> Reading:
        api = self._api
        last: list[dict[str, Any]] = []
        error: dict[str, Any] | None = None
        for event in backwards:
            if has_usage(api, unwrapped(api, event)):
                last.append(event)
                if len(last) == (MERGED if api.merge else 1):
                    break
            elif event.get("error") or event.get("type") == "error":
                error = error or event
        start: list[dict[str, Any]] = []
        if api.merge or not last or not named(unwrapped(api, last[0])):
            # The last event need not be named; the first ones then are, and they may hold usage of their own.
            start = list(islice(first, 4))
        earlier = next((event for event in start if has_usage(api, unwrapped(api, event))), None)
        answer = assemble(api, start, [*([earlier] if earlier and api.merge else ()), *reversed(last)])
        if api.keep:
            gather_grounding(answer, marked)
        reading = read_answer(self._call, answer, self._headers, status=self._status)
        if reading.status == "no_usage" and reading.reason == "answer_without_usage":
            if error is not None:
                return replace(reading, reason=f"stream_error:{_error_name(error)}"[:80])
            return replace(reading, reason="stream_without_usage" if complete else "cut_stream_without_usage")
        if reading.status == "no_usage" and reading.reason.startswith("response_") and not complete:
            return replace(reading, reason="cut_stream_without_usage")  # its last words were "in progress"
        if reading.status == "usage":
            cut = not complete if api.final is None else api.final.search(tail) is None
            if cut:
                return replace(reading, estimated=True, reason="cut_stream")
        return reading

    def _empty(self, complete: bool) -> Reading:
        if self._status >= 400:
            return self._none("not_billed", f"http_{self._status}")
        reading = read_answer(self._call, {}, self._headers, status=self._status)
        if reading.status == "no_usage":
            return replace(reading, reason="empty_body" if complete else "cut_before_body")
        return reading

    def _none(self, status: str, reason: str) -> Reading:
        reading = read_answer(replace(self._call, request_usage={}), {}, {}, status=200)
        return replace(reading, usage=None, status=status, reason=reason)  # type: ignore[arg-type]


def _error_name(event: Mapping[str, object]) -> str:
    error = event.get("error")
    if isinstance(error, Mapping):
        return str(error.get("type") or error.get("code") or "unknown")
    return error if isinstance(error, str) else "unknown"
