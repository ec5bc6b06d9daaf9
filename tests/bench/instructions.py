"""Instructions: what an operation costs in executed instructions, counted by valgrind's callgrind.

    python -m tests.bench.instructions price chat processor foreign

Counts hardly depend on what else the machine does, so they show small changes that times hide. A case runs twice, with
few and with many operations; the difference is what the operations cost, start-up and warming cancel out. Under
callgrind everything is about fifty times slower.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

from tests.bench import environments

FEW, MANY = 20, 120
GROUPS: dict[str, tuple[str, ...]] = {
    "price": ("floor", "ours"),
    "chat": ("bare", "span20", "ours", "otelgenai"),
    "processor": ("noop", "trace_sum", "ours"),
    "foreign": ("noop", "ours"),
}
_COLLECTED = re.compile(r"Collected : (\d+)")


def work_of(group: str, case: str, stack: ExitStack) -> Callable[[int], object]:
    """Return what a case does so many times, set up and warm."""
    if group == "price":
        from otel_agentcost.pricing.book import PriceBook
        from tests.bench.probes import prices

        return prices.ours(PriceBook.bundled()) if case == "ours" else prices.floor
    if group == "chat":
        import httpx2

        from tests.bench.answers import answer_to
        from tests.bench.probes import clients

        work = clients.chat(clients.client_of(httpx2.MockTransport(answer_to(httpx2))))
        if case == "span20":
            return clients.with_span(work, clients.new_provider())
        if case != "bare":
            stack.enter_context(clients.ours() if case == "ours" else clients.otelgenai())
        return work
    from tests.bench.probes.processors import MAKERS
    from tests.bench.traces import plain, play, recorded

    processor = MAKERS[case]()
    traces = [plain(20) if group == "foreign" else recorded(20) for _ in range(MANY + 5)]

    def played(times: int) -> None:
        for _ in range(times):
            play(processor, traces.pop())

    return played


def run_case(group: str, case: str, operations: int) -> None:
    """Do it; called in the process that is counted."""
    with ExitStack() as stack:
        work = work_of(group, case, stack)
        work(5)
        work(operations)


def counted(group: str, case: str, operations: int) -> int:
    """Return the instructions of a whole process that does so many operations."""
    command = [
        *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
        *(str(environments.python_of("genai")), "-m", "tests.bench.instructions"),
        *("--run", group, case, str(operations)),
    ]
    done = subprocess.run(
        command, cwd=environments.ROOT, env=environments.surroundings(), capture_output=True, text=True, check=False
    )
    found = _COLLECTED.search(done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"bench: {group} {case} under callgrind failed\n{done.stderr[-2000:]}")
    return int(found[1])


def per_operation(group: str, case: str) -> float:
    """Return the instructions of one operation."""
    return (counted(group, case, MANY) - counted(group, case, FEW)) / (MANY - FEW)


def main() -> None:
    """Count the groups named, or all."""
    if sys.argv[1:2] == ["--run"]:
        run_case(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    for group in sys.argv[1:] or GROUPS:
        found = {case: per_operation(group, case) for case in GROUPS[group]}
        print(f"{group}: " + ", ".join(f"{case} {value:,.0f}" for case, value in found.items()))


if __name__ == "__main__":
    main()
