"""The steps of tools/generate.py, and the few things they share: where files are, how JSON looks.

A step is a module with `outputs() -> dict[Path, bytes]`. It reads YAML, validates it (a mistake is a `SystemExit`
that names file and key) and returns bytes; it never writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SEMCONV = ROOT / "semconv"
PRICES = ROOT / "prices"
DATA = ROOT / "otel_agentcost" / "_data"
DOCS = ROOT / "docs"


def read_yaml(path: Path) -> Any:
    """Return the content of one YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def stable_json(value: Any, *, compact: bool = False) -> bytes:
    """Return the one JSON form of a value: sorted keys, one space of indent (or none at all), a last newline."""
    if compact:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    else:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)
    return f"{text}\n".encode()


def fail(path: Path, key: str, problem: str) -> SystemExit:
    """Make the error of a wrong source file, naming file and key."""
    return SystemExit(f"{path.relative_to(ROOT)}: {key}: {problem}")
