"""`agentcost prices --cross-check`: our price book beside other people's lists, read as data.

For development: a difference says that one of two lists is wrong or older, never which. Known forms are litellm's
model map (found in the installed package's files, nothing of it is imported) and the `api.json` of models.dev.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from otel_agentcost.cli.app import FINDINGS, OK
from otel_agentcost.cli.console import Console, plural, table
from otel_agentcost.errors import InputError
from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.pricing.tariff import UnitRate
from otel_agentcost.usage.providers import canonical_provider
from otel_agentcost.usage.units import UNITS

MILLION = 10**6
SHOWN = 60
LITELLM_MAP = "model_prices_and_context_window_backup.json"
LITELLM_FIELDS = {
    "input_cost_per_token": "input_tokens",
    "output_cost_per_token": "output_tokens",
    "cache_read_input_token_cost": "cache_read_tokens",
    "cache_creation_input_token_cost": "cache_write_tokens",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_tokens",
    "input_cost_per_audio_token": "input_audio_tokens",
    "output_cost_per_audio_token": "output_audio_tokens",
}
"""Fields in USD per token that are one of our units at the standard tier."""
MODELS_DEV_FIELDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "input_audio": "input_audio_tokens",
    "output_audio": "output_audio_tokens",
}
"""Fields in USD per million tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What one list says about one model: USD per million, by unit."""

    provider: str
    model: str
    rates: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One unit of one model that two lists price differently."""

    source: str
    provider: str
    model: str
    unit: str
    ours: Decimal | None
    theirs: Decimal


@dataclass(slots=True)
class Comparison:
    """What became of one list."""

    source: str
    compared: int = 0
    agreeing: int = 0
    unknown: list[str] = field(default_factory=list)
    """Models of providers we know that only they have."""
    differences: list[Difference] = field(default_factory=list)


def report(console: Console, book: PriceBook, against: Sequence[str], tolerance: float, day: int) -> int:
    """Compare the book with every list that is here; 1 when a rate differs by more than `tolerance` percent."""
    sources = list(_sources(against))
    if not sources:
        raise InputError(
            "nothing to compare with: install litellm, or give a list with --against FILE (litellm's model map, or "
            "https://models.dev/api.json)"
        )
    share = Decimal(str(tolerance)) / 100
    comparisons = [compare(book, name, listed, share, day) for name, listed in sources]
    if console.as_json:
        console.document({"book": book.version, "tolerance": share, "lists": [_as_json(c) for c in comparisons]})
    else:
        for comparison in comparisons:
            _show(console, comparison)
    return FINDINGS if any(c.differences for c in comparisons) else OK


def compare(book: PriceBook, source: str, listed: Iterator[Listed], tolerance: Decimal, day: int) -> Comparison:
    """Compare every model that both know by name; guesses by family and resold list prices are left out."""
    result = Comparison(source)
    for model in listed:
        if model.provider not in book.catalogue:
            continue
        entry = book.catalogue.find(model.provider, model.model, None, day)
        if entry is None or entry.provider != model.provider or entry.resold or entry.reasons:
            result.unknown.append(f"{model.provider}/{model.model}")
            continue
        hours = [entry.tariff.standard(day, hour * 60) or {} for hour in range(24)]  # some sell cheaper at night
        rates = hours[0]
        result.compared += 1
        found = []
        for unit, theirs in model.rates.items():
            if theirs <= 0:
                continue  # 0 is how lists say that they do not know
            rate = rates.get(unit)
            if rate is None and (UNITS[unit].without_rate == "inherit" or entry.tariff.free):
                continue
            ours = _per_million(rate) if rate is not None else None
            difference = Difference(
                source=source, provider=model.provider, model=model.model, unit=unit, ours=ours, theirs=theirs
            )
            at_any_hour = any(_near(other.get(unit), theirs, tolerance) for other in hours)
            if not at_any_hour and difference not in result.differences:
                found.append(difference)
        result.differences += found
        result.agreeing += not found
    result.differences.sort(key=lambda d: (d.provider, d.model, d.unit))
    result.unknown.sort()
    return result


def _per_million(rate: UnitRate) -> Decimal:
    return Decimal(rate.price) * MILLION / rate.per


