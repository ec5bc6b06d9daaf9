"""Check what was written against semconv/registry: every name of ours is registered, with its type and values.

assert findings(span.attributes) == []
assert metric_findings(metric_name, unit, attributes) == []
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from tools.generators import registry

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "double": (float,),
    "boolean": (bool,),
    "string[]": (tuple, list),
    "template[double]": (int, float),
}


@lru_cache(maxsize=1)
def _registry() -> dict[str, Any]:
    return registry.load()


def findings(attributes: Mapping[str, Any] | None) -> list[str]:
    """Say what is wrong with the `agentcost.*` attributes of one span, event or resource; foreign ones are ignored."""
    problems = []
    for key, value in (attributes or {}).items():
        if key.startswith(registry.PREFIX):
            problems += _attribute(key, value)
    return problems


def span_findings(spans: Iterable[Any]) -> list[str]:
    """Check the attributes and event names of exported spans (anything with .name, .attributes, .events)."""
    events = {event["name"] for event in _registry()["events"]}
    problems = []
    for span in spans:
        problems += [f"{span.name}: {problem}" for problem in findings(span.attributes)]
        for event in span.events:
            if event.name.startswith(registry.PREFIX) and event.name not in events:
                problems.append(f"{span.name}: unregistered event {event.name}")
            problems += [f"{span.name}: {event.name}: {problem}" for problem in findings(event.attributes)]
    return problems


def metric_findings(name: str, unit: str, attributes: Mapping[str, Any] | None = None) -> list[str]:
    """Say what is wrong with one metric: its name, unit, or an attribute it is not registered with."""
    known = {metric["name"]: metric for metric in _registry()["metrics"]}
    if name not in known:
        return [f"unregistered metric {name}"]
    metric = known[name]
    problems = [] if unit == metric["unit"] else [f"{name}: unit {unit!r} instead of {metric['unit']!r}"]
    allowed = {ref["ref"] for ref in metric["resolved"]}
    problems += [f"{name}: attribute {key} is not one of its own" for key in attributes or {} if key not in allowed]
    return problems + [f"{name}: {problem}" for problem in findings(attributes)]


def _attribute(key: str, value: Any) -> list[str]:
    known: dict[str, Any] = _registry()["known"]
    item = known.get(key)
    if item is None:
        template = known.get(key.rpartition(".")[0])
        if template is None or not str(template["type"]).startswith("template"):
            return [f"unregistered attribute {key}"]
        item = template
    if isinstance(item["type"], dict):
        members = [member["value"] for member in item["type"]["members"]]
        return [] if value in members else [f"{key}: {value!r} is none of {', '.join(members)}"]
    wanted = _PYTHON_TYPES[item["type"]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        return [f"{key}: {value!r} is not of type {item['type']}"]
    return []
