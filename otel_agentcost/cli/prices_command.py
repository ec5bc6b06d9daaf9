"""`agentcost prices`: what the price book says, and how fresh it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

import click

from otel_agentcost._data import load
from otel_agentcost.cli.app import FINDINGS, OK, shared_options
from otel_agentcost.cli.arithmetic import rate_text
from otel_agentcost.cli.console import Console, count_text, table
from otel_agentcost.cli.cross_check import report
from otel_agentcost.cli.settings import load_config, price_book
from otel_agentcost.errors import InputError
from otel_agentcost.pricing.bill import LineItem
from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.pricing.tariff import Entry, UnitRate
from otel_agentcost.usage.providers import canonical_provider
from otel_agentcost.usage.reading import Reading, Usage
from otel_agentcost.usage.units import UNITS

DAY_NS = 86_400 * 10**9
SHOWN_MATCHES = 40


@click.command("prices")
@click.argument("query", required=False)
@click.option("--provider", "-p", help="Only this provider's models.")
@click.option("--at", "day", help="The price list of a day, e.g. 2026-11-21. Default: today.")
@click.option("--list", "listing", is_flag=True, help="List all models (of --provider).")
@click.option("--fees", is_flag=True, help="List what tools and HTTP APIs charge.")
@click.option("--machines", is_flag=True, help="List what machines cost.")
@click.option("--units", is_flag=True, help="List the billable units.")
@click.option("--cross-check", is_flag=True, help="Compare the book with litellm's model map, or with --against.")
@click.option(
    "--against", multiple=True, metavar="FILE", help="A list to compare with: litellm's or models.dev's JSON."
)
@click.option("--tolerance", default=1.0, show_default=True, help="Percent by which a rate may differ.")
@shared_options
def command(
    console: Console,
    query: str | None,
    provider: str | None,
    day: str | None,
    listing: bool,
    fees: bool,
    machines: bool,
    units: bool,
    cross_check: bool,
    against: tuple[str, ...],
    tolerance: float,
) -> int:
    """Look a model up in the price book, list it, or see how fresh it is.

    Without anything: version, age and size of the book. With QUERY: every rate of that model on a day, your own prices
    and discounts included, or the models whose name contains it. The exit code is 1 when nothing is found, or when a
    cross-check finds a rate that differs.

    \b
    Examples:
      $ agentcost prices
      $ agentcost prices gpt-4o
      $ agentcost prices claude-sonnet-4-5 --provider anthropic --at 2026-11-21 --json
      $ agentcost prices --list --provider mistral
      $ agentcost prices --fees
      $ agentcost prices --machines
      $ agentcost prices --units
    """
    book = price_book(load_config(console))
    moment = _day(day)
    if units:
        return _units(console)
    if cross_check or against:
        return report(console, book, against, tolerance, moment)
    if fees or machines:
        return _rules(console, "fees" if fees else "compute")
    known = canonical_provider(provider)
    if known is not None and known not in book.catalogue:
        raise InputError(
            f"--provider: no {provider!r} in the price book; known: {', '.join(book.catalogue.providers())}"
        )
    if query is not None:
        return _look_up(console, book, query, known, moment)
    if listing:
        return _listing(console, [_summary(book, p, m, moment) for p, m in _models(book, known)], "")
    return _freshness(console, book)


def _day(text: str | None) -> int:
    """Read a day as its number since 1970; today without one."""
    if text is None:
        return time.time_ns() // DAY_NS
    try:
        return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError as error:
        raise InputError(f"--at: {text!r} is no day; write 2026-11-21") from error


def _freshness(console: Console, book: PriceBook) -> int:
    content = load("prices")
    models = sum(1 for _ in _models(book, None))
    try:
        age = (datetime.now(timezone.utc).date() - date.fromisoformat(book.version[:10])).days
    except ValueError:
        age = None
    facts: dict[str, object] = {
        "version": book.version,
        "age_days": age,
        "sha256": content.get("sha256"),
        "source": content.get("source"),
        "providers": len(book.catalogue.providers()),
        "models": models,
        "fees": len(load("fees")["fees"]),
        "machines": len(load("compute")["compute"]),
        "currency": book.currency,
        "own_prices": len(book.overrides.prices),
        "own_discounts": len(book.overrides.discounts),
        "attribution": content.get("attribution"),
    }
    if console.as_json:
        console.document(facts)
        return OK
    for line in table([(key.replace("_", " "), str(value)) for key, value in facts.items() if value is not None]):
        console.line(line)
    return OK


def _models(book: PriceBook, provider: str | None) -> Iterator[tuple[str, str]]:
    for seller in (provider,) if provider else book.catalogue.providers():
        for model in book.catalogue.models(seller):
            yield seller, model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """One model in a list."""

    provider: str
    id: str
    rates: Mapping[str, UnitRate]
    window: int | None
    free: bool


def _summary(book: PriceBook, provider: str, model: str, day: int) -> _Model:
    found = book.catalogue.find(provider, model, None, day)
    tariff = found.tariff if found is not None else None
    rates = (tariff.standard(day, 0) or {}) if tariff is not None else {}
    return _Model(
        provider=provider,
        id=model,
        rates=rates,
        window=tariff.window if tariff is not None else None,
        free=tariff is not None and tariff.free,
    )


def _listing(console: Console, models: list[_Model], query: str) -> int:
    if console.as_json:
        console.document(
            [
                {
                    "provider": m.provider,
                    "model": m.id,
                    "window": m.window,
                    "free": m.free,
                    "rates": {unit: _rate_json(rate) for unit, rate in m.rates.items()},
                }
                for m in models
            ]
        )
        return OK if models else FINDINGS
    if not models:
        console.note(f"agentcost: no model with {query!r} in its name")
        return FINDINGS
    rows = []
    for m in models:
        prices = ["free" if m.free else _short(m.rates.get(unit)) for unit in _LISTED]
        rows.append((m.provider, m.id, *prices, count_text(m.window) if m.window else ""))
    head = ("provider", "model", "input", "output", "cache read", "cache write", "window")
    for line in table(rows, head=head, right=(2, 3, 4, 5, 6)):
        console.line(line)
    console.note("USD per million tokens; `agentcost prices MODEL` shows every rate")
    return OK


_LISTED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def _short(rate: UnitRate | None) -> str:
    if rate is None:
        return ""
    return rate.price + ("*" if rate.tiers else "")


def _rate_json(rate: UnitRate) -> dict[str, object]:
    described: dict[str, object] = {"price": rate.price, "per": rate.per}
    if rate.tiers:
        described["tiers"] = [{"gte" if t.inclusive else "gt": t.threshold, "price": t.price} for t in rate.tiers]
    return described


def _look_up(console: Console, book: PriceBook, query: str, provider: str | None, day: int) -> int:
    entry = book.catalogue.find(provider, query, None, day)
    if entry is not None and not entry.reasons:
        return _model(console, book, entry, day)
    if entry is None:
        own = Reading(kind="call", provider=provider, model=query, usage=Usage(input_tokens=1))
        if book.price(own, at=day * DAY_NS).total is not None:
            console.note(f"agentcost: {query} has a price of yours, and none in the book; see agentcost price")
            return OK
    matches = [(p, m) for p, m in _models(book, provider) if query.lower() in m.lower()]
    if len(matches) > SHOWN_MATCHES:
        console.note(f"{len(matches)} models, the first {SHOWN_MATCHES} are shown; narrow with --provider")
    code = _listing(console, [_summary(book, p, m, day) for p, m in matches[:SHOWN_MATCHES]], query)
    if not matches and entry is not None:
        console.note(f"it would be priced as {entry.provider}/{entry.tariff.id} ({', '.join(entry.reasons)})")
    return code


def _model(console: Console, book: PriceBook, entry: Entry, day: int) -> int:
    tariff = entry.tariff
    rates = tariff.standard(day, 0) or {}
    effective = {unit: _effective(book, entry, unit, rate, day) for unit, rate in rates.items()}
    variants = [
        {"when": dict(v.when), "rates": {unit: _rate_json(rate) for unit, rate in v.rates.items()}}
        for v in tariff.variants
        if v.rates and v.constraint.on_day(day)
    ]
    if console.as_json:
        console.document(
            {
                "provider": entry.provider,
                "model": tariff.id,
                "book": book.version,
                "day": date.fromordinal(day + date(1970, 1, 1).toordinal()).isoformat(),
                "window": tariff.window,
                "free": tariff.free,
                "resold": entry.resold or None,
                "rates": {unit: _rate_json(rate) for unit, rate in rates.items()},
                "effective": {unit: text for unit, text in effective.items() if text},
                "variants": variants,
                "notes": list(entry.notes),
            }
        )
        return OK
    window = f", context window {count_text(tariff.window)} tokens" if tariff.window else ""
    console.line(click.style(f"{entry.provider}/{tariff.id}", bold=True) + f"  book {book.version}{window}")
    order = {unit: place for place, unit in enumerate(_LISTED)}
    ordered = sorted(rates.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
    rows = [(unit, _rate_text(rate), effective[unit]) for unit, rate in ordered]
    for line in table(rows):
        console.line(line)
    if tariff.free:
        console.line("free of charge")
    elif not rates:
        console.line("no price on this day")
    for variant in variants:
        console.line("when " + ", ".join(f"{k}={v}" for k, v in variant["when"].items()))
        for unit, described in variant["rates"].items():
            console.line(f"  {unit}  ${described['price']} / {count_text(described['per'])}")
    for note in entry.notes:
        console.line(f"note  {note}")
    return OK


def _rate_text(rate: UnitRate) -> str:
    text = f"${rate.price} / {count_text(rate.per)}"
    for tier in rate.tiers:
        text += f", {'from' if tier.inclusive else 'above'} {count_text(tier.threshold)}: ${tier.price}"
    return text


def _effective(book: PriceBook, entry: Entry, unit: str, rate: UnitRate, day: int) -> str:
    """Say what one block costs with the user's own prices and discounts, where that differs from the list."""
    if not book.overrides:
        return ""
    usage = Usage({unit: rate.per})
    reading = Reading(kind="call", provider=entry.provider, model=entry.tariff.id, usage=usage)
    bill = book.price(reading, at=day * DAY_NS)
    yours: list[LineItem] = [i for i in bill.items if i.unit == unit]
    if not yours or (yours[0].rate.price == rate.price and yours[0].rate.factor_num == yours[0].rate.factor_den):
        return ""
    return f"yours: {rate_text(yours[0], bill.currency).removeprefix('x ')}"


