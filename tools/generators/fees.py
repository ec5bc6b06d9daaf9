"""prices/fees.yaml and prices/compute.yaml -> _data/fees.json and _data/compute.json, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from otel_agentcost.errors import ConfigError
from otel_agentcost.pricing.overrides import Overrides
from tools.generators import DATA, PRICES, fail, read_yaml, stable_json

_DOCUMENTATION = ("source", "checked", "note")


def outputs() -> dict[Path, bytes]:
    """Return both files; each rule has an id, a source and the day it was checked, and is valid for users too."""
    return {DATA / f"{name}.json": _built(PRICES / f"{name}.yaml", name) for name in ("fees", "compute")}


def _built(path: Path, name: str) -> bytes:
    content = read_yaml(path)
    rules: list[dict[str, Any]] = content[name]
    for number, rule in enumerate(rules):
        for field in ("id", "source", "checked"):
            if not rule.get(field):
                raise fail(path, f"{name}[{number}].{field}", "is missing")
    if len({rule["id"] for rule in rules}) != len(rules):
        raise fail(path, name, "two rules have one id")
    plain = [
        {k: str(v) if k in ("from", "to") else v for k, v in rule.items() if k not in _DOCUMENTATION} for rule in rules
    ]
    try:
        Overrides.from_mapping({name: plain})
    except ConfigError as problem:
        raise fail(path, problem.key, problem.problem) from None
    return stable_json({"version": str(content["version"]), name: plain}, compact=True)
