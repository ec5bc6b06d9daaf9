"""semconv/dialects/*.yaml -> _data/dialects.json: inheritance resolved, every unit and field checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.generators import DATA, SEMCONV, fail, read_yaml, stable_json

FOLDER = SEMCONV / "dialects"
LABELS = "labels.yaml"

KINDS = ("call", "aggregate", "tool", "api", "compute", "none")
LISTS = (
    "provider",
    "response_model",
    "request_model",
    "identity",
    "host",
    "tool",
    "tool_names",
    "agent",
    "aggregate_agent",
    "error",
    "inclusive_when",
    "additive_input",
    "additive_output",
)
TABLES = ("usage", "aggregate_usage", "plus", "context")
SCALARS = {
    "input": ("inclusive", "exclusive", "auto"),
    "output": ("inclusive", "exclusive"),
    "aggregate": ("sum", "cumulative", "authoritative"),
    "server": (True, False),
    "usage_prefix": None,
    "provider_is": None,
}
OTHER = ("dialect", "about", "rank", "extends", "detect", "kind", "reported_cost")
CONTEXT = (
    "service_tier",
    "request_service_tier",
    "processing",
    "speed",
    "region",
    "inference_geo",
    "search_context_size",
    "tool_version",
    "size",
    "quality",
    "machine",
)
PSEUDO_UNITS = ("total_tokens",)


def outputs() -> dict[Path, bytes]:
    """Return all dialects in the order they are tried, the labels, and the vendors with exclusive counts."""
    raw = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != LABELS:
            table = read_yaml(path)
            if table["dialect"] != path.stem:
                raise fail(path, "dialect", f"{table['dialect']!r} is not the file's name")
            raw[path.stem] = table
    units = set(read_yaml(SEMCONV / "units.yaml")["units"]) | set(PSEUDO_UNITS)
    resolved = [resolve(name, raw) for name in raw]
    for table in resolved:
        check(FOLDER / f"{table['dialect']}.yaml", table, units)
    ranks = [table["rank"] for table in resolved]
    if len(set(ranks)) != len(ranks):
        raise SystemExit("semconv/dialects: two dialects have the same rank")
    shared = read_yaml(FOLDER / LABELS)
    places = [key for keys in shared["labels"].values() for key in keys]
    for key in places:
        if places.count(key) > 1:
            raise fail(FOLDER / LABELS, key, "stands for two labels")
    result = {
        "dialects": sorted(resolved, key=lambda table: int(table["rank"])),
        "labels": shared["labels"],
        "exclusive_vendors": shared["exclusive_vendors"],
    }
    return {DATA / "dialects.json": stable_json(result)}


def resolve(name: str, raw: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Merge a dialect with the one it extends: its lists and rules go first, its scalars win."""
    table = {key: value for key, value in raw[name].items() if key not in ("about", "extends")}
    if "extends" not in raw[name]:
        return table
    above = resolve(raw[name]["extends"], raw)
    for key, value in above.items():
        if key in ("dialect", "rank", "detect"):
            continue
        if key in ("kind", *LISTS):
            mine = table.get(key, [])
            table[key] = mine + [item for item in value if item not in mine]
        elif key in TABLES:
            mine = table.setdefault(key, {})
            for unit, sources in value.items():
                own = mine.get(unit, [])
                mine[unit] = own + [source for source in sources if source not in own]
        else:
            table.setdefault(key, value)
    return table


def check(path: Path, table: dict[str, Any], units: set[str]) -> None:
    """Refuse unknown fields, units, kinds and values: a typing mistake must not silently read nothing."""
    for key, value in table.items():
        if key in SCALARS:
            allowed = SCALARS[key]
            if allowed is not None and value not in allowed:
                raise fail(path, key, f"{value!r} is none of {allowed}")
        elif key not in (*LISTS, *TABLES, *OTHER):
            raise fail(path, key, "is not a field of the table language")
    for name in ("usage", "aggregate_usage", "plus"):
        for unit in table.get(name, {}):
            if unit not in units:
                raise fail(path, f"{name}.{unit}", "is not a unit")
    for name in ("additive_input", "additive_output"):
        for unit in table.get(name, []):
            if unit not in units:
                raise fail(path, f"{name}.{unit}", "is not a unit")
    for key in table.get("context", {}):
        if key not in CONTEXT:
            raise fail(path, f"context.{key}", f"is none of {', '.join(CONTEXT)}")
    for index, rule in enumerate(table["kind"]):
        unknown = set(rule) - {"from", "values", "present", "usage", "is"}
        if unknown:
            raise fail(path, f"kind[{index}]", f"unknown: {', '.join(sorted(unknown))}")
        for outcome in [*rule.get("values", {}).values(), *([rule["is"]] if "is" in rule else [])]:
            kind = outcome[0] if isinstance(outcome, list) else outcome
            if kind not in KINDS:
                raise fail(path, f"kind[{index}]", f"{kind!r} is none of {', '.join(KINDS)}")
        for value in rule.get("values", {}):
            if value != value.lower():
                raise fail(path, f"kind[{index}].values.{value}", "must be lower-case")
    for index, rule in enumerate(table["detect"]):
        unknown = set(rule) - {"keys", "scopes", "names", "attributes", "resource"}
        if unknown or not (rule.get("keys") or rule.get("names")):
            raise fail(path, f"detect[{index}]", "needs keys or names, and nothing unknown")
