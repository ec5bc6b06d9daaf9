"""Read the pinned genai-prices package into plain data in our form: decimal strings, RE2-safe clauses.

No step of its own; `prices.py` calls it. The package needs Python 3.11 and is a development dependency only.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from typing import Any

from tools.generators import DATA, fail

PACKAGE = "genai-prices"
_SIGNIFICANT = Context(prec=9, rounding=ROUND_HALF_EVEN)
"""Upstream feeds carry float artefacts (0.18000000000000002); nine digits keep every genuine price."""
_LOOKAHEAD = re.compile(r"^\^\(\?!(?P<banned>(?:[^()]|\([^()]*\))*)\)(?P<rest>.*)$", re.DOTALL)
_CLAUSES = {"starts_with": "starts", "ends_with": "ends", "contains": "contains", "equals": "equals"}
_WEB_SOURCE = Path("genai_prices/data.py")


def decimal_text(value: Decimal) -> str:
    """Write a price without exponent and trailing zeros, rounded to nine significant digits."""
    text = format(_SIGNIFICANT.plus(Decimal(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_upstream() -> tuple[str, list[dict[str, Any]]]:
    """Return the package's version and its providers in our form.

    Raises:
        SystemExit: the package is not installed (Python 3.10, or the `generate` group is missing).
    """
    try:
        from importlib.metadata import version

        from genai_prices.data import providers
        from genai_prices.data_units import unit_data
    except ImportError as problem:
        raise SystemExit(
            f"the price book cannot be built here: {problem}. It needs the development package {PACKAGE}, "
            "which needs Python 3.11 or newer: run `make generate` with such a Python, or leave this step out "
            "with `tools/generate.py --only STEP ...`"
        ) from None
    units = {unit["price_key"]: (key, unit["per"]) for key, unit in unit_data.items()}
    return version(PACKAGE), [_provider(provider, units) for provider in providers]


def _provider(provider: Any, units: dict[str, tuple[str, int]]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "id": provider.id,
        "models": [_model(model, units) for model in provider.models],
    }
    if provider.model_match is not None:
        result["guess"] = clause(provider.model_match)
    if provider.fallback_model_providers:
        result["fallback"] = list(provider.fallback_model_providers)
    return result


def _model(model: Any, units: dict[str, tuple[str, int]]) -> dict[str, Any]:
    result: dict[str, Any] = {"id": model.id, "match": clause(model.match)}
    if model.context_window:
        result["window"] = model.context_window
    entries = model.prices if isinstance(model.prices, list) else None
    if entries is None:
        result["prices"] = [{"rates": _rates(model.prices, units)}]
    else:
        result["prices"] = [{**_constraint(e.constraint), "rates": _rates(e.prices, units)} for e in entries]
    variants = [
        {"when": dict(v.when), **_constraint(v.constraint), "rates": _rates(v.prices, units)}
        for v in model.price_variants or ()
    ]
    if variants:
        result["variants"] = variants
    return result


def _rates(prices: Any, units: dict[str, tuple[str, int]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in vars(prices).items():
        if key.startswith("_") or value is None:
            continue
        if key not in units:
            raise fail(DATA / "prices.json", key, f"{PACKAGE} has a price key without a unit")
        unit, per = units[key]
        if isinstance(value, Decimal):
            result[unit] = decimal_text(value)
        else:
            tiers = [{"gt": tier.start, "price": decimal_text(tier.price)} for tier in value.tiers]
            result[unit] = {"price": decimal_text(value.base), "tiers": tiers}
        _check_per(unit, per)
    return result


def _check_per(unit: str, per: int) -> None:
    from otel_agentcost.usage.units import UNITS

    if unit not in UNITS or UNITS[unit].per != per:
        raise fail(DATA / "units.json", unit, f"is missing or is not priced per {per} as in {PACKAGE}")


def _constraint(constraint: Any) -> dict[str, Any]:
    if constraint is None:
        return {}
    if hasattr(constraint, "start_date"):
        return {"from": constraint.start_date.isoformat()}
    for moment in (constraint.start_time, constraint.end_time):
        if moment.utcoffset() is not None and moment.utcoffset().total_seconds():
            raise fail(DATA / "prices.json", str(moment), "a time window that is not in UTC")
    return {"windows": [[f"{constraint.start_time:%H:%M}", f"{constraint.end_time:%H:%M}"]]}


def clause(match: Any) -> dict[str, Any]:
    """Translate a match clause; a leading `(?!X)`, which RE2 lacks, becomes `not X` and the rest."""
    for theirs, ours in _CLAUSES.items():
        if hasattr(match, theirs):
            return {ours: getattr(match, theirs).lower()}
    if hasattr(match, "or_"):
        return {"or": [clause(part) for part in match.or_]}
    if hasattr(match, "and_"):
        return {"and": [clause(part) for part in match.and_]}
    return _regex(match.regex)


def _regex(pattern: str) -> dict[str, Any]:
    found = _LOOKAHEAD.match(pattern)
    if found is None:
        return {"regex": pattern}
    banned = {"not": {"regex": "^" + found["banned"]}}
    return {"and": [banned, {"regex": "^" + found["rest"]}]} if found["rest"] else banned
