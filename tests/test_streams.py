"""Stream framing: server-sent events, JSON lines, AWS frames, and what is kept of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agentcost.usage.bodies import array_objects, frame_objects, skim
from otel_agentcost.usage.streams import (
    FrameTail,
    Tail,
    events,
    events_backwards,
    frames,
    json_object,
    lines,
    lines_backwards,
    stream_format,
)
from tests.test_exchange import frame


def test_every_line_end_ends_a_line() -> None:
    """LF, CRLF and CR all end lines; comments, names and ids are not data; data lines of one event are joined."""
    for end in (b"\n", b"\r\n", b"\r"):
        stream = end.join(
            [
                b": hello",
                b"event: a",
                b'data: {"a":1}',
                b"",
                b"id: 7",
                b"data:one",
                b"data: two",
                b"",
                b"retry: 5",
                b"",
                b"",
            ]
        )
        assert list(events(stream)) == [b'{"a":1}', b"one\ntwo"]
        assert list(events_backwards(stream)) == [b"one\ntwo", b'{"a":1}']


def test_a_byte_order_mark_is_no_data() -> None:
    """A BOM before the first event does not hide it."""
    assert list(events(b"\xef\xbb\xbfdata: x\n\n")) == [b"x"]
    assert list(events_backwards(b"\xef\xbb\xbfdata: x\n\n")) == [b"x"]


def test_a_last_event_without_its_blank_line_counts() -> None:
    """A server that closes right after its last data line has sent an event."""
    assert list(events(b"data: a\n\ndata: b")) == [b"a", b"b"]
    assert list(events_backwards(b"data: a\n\ndata: b")) == [b"b", b"a"]


@settings(max_examples=200, deadline=None)
@given(
    payloads=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20), max_size=8),
    end=st.sampled_from([b"\n", b"\r\n"]),
)
def test_backwards_is_forwards_reversed(payloads: list[str], end: bytes) -> None:
    """Reading from the end finds the same events."""
    stream = b"".join(b"data: " + p.encode() + end + end for p in payloads)
    assert list(events_backwards(stream)) == list(reversed(list(events(stream))))
    rows = b"".join(p.encode() + end for p in payloads)
    assert list(lines_backwards(rows)) == list(reversed(list(lines(rows))))


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(0, 400),
    size=st.integers(1, 600),
    block=st.integers(1, 5),
    end=st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]),
    last=st.integers(1, 30_000),
)
def test_tail_holds_the_first_and_the_last_events(count: int, size: int, block: int, end: bytes, last: int) -> None:
    """Whatever the cuts, the first event and the last two are whole, in order and without a gap."""
    first = b"data: first"
    middle = [b"data: %d " % i + b"x" * (i * 7 % 90) for i in range(count)]
    final = [b"data: " + b"y" * last, b"data: [DONE]"]
    stream = end.join([first, *middle, *final]) + end
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    tail = Tail()
    for i in range(0, len(chunks), block):
        tail.take(chunks[i : i + block])
    assert stream.startswith(tail.head)
    assert stream.endswith(tail.tail)
    assert tail.head.startswith(first)
    assert tail.tail.endswith(end.join(final) + end)
    if not tail.trimmed:
        assert tail.tail == stream


def test_tail_does_not_grow() -> None:
    """What is kept of a stream of a thousand or a hundred thousand events is the same."""
    event = b"data: " + b"x" * 300 + b"\n\n"
    kept = []
    for count in (1_000, 100_000):
        tail = Tail()
        for _ in range(count // 4):
            tail.take([event] * 4)
        kept.append(len(tail.head) + len(tail.tail))
    assert kept[1] <= kept[0] + 2_000
    assert kept[1] < 10_000


def test_an_endless_event_is_bounded() -> None:
    """A stream that never ends an event loses its beginning, and says so."""
    tail = Tail()
    for _ in range(40):
        tail.take([b"x" * 1_000_000])
    assert tail.overflow
    assert len(tail.tail) < 36 * 1024 * 1024


def test_line_streams_break_at_line_feeds() -> None:
    """JSON lines need no blank line to be let go."""
    tail = Tail(lines=True)
    for i in range(3_000):
        tail.take([b'{"n":%d}\n' % i])
    assert tail.trimmed
    assert len(tail.tail) < 10_000
    assert next(lines_backwards(tail.tail)) == b'{"n":2999}'


def test_frames_without_checksums() -> None:
    """Frames are read by their lengths; a cut last one is left out."""
    data = frame("a", b'{"x":1}') + frame("b", b'{"y":2}')
    assert [(headers[":event-type"], payload) for headers, payload in frames(data)] == [
        ("a", b'{"x":1}'),
        ("b", b'{"y":2}'),
    ]
    assert [payload for _, payload in frames(data[:-3])] == [b'{"x":1}']


def test_frames_are_found_again_after_a_cut() -> None:
    """Reading may begin inside a frame: the next one is found by its first header."""
    one, two = frame("a", b'{"x":"' + b"z" * 50 + b'"}'), frame("b", b'{"y":2}')
    for cut in range(1, len(one)):
        assert [payload for _, payload in frames((one + two)[cut:], resync=True)] == [b'{"y":2}']


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_frames_of_garbage(data: bytes, resync: bool) -> None:
    """Any bytes: no exception, no hang."""
    found = list(frames(data + frame("a", b"{}") + data, resync=resync))
    assert len(list(frame_objects(found))) <= len(found)


def test_frame_tail_keeps_both_ends() -> None:
    """A long binary stream is let go in the middle; its last frames are found again."""
    tail = FrameTail()
    for _ in range(400):
        tail.take([frame("chunk", b'{"bytes":"' + b"A" * 4000 + b'"}')])
    tail.take([frame("metadata", b'{"usage":{"inputTokens":1}}')])
    assert tail.trimmed
    assert len(tail.tail) < 600 * 1024
    last = list(frame_objects(frames(tail.tail, resync=True)))[-1]
    assert last == {"metadata": {"usage": {"inputTokens": 1}}}


def test_an_exception_frame_is_an_error() -> None:
    """A frame of type exception is read as an error, whatever it says."""
    found = list(frame_objects([({":message-type": "exception", ":exception-type": "throttlingException"}, b"{}")]))
    assert found == [{"error": {"type": "throttlingException"}}]


def test_arrays_are_read_as_far_as_they_go() -> None:
    """A JSON array cut in the middle gives its whole objects."""
    assert list(array_objects(b'[{"a":1},\n{"b":2},{"c":')) == [{"a": 1}, {"b": 2}]
    assert list(array_objects(b"[")) == []
    assert list(array_objects(b"[1, 2]")) == []


def test_format_by_header_then_by_first_bytes() -> None:
    """The content type decides; without a known one the first bytes do."""
    assert stream_format("text/event-stream; charset=utf-8", b"", asked=False) == "events"
    assert stream_format("application/json", b'{"a":1}', asked=True) == "document"
    assert stream_format(None, b'{"a":1}\n', asked=True) == "lines"
    assert stream_format(None, b'{"a":1}\n', asked=False) == "document"
    assert stream_format("text/plain", b"data: x", asked=False) == "events"
    assert stream_format(None, frame("a", b"{}"), asked=False) == "frames"
    assert stream_format(None, b"", asked=False) == "document"


def test_nesting_too_deep_is_not_parsed() -> None:
    """A body of a million brackets is no object and no crash."""
    assert json_object(b'{"a":' + b"[" * 1_000_000) is None
    assert json_object(b"[1]") is None
    assert json_object(b"") is None


def test_skim_finds_the_last_usage_and_the_first_names() -> None:
    """The ends of an answer tell usage and names; an escaped quote is not a key."""
    text = b'{"model":"m","data":["\\"usage\\":{}"],"usage":{"prompt_tokens":3}}'
    assert skim(text, text) == {"model": "m", "usage": {"prompt_tokens": 3}}


def test_a_frame_with_an_impossible_header_size_does_not_hold_the_reader() -> None:
    """Found by tests/test_fuzz.py: a damaged prelude before a real header name; the next whole frame is read."""
    good = frame("metadata", b"{}")
    total, header_size = 1_000_000, 70_000
    damaged = total.to_bytes(4, "big") + header_size.to_bytes(4, "big") + good[8:]
    assert [headers[":event-type"] for headers, _ in frames(damaged + good)] == ["metadata"]
    assert list(frames(damaged)) == []
