"""Totals: monotonic integer sums by label set, read by a metric reader whenever it likes.

Adding is a dictionary look-up and an integer addition, so a charged call pays about a microsecond for all its
metrics, and no sum is ever a sum of doubles. A correction downwards is withheld from what comes later: what a reader
has seen never falls, and what it sees in the end is exact.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Observation

Key = tuple[str, ...]
"""Label values in the order of the series' label names; empty for a label that is not known."""

OTHER = "other"
"""Value of a label whose names are used up."""


class Names:
    """Keep a label's distinct values bounded: the first `limit` of them keep their name, the rest are `other`."""

    __slots__ = ("_known", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        known = self._known
        if not name or name in known:
            return name
        if len(known) >= self.limit:
            return OTHER
        known.add(name)  # two threads may exceed the limit by one name each; that is bounded too
        return name


class Totals:
    """One monotonic sum per label set. `_lock` protects `_sums` and `_shown`; nothing foreign runs under it."""

    __slots__ = ("_divisor", "_fixed", "_labels", "_limit", "_lock", "_shown", "_sums", "folded")

    def __init__(self, labels: tuple[str, ...], *, fixed: int = 1, divisor: int = 1, limit: int = 4096) -> None:
        """Name the labels; the first `fixed` of them take a few fixed words only and are never folded."""
        self._labels = labels
        self._fixed = fixed
        self._divisor = divisor
        self._limit = limit
        self._lock = threading.Lock()
        self._sums: dict[Key, int] = {}
        self._shown: dict[Key, int] = {}
        self.folded = 0
        """Additions whose label set was folded because there were too many; their amount is in the sums."""

    def add(self, key: Key, amount: int) -> None:
        """Add an amount, which may be negative: a correction."""
        if not amount:
            return
        with self._lock:
            sums = self._sums
            if key not in sums and len(sums) >= self._limit:
                key = (*key[: self._fixed], *(OTHER if value else "" for value in key[self._fixed :]))
                self.folded += 1
            sums[key] = sums.get(key, 0) + amount

    def clear(self) -> None:
        """Start again from nothing: a forked child reports what it did itself."""
        self._lock = threading.Lock()
        self._sums = {}
        self._shown = {}

    def sums(self) -> dict[Key, int]:
        """Return the exact sums, corrections included."""
        with self._lock:
            return dict(self._sums)

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:
        """Report every sum; never less than before."""
        with self._lock:
            for key, total in self._sums.items():
                if total > self._shown.get(key, 0):
                    self._shown[key] = total
            shown = list(self._shown.items())
        return [Observation(self._number(total), self._attributes(key)) for key, total in shown]

    def _number(self, total: int) -> int | float:
        return total if self._divisor == 1 else total / self._divisor

    def _attributes(self, key: Key) -> Mapping[str, str]:
        return {name: value for name, value in zip(self._labels, key, strict=True) if value}


Callback = Callable[[CallbackOptions], Iterable[Observation]]
