"""Run the differential test at length: `python -m tests.differential --traces 100000`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.differential.comparison import (
    Choice,
    build,
    build_vector_runner,
    charges_in_go,
    charges_in_python,
    compare,
    run_vectors,
)
from tests.differential.documents import random_traces, write_lines
from tests.differential.random_vectors import write_vectors

CHUNK = 2_000
SHOWN = 10


def main() -> int:
    """Compare in chunks; print what was covered and the first disagreements; 1 when there is any."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--traces", type=int, default=100_000)
    options.add_argument("--vectors", type=int, default=20_000, help="random vectors of the laws alone")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--reprice", default="missing", choices=("missing", "always", "never"))
    options.add_argument("--full", action="store_true", help="compare the breakdown of each charge, too")
    options.add_argument("--prices", action="store_true", help="with the own prices and fees of prices.json")
    options.add_argument("--keep", type=Path, help="keep the files of chunks with a disagreement in this folder")
    chosen = options.parse_args()
    choice = Choice(reprice=chosen.reprice, full=chosen.full, prices=chosen.prices)
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
            read, accounts = charges_in_python(path, choice)
            if read.problems:
                print(*read.problems[:SHOWN], sep="\n")
                return 1
            here = list(compare(accounts, charges_in_go(binary, path, choice)))
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
        failed = vectors_disagree(Path(folder), chosen.seed, chosen.vectors)
    taken = time.monotonic() - began
    print(f"{traces:,} traces, {spans:,} spans, {found} disagreements; {chosen.vectors:,} vectors; {taken:.0f} s")
    print(", ".join(f"{status} {count:,}" for status, count in statuses.most_common()))
    return 1 if found or failed else 0


def vectors_disagree(folder: Path, seed: int, count: int) -> bool:
    """Run random vectors in Go and print what it says of the first chunk that fails."""
    runner = build_vector_runner(folder)
    for first in range(0, count, CHUNK):
        chunk = folder / f"vectors-{first}"
        chunk.mkdir()
        write_vectors(chunk, seed * 1_000_000 + first, min(CHUNK, count - first))
        told = run_vectors(runner, chunk)
        if told.returncode:
            print(told.stdout[-4000:])
            return True
        shutil.rmtree(chunk)
    return False


if __name__ == "__main__":
    sys.exit(main())
