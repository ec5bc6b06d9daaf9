"""semconv/apis.yaml -> _data/apis.json: the HTTP APIs whose exchanges are read, and how their usage is counted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.generators import DATA, SEMCONV, fail, read_yaml, stable_json

SOURCE = SEMCONV / "apis.yaml"
OPERATIONS = (
    "chat", "text_completion", "embeddings", "rerank", "image", "speech", "transcription", "moderation", "video",
    "ocr", "predict", "fetch_response", "assistant_run", "batch_results",
)  # fmt: skip
KEYS = {
    "operation", "paths", "methods", "hosts", "provider", "asks", "reads", "by_provider", "unwrap", "merge", "only",
    "final", "keep", "items", "tells", "quirks", "skim", "rows", "context", "from_request", "without_usage",
}  # fmt: skip
COUNT_KEYS = {"like", "units", "lists", "when_alone", "at_least", "context", "cost", "quirks", "text_numbers"}
LOOKAROUND = re.compile(r"\(\?[=!<](?!P)|\\[1-9]")


def _counts(raw: Mapping[str, Any], units: set[str]) -> dict[str, Any]:
    """Return the counts with `like` written out, every unit checked."""
    built: dict[str, Any] = {}
    for name, table in raw.items():
        key = f"counts.{name}"
        unknown = set(table) - COUNT_KEYS
        if unknown:
            raise fail(SOURCE, key, f"unknown keys {', '.join(sorted(unknown))}")
        whole = dict(table)
        like = whole.pop("like", None)
        if like:
            if like not in built:
                raise fail(SOURCE, f"{key}.like", f"{like!r} must stand before")
            whole = {**built[like], **whole, "units": {**built[like]["units"], **whole.get("units", {})}}
        named = [*whole["units"], *whole.get("when_alone", {}).values(), *whole.get("at_least", {})]
        for entry in whole.get("lists", ()):
            named.extend(entry["units"].values())
        for unit in named:
            if unit not in units:
                raise fail(SOURCE, key, f"unknown unit {unit!r}")
        for unit, terms in whole["units"].items():
            if not all(isinstance(term, list) for term in terms):
                raise fail(SOURCE, f"{key}.units.{unit}", "must be a list of lists of paths")
        built[name] = whole
    return built


def _api(name: str, api: Mapping[str, Any], counts: Mapping[str, Any], units: set[str]) -> dict[str, Any]:
    key = f"apis.{name}"
    unknown = set(api) - KEYS
    if unknown:
        raise fail(SOURCE, key, f"unknown keys {', '.join(sorted(unknown))}")
    if api["operation"] not in OPERATIONS:
        raise fail(SOURCE, f"{key}.operation", f"{api['operation']!r} is none of {', '.join(OPERATIONS)}")
    for index, read in enumerate(api["reads"]):
        if read["counts"] not in counts:
            raise fail(SOURCE, f"{key}.reads[{index}].counts", f"unknown counts {read['counts']!r}")
    for provider, other in api.get("by_provider", {}).items():
        if other not in counts:
            raise fail(SOURCE, f"{key}.by_provider.{provider}", f"unknown counts {other!r}")
    for index, items in enumerate(api.get("items", ())):
        for unit in items["units"].values():
            if unit not in units:
                raise fail(SOURCE, f"{key}.items[{index}]", f"unknown unit {unit!r}")
    pattern = api.get("final", "")
    if LOOKAROUND.search(pattern):
        raise fail(SOURCE, f"{key}.final", f"{pattern!r} is not RE2")
    re.compile(pattern)
    return dict(api)


def outputs() -> dict[Path, bytes]:
    """Return the table, checked: units, counts and operations exist, patterns compile."""
    raw = read_yaml(SOURCE)
    units = set(read_yaml(SEMCONV / "units.yaml")["units"])
    counts = _counts(raw["counts"], units)
    apis = {name: _api(name, api, counts, units) for name, api in raw["apis"].items()}
    table = {
        "counts": counts,
        # A list, because the order of the APIs decides between paths that are equally long.
        "apis": [{"api": name, **api} for name, api in apis.items()],
        **{key: raw[key] for key in ("free", "request_context", "request_tools", "include_usage")},
    }
    return {DATA / "apis.json": stable_json(table)}
