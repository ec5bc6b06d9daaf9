"""Run the differential test at length: `python -m tests.differential --traces 100000`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.differential.comparison import build, charges_in_go, charges_in_python, compare
from tests.differential.documents import random_traces, write_lines

CHUNK = 2_000
SHOWN = 10


def main() -> int:
    """Compare in chunks; print what was covered and the first disagreements; 1 when there is any."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--traces", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--reprice", default="missing", choices=("missing", "always", "never"))
    options.add_argument("--full", action="store_true", help="compare the breakdown of each charge, too")
    options.add_argument("--keep", type=Path, help="keep the files of chunks with a disagreement in this folder")
    chosen = options.parse_args()
    began = time.monotonic()
    statuses: Counter[str] = Counter()
    traces = spans = found = 0
    with tempfile.TemporaryDirectory() as folder:
        binary = build(Path(folder))
        seed = chosen.seed
        while traces < chosen.traces:
            path = Path(folder) / f"chunk-{seed}.jsonl"
            grown = random_traces(seed, min(CHUNK, chosen.traces - traces))
            spans += write_lines(grown, path, seed)
            traces += len(grown)
            read, accounts = charges_in_python(path, reprice=chosen.reprice, full=chosen.full)
            if read.problems:
                print(*read.problems[:SHOWN], sep="\n")
                return 1
            here = list(compare(accounts, charges_in_go(binary, path, reprice=chosen.reprice, full=chosen.full)))
            statuses.update(
                c.status or ("priced" if c.pico is not None else "nothing") for c in accounts.charges.values()
            )
            for one in here[: max(0, SHOWN - found)]:
                print(f"chunk {seed}: {one}")
            found += len(here)
            if here and chosen.keep is not None:
                chosen.keep.mkdir(parents=True, exist_ok=True)
                path.replace(chosen.keep / path.name)
            path.unlink(missing_ok=True)
            seed += 1
    taken = time.monotonic() - began
    print(f"{traces:,} traces, {spans:,} spans, {found} disagreements, {taken:.0f} s")
    print(", ".join(f"{status} {count:,}" for status, count in statuses.most_common()))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
