"""Deterministic time and ids, so that whole traces can be compared with what a test expects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace.id_generator import IdGenerator

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
"""2026-09-21T13:46:40Z in Unix nanoseconds."""


class TickingClock:
    """Tell a time that moves on by one step at every question, and by nothing else.

    Calling the clock returns Unix nanoseconds. `advance` moves it by hand; `driving_sdk` lets spans that get no
    explicit times take theirs from it.

    Args:
        start: the first answer, Unix nanoseconds.
        step: nanoseconds between two answers; 0 = stands still.
    """

    def __init__(self, start: int = START, step: int = SECOND) -> None:
        if step < 0:
            raise ValueError(f"a clock cannot run backwards: step={step}")
        self._next = start
        self._step = step
        self._lock = threading.Lock()
        # guards _next

    def __call__(self) -> int:
        """Return the time in Unix nanoseconds, then tick."""
        with self._lock:
            now = self._next
            self._next += self._step
        return now

    @property
    def now(self) -> int:
        """The next answer, without a tick."""
        return self._next

    def advance(self, nanoseconds: int) -> None:
        """Move the clock on, never back."""
        if nanoseconds < 0:
            raise ValueError(f"a clock cannot run backwards: {nanoseconds}")
        with self._lock:
            self._next += nanoseconds

    @contextmanager
    def driving_sdk(self) -> Iterator[TickingClock]:
        """Let the OpenTelemetry SDK take start, end and event times from this clock inside the block."""
        import opentelemetry.sdk.trace as sdk

        real = sdk.time_ns  # type: ignore[attr-defined]
        sdk.time_ns = self  # type: ignore[attr-defined]
        try:
            yield self
        finally:
            sdk.time_ns = real  # type: ignore[attr-defined]


class CountingIds(IdGenerator):
    """Number traces and spans 1, 2, 3 ... in the order in which they begin.

    Pass it to `TracerProvider(id_generator=CountingIds())`.
    """

    def __init__(self) -> None:
        self._traces = 0
        self._spans = 0
        self._lock = threading.Lock()
        # guards _traces and _spans

    def generate_trace_id(self) -> int:
        """Return the next trace id."""
        with self._lock:
            self._traces += 1
            return self._traces

    def generate_span_id(self) -> int:
        """Return the next span id."""
        with self._lock:
            self._spans += 1
            return self._spans
