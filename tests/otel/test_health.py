"""The guard keeps our errors away from the application and the counters count them."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator

import pytest
from opentelemetry import context

from otel_agentcost.errors import BudgetExceeded
from otel_agentcost.otel import health
from otel_agentcost.otel.health import count, counts, guard, log_once, snapshot


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AGENTCOST_RAISE", raising=False)
    health.reset()
    yield
    health.reset()


def test_an_error_inside_a_guard_is_counted_and_swallowed() -> None:
    """Nothing of ours is ever raised into the application."""
    with guard("test.place"):
        raise KeyError("ours")

    assert snapshot() == {"errors": 1, "errors{type=KeyError,where=test.place}": 1}


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit, BudgetExceeded]
)
def test_what_is_not_our_error_passes_through_a_guard(error: type[BaseException]) -> None:
    """Cancellation, exits and a budget the user enforces are the application's business."""
    with pytest.raises(error), guard("test.place"):
        raise error()

    assert snapshot() == {}


def test_a_guard_lets_errors_through_when_tests_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENTCOST_RAISE=1 hides no bug from a test, and still counts it."""
    monkeypatch.setenv("AGENTCOST_RAISE", "1")

    with pytest.raises(ValueError, match="seen"), guard("test.place"):
        raise ValueError("seen")

    assert snapshot()["errors"] == 1


def test_each_reason_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand equal errors make one log record and a count of a thousand."""
    for _ in range(1000):
        with guard("test.place"):
            raise ValueError("again")
    with guard("test.place"):
        raise TypeError("another")

    assert len(caplog.records) == 2
    assert snapshot()["errors"] == 1001


def test_logging_happens_under_suppressed_instrumentation() -> None:
    """Our own log records make no telemetry about themselves."""
    seen: list[object] = []

    class Probe(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY))

    probe = Probe()
    health.logger.addHandler(probe)
    try:
        log_once("reason", "text")
    finally:
        health.logger.removeHandler(probe)

    assert seen == [True]
    assert context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY) is None


def test_a_failing_log_handler_of_the_application_is_harmless() -> None:
    """Even the report about an error may not raise."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("disk full")

    broken = Broken()
    health.logger.addHandler(broken)
    try:
        with guard("test.place"):
            raise ValueError
    finally:
        health.logger.removeHandler(broken)

    assert snapshot()["errors"] == 2


def test_the_guard_of_a_place_is_one_object() -> None:
    """Entering a guard allocates nothing."""
    assert guard("test.one") is guard("test.one")
    assert guard("test.one") is not guard("test.two")


def test_counters_of_many_threads_lose_nothing() -> None:
    """Counting is exact from any thread."""

    def work() -> None:
        for _ in range(500):
            count("late")
            count("unpriced", 2, reason="unknown_model")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert snapshot() == {"late": 2000, "unpriced": 4000, "unpriced{reason=unknown_model}": 4000}


def test_label_sets_are_bounded_and_totals_stay_exact() -> None:
    """An unbounded label cannot fill the memory, and no count is lost."""
    for number in range(health.MAX_LABEL_SETS * 2):
        count("unpriced", reason=f"model {number}")

    assert len(list(counts())) == health.MAX_LABEL_SETS + 1
    assert snapshot()["unpriced"] == health.MAX_LABEL_SETS * 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_counts_for_itself() -> None:
    """Parent counts are exported by the parent; a child that starts from them would double them."""
    count("late", 7)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child reports through the pipe
        count("late", 1)
        os.write(write_end, str(snapshot()["late"]).encode())
        os._exit(0)
    os.waitpid(pid, 0)

    assert os.read(read_end, 10) == b"1"
    assert snapshot()["late"] == 7
    os.close(read_end)
    os.close(write_end)
