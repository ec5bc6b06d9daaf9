"""The session tree: what each span cost itself and with everything below it, as text or JSON.

It shows what stands on the spans (`agentcost.*`), so it is the same for a live run, a replayed file and a file some
backend gave back. Own costs are exact: the double on a span holds its integer (`round(amount * 1e12)`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import click

from otel_agentcost.cli.console import count_text, money_text, plural, table
from otel_agentcost.ledger.accounting import SpanRecord
from otel_agentcost.pricing.money import PICO, decimal_text
from otel_agentcost.usage.dialects import read_http_client, read_labels, read_span
from otel_agentcost.usage.reading import Reading

NAME_WIDTH = 52
"""Longer names are cut, so that a table fits a terminal; fixed, so that output does not depend on the terminal."""

SHORT_ID = 8
"""Hex digits of a span id that are shown; enough for `agentcost explain` to find the span."""

_UNCOUNTED = ("mirror", "aggregate", "remainder", "correction")
"""Statuses of spans that stand for no request of their own."""


@dataclass(slots=True)
class Figures:
    """Totals of a span and everything below it."""

    pico: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    api_calls: int = 0
    spans: int = 0

    def add(self, other: Figures) -> None:
        """Add the figures of a child."""
        self.pico += other.pico
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.llm_calls += other.llm_calls
        self.tool_calls += other.tool_calls
        self.api_calls += other.api_calls
        self.spans += other.spans

    @property
    def calls(self) -> str:
        """Calls by kind: `3 llm, 1 tool`."""
        kinds = ((self.llm_calls, "llm"), (self.tool_calls, "tool"), (self.api_calls, "api"))
        return ", ".join(f"{count_text(n)} {kind}" for n, kind in kinds if n)

    @property
    def tokens(self) -> str:
        """Tokens in and out: `1,200 / 340`."""
        if not (self.input_tokens or self.output_tokens):
            return ""
        return f"{count_text(self.input_tokens)} / {count_text(self.output_tokens)}"


@dataclass(slots=True, kw_only=True)
class Node:
    """One span of a trace with its children in order of time."""

    record: SpanRecord
    own: int | None
    """Own cost in pico-units; None when the span claims none."""
    total: Figures
    children: list[Node] = field(default_factory=list)
    orphan: bool = False
    """Its parent is not among the spans."""

    @property
    def status(self) -> str:
        """Status and reason, as they stand on the span."""
        status = self.record.attributes.get("agentcost.cost.status")
        reason = self.record.attributes.get("agentcost.cost.reason")
        return ": ".join(str(part) for part in (status, reason) if part)

    @property
    def stated(self) -> int | None:
        """The subtree's exact total as it stands on the span itself, or None."""
        for prefix in ("agentcost.session.cost.pico", "agentcost.subtree.cost.pico"):
            pico = self.record.attributes.get(prefix)
            if isinstance(pico, int):
                return pico
        return None


@dataclass(slots=True, kw_only=True)
class Session:
    """One trace, or several that one session span encloses in time (threads): the trees and their exact total."""

    trace_id: str
    tops: list[Node]
    """Usually one; more when parents are missing or threads began traces of their own."""
    total: Figures
    currency: str
    trace_ids: list[str]

    @property
    def root(self) -> Node:
        """The root span, or the first span whose parent is missing."""
        return next((top for top in self.tops if not top.record.parent_id), self.tops[0])

    @property
    def agrees(self) -> bool:
        """Tell whether the root's stated total is the sum of the own costs of the spans shown (accounting law 1)."""
        stated = self.root.record.attributes.get("agentcost.session.cost.pico")
        return not isinstance(stated, int) or stated == self.total.pico


def own_pico(attributes: Mapping[str, object]) -> int | None:
    """Read a span's own cost as the integer its double was made from."""
    amount = attributes.get("agentcost.cost.amount")
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount - amount != 0:
        return None
    return round(amount * PICO)


def sessions(records: Iterable[SpanRecord]) -> list[Session]:
    """Build the tree of every session, in order of their first span's start."""
    by_trace: dict[str, list[SpanRecord]] = {}
    for record in records:
        by_trace.setdefault(record.trace_id, []).append(record)
    built = [_session(trace_id, spans) for trace_id, spans in by_trace.items()]
    built.sort(key=lambda s: (s.root.record.start_ns, s.trace_id))
    return _joined(built)


def _joined(built: list[Session]) -> list[Session]:
    """Put traces that began inside an explicit session of the same id below it, as the accounting does."""
    owners = {
        session_id(s.root.record): s for s in built if s.root.record.attributes.get("agentcost.kind") == "session"
    }
    result = []
    for session in built:
        owner = owners.get(session_id(session.root.record)) if session_id(session.root.record) else None
        if owner is None or owner is session or not _encloses(owner.root.record, session.root.record):
            result.append(session)
            continue
        owner.tops.extend(session.tops)
        owner.trace_ids.append(session.trace_id)
        owner.total.add(session.total)
    return result


