"""Write every generated file from semconv/ and prices/; `--check` writes nothing and fails on a difference.

    python tools/generate.py [--check] [--only STEP ...]

Each module of tools/generators/ is a step: it has `outputs() -> dict[Path, bytes]`, deterministic and side-effect
free. A new generated file needs a new step, nothing here.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

Outputs = dict[Path, bytes]


def steps() -> list[str]:
    """Return the name of every step: a module of tools/generators/."""
    import tools.generators as room

    return sorted(module.name for module in pkgutil.iter_modules(room.__path__))


def run(names: Iterable[str] = ()) -> Outputs:
    """Return the wanted content of every generated file, of the named steps or of all."""
    known = steps()
    result: Outputs = {}
    for name in list(names) or known:
        if name not in known:
            raise SystemExit(f"no step {name!r}; there are: {', '.join(known)}")
        step = importlib.import_module(f"tools.generators.{name}")
        outputs: Callable[[], Outputs] | None = getattr(step, "outputs", None)
        if outputs is None:  # shared by steps, not one itself
            continue
        for path, content in outputs().items():
            if path in result:
                raise SystemExit(f"two steps write {path.relative_to(ROOT)}")
            result[path] = content
    return result


def differences(wanted: Outputs, *, lines: int = 20) -> list[str]:
    """Describe every file on disk that is not what the steps make, each with the start of a unified diff."""
    report = []
    for path, content in sorted(wanted.items()):
        name = path.relative_to(ROOT).as_posix()
        on_disk = path.read_bytes() if path.exists() else b""
        if on_disk == content:
            continue
        diff = list(
            difflib.unified_diff(
                on_disk.decode().splitlines(),
                content.decode().splitlines(),
                f"{name} (on disk)",
                f"{name} (generated)",
                lineterm="",
                n=1,
            )
        )
        more = [f"... {len(diff) - lines} more lines"] if len(diff) > lines else []
        report.append("\n".join(line[:200] for line in [*diff[:lines], *more]))
    return report


def main(argv: list[str] | None = None) -> int:
    """Generate, or check; 0 when everything on disk is current, 1 when `--check` found a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    parser.add_argument("--only", nargs="*", default=[], metavar="STEP", help="run these steps only")
    options = parser.parse_args(argv)
    wanted = run(options.only)
    if options.check:
        report = differences(wanted)
        print("\n\n".join(report) if report else f"{len(wanted)} generated files are current")
        return 1 if report else 0
    for path, content in sorted(wanted.items()):
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
