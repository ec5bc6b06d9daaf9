"""genai-prices + prices/overlay.yaml -> _data/prices.json, the price book both languages embed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from otel_agentcost.usage.units import UNITS
from tools.generators import DATA, PRICES, fail, read_yaml, stable_json
from tools.generators.upstream_prices import PACKAGE, read_upstream

OVERLAY = PRICES / "overlay.yaml"
FORMAT = "agentcost-prices/1"
ATTRIBUTION = "Derived from genai-prices, MIT, Copyright (c) Pydantic Services Inc. 2025 to present"
_NOT_RE2 = re.compile(r"\(\?(?:[=!]|<[=!]|>|P=|\()|\\[1-9]")
_LISTS = ("multipliers", "measures", "covers", "aliases")
_RULES = ("free", "guess", "fallback", "tiers", "regions", *_LISTS, "name_context")
_DOCUMENTATION = ("source", "checked")
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")


def outputs() -> dict[Path, bytes]:
    """Return the price book: imported, corrected, checked, with the sha256 of its providers."""
    overlay = read_yaml(OVERLAY)
    upstream_version, imported = read_upstream()
    left_out = overlay["leave_out"]
    providers = {p["id"]: p for p in imported if not any(fnmatchcase(p["id"], glob) for glob in left_out)}
    for provider in providers.values():
        _mark_free(provider)
    for name, rules in overlay["providers"].items():
        _apply_rules(providers.setdefault(name, {"id": name, "models": []}), name, rules)
    for correction in overlay["models"]:
        _correct(providers, correction)
    book = [_slim(provider) for provider in providers.values()]
    for provider in book:
        _check(provider)
    content = {
        "format": FORMAT,
        "version": str(overlay["version"]),
        "sha256": hashlib.sha256(stable_json(book, compact=True)).hexdigest(),
        "source": f"{PACKAGE} {upstream_version} and prices/overlay.yaml",
        "attribution": ATTRIBUTION,
        "providers": book,
    }
    return {DATA / "prices.json": stable_json(content, compact=True)}


def _mark_free(provider: dict[str, Any]) -> None:
    """A `:free` model is free; any other model without a single price is unknown to us, not free."""
    kept = []
    for model in provider["models"]:
        if not any(entry["rates"] for entry in model["prices"]):
            if model["id"].endswith(":free"):
                model = {"id": model["id"], "match": model["match"], "free": True}
            else:
                model = {"id": model["id"], "match": model["match"], "unpriced": True}
        kept.append(model)
    provider["models"] = kept


def _apply_rules(provider: dict[str, Any], name: str, rules: dict[str, Any]) -> None:
    for key, value in rules.items():
        if key == "tier_op":
            for model in provider["models"]:
                _inclusive(model)
        elif key == "not_sold":
            provider["models"] = [m for m in provider["models"] if not holds(_plain(value["models"]), m["id"])]
        elif key in _RULES:
            provider[key] = _plain(value)
        else:
            raise fail(OVERLAY, f"providers.{name}.{key}", f"is none of {', '.join((*_RULES, 'tier_op', 'not_sold'))}")
    for key in _LISTS:
        for number, rule in enumerate(rules.get(key, ())):
            _need_source(f"providers.{name}.{key}[{number}]", rule)


def _inclusive(model: dict[str, Any]) -> None:
    for rates in _all_rates(model):
        for rate in rates.values():
            if isinstance(rate, dict):
                rate["tiers"] = [{"gte": t["gt"] + 1, "price": t["price"]} for t in rate["tiers"]]


def _all_rates(model: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in (*model.get("prices", ()), *model.get("variants", ())):
        yield entry["rates"]


def _need_source(key: str, rule: dict[str, Any]) -> None:
    for field in _DOCUMENTATION:
        if not rule.get(field):
            raise fail(OVERLAY, f"{key}.{field}", "every correction states its source and the day it was checked")


def _correct(providers: dict[str, dict[str, Any]], correction: dict[str, Any]) -> None:
    key = f"models[{correction.get('id')}]"
    _need_source(key, correction)
    provider = providers.get(correction["provider"])
    if provider is None:
        raise fail(OVERLAY, key, f"no provider {correction['provider']!r}")
    if "add" in correction:
        provider["models"].insert(0, _added(_plain(correction["add"])))
        return
    wanted = correction.get("each") or {"equals": correction["model"]}
    models = [m for m in provider["models"] if holds(wanted, m["id"])]
    if "having" in correction:
        models = [m for m in models if any(correction["having"] in rates for rates in _all_rates(m))]
    if not models:
        raise fail(OVERLAY, key, "matches no model any more; the data moved, look at it again")
    for model in models:
        _correct_model(model, correction)


def _added(add: dict[str, Any]) -> dict[str, Any]:
    if "context_window" in add:
        add["window"] = add.pop("context_window")
    if "rates" in add:
        add["prices"] = [{"rates": add.pop("rates")}]
    return add


def _correct_model(model: dict[str, Any], correction: dict[str, Any]) -> None:
    if correction.get("free"):
        model.pop("unpriced", None)
        model.pop("prices", None)
        model["free"] = True
    if "prices" in correction:
        model["prices"] = _plain(correction["prices"])
    if "drop" in correction:
        for rates in _all_rates(model):
            for unit in correction["drop"]:
                rates.pop(unit, None)
    if "set" in correction:
        change = _plain(correction["set"])
        if "from" in change or "to" in change:
            model.setdefault("amend", []).append(change)
        else:
            for entry in model["prices"]:
                entry["rates"].update(_plain(change["rates"]))
    if "same_as_input" in correction:
        for rates in _all_rates(model):
            if "input_tokens" in rates:
                rates[correction["same_as_input"]] = rates["input_tokens"]
    if "variants" in correction:
        model["variants"] = [*_plain(correction["variants"]), *model.get("variants", ())]
    if "inherit" in correction:
        _state_inherited(model, correction["inherit"])


def _state_inherited(model: dict[str, Any], inherit: dict[str, Any]) -> None:
    """Write the standard rate into a variant that is known to keep it, so that it is no guess any more."""
    standard = model["prices"][-1]["rates"]
    for variant in model.get("variants", ()):
        if variant["when"] == inherit["when"]:
            for unit in inherit["units"]:
                if unit in standard:
                    variant["rates"].setdefault(unit, _plain(standard[unit]))


def holds(clause: dict[str, Any], name: str) -> bool:
    """Tell whether a clause matches a model id (the builder's own reading of the clause language)."""
    ((kind, value),) = clause.items()
    if kind in ("or", "and"):
        return (any if kind == "or" else all)(holds(part, name) for part in value)
    if kind == "not":
        return not holds(value, name)
    tests = {
        "equals": name == value,
        "starts": name.startswith(value),
        "ends": name.endswith(value),
        "contains": value in name,
    }
    return tests[kind] if kind in tests else bool(re.search(value, name))


def _plain(value: Any) -> Any:
    """Return YAML content as JSON content: days as text, no shared objects."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _slim(provider: dict[str, Any]) -> dict[str, Any]:
    """Write the frequent cases short: `match` of names only, one undated tariff; leave the sources in the overlay."""
    result = {k: v for k, v in provider.items() if k != "models"}
    for key in _LISTS:
        if key in result:
            result[key] = [{k: v for k, v in rule.items() if k not in _DOCUMENTATION} for rule in result[key]]
    result["models"] = []
    for model in provider["models"]:
        short = dict(model)
        names = _names(short["match"])
        if names == [short["id"]]:
            del short["match"]
        elif names is not None:
            short["match"] = names
        if len(short.get("prices", ())) == 1 and set(short["prices"][0]) == {"rates"}:
            short["rates"] = short.pop("prices")[0]["rates"]
        result["models"].append(short)
    return result


def _names(match: dict[str, Any]) -> list[str] | None:
    parts = match.get("or", [match])
    return [p["equals"] for p in parts] if all(set(p) == {"equals"} for p in parts) else None


def _check(provider: dict[str, Any]) -> None:
    for model in provider["models"]:
        where = f"{provider['id']}/{model['id']}"
        for pattern in _patterns(model.get("match", [])):
            if _NOT_RE2.search(pattern):
                raise fail(OVERLAY, where, f"the pattern {pattern!r} is not RE2")
        entries = [*model.get("prices", ()), *model.get("amend", ()), *model.get("variants", ())]
        entries.append({"rates": model.get("rates", {})})
        for entry in entries:
            _check_entry(where, entry)


def _check_entry(where: str, entry: dict[str, Any]) -> None:
    for bound in ("from", "to"):
        if bound in entry and not _DAY.match(entry[bound]):
            raise fail(OVERLAY, where, f"{bound}: {entry[bound]!r} is not a day")
    for unit, rate in entry["rates"].items():
        if unit not in UNITS:
            raise fail(OVERLAY, where, f"unknown unit {unit!r}")
        prices = [rate] if isinstance(rate, str) else [rate["price"], *(t["price"] for t in rate["tiers"])]
        for price in prices:
            if not isinstance(price, str) or not re.fullmatch(r"\d+(?:\.\d{1,12})?", price):
                raise fail(OVERLAY, f"{where}.{unit}", f"{price!r} is not a decimal string of at most 12 decimals")


def _patterns(match: Any) -> Iterator[str]:
    if isinstance(match, dict):
        for kind, value in match.items():
            if kind == "regex":
                yield value
            elif kind == "not":
                yield from _patterns(value)
            elif kind in ("or", "and"):
                for part in value:
                    yield from _patterns(part)
