"""semconv/providers.yaml -> _data/providers.json: provider ids, aliases, hosts by suffix, model name rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tools.generators import DATA, SEMCONV, fail, read_yaml, stable_json

SOURCE = SEMCONV / "providers.yaml"
KINDS = ("vendor", "cloud", "gateway", "framework", "local")
NOT_RE2 = re.compile(r"\(\?[=!<]|\\[1-9]")
"""Lookaround and back references, which RE2 does not have."""


def _pattern(key: str, pattern: str) -> str:
    if NOT_RE2.search(pattern):
        raise fail(SOURCE, key, f"{pattern!r} is not RE2")
    try:
        re.compile(pattern)
    except re.error as error:
        raise fail(SOURCE, key, f"{pattern!r}: {error}") from None
    return pattern


def outputs() -> dict[Path, bytes]:
    """Return the table, checked: no alias twice, every provider named by a host or a prefix exists."""
    raw = read_yaml(SOURCE)
    providers = raw["providers"]
    aliases: dict[str, str] = {}
    for provider, facts in providers.items():
        if facts["kind"] not in KINDS:
            raise fail(SOURCE, f"providers.{provider}.kind", f"{facts['kind']!r} is none of {', '.join(KINDS)}")
        for name in [provider, *facts["aliases"]]:
            key = re.sub(r"[_ /]", "-", name.lower())
            if aliases.setdefault(key, provider) != provider:
                raise fail(SOURCE, f"providers.{provider}", f"{name!r} is also {aliases[key]}")
    hosts: dict[str, list[dict[str, Any]]] = {}
    for index, rule in enumerate(raw["hosts"]):
        key = f"hosts[{index}]"
        if rule["provider"] not in providers:
            raise fail(SOURCE, f"{key}.provider", f"unknown provider {rule['provider']!r}")
        _pattern(f"{key}.under", rule.get("under", ""))
        hosts.setdefault(rule["host"], []).append({k: v for k, v in rule.items() if k != "host"})
    names = raw["model_names"]
    for prefix, provider in names["prefixes"].items():
        if provider and provider not in providers:
            raise fail(SOURCE, f"model_names.prefixes.{prefix}", f"unknown provider {provider!r}")
    for section in ("bare", "family"):
        for index, (pattern, _) in enumerate(names[section]):
            _pattern(f"model_names.{section}[{index}]", pattern)
    table = {
        "providers": {provider: facts["kind"] for provider, facts in providers.items()},
        "aliases": aliases,
        "hosts": hosts,
        "local_ports": raw["local_ports"],
        "model_names": names,
    }
    return {DATA / "providers.json": stable_json(table)}
