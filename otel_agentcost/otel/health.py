"""What went wrong or was given up inside this process: one guard at every boundary, one set of counters.

    with guard("processor.on_end"):   # an error of ours is counted and logged once; the application never sees it
        ...
    count("unpriced", reason="unknown_model")

Nothing here is exported as a span. `otel.metrics` shows the counters as one observable counter,
`agentcost doctor` and tests read `snapshot()`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Literal

from otel_agentcost.errors import BudgetExceeded

logger = logging.getLogger("otel_agentcost")

RAISE_VARIABLE = "AGENTCOST_RAISE"
"""Set to 1 (our tests do) to let an error of ours through instead of swallowing it."""

MAX_LABEL_SETS = 512
"""Distinct label combinations kept per process; what comes after counts under its name without labels."""
MAX_LOGGED = 256
"""Distinct reasons logged per process; after that errors are only counted."""

Labels = tuple[tuple[str, str], ...]


class Guard:
    """Swallow and count every `Exception` of ours at one place; reusable and shared by all threads.

    Never touched: `KeyboardInterrupt`, `SystemExit`, `CancelledError`, `GeneratorExit`, and `BudgetExceeded`,
    which is raised because the user asked for it.
    """

    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception) or isinstance(error, BudgetExceeded):
            return False
        return report(self.where, error)

    def __repr__(self) -> str:
        return f"guard({self.where!r})"


_guards: dict[str, Guard] = {}


def guard(where: str) -> Guard:
    """Return the guard of one place in our code: always the same object, so entering it allocates nothing.

    `where` is a constant in the source such as `tap.close`, never a value from the outside.
    """
    found = _guards.get(where)
    return found if found is not None else _guards.setdefault(where, Guard(where))


def report(where: str, error: Exception) -> bool:
    """Count an error of ours and log it once per place and type; tell whether it may be swallowed."""
    kind = type(error).__name__
    count("errors", where=where, type=kind)
    if os.environ.get(RAISE_VARIABLE) == "1":
        return False
    log_once(
        f"{where}:{kind}",
        "otel-agentcost: internal error in %s, further ones are only counted",
        where,
        error=error,
    )
    return True


def log_once(
    reason: str,
    message: str,
    *args: object,
    error: BaseException | None = None,
    level: int = logging.WARNING,
) -> Literal[True]:
    """Log a message the first time its `reason` is met in this process, without making telemetry about it."""
    with _health.lock:
        if reason in _health.logged or len(_health.logged) >= MAX_LOGGED:
            return True
        _health.logged.add(reason)
    try:
        from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            logger.log(level, message, *args, exc_info=error)
        finally:
            detach(token)
    except Exception:  # a logging handler of the application failed; there is nobody left to tell
        count("errors", where="health.log", type="logging")
    return True


class _Health:
    """The counters of one process. `lock` protects both fields; nothing foreign is called while it is held.

    The lock is reentrant because a finaliser run by the garbage collector may count in the middle of a count.
    """

    __slots__ = ("counts", "lock", "logged")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.counts: dict[tuple[str, Labels], int] = {}
        self.logged: set[str] = set()


_health = _Health()


def count(name: str, n: int = 1, /, **labels: str) -> None:
    """Add to a counter of this process: `unpriced`, `evicted`, `late`, `malformed`, `folded`, `errors` ..."""
    key = (name, tuple(sorted(labels.items())) if labels else ())
    health = _health
    with health.lock:
        if key not in health.counts and len(health.counts) >= MAX_LABEL_SETS:
            key = (name, ())
        health.counts[key] = health.counts.get(key, 0) + n


def counts() -> Iterable[tuple[str, dict[str, str], int]]:
    """Return every counter as (name, labels, value); the values of one name with different labels add up."""
    with _health.lock:
        items = list(_health.counts.items())
    return [(name, dict(labels), value) for (name, labels), value in items]


def snapshot() -> dict[str, int]:
    """Return the total of each counter by name, and each labelled part as `name{key=value}`."""
    result: dict[str, int] = {}
    for name, labels, value in counts():
        result[name] = result.get(name, 0) + value
        if labels:
            inside = ",".join(f"{key}={text}" for key, text in sorted(labels.items()))
            result[f"{name}{{{inside}}}"] = value
    return result


def reset() -> None:
    """Forget all counters and logged reasons: for tests, and for a forked child, whose health is its own."""
    global _health
    _health = _Health()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reset)
