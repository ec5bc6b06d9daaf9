"""Rounds: run cases in alternation, in both orders, and compare them pair by pair.

A round runs every case once forwards and once backwards (A B C C B A), so that a slow drift of the machine falls on
all of them alike. What is kept of a round is the CPU time per operation of each case; what is reported is the median
over rounds of a ratio or difference formed within one round.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from time import process_time_ns

Work = Callable[[int], object]
"""Do the operation so many times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How long to measure."""

    quick: bool

    def pick(self, quick: int, full: int) -> int:
        """Return the figure of this form."""
        return quick if self.quick else full

    @property
    def rounds(self) -> int:
        """Rounds of a bar; never below five."""
        return 5 if self.quick else 11


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure: `around` sets it up and takes it away, outside the measured time."""

    work: Work
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    warm: int = 3


@dataclass(slots=True)
class Times:
    """CPU nanoseconds per operation: one figure per case and round."""

    by_case: dict[str, list[float]] = field(default_factory=dict)

    def of(self, case: str) -> float:
        """Median over rounds."""
        return median(self.by_case[case])

    def over(self, case: str, reference: str, *, bare: str | None = None) -> float:
        """Median over rounds of `case / reference`; with `bare`, of what each adds to the bare case."""
        return median(self.ratios(case, reference, bare=bare))

    def ratios(self, case: str, reference: str, *, bare: str | None = None) -> list[float]:
        """The ratio in each round."""
        base = self.by_case[bare] if bare is not None else [0.0] * len(self.by_case[case])
        triples = zip(self.by_case[case], self.by_case[reference], base, strict=True)
        return [(ours - zero) / (theirs - zero) if theirs > zero else float("inf") for ours, theirs, zero in triples]

    def added(self, case: str, bare: str) -> float:
        """Median over rounds of what a case adds to the bare one, in nanoseconds per operation."""
        return median(a - b for a, b in zip(self.by_case[case], self.by_case[bare], strict=True))

    def ratio_of_added(self, case: str, reference: str, bare: str) -> float:
        """Added over added, each the median over rounds: steadier than ratios where differences are small."""
        below = self.added(reference, bare)
        return self.added(case, bare) / below if below > 0 else float("inf")


def cpu_per_operation(work: Work, operations: int) -> float:
    """CPU nanoseconds of the process per operation, all threads included."""
    gc.collect()
    begin = process_time_ns()
    work(operations)
    return (process_time_ns() - begin) / operations


def alternate(cases: Mapping[str, Case], *, rounds: int, operations: int) -> Times:
    """Measure all cases in so many rounds; in a round each runs twice, in opposite places."""
    times = Times({name: [] for name in cases})
    for _ in range(rounds):
        seen: dict[str, list[float]] = {name: [] for name in cases}
        for name in (*cases, *reversed(cases)):
            case = cases[name]
            with case.around():
                if case.warm:
                    case.work(case.warm)
                seen[name].append(cpu_per_operation(case.work, operations))
        for name, pair in seen.items():
            times.by_case[name].append(sum(pair) / 2)
    return times


def settled(samples: Sequence[float]) -> float:
    """Median of several samples."""
    return median(samples)
