"""P8, P9: what one price costs, warm and at first sight, beside an integer floor and genai-prices."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import _lru_cache_wrapper
from statistics import median
from time import process_time_ns, time_ns
from typing import Any

from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.usage.reading import Reading, Usage
from tests.bench.figures import Figure, Findings
from tests.bench.floors import price as floor_price
from tests.bench.rounds import Case, Form, alternate

INPUT, CACHED, OUTPUT = 1843, 1024, 412
MODEL = "gpt-4o-2024-08-06"


def reading_of(provider: str, model: str) -> Reading:
    """The usage of every comparison, of one model."""
    usage = Usage(input_tokens=INPUT, cache_read_tokens=CACHED, output_tokens=OUTPUT)
    return Reading(kind="call", usage=usage, provider=provider, model=model, request_model=model)


def ours(book: PriceBook) -> Callable[[int], None]:
    """Price the same reading so many times."""
    reading = reading_of("openai", MODEL)
    now = time_ns()
    price = book.price

    def work(times: int) -> None:
        for _ in range(times):
            price(reading, at=now)

    return work


def floor(times: int) -> None:
    """The floor, so many times."""
    for _ in range(times):
        floor_price("openai", MODEL, INPUT, CACHED, OUTPUT)


def genai_prices(times: int) -> None:
    """genai-prices with the provider given, so many times."""
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    usage = TheirUsage(input_tokens=INPUT, cache_read_tokens=CACHED, output_tokens=OUTPUT)
    for _ in range(times):
        calc_price(usage, MODEL, provider_id="openai")


def measure_warm(form: Form) -> Findings:
    """P8."""
    book = PriceBook.bundled()
    own = ours(book)
    cases = {"floor": Case(floor, warm=500), "ours": Case(own, warm=500)}
    times = alternate(cases, rounds=form.rounds, operations=form.pick(20_000, 60_000))
    theirs = alternate(
        {"ours": Case(own, warm=50), "theirs": Case(genai_prices, warm=50)}, rounds=form.rounds, operations=400
    )
    row = {
        "floor ns": times.of("floor"),
        "ours ns": times.of("ours"),
        "genai-prices ns": theirs.of("theirs"),
    }
    return Findings(
        figures=[
            Figure(bar="P8", ours=times.over("ours", "floor"), peer=f"floor {row['floor ns']:.0f} ns", absolute=row),
            Figure(
                bar="P8g",
                ours=theirs.over("ours", "theirs"),
                peer=f"genai-prices {row['genai-prices ns'] / 1000:.0f} µs",
                absolute=row,
            ),
        ],
        rows={"price(), warm": row},
    )


def forget_names(book: PriceBook) -> None:
    """Empty every cache of ours that remembers names; the tables themselves stay loaded."""
    book._plans.clear()
    tables = {"load", "_bundled", "tables"}
    for thing in gc.get_objects():
        ours = isinstance(thing, _lru_cache_wrapper) and thing.__module__.startswith("otel_agentcost.")
        if ours and thing.__name__ not in tables:
            thing.cache_clear()


def catalogue_names(count: int) -> list[tuple[str, str]]:
    """Provider and model names of the shipped book, spread over the whole of it."""
    from otel_agentcost._data import load

    raw: Any = load("prices")
    names = [(p["id"], m["id"]) for p in raw["providers"] for m in p["models"]]
    step = max(1, len(names) // count)
    return names[::step][:count]


def measure_cold(form: Form) -> Findings:
    """P9: every name once, with empty caches, over the catalogue."""
    book = PriceBook.bundled()
    names = catalogue_names(form.pick(200, 600))
    now = time_ns()
    book.price(reading_of("openai", MODEL), at=now)
    ratios, own, theirs = [], [], []
    readings = [reading_of(provider, model) for provider, model in names]
    genai_prices(20)
    for place in range(form.rounds):
        first = _cold(book, readings, now) if place % 2 else 0.0
        begin = process_time_ns()
        genai_prices(300)
        warm = (process_time_ns() - begin) / 300
        first = first or _cold(book, readings, now)
        own.append(first)
        theirs.append(warm)
        ratios.append(first / warm)
    row = {"ours, first sight ns": median(own), "genai-prices, warm ns": median(theirs)}
    return Findings(
        figures=[
            Figure(bar="P9", ours=median(ratios), peer=f"genai-prices {median(theirs) / 1000:.0f} µs", absolute=row)
        ],
        rows={"price(), first sight": row},
    )


def _cold(book: PriceBook, readings: list[Reading], now: int) -> float:
    forget_names(book)
    gc.collect()
    begin = process_time_ns()
    for reading in readings:
        book.price(reading, at=now)
    return (process_time_ns() - begin) / len(readings)