def _near(rate: UnitRate | None, theirs: Decimal, tolerance: Decimal) -> bool:
    return rate is not None and abs(_per_million(rate) - theirs) <= tolerance * theirs


def _sources(against: Sequence[str]) -> Iterator[tuple[str, Iterator[Listed]]]:
    for name in against:
        try:
            content = json.loads(Path(name).read_text(encoding="utf-8"), parse_float=Decimal)
        except (OSError, ValueError) as error:
            raise InputError(f"--against {name}: {error}") from error
        yield name, _read(name, content)
    if not against:
        path = _installed_map()
        if path is not None:
            content = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
            yield f"litellm {metadata.version('litellm')}", _litellm(content)


def _installed_map() -> Path | None:
    """Return litellm's model map as it stands on disk, without importing litellm."""
    try:
        files = metadata.files("litellm") or ()
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == LITELLM_MAP:
            path = Path(str(file.locate()))
            return path if path.exists() else None
    return None


def _read(name: str, content: object) -> Iterator[Listed]:
    """Tell the two forms apart by what stands in them."""
    if isinstance(content, Mapping):
        values = [value for value in content.values() if isinstance(value, Mapping)]
        if any(isinstance(value.get("models"), Mapping) for value in values):
            return _models_dev(content)
        if any("litellm_provider" in value for value in values):
            return _litellm(content)
    raise InputError(f"--against {name}: neither litellm's model map nor models.dev's api.json")


def _litellm(content: Mapping[str, Any]) -> Iterator[Listed]:
    for key, value in content.items():
        if not isinstance(value, Mapping) or key == "sample_spec":
            continue
        named = str(value.get("litellm_provider") or "")
        provider = canonical_provider(named) or named
        if provider.startswith("vertex_ai-"):
            provider = "google" if "gemini" in key else ""
        model = key.removeprefix(f"{named}/")
        rates = {unit: _amount(value.get(name), MILLION) for name, unit in LITELLM_FIELDS.items()}
        if "/" not in model or provider in ("openrouter", "together", "fireworks", "novita", "groq"):
            yield Listed(provider=provider, model=model, rates={u: r for u, r in rates.items() if r is not None})


def _models_dev(content: Mapping[str, Any]) -> Iterator[Listed]:
    for key, seller in content.items():
        models = seller.get("models") if isinstance(seller, Mapping) else None
        provider = canonical_provider(str(key)) or str(key)
        for model, value in (models or {}).items():
            cost = value.get("cost") if isinstance(value, Mapping) else None
            if isinstance(cost, Mapping):
                rates = {unit: _amount(cost.get(name), 1) for name, unit in MODELS_DEV_FIELDS.items()}
                yield Listed(
                    provider=provider, model=str(model), rates={u: r for u, r in rates.items() if r is not None}
                )


def _amount(value: object, per: int) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    try:
        amount = Decimal(value) * per
    except InvalidOperation:
        return None
    return amount.normalize() if amount.is_finite() else None


def _as_json(comparison: Comparison) -> dict[str, object]:
    return {
        "source": comparison.source,
        "compared": comparison.compared,
        "agreeing": comparison.agreeing,
        "only_theirs": comparison.unknown,
        "differences": [
            {
                "provider": d.provider,
                "model": d.model,
                "unit": d.unit,
                "ours": None if d.ours is None else _plain(d.ours),
                "theirs": _plain(d.theirs),
            }
            for d in comparison.differences
        ],
    }


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _show(console: Console, comparison: Comparison) -> None:
    console.line(click.style(comparison.source, bold=True))
    console.line(
        f"{plural(comparison.compared, 'model')} compared, {comparison.agreeing} agree, "
        f"{len(comparison.unknown)} only theirs; USD per 1,000,000"
    )
    rows = [
        (f"{d.provider}/{d.model}", d.unit, "none" if d.ours is None else _plain(d.ours), _plain(d.theirs))
        for d in comparison.differences[:SHOWN]
    ]
    if rows:
        for line in table(rows, head=("model", "unit", "ours", "theirs"), right=(2, 3)):
            console.line(line)
    if len(comparison.differences) > SHOWN:
        console.note(f"{len(comparison.differences)} differences, the first {SHOWN} are shown; all with --json")