def session_id(record: SpanRecord) -> str:
    """The conversation a span belongs to, or nothing."""
    labels = read_labels(record.attributes, record.resource)
    return labels.get("session.id") or labels.get("gen_ai.conversation.id") or ""


def _encloses(outer: SpanRecord, inner: SpanRecord) -> bool:
    return not inner.parent_id and outer.start_ns <= inner.start_ns <= outer.end_ns


def _session(trace_id: str, records: Sequence[SpanRecord]) -> Session:
    nodes = {r.span_id: _node(r) for r in sorted(records, key=lambda r: (r.start_ns, r.span_id))}
    tops = _linked(nodes)
    total = Figures()
    # Children before parents without recursion: traces can be thousands of spans deep.
    order = [node for top in tops for node, _ in _walk(top)]
    for node in reversed(order):
        for child in node.children:
            node.total.add(child.total)
    for top in tops:
        total.add(top.total)
    for node in order:
        _prefer_stated(node)
    currency = next((str(r.attributes[_CURRENCY]) for r in records if r.attributes.get(_CURRENCY)), "USD")
    return Session(trace_id=trace_id, tops=tops, total=total, currency=currency, trace_ids=[trace_id])


_CURRENCY = "agentcost.cost.currency"


def _linked(nodes: Mapping[str, Node]) -> list[Node]:
    """Hang every node under its parent and return those without one; a circle, in damaged input, is cut open."""
    tops: list[Node] = []
    for node in nodes.values():
        parent = nodes.get(node.record.parent_id)
        if parent is None or parent is node:
            node.orphan = bool(node.record.parent_id)
            tops.append(node)
        else:
            parent.children.append(node)
    reached = {n.record.span_id for top in tops for n, _ in _walk(top)}
    for span_id, node in nodes.items():
        if span_id not in reached:
            nodes[node.record.parent_id].children.remove(node)
            node.orphan = True
            tops.append(node)
            reached.update(n.record.span_id for n, _ in _walk(node))
    return tops


def _node(record: SpanRecord) -> Node:
    own = own_pico(record.attributes)
    total = Figures(pico=own or 0, spans=1)
    status = record.attributes.get("agentcost.cost.status")
    reading = reading_of(record) if status not in _UNCOUNTED else None
    if reading is not None and reading.kind == "tool":
        total.tool_calls = 1  # also a tool nobody charges for was called
    elif reading is not None and (own is not None or status is not None):
        total.input_tokens = reading.billable.input_tokens
        total.output_tokens = reading.billable.output_tokens
        total.llm_calls = int(reading.kind == "call")
        total.api_calls = int(reading.kind == "api")
    return Node(record=record, own=own, total=total)


def reading_of(record: SpanRecord) -> Reading | None:
    """Read what a span tells about consumption: its dialect's usage, or the HTTP request it is."""
    reading = read_span(
        name=record.name,
        kind=record.kind,
        scope=record.scope,
        attributes=record.attributes,
        resource=record.resource,
        failed=record.failed,
    )
    if reading is None and record.kind == "client":
        return read_http_client(record.attributes)
    return reading


def _prefer_stated(node: Node) -> None:
    """Take tokens and calls from the span's own rollup where it carries one: it knows what attributes do not show."""
    for prefix in ("agentcost.session.", "agentcost.subtree."):
        if f"{prefix}cost.pico" not in node.record.attributes:
            continue
        for name, attribute in (
            ("input_tokens", "tokens.input"),
            ("output_tokens", "tokens.output"),
            ("llm_calls", "calls.llm"),
            ("tool_calls", "calls.tool"),
            ("api_calls", "calls.api"),
        ):
            value = node.record.attributes.get(prefix + attribute)
            setattr(node.total, name, value if isinstance(value, int) else 0)
        return