def _rules(console: Console, name: str) -> int:
    content: Mapping[str, Any] = load(name)
    rules: list[Mapping[str, Any]] = content[name]
    if console.as_json:
        console.document({"version": content.get("version"), name: rules})
        return OK
    rows = []
    for rule in rules:
        where = " ".join(str(rule[key]) for key in _CONDITIONS if rule.get(key))
        rows.append((str(rule["id"]), where, _rule_price(rule)))
    for line in table(rows, head=("rule", "for", "price in USD")):
        console.line(line)
    return OK


_CONDITIONS = ("tool", "method", "host", "path", "provider", "machine", "gpu", "region")


def _rule_price(rule: Mapping[str, Any]) -> str:
    if rule.get("free"):
        return "free"
    words = []
    for key in ("per_call", "per_unit", "per_megabyte"):
        value = rule.get(key)
        if value is not None:
            price, per = (value["price"], value.get("per", 1)) if isinstance(value, Mapping) else (value, 1)
            words.append(f"{price} {key.replace('_', ' ')}" + (f" of {per}" if per != 1 else ""))
    for unit, value in (rule.get("rates") or {}).items():
        price, per = (value["price"], value.get("per")) if isinstance(value, Mapping) else (value, None)
        words.append(f"{price} / {count_text(per or UNITS[unit].per)} {unit}")
    if rule.get("estimated"):
        words.append("(estimated)")
    return ", ".join(words)


def _units(console: Console) -> int:
    raw: Mapping[str, Mapping[str, Any]] = load("units")["units"]
    if console.as_json:
        console.document({key: {**unit, "inside": list(UNITS[key].ancestors)} for key, unit in raw.items()})
        return OK
    rows = [
        (key, count_text(UNITS[key].per), UNITS[key].component, str(unit.get("brief", ""))) for key, unit in raw.items()
    ]
    for line in table(rows, head=("unit", "priced per", "component", ""), right=(1,)):
        console.line(line)
    return OK
