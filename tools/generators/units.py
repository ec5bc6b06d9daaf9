"""semconv/units.yaml -> _data/units.json."""

from __future__ import annotations

from pathlib import Path

from tools.generators import DATA, SEMCONV, fail, read_yaml, stable_json

SOURCE = SEMCONV / "units.yaml"
COMPONENTS = ("llm", "tool", "api", "compute")
DETAILS = ("input", "cache_read", "cache_write", "output", "reasoning", "tool", "request", "compute")
WITHOUT_RATE = ("inherit", "estimated", "partial", "free")


def outputs() -> dict[Path, bytes]:
    """Return the units, checked: known components and details, no two units with the same dimensions."""
    units = read_yaml(SOURCE)["units"]
    seen: dict[frozenset[tuple[str, str]], str] = {}
    for key, unit in units.items():
        for field, allowed in (("component", COMPONENTS), ("detail", DETAILS), ("without_rate", WITHOUT_RATE)):
            if unit[field] not in allowed:
                raise fail(SOURCE, f"units.{key}.{field}", f"{unit[field]!r} is none of {', '.join(allowed)}")
        if not isinstance(unit["per"], int) or unit["per"] < 1:
            raise fail(SOURCE, f"units.{key}.per", "must be a positive integer")
        dimensions = frozenset((name, str(value)) for name, value in unit["dimensions"].items())
        if dimensions in seen:
            raise fail(SOURCE, f"units.{key}.dimensions", f"are those of {seen[dimensions]}")
        seen[dimensions] = key
    return {DATA / "units.json": stable_json({"units": units})}
