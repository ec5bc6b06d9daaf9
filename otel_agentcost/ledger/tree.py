"""The span tree of one trace as the laws see it: parents, orphans, order. Iterative, so depth has no limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from otel_agentcost.ledger.entry import Entry, SpanId

BOUNDARIES = ("tool", "aggregate", "compute")
"""Kinds that separate a call above from other work below it; an HTTP span between client and gateway does not."""


class Tree:
    """Entries by span id with the parent each one counts below.

    A parent that was never exported makes an orphan; an orphan counts below the innermost aggregate of the trace that
    contains its time (and names the same agent, where both do). Malformed links (a span below itself) are cut.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: dict[str, Entry] = {}
        for entry in entries:
            known = self.entries.get(entry.span_id)
            if known is None or _says_more(entry, known):
                self.entries[entry.span_id] = entry
        self.parent: dict[str, str | None] = {}
        for entry in self.entries.values():
            parent = entry.parent_id if entry.parent_id in self.entries else None
            self.parent[entry.span_id] = parent if parent != entry.span_id else None
        self._cut_cycles()
        self._adopt_orphans()
        self.children: dict[str, list[str]] = {}
        self.roots: list[str] = []
        for span_id in sorted(self.entries, key=self._when):
            parent = self.parent[span_id]
            if parent is None:
                self.roots.append(span_id)
            else:
                self.children.setdefault(parent, []).append(span_id)
        self.outermost_first: list[str] = []
        self._walk()

    def _when(self, span_id: str) -> tuple[int, int, str]:
        entry = self.entries[span_id]
        return entry.start, entry.end, span_id

    def _walk(self) -> None:
        stack = list(reversed(self.roots))
        while stack:
            span_id = stack.pop()
            self.outermost_first.append(span_id)
            stack.extend(reversed(self.children.get(span_id, ())))

    def _cut_cycles(self) -> None:
        """Make the smallest span id of every cycle a root."""
        safe: set[str] = set()
        for start in sorted(self.parent):
            path: list[str] = []
            here: str | None = start
            on_path: set[str] = set()
            while here is not None and here not in safe and here not in on_path:
                path.append(here)
                on_path.add(here)
                here = self.parent[here]
            if here is not None and here in on_path:
                self.parent[min(path[path.index(here) :])] = None
            safe.update(path)

    def _adopt_orphans(self) -> None:
        orphans = [e for e in self.entries.values() if e.parent_id and self.parent[e.span_id] is None]
        aggregates = [e for e in self.entries.values() if carries_usage(e)]
        if not orphans or not aggregates:
            return
        aggregates.sort(key=lambda a: (a.end - a.start, -a.start, a.span_id))
        for orphan in sorted(orphans, key=lambda e: (e.start, -e.end, e.span_id)):
            adopter = self._adopter(orphan, aggregates)
            if adopter is not None:
                self.parent[orphan.span_id] = adopter

    def _adopter(self, orphan: Entry, aggregates: Sequence[Entry]) -> SpanId | None:
        agent = _agent(orphan)
        for candidate in aggregates:
            if candidate.start > orphan.start or candidate.end < orphan.end:
                continue
            if agent and _agent(candidate) and agent != _agent(candidate):
                continue
            if orphan.span_id not in self.path(candidate.span_id):
                return candidate.span_id
        return None

    def path(self, span_id: str) -> Iterator[str]:
        """Walk from a span up to its root, the span included."""
        here: str | None = span_id
        while here is not None:
            yield here
            here = self.parent[here]

    def innermost_first(self) -> Iterator[str]:
        """Walk so that every span comes after all spans below it."""
        return reversed(self.outermost_first)


def _agent(entry: Entry) -> str:
    return entry.agent or (entry.reading.agent or "" if entry.reading is not None else "")


def carries_usage(entry: Entry) -> bool:
    """Tell whether the entry is an aggregate that states usage or money of its own."""
    reading = entry.reading
    return (
        reading is not None
        and reading.kind == "aggregate"
        and ((reading.usage is not None and reading.status == "usage") or reading.reported_cost is not None)
    )


def _says_more(new: Entry, old: Entry) -> bool:
    """Choose between two exports of one span id, whatever their order."""
    return _weight(new) > _weight(old)


def _weight(entry: Entry) -> tuple[object, ...]:
    usage = entry.reading.billable if entry.reading is not None else {}
    total = entry.bill.total if entry.bill is not None and entry.bill.total is not None else -1
    return (
        entry.reading is not None,
        total,
        len(usage),
        entry.end,
        entry.start,
        entry.parent_id,
        entry.emitter,
        sorted((k, str(v)) for k, v in usage.items()),
    )
