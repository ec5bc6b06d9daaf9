"""semconv/config.schema.yaml -> _data/agentcost.schema.json, with the units filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.generators import DATA, SEMCONV, read_yaml, stable_json

SOURCE = SEMCONV / "config.schema.yaml"


def outputs() -> dict[Path, bytes]:
    """Return the JSON Schema of agentcost.yaml."""
    units = read_yaml(SEMCONV / "units.yaml")["units"]
    lists = {
        "#units": sorted(units),
        "#machine_units": sorted(key for key, unit in units.items() if unit["component"] == "compute"),
    }
    return {DATA / "agentcost.schema.json": stable_json(_filled(read_yaml(SOURCE), lists))}


def _filled(value: Any, lists: dict[str, list[str]]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, lists) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, lists) for inner in value]
    return lists.get(value, value) if isinstance(value, str) else value
