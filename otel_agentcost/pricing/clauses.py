"""Match clauses: which names and which context values a price is meant for.

A clause is data both languages read: {equals|starts|ends|contains|regex: text}, {or|and: [...]}, {not: {...}}.
Texts are compared with the lower-cased name; regular expressions are RE2 and search anywhere unless anchored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Any

Test = Callable[[str], bool]


def compile_clause(clause: Mapping[str, Any]) -> Test:
    """Turn a clause into a test of a lower-cased name."""
    ((kind, value),) = clause.items()
    if kind == "equals":
        return lambda name: name == value
    if kind == "starts":
        return lambda name: name.startswith(value)
    if kind == "ends":
        return lambda name: name.endswith(value)
    if kind == "contains":
        return lambda name: value in name
    if kind == "regex":
        found = re.compile(value).search
        return lambda name: found(name) is not None
    if kind == "not":
        inner = compile_clause(value)
        return lambda name: not inner(name)
    parts = tuple(compile_clause(part) for part in value)
    if kind == "or":
        return lambda name: any(part(name) for part in parts)
    if kind == "and":
        return lambda name: all(part(name) for part in parts)
    raise ValueError(f"unknown clause {kind!r}")


def named_exactly(clause: Mapping[str, Any]) -> tuple[list[str], list[Mapping[str, Any]]]:
    """Split the alternatives of a clause into whole names, which a dictionary finds, and the rest."""
    parts = clause.get("or", [clause])
    names = [part["equals"] for part in parts if "equals" in part]
    return names, [part for part in parts if "equals" not in part]


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.lower()))


def glob_matches(pattern: str, name: str) -> bool:
    """Match a user's pattern (`*`, `?`, `[...]`, case-insensitive) against a whole name."""
    return pattern == "*" or _glob(pattern).match(name.lower()) is not None


def when_holds(when: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    """Tell whether every condition holds: a text equals the value, a list contains it, `*` is any value at all.

    A key the context does not have never holds.
    """
    for key, wanted in when.items():
        value = context.get(key)
        if value is None or value == "":
            return False
        if wanted != "*" and (value not in wanted if isinstance(wanted, (list, tuple)) else value != wanted):
            return False
    return True


def applies_to(rule: Mapping[str, Any], model_id: str) -> bool:
    """Tell whether a provider rule is meant for a model: any of `models` (or all), none of `except`."""
    models = rule.get("models")
    if models is not None and not any(compile_clause(part)(model_id) for part in models):
        return False
    return not any(compile_clause(part)(model_id) for part in rule.get("except", ()))
