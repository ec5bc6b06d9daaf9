"""TraceLedger: the spans of one trace as they end, each charged at once, so that the charges always add up.

A posting is what the total of the trace changes by when a span ends: its bill, 0 for a mirror, a remainder, or a
correction when the new span shows that an earlier charge was too high or low (law 8). The usual case costs a few
dictionary look-ups; relatives of a request (wrapper, twin, second record) are settled among themselves; anything
stranger settles the whole trace again. `settle()` is the judge in all three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from otel_agentcost.ledger.entry import Charge, Entry, Pricer, SpanId, charge_in_full, span_text
from otel_agentcost.ledger.node import Node
from otel_agentcost.ledger.requests import family, is_call, is_fee, is_fetch, shows_usage
from otel_agentcost.ledger.rollup import Rollup
from otel_agentcost.ledger.settle import Below, CumulativeKey, Settlement, charge_aggregate, settle
from otel_agentcost.ledger.tree import BOUNDARIES, carries_usage
from otel_agentcost.usage.reading import Usage
from otel_agentcost.usage.records import maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """What one ended span changed."""

    charge: Charge
    """What to write on the span."""
    delta: Rollup | None
    """Figures added to the trace; None when nothing changed."""
    subtree: Rollup | None
    """Totals of the span and everything that ended below it; None when there is nothing."""
    local_root: bool
    late: bool
    """The local root had been written before."""
    complete: bool
    """For a local root: every span below it had ended."""


new_posting = maker(Posting)


class TraceLedger:
    """Charges of one trace in the order spans end; bounded by `max_entries` records of charged spans."""

    def __init__(self, price: Pricer, *, max_entries: int = 2048) -> None:
        self._price = price
        self._max_entries = max_entries
        self._nodes: dict[str, Node] = {}
        self._posted: dict[str, Node] = {}
        self._by_identity: dict[str, list[Node]] = {}
        self._siblings: dict[tuple[str, str], list[Node]] = {}
        self._main: Node | None = None
        self._waiting: dict[str, list[Node]] = {}
        """Spans that ended before anything was heard of their parent, by parent."""
        self._tangled = False
        self._has_aggregates = False
        self._has_orphans = False
        self._circular = False
        """Malformed links: where the circle is cut depends on all of it."""
        self.lifetime: dict[CumulativeKey, Usage] = {}
        """Last lifetime totals of the session's earlier traces."""
        self.latest: Mapping[CumulativeKey, Usage] = {}
        """The same with what this trace added, where it has such totals."""
        self.total = Rollup()
        self.folded = 0
        """Records dropped to stay within the bound; their money stays in the totals."""
        self.open_roots = 0

    @property
    def open_spans(self) -> int:
        """Spans that started and have not ended."""
        return len(self._nodes)

    def start(self, span_id: SpanId, parent_id: SpanId, *, remote_parent: bool = False) -> None:
        """Note that a span started; its parent must have been noted before, or is remote, or unknown."""
        parent = None
        orphan = False
        if parent_id:
            parent = None if remote_parent else self._find(parent_id)
            if parent is None:
                orphan = self._has_orphans = True
                if not remote_parent:
                    parent = self._main  # its parent ended without a trace of cost; count it below the first root
        node = Node(span_id, parent_id, parent)
        node.announced = True
        if orphan:
            node.orphan = True
        if self._main is None:
            self._main = node
        self._nodes[span_id] = node
        if parent is None:
            self.open_roots += 1
        else:
            node.root.open_below += 1
            parent.open_children += 1

    def end_plain(self, span_id: SpanId) -> bool:
        """End a span that nobody charges for and that has nothing below it; False when it needs a posting."""
        node = self._nodes.get(span_id)
        if node is None or node.parent is None or node.orphan or node.open_children:
            return False
        if node.rollup is not None or node.below is not None or node.visible is not None:
            return False
        del self._nodes[span_id]
        node.closed = True
        node.root.open_below -= 1
        self._release(node)
        return True

    def _unannounced(self, entry: Entry) -> Node:
        """A span whose start nobody noted: its parent may arrive later, its children may be waiting."""
        parent = self._find(entry.parent_id) if entry.parent_id else None
        node = Node(entry.span_id, entry.parent_id, parent)
        if entry.parent_id and parent is None:
            node.orphan = True
            self._has_orphans = True
            self._waiting.setdefault(entry.parent_id, []).append(node)
        for child in self._waiting.pop(entry.span_id, ()):
            if self._is_above(child, node):
                self._circular = True
            else:
                child.parent, child.orphan = node, False
                self._lift(child, node)
        self._posted[entry.span_id] = node
        return node

    def _is_above(self, node: Node, other: Node) -> bool:
        here: Node | None = other
        while here is not None and here is not node:
            here = here.parent
        return here is node

    def _find(self, span_id: SpanId) -> Node | None:
        node = self._nodes.get(span_id)
        return node if node is not None else self._posted.get(span_id)

    def post(self, entry: Entry) -> Posting:
        """Charge one ended span; posting it again changes nothing."""
        if entry.span_id in self._posted:
            return self._again(self._posted[entry.span_id])
        node = self._nodes.pop(entry.span_id, None)
        relinked = node is not None and node.orphan
        if node is None:
            node = self._unannounced(entry)
            relinked = bool(node.below is not None or node.visible)
        elif node.parent is None:
            self.open_roots -= 1
        else:
            node.root.open_below -= 1
        late = node.parent is not None and node.root.closed
        complete = node.open_below == 0
        charge, delta = self._charge(node, entry, relinked)
        node.entry = entry
        node.closed = True
        self._release(node)
        if delta is not None:
            self._add(node, delta)
        subtree = node.rollup
        self._hand_up(node, entry)
        if entry.reading is not None:
            self._keep(node, entry)
        return new_posting(
            charge=charge,
            delta=delta,
            subtree=subtree,
            local_root=node.parent is None,
            late=late,
            complete=complete,
        )

    def _release(self, node: Node) -> None:
        """Tell the spans above that nothing below this one is open any more."""
        here: Node | None = node
        while here is not None and here.closed and here.open_children == 0:
            here = here.parent
            if here is not None and node.announced:
                here.open_children -= 1

    def _again(self, node: Node) -> Posting:
        return Posting(
            charge=Charge(pico=0, status="mirror", reason=f"mirror_of:{span_text(node.span_id)}"),
            delta=None,
            subtree=None,
            local_root=False,
            late=False,
            complete=True,
        )

    def merge(self, entries: Iterable[Entry]) -> None:
        """Take in the records of another ledger of the same trace."""
        for entry in sorted(entries, key=lambda e: (e.end, e.start, e.span_id)):
            self.post(entry)

    def entries(self) -> list[Entry]:
        """The records kept, with the plain spans that connect them."""
        return self._closure(self._posted.values())

    def settlement(self) -> Settlement:
        """Settle everything kept, as if all of it had arrived at once."""
        return settle(self.entries(), self._price, lifetime=self.lifetime)

    # -- the three ways to charge -------------------------------------------------------------------------------

    def _charge(self, node: Node, entry: Entry, relinked: bool) -> tuple[Charge, Rollup | None]:
        reading = entry.reading
        if carries_usage(entry):
            self._has_aggregates = True
        if self._circular or (relinked and (self._has_aggregates or self._is_below_written(node))):
            return self._charge_in_trace(node, entry)
        if reading is None:
            return Charge(pico=None), None
        if carries_usage(entry):
            return self._charge_aggregate(node, entry)
        if reading.kind == "call" or is_fee(entry):
            return self._charge_among(node, entry, self._relatives(node, entry))
        if reading.kind in BOUNDARIES and (node.open_children or self._is_below_written(node)):
            return self._charge_in_trace(node, entry)  # it separates what was seen together while it was open
        return self._simply(entry, charge_in_full(entry))

    def _simply(self, entry: Entry, charge: Charge) -> tuple[Charge, Rollup | None]:
        delta = Rollup()
        delta.include(entry, charge)
        return charge, (None if delta.empty else delta)

    def _relatives(self, node: Node, entry: Entry) -> list[Node]:
        """Everything posted that may show the same request or fee as this record, or as one of those, and so on."""
        call = is_call(entry)
        found: dict[str, Node] = {}
        queue: list[tuple[Entry, list[Node] | None]] = [(entry, node.visible)]
        while queue:
            here, inner = queue.pop()
            near = list(inner or ())
            reading = here.reading
            assert reading is not None
            mates = [n for name in reading.identity for n in self._by_identity.get(name, ())]
            if call and any(n not in near and n.span_id not in found for n in mates):
                self._tangled = True  # charged in one place, shown in another
            near.extend(mates)
            if call:
                siblings = self._siblings.get((here.parent_id, family(reading)), ())
                if any(n.entry is not None and n.entry.emitter != here.emitter for n in siblings):
                    near.extend(siblings)
            for other in near:
                known = other.entry
                if known is None or other.span_id in found or other.span_id == entry.span_id:
                    continue
                if is_call(known) == call:
                    found[other.span_id] = other
                    queue.append((known, other.inner))
        self._tangled = self._tangled or (call and bool(found) and _is_intricate(entry, found.values()))
        return list(found.values())

    def _charge_among(self, node: Node, entry: Entry, relatives: list[Node]) -> tuple[Charge, Rollup | None]:
        """Settle a request among its relatives only, when nothing above any of them has been written yet."""
        if node.open_children or self._is_below_written(node):
            return self._charge_in_trace(node, entry)
        if not relatives and not is_fetch(entry):
            return self._simply(entry, charge_in_full(entry))
        if any(r.open_children or self._is_below_written(r, inside=node) for r in relatives):
            return self._charge_in_trace(node, entry)
        return self._difference(self._closure(relatives), node, entry)

    def _charge_in_trace(self, node: Node, entry: Entry) -> tuple[Charge, Rollup | None]:
        self._tangled = True
        return self._difference(self.entries(), node, entry)

    def _difference(self, known: list[Entry], node: Node, entry: Entry) -> tuple[Charge, Rollup | None]:
        everything = {e.span_id: e for e in (*known, *self._closure([node]))}
        if not node.announced:  # until now nobody knew of this span, so nothing could count below it
            del everything[entry.span_id]
        known = list(everything.values())
        before = settle(known, self._price, lifetime=self.lifetime)
        everything[entry.span_id] = entry
        after = settle(everything.values(), self._price, lifetime=self.lifetime)
        if after.lifetime != self.lifetime:
            self.latest = after.lifetime
        delta = _rollup(everything.values(), after).minus(_rollup(known, before))
        own = after.charges[entry.span_id]
        if delta.total == (own.pico or 0):
            return own, delta
        changed = sorted(i for i, c in before.charges.items() if (c.pico or 0) != (after.charges[i].pico or 0))
        return (
            replace(
                own, pico=delta.total, status="correction", reason="correction_of:" + ",".join(map(span_text, changed))
            ),
            delta,
        )

    def _charge_aggregate(self, node: Node, entry: Entry) -> tuple[Charge, Rollup | None]:
        assert entry.reading is not None
        cumulative = entry.reading.aggregate == "cumulative"
        awkward = self._tangled or cumulative or node.open_children or self._is_below_written(node) or self._has_orphans
        if awkward and not self.folded:
            return self._charge_in_trace(node, entry)
        sums = node.below if node.below is not None else Below()
        return self._simply(entry, charge_aggregate(entry, sums, self._price))

    def _is_below_written(self, node: Node, inside: Node | None = None) -> bool:
        """Tell whether a span above that shares the request has been written, so that it may need a correction."""
        if node.orphan and self._has_aggregates:
            return True  # an aggregate may contain it
        above = node.parent
        while above is not None and above is not inside:
            if above.closed and above.entry is not None and _may_be_corrected(above.entry):
                return True
            if above.closed and above.orphan and self._has_aggregates:
                return True
            above = above.parent
        return False

    # -- keeping ------------------------------------------------------------------------------------------------

    def _keep(self, node: Node, entry: Entry) -> None:
        self._posted[node.span_id] = node
        reading = entry.reading
        assert reading is not None
        for name in reading.identity:
            self._by_identity.setdefault(name, []).append(node)
        if reading.kind == "call":
            self._siblings.setdefault((node.parent_id, family(reading)), []).append(node)
        if len(self._posted) > self._max_entries:
            self._fold()

    def _fold(self) -> None:
        """Forget the older half of the records. Totals keep their money; later relatives cannot be recognised."""
        for span_id in list(self._posted)[: self._max_entries // 2]:
            del self._posted[span_id]
            self.folded += 1
        kept = self._posted
        self._by_identity = {
            k: v for k, v in ((k, [n for n in v if n.span_id in kept]) for k, v in self._by_identity.items()) if v
        }
        self._siblings = {
            k: v for k, v in ((k, [n for n in v if n.span_id in kept]) for k, v in self._siblings.items()) if v
        }

    def _add(self, node: Node, delta: Rollup) -> None:
        """Count a change on the span, and at once on every ancestor that has been written already."""
        self.total.merge(delta)
        if node.rollup is None:
            node.rollup = delta.copy()
        else:
            node.rollup.merge(delta)
        sums = node.below
        if sums is None:
            sums = node.below = Below()
        sums.pico += delta.model
        sums.saw_usage = sums.saw_usage or bool(delta.input_tokens or delta.output_tokens)
        sums.tokens = (sums.tokens[0] + delta.input_tokens, sums.tokens[1] + delta.output_tokens)

    def _hand_up(self, node: Node, entry: Entry) -> None:
        """Give what is below a span that ended to its parent, or to the first ancestor that is still open."""
        reading = entry.reading
        if is_call(entry):
            if node.below is None:
                node.below = Below()
            assert reading is not None
            if shows_usage(entry) and not is_fetch(entry):
                node.below.saw_usage = True
                node.below.estimated = node.below.estimated or reading.estimated
                node.below.families |= {family(reading)}
            node.inner = node.visible or []
            hides = shows_usage(entry) and not is_fetch(entry)
            node.visible = [node] if hides else [node, *(node.visible or ())]
        elif reading is not None and is_fee(entry):
            node.inner = node.visible or []
            node.visible = [node] if reading.kind == "tool" else [node, *(node.visible or ())]
        elif reading is not None and reading.kind in BOUNDARIES:
            node.visible = None
        above = node.parent
        top: Node | None = None
        shows = node.visible
        while above is not None and above.closed:
            if node.rollup is not None:
                above.rollup = above.rollup or Rollup()
                above.rollup.merge(node.rollup)
            if shows and above.inner is not None:  # a written call or fee span: it learns what came late
                above.inner = above.inner + shows
                shows = None
            top, above = above, above.parent
        if above is not None:
            self._lift(node, above)
        elif top is not None:
            self._lift(node, top, figures=False)

    def _lift(self, node: Node, above: Node, *, figures: bool = True) -> None:
        """Count what is below `node`, and what it shows, as being below `above`."""
        if figures and node.rollup is not None:
            if above.rollup is None:
                above.rollup = node.rollup.copy()
            else:
                above.rollup.merge(node.rollup)
        if node.below is not None:
            if above.below is None:
                above.below = Below()
            above.below.add(node.below)
        if node.visible:
            above.visible = node.visible if above.visible is None else above.visible + node.visible
            if len(above.visible) > 256:
                above.visible = None  # nothing wraps that many calls; what is above is a plain container

    def _closure(self, nodes: Iterable[Node]) -> list[Entry]:
        """The records of these nodes and of calls below them, with the plain spans that connect them to each other."""
        result: dict[str, Entry] = {}
        seen: set[Node] = set()  # a plain span that was exported again has a second node
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.entry is not None or node.span_id not in result:
                result[node.span_id] = node.entry if node.entry is not None else _plain(node)
            stack.extend(node.inner or ())
            if node.parent is not None:
                stack.append(node.parent)
        return list(result.values())


def _may_be_corrected(entry: Entry) -> bool:
    """Tell whether what ends later below this written span can change its charge."""
    reading = entry.reading
    return reading is not None and (reading.kind == "call" or carries_usage(entry) or is_fee(entry))


def _is_intricate(entry: Entry, relatives: Iterable[Node]) -> bool:
    """Tell whether mirrors among these would blur what an aggregate above knows: other models, or guesses."""
    readings = [e.reading for e in (entry, *(n.entry for n in relatives if n.entry is not None)) if e.reading]
    return len({family(r) for r in readings}) > 1 or any(r.estimated for r in readings)


def _plain(node: Node) -> Entry:
    """A span that has not ended: it connects others, and no aggregate can be said to contain it."""
    return Entry(span_id=node.span_id, parent_id=node.parent_id, start=-1, end=-1)


def _rollup(entries: Iterable[Entry], settlement: Settlement) -> Rollup:
    total = Rollup()
    for entry in entries:
        total.include(entry, settlement.charges[entry.span_id])
    return total
