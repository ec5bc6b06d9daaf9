"""Figures about recorded reality: the corpus by API and provider, bills that providers stated, the pricing vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import yaml

from otel_agentcost.pricing.bill import Bill
from otel_agentcost.pricing.book import PriceBook
from tests import test_corpus, test_price_vectors

HERE = Path(__file__).resolve().parent
BILL_DIFFERENCES: list[dict[str, Any]] = yaml.safe_load((HERE / "bill_differences.yaml").read_text(encoding="utf-8"))
RECORDED_WITHOUT_DATE = 1_764_000_000 * 10**9
"""2025-11-24: recordings whose date header was stripped."""


def has_corpus() -> bool:
    """Tell whether the recorded exchanges are here."""
    return test_corpus.EXCHANGES.exists() and test_corpus.EXPECTED.exists()


@dataclass
class Tally:
    """What became of a group of exchanges."""

    exchanges: int = 0
    with_usage: int = 0
    equal: int = 0
    different: int = 0
    no_usage: int = 0
    not_billed: int = 0
    rest: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: str, status: str, different: bool) -> None:
        self.exchanges += 1
        if outcome == "usage":
            self.with_usage += 1
            self.equal += not different
            self.different += different
        elif status == "no_usage":
            self.no_usage += 1
        elif status == "not_billed":
            self.not_billed += 1
        else:
            self.rest[status] += 1


def tallies() -> tuple[Tally, dict[str, Tally], dict[str, Tally]]:
    """Compare every exchange with the independent reading: in all, by API, by provider."""
    exchanges, expected, ours = test_corpus.corpus()
    whole, by_api, by_provider = Tally(), dict[str, Tally](), dict[str, Tally]()
    for key, record in expected.items():
        reading = ours[key]
        different = False
        if record["outcome"] == "usage":
            wanted = test_corpus.expectation(record["usage"], exchanges[key])
            different = bool(test_corpus.differences(wanted, reading))
        groups = (
            whole,
            by_api.setdefault(exchanges[key]["api"] or "other", Tally()),
            by_provider.setdefault(exchanges[key]["provider"] or "other", Tally()),
        )
        for tally in groups:
            tally.add(record["outcome"], reading.status, different)
    return whole, by_api, by_provider


@dataclass(frozen=True)
class StatedBill:
    """One exchange whose provider states its cost: as it is charged, and as the book alone would price it."""

    key: str
    provider: str
    model: str
    stated: int
    charged: Bill
    alone: Bill


def stated_bills() -> list[StatedBill]:
    """Every exchange of the corpus with a cost in its answer."""
    exchanges, expected, ours = test_corpus.corpus()
    book = PriceBook.bundled()
    found = []
    for key, record in expected.items():
        if record["outcome"] != "usage" or record["usage"]["provider_cost_usd"] is None:
            continue
        reading = ours[key]
        wanted = test_corpus.expectation(record["usage"], exchanges[key])
        at = _moment(exchanges[key]["response_headers"])
        found.append(
            StatedBill(
                key=key,
                provider=reading.provider or "",
                model=reading.model or "",
                stated=round(wanted["cost"].scaleb(12)),
                charged=book.price(reading, at=at),
                alone=book.price(replace(reading, reported_cost=None, reported_by=""), at=at),
            )
        )
    return sorted(found, key=lambda b: b.key)


def _moment(headers: Mapping[str, str]) -> int:
    for name, value in headers.items():
        if name.lower() == "date":
            return int(parsedate_to_datetime(value).timestamp()) * 10**9
    return RECORDED_WITHOUT_DATE


def reasons_of_bills() -> dict[str, str]:
    """Why the book alone differs, by exchange."""
    return {key: entry["reason"] for entry in BILL_DIFFERENCES for key in entry["ids"]}


def pricing_vectors() -> tuple[int, dict[str, str]]:
    """How many shared pricing vectors there are, and those our own book prices otherwise, with the reason."""
    stated: dict[str, str] = yaml.safe_load((HERE / "pricing_differences.yaml").read_text(encoding="utf-8"))
    return len(test_price_vectors.shared()), stated


def lines() -> Iterator[str]:
    """Write the part of docs/accuracy.md that needs the recordings."""
    whole, by_api, by_provider = tallies()
    percent = 100 * whole.equal / whole.with_usage
    yield (
        f"{whole.exchanges} recorded exchanges, {whole.with_usage} of them with usage: {whole.equal} read as "
        f"independently read in every billed field ({percent:.2f} %), {whole.different} otherwise, each listed below. "
        f"Of the others {whole.no_usage} say `no_usage` and {whole.not_billed} `not_billed`, none says 0."
    )
    for title, groups in (("API", by_api), ("provider", by_provider)):
        yield ""
        yield f"| {title} | exchanges | with usage | equal | different | no usage | not billed | counted by us alone |"
        yield "|---|--:|--:|--:|--:|--:|--:|--:|"
        for name, tally in sorted(groups.items(), key=lambda item: (-item[1].exchanges, item[0])):
            cells = (tally.exchanges, tally.with_usage, tally.equal, tally.different, tally.no_usage, tally.not_billed)
            yield f"| {name} | " + " | ".join(str(c) for c in (*cells, sum(tally.rest.values()))) + " |"
    yield from _differences()
    yield from _bills()
    count, stated = pricing_vectors()
    if count:
        yield ""
        yield "### Pricing vectors"
        yield ""
        yield (
            f"{count} independent vectors (usage, model, day, expected total): with the prices they carry all come "
            f"out to the pico-dollar, from our own book {count - len(stated)}. The others:"
        )
        yield ""
        for key, reason in stated.items():
            yield f"- `{key}`: {reason}"


def _differences() -> Iterator[str]:
    listed = test_corpus.DIFFERENCES
    yield ""
    yield "### Every difference"
    yield ""
    yield "| exchange | what differs | who is right | why |"
    yield "|---|---|---|---|"
    for entry in listed["with_usage"]:
        fields, why = ", ".join(entry["fields"]), " ".join(entry["reason"].split())
        yield f"| `{entry['id']}` | {fields} | {entry['verdict']} | {why} |"
    for entry in listed["without_usage"]:
        yield f"| `{entry['id']}` | counted by us alone | {entry['verdict']} | {' '.join(entry['reason'].split())} |"


def _bills() -> Iterator[str]:
    bills = stated_bills()
    differ = [b for b in bills if b.alone.total != b.stated]
    reasons = reasons_of_bills()
    yield ""
    yield "### Bills that providers stated"
    yield ""
    yield (
        f"{len(bills)} answers state what they cost. All are charged that figure, with `agentcost.cost.source = "
        f"provider`. Asked without it, our own book gives the same to the pico-dollar for {len(bills) - len(differ)}; "
        "the others:"
    )
    yield ""
    yield "| exchange | model | stated USD | book alone | why |"
    yield "|---|---|--:|--:|---|"
    for bill in differ:
        alone = bill.alone.text or "none"
        status = "" if bill.alone.status == "priced" else f" ({bill.alone.status})"
        why = " ".join(reasons[bill.key].split())
        yield f"| `{bill.key}` | {bill.provider}/{bill.model} | {bill.stated / 1e12:.9f} | {alone}{status} | {why} |"
