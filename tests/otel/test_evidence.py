"""Evidence: readings wait for their span, in order, bounded, and leave nothing behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_agentcost.otel.evidence import MAX_READINGS_PER_SPAN, Evidence
from otel_agentcost.usage.reading import Reading, Usage


def span(trace_id: int, span_id: int) -> NonRecordingSpan:
    return NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1)))


def reading(tokens: int) -> Reading:
    return Reading(kind="call", usage=Usage(input_tokens=tokens))


def test_a_span_gets_back_exactly_what_was_attached_once() -> None:
    """Taking evidence forgets it."""
    evidence = Evidence()
    first = reading(1)
    evidence.attach(span(1, 2), first)
    assert evidence.take(1, 2) == (first,)
    assert evidence.take(1, 2) == ()
    assert len(evidence) == 0


def test_several_attempts_under_one_span_keep_their_order() -> None:
    """The readings of the attempts of one SDK call are kept side by side, oldest first."""
    evidence = Evidence()
    attempts = tuple(reading(n) for n in range(3))
    for attempt in attempts:
        evidence.attach(span(1, 2), attempt)
    assert evidence.take(1, 2) == attempts


def test_equal_span_ids_of_two_traces_do_not_mix() -> None:
    """Evidence is found by trace and span together."""
    evidence = Evidence()
    evidence.attach(span(1, 7), reading(1))
    evidence.attach(span(2, 7), reading(2))
    assert evidence.take(2, 7) == (reading(2),)
    assert evidence.take(1, 7) == (reading(1),)


def test_the_oldest_span_gives_way_and_is_counted() -> None:
    """Nobody taking evidence costs bounded memory, and every lost reading is counted."""
    evidence = Evidence(max_spans=2)
    evidence.attach(span(1, 1), reading(1))
    evidence.attach(span(1, 1), reading(2))
    evidence.attach(span(1, 2), reading(3))
    evidence.attach(span(1, 3), reading(4))
    assert evidence.dropped == 2
    assert evidence.take(1, 1) == ()
    assert evidence.take(1, 3) == (reading(4),)


def test_one_span_holds_a_bounded_number_of_readings() -> None:
    """A span that collects readings for ever keeps the first ones and counts the others."""
    evidence = Evidence()
    for n in range(MAX_READINGS_PER_SPAN + 5):
        evidence.attach(span(1, 1), reading(n))
    assert evidence.dropped == 5
    assert len(evidence.take(1, 1)) == MAX_READINGS_PER_SPAN


def test_threads_do_not_lose_or_mix_evidence() -> None:
    """Attaching and taking from many threads at once gives each span its own readings."""
    evidence = Evidence()

    def one(trace_id: int) -> bool:
        for span_id in range(1, 200):
            evidence.attach(span(trace_id, span_id), reading(trace_id))
            evidence.attach(span(trace_id, span_id), reading(span_id))
            if evidence.take(trace_id, span_id) != (reading(trace_id), reading(span_id)):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(1, 9)))
    assert len(evidence) == 0
    assert evidence.dropped == 0
