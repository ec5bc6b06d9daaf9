"""`agentcost explain`: the arithmetic behind one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import click

from otel_agentcost.cli import tree
from otel_agentcost.cli.app import FINDINGS, OK, shared_options
from otel_agentcost.cli.arithmetic import bill_json, bill_lines
from otel_agentcost.cli.console import Console, count_text, money_text, table
from otel_agentcost.cli.settings import load_config, price_book
from otel_agentcost.cli.traces import read_traces
from otel_agentcost.errors import InputError
from otel_agentcost.ledger.accounting import Accounts, SpanRecord, account, entry_of
from otel_agentcost.ledger.entry import Charge
from otel_agentcost.pricing.bill import Bill
from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.pricing.money import decimal_text
from otel_agentcost.usage.reading import Reading

RECORDS = ("agentcost-runs", "agentcost-demo")
"""Where `run` and `demo` keep what they recorded; the newest is explained when no file is named."""


@click.command("explain")
@click.argument("span")
@click.argument("inputs", nargs=-1, metavar="[IN...]")
@shared_options
def command(console: Console, span: str, inputs: tuple[str, ...]) -> int:
    """Show the arithmetic of one figure: what was read, quantity x rate, which price.

    SPAN is a span id, the beginning of one, or TRACE:SPAN. IN are trace files as for `agentcost replay`; without them
    the newest record of `agentcost run` or `agentcost demo` is used. A span with others below it is explained as the
    sum of their own costs. The exit code is 1 when the figure on the span is not what the price book says.

    \b
    Examples:
      $ agentcost explain eee19b7ec3c1b173 trace.json
      $ agentcost explain eee19b7ec3c1b173 trace.json --json
      $ agentcost explain 5b8efff798038103d269b633813fc60c:eee19b7ec3c1b174 trace.json
    """
    book = price_book(load_config(console))
    traces = read_traces(inputs or (newest_record(),), console)
    for problem in traces.problems:
        console.note(f"agentcost: {problem}")
    record = find(traces.records, span)
    accounts = account(traces.records, book)
    explained = Explanation(record, traces.records, accounts, book)
    if console.as_json:
        console.document(explained.as_json())
    else:
        for line in explained.lines():
            console.line(line)
    return OK if explained.agrees else FINDINGS


def newest_record() -> str:
    """Return the trace file written last by `run` or `demo` in the current directory. Raises InputError without one."""
    found = [p for name in RECORDS for p in Path(name).rglob("*.json*") if p.is_file() and not p.name.startswith(".")]
    if not found:
        raise InputError(f"no trace file named, and none in ./{' or ./'.join(RECORDS)}; see agentcost explain --help")
    return str(max(found, key=lambda p: (p.stat().st_mtime_ns, str(p))))


def find(records: Sequence[SpanRecord], wanted: str) -> SpanRecord:
    """Find a span by id, by the beginning of its id, or by trace and span id. Raises InputError when it is not one."""
    trace_id, _, span_id = wanted.lower().rpartition(":")
    matches = [
        r for r in records if r.span_id.startswith(span_id) and (not trace_id or r.trace_id.startswith(trace_id))
    ]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise InputError(f"no span {wanted!r} among the {len(records)} spans read; `agentcost replay` lists them")
    shown = ", ".join(f"{r.trace_id}:{r.span_id} ({r.name})" for r in matches[:4])
    raise InputError(f"{wanted!r} is the beginning of {len(matches)} spans, name one: {shown}")


class Explanation:
    """Everything there is to say about the cost of one span."""

    def __init__(self, record: SpanRecord, records: Sequence[SpanRecord], accounts: Accounts, book: PriceBook) -> None:
        key = (record.trace_id, record.span_id)
        anew = entry_of(record, book, reprice="always")
        self.record = record
        self.reading: Reading | None = anew.reading
        self.charge: Charge = accounts.charges.get(key, Charge(pico=None))
        self.bill: Bill | None = self._shown_bill(self.charge.bill, anew.bill)
        self.stated = tree.own_pico(record.attributes)
        self.names = {(r.trace_id, r.span_id): r.name for r in records}
        self.below = self._below(records, accounts)
        self.subtree = sum(pico for _, _, pico in self.below) + (self.charge.pico or 0)

    @staticmethod
    def _shown_bill(charged: Bill | None, anew: Bill | None) -> Bill | None:
        """Prefer the bill that has line items: one made of a figure that stands on the span has none."""
        return charged if charged is not None and (charged.items or anew is None) else anew

    def _below(self, records: Sequence[SpanRecord], accounts: Accounts) -> list[tuple[str, str, int]]:
        """List (span id, name, own cost) of everything charged below the span, in order of time."""
        children: dict[str, list[SpanRecord]] = {}
        for r in records:
            if r.trace_id == self.record.trace_id:
                children.setdefault(r.parent_id, []).append(r)
        found: list[SpanRecord] = []
        seen = {self.record.span_id}
        waiting = list(children.get(self.record.span_id, ()))
        while waiting:
            r = waiting.pop()
            if r.span_id not in seen:
                seen.add(r.span_id)
                found.append(r)
                waiting.extend(children.get(r.span_id, ()))
        found.sort(key=lambda r: (r.start_ns, r.span_id))
        charged = ((r, accounts.charges[(r.trace_id, r.span_id)].pico) for r in found)
        return [(r.span_id, r.name, pico) for r, pico in charged if pico]

    @property
    def recomputed(self) -> int | None:
        """What the span's own evidence and the price book say it costs, if it is charged in full."""
        if self.charge.status in ("mirror", "aggregate", "remainder", "correction") or self.bill is None:
            return None
        return self.bill.total

    @property
    def agrees(self) -> bool:
        """Tell whether the figure on the span is the one its evidence gives. Nothing to compare is no disagreement."""
        if self.stated is None or self.recomputed is None:
            return True
        return self.stated == self.recomputed

    def lines(self) -> list[str]:
        """Explain in text."""
        record = self.record
        start = datetime.fromtimestamp(record.start_ns // 10**9, timezone.utc).isoformat().replace("+00:00", "Z")
        text = [
            click.style(record.name or "(no name)", bold=True),
            *table(
                [
                    ("span", f"{record.span_id} of trace {record.trace_id}"),
                    ("time", f"{start}, the price list of that moment applies"),
                    *self._evidence(),
                ]
            ),
        ]
        if self.bill is not None:
            text += ["", *bill_lines(self.bill)]
            text += [f"note    {note}" for note in self.bill.notes]
        text += ["", self._verdict()]
        if self.below:
            text += ["", *self._sum()]
        return text

    def _evidence(self) -> list[tuple[str, str]]:
        reading = self.reading
        rows = [("scope", self.record.scope or "(none)")]
        if reading is None:
            return [*rows, ("reading", "nothing about consumption that has a price stands on this span")]
        rows.append(("read as", f"{reading.kind}, dialect {reading.dialect or 'http'}"))
        if reading.status != "usage":
            rows.append(("usage", f"{reading.status} {reading.reason}".rstrip()))
        names = [name for name in (reading.provider, reading.model or reading.request_model, reading.tool) if name]
        if names:
            asked = reading.request_model
            also = f" (asked for {asked})" if asked and reading.model and asked != reading.model else ""
            rows.append(("of", " / ".join(names) + also))
        if reading.identity:
            rows.append(("request", ", ".join(reading.identity)))
        if reading.usage:
            rows.append(("usage", ", ".join(f"{unit} {count_text(q)}" for unit, q in reading.usage.items())))
        if reading.context:
            rows.append(("context", ", ".join(f"{k}={v}" for k, v in sorted(reading.context.items()))))
        if reading.reported_cost is not None:
            by = reading.reported_by or "emitter"
            rows.append(("stated", f"{reading.reported_cost} {reading.reported_currency} by the {by}"))
        return rows

    def _verdict(self) -> str:
        charge = self.charge
        words = [f"charged {money_text(charge.pico, charge.currency)}" if charge.pico is not None else "not charged"]
        if charge.status:
            words.append(charge.status + (f" ({charge.reason})" if charge.reason else ""))
        if charge.status == "mirror":
            other = charge.reason.removeprefix("mirror_of:")
            name = self.names.get((self.record.trace_id, other))
            words.append(f"the request is charged on {name or 'span'} {other}")
        if self.stated is not None:
            words.append("as the span says")
            if not self.agrees:
                # Either somebody changed the figure, or it was made of more than the span shows.
                given = money_text(self.recomputed, charge.currency)
                words.append(click.style(f"but its attributes and this price book give {given}", fg="red"))
            if self.bill is not None and self.bill.total is None:
                # The process that priced it saw more than it wrote: a quantity or name without an attribute.
                words.append("it was priced from evidence that is not among the span's attributes")
            price_id = self.record.attributes.get("agentcost.price.id")
            if price_id and (self.bill is None or price_id != self.bill.price_id):
                words.append(f"its price was {price_id}")
        return "; ".join(words)

    def _sum(self) -> list[str]:
        currency = self.charge.currency
        rows = [("", self.record.span_id, "this span itself", money_text(self.charge.pico or 0, currency))]
        rows += [("+", span_id, name, money_text(pico, currency)) for span_id, name, pico in self.below]
        rows.append(("=", "", "subtree", money_text(self.subtree, currency)))
        return table(rows, right=(3,))

    def as_json(self) -> Mapping[str, object]:
        """Explain as JSON; money as integers of 1e-12 (`pico`) and as decimal strings."""
        reading, charge = self.reading, self.charge
        return {
            "trace_id": self.record.trace_id,
            "span_id": self.record.span_id,
            "name": self.record.name,
            "reading": None
            if reading is None
            else {
                "kind": reading.kind,
                "dialect": reading.dialect,
                "status": reading.status,
                "reason": reading.reason,
                "provider": reading.provider,
                "model": reading.model,
                "request_model": reading.request_model,
                "tool": reading.tool,
                "usage": reading.usage,
                "context": reading.context,
                "identity": reading.identity,
                "reported_cost": None if reading.reported_cost is None else str(reading.reported_cost),
            },
            "bill": None if self.bill is None else bill_json(self.bill),
            "charge": {
                "pico": charge.pico,
                "amount": None if charge.pico is None else decimal_text(charge.pico),
                "currency": charge.currency,
                "status": charge.status,
                "reason": charge.reason,
                "source": charge.source,
            },
            "stated_pico": self.stated,
            "agrees": self.agrees,
            "below": [{"span_id": s, "name": n, "pico": pico} for s, n, pico in self.below],
            "subtree_pico": self.subtree,
            "subtree": decimal_text(self.subtree),
        }
