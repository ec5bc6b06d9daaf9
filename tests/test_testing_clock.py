"""Deterministic time and ids."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_agentcost.testing import CapturedSpans, CountingIds, TickingClock


def test_every_question_moves_the_clock_by_one_step() -> None:
    """The answers are start, start + step, start + 2 steps; looking does not tick."""
    clock = TickingClock(start=100, step=10)

    assert [clock(), clock(), clock()] == [100, 110, 120]
    assert 130 == clock.now == clock.now


def test_a_clock_is_advanced_by_hand_and_never_back() -> None:
    """advance adds to the next answer; a negative step or advance is refused."""
    clock = TickingClock(start=0, step=0)
    clock.advance(5)

    assert 5 == clock() == clock()
    with pytest.raises(ValueError, match="backwards: -1"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="backwards: step=-2"):
        TickingClock(step=-2)


def test_the_sdk_takes_its_times_from_the_clock_inside_the_block_only() -> None:
    """Start, event and end of spans are ticks; afterwards the SDK has its own time again."""
    spans = CapturedSpans()
    provider = TracerProvider()
    provider.add_span_processor(spans.processor())
    tracer = provider.get_tracer("test")

    with TickingClock(start=1_000, step=10).driving_sdk(), tracer.start_as_current_span("inside") as span:
        span.add_event("noted")
    with tracer.start_as_current_span("outside"):
        pass

    inside, outside = spans.find("inside"), spans.find("outside")
    assert (inside.start, inside.events[0].time, inside.end) == (1_000, 1_010, 1_020)
    assert outside.start > 10**18


def test_traces_and_spans_are_numbered_from_one() -> None:
    """Ids follow the order in which spans begin."""
    spans = CapturedSpans()
    provider = TracerProvider(id_generator=CountingIds())
    provider.add_span_processor(spans.processor())
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("root"), tracer.start_as_current_span("child"):
        pass

    child, root = spans.find("child"), spans.find("root")
    assert (root.trace_id, root.span_id) == ("0" * 31 + "1", "0" * 15 + "1")
    assert (root.trace_id, "0" * 15 + "2", root.span_id) == (child.trace_id, child.span_id, child.parent_id)


def test_threads_never_share_a_tick_or_an_id() -> None:
    """Answers are unique however many threads ask."""
    clock, ids = TickingClock(start=0, step=1), CountingIds()
    ticks: list[int] = []
    numbers: list[int] = []

    def ask() -> None:
        for _ in range(500):
            ticks.append(clock())
            numbers.append(ids.generate_span_id())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ticks) == list(range(2_000))
    assert sorted(numbers) == list(range(1, 2_001))
