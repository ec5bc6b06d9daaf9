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
    """One monotonic sum per label set. `lock` protects all of it; nothing foreign runs under it.

    A sum is a list of one number, so that who adds to it again and again need not look for it: `cell` hands it out.
    """

    __slots__ = ("_divisor", "_fixed", "_labels", "_limit", "_shown", "_sums", "folded", "lock")

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        fixed: int = 1,
        divisor: int = 1,
        limit: int = 4096,
        lock: threading.Lock | None = None,
    ) -> None:
        """Name the labels; the first `fixed` of them take a few fixed words only and are never folded."""
        self._labels = labels
        self._fixed = fixed
        self._divisor = divisor
        self._limit = limit
        self.lock = lock if lock is not None else threading.Lock()
        """Several totals may share one, to be added to in one go."""
        self._sums: dict[Key, list[int]] = {}
        self._shown: dict[Key, int] = {}
        self.folded = 0
        """Label sets that were folded because there were too many; their amounts are in the sums."""

    def cell(self, key: Key) -> list[int]:
        """Return the sum of a label set, to be added to in place; only while the lock is held."""
        found = self._sums.get(key)
        if found is None:
            if len(self._sums) >= self._limit:
                key = (*key[: self._fixed], *(OTHER if value else "" for value in key[self._fixed :]))
                self.folded += 1
            found = self._sums.setdefault(key, [0])
        return found

    def add(self, key: Key, amount: int) -> None:
        """Add an amount, which may be negative: a correction."""
        if amount:
            with self.lock:
                self.cell(key)[0] += amount

    def clear(self, lock: threading.Lock | None = None) -> None:
        """Start again from nothing: a forked child reports what it did itself, under a lock nobody holds."""
        self.lock = lock if lock is not None else threading.Lock()
        self._sums = {}
        self._shown = {}

    def sums(self) -> dict[Key, int]:
        """Return the exact sums, corrections included."""
        with self.lock:
            return {key: total for key, (total,) in self._sums.items()}

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:
        """Report every sum; never less than before."""
        with self.lock:
            for key, (total,) in self._sums.items():
                if total > self._shown.get(key, 0):
                    self._shown[key] = total
            shown = list(self._shown.items())
        return [Observation(self._number(total), self._attributes(key)) for key, total in shown]

    def _number(self, total: int) -> int | float:
        return total if self._divisor == 1 else total / self._divisor

    def _attributes(self, key: Key) -> Mapping[str, str]:
        return {name: value for name, value in zip(self._labels, key, strict=True) if value}


Callback = Callable[[CallbackOptions], Iterable[Observation]]