def _walk(top: Node) -> Iterator[tuple[Node, int]]:
    """Yield (node, depth), parents first."""
    waiting = [(top, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in reversed(node.children))


def lines(session: Session, *, everything: bool = False) -> list[str]:
    """Lay a session out as a tree with own cost, subtree cost, tokens and calls.

    Spans without cost and without anything charged below them are left out and counted, unless `everything`.
    """
    rows: list[tuple[str, ...]] = []
    hidden = 0
    for top in session.tops:
        shown = _visible(top, everything)
        hidden += top.total.spans - len(shown)
        for branch, node in _branches(top, shown):
            label = _label(node)
            if len(branch) + len(label) > NAME_WIDTH:
                label = label[: max(8, NAME_WIDTH - len(branch) - 1)] + "…"
            own = money_text(node.own, session.currency) if node.own is not None else ""
            if node.status.startswith("mirror"):
                own = "mirror"
            rows.append(
                (
                    branch + (click.style(label, fg="red") if node.record.failed else label),
                    own,
                    money_text(node.total.pico, session.currency) if node.children else "",
                    node.total.tokens,
                    node.total.calls,
                    node.record.span_id[:SHORT_ID],
                    "" if not node.status or own == "mirror" else click.style(node.status, fg="yellow"),
                )
            )
    head = ("", "own", "subtree", "tokens in / out", "calls", "span", "")
    text = [heading(session), *table(rows, head=head, right=(1, 2, 3))]
    if hidden:
        text.append(click.style(f"({plural(hidden, 'span')} without cost not shown)", dim=True))
    if not session.agrees:
        stated = session.root.record.attributes["agentcost.session.cost.pico"]
        text.append(
            click.style(
                f"the root says {decimal_text(int(str(stated)))}, the spans in this file add up to "
                f"{decimal_text(session.total.pico)}",
                fg="red",
            )
        )
    return text


def total_line(several: Sequence[Session]) -> str:
    """One line: what several sessions cost together, by currency."""
    totals: dict[str, int] = {}
    for session in several:
        totals[session.currency] = totals.get(session.currency, 0) + session.total.pico
    amounts = " + ".join(money_text(pico, currency) for currency, pico in totals.items())
    return f"{amounts}  in {plural(len(several), 'session')}"


def heading(session: Session) -> str:
    """One line: total, name, trace, and what is not known."""
    root = session.root.record
    attributes = root.attributes
    words = [click.style(money_text(session.total.pico, session.currency), bold=True), _label(session.root)]
    label = session_id(root)
    if label:
        words.append(f"session {label}")
    words.append("trace " + ", ".join(session.trace_ids))
    if attributes.get("agentcost.session.driver"):
        words.append(f"driver {attributes['agentcost.session.driver']}")
    if attributes.get("agentcost.session.unpriced"):
        words.append(click.style(f"{attributes['agentcost.session.unpriced']} unpriced", fg="yellow"))
    if attributes.get("agentcost.session.complete") is False:
        words.append(click.style("incomplete", fg="yellow"))
    return "  ".join(words)


def _label(node: Node) -> str:
    record = node.record
    name = record.name or "(no name)"
    if record.kind == "client" and name.isupper() and node.own is not None:
        # `GET` alone says little about what was paid for.
        reading = read_http_client(record.attributes)
        if reading is not None:
            name = f"{name} {reading.context.get('host', '')}{reading.context.get('path', '')}".rstrip()
    elif name == "charge" and record.attributes.get("agentcost.step.name"):
        name = f"charge {record.attributes['agentcost.step.name']}"
    marks = [mark for mark, there in (("failed", record.failed), ("parent missing", node.orphan)) if there]
    return f"{name} ({', '.join(marks)})" if marks else name


def _visible(top: Node, everything: bool) -> set[int]:
    """Choose the spans to show: those that cost something or say why not, the tops, and everything above them."""
    order = [node for node, _ in _walk(top)]
    shown = {id(top)}
    for node in reversed(order):
        if (
            everything
            or node.own is not None
            or node.status
            or node.stated is not None
            or any(id(child) in shown for child in node.children)
        ):
            shown.add(id(node))
    return shown


def _branches(top: Node, shown: set[int]) -> Iterator[tuple[str, Node]]:
    """Yield (branch drawing, node) for the visible nodes, parents first."""
    waiting: list[tuple[Node, str, str]] = [(top, "", "")]
    while waiting:
        node, branch, below = waiting.pop()
        yield branch, node
        children = [child for child in node.children if id(child) in shown]
        for i, child in reversed(list(enumerate(children))):
            last = i == len(children) - 1
            waiting.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))


def as_json(session: Session) -> dict[str, object]:
    """Describe a session as JSON: exact amounts as integers (`pico`) and decimal strings, spans in tree order."""
    root = session.root.record
    rollup = {
        key.removeprefix("agentcost.session."): value
        for key, value in root.attributes.items()
        if key.startswith("agentcost.session.")
    }
    return {
        "trace_id": session.trace_id,
        "root_span_id": root.span_id,
        "name": root.name,
        "trace_ids": session.trace_ids,
        "session_id": session_id(root) or None,
        "total": decimal_text(session.total.pico),
        "pico": session.total.pico,
        "currency": session.currency,
        "agrees": session.agrees,
        "session": rollup,
        "spans": [_span_json(node, depth) for top in session.tops for node, depth in _walk(top)],
    }


def _span_json(node: Node, depth: int) -> dict[str, object]:
    attributes = node.record.attributes
    return {
        "span_id": node.record.span_id,
        "parent_id": node.record.parent_id or None,
        "depth": depth,
        "name": node.record.name,
        "failed": node.record.failed,
        "own_pico": node.own,
        "own": None if node.own is None else decimal_text(node.own),
        "status": attributes.get("agentcost.cost.status"),
        "reason": attributes.get("agentcost.cost.reason"),
        "price_id": attributes.get("agentcost.price.id"),
        "subtree_pico": node.total.pico,
        "subtree": decimal_text(node.total.pico),
        "tokens": {"input": node.total.input_tokens, "output": node.total.output_tokens},
        "calls": {"llm": node.total.llm_calls, "tool": node.total.tool_calls, "api": node.total.api_calls},
    }
