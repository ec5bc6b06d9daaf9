"""Worker: run one probe in this interpreter and print its findings as JSON on the last line.

python -m tests.bench.worker clients.measure_chat quick
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from tests.bench.rounds import Form


def main() -> None:
    """Run the probe named by `module.function`, in the quick or the full form."""
    module, _, function = sys.argv[1].partition(".")
    probe = getattr(import_module(f"tests.bench.probes.{module}"), function)
    findings = probe(Form(quick=sys.argv[2] == "quick"))
    print(json.dumps(findings.as_json()))


if __name__ == "__main__":
    main()
