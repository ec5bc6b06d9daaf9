"""Start measuring in a Python process that `agentcost run` launched; imported by the interpreter itself.

It stands before any other module of this name on the path, so it runs that one first. Whatever happens, the program
starts: a problem is one line on stderr.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path


def _run_the_other_one() -> None:
    here = Path(__file__).resolve().parent
    elsewhere = [path for path in sys.path if path and Path(path).resolve() != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _say(problem: str) -> None:
    print(f"agentcost: {problem}", file=sys.stderr)  # noqa: T201 - nothing else is there yet


try:
    _run_the_other_one()
except Exception as error:  # theirs; the interpreter would also go on
    _say(f"the sitecustomize module behind ours failed: {type(error).__name__}: {error}")
try:
    from otel_agentcost.otel.run import start_run
except ImportError:
    _say(f"{sys.executable} has no otel-agentcost, so this process is not measured; pip install otel-agentcost there")
else:
    start_run()
