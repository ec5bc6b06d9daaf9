"""Node: what the streaming ledger remembers of one span while something may still count below it."""

from __future__ import annotations

from otel_agentcost.ledger.entry import Entry, SpanId
from otel_agentcost.ledger.rollup import Rollup
from otel_agentcost.ledger.settle import Below


class Node:
    """One span in the tree while something may still count below it.

    The defaults stand on the class, so that a span nobody charges for costs four assignments.
    """

    announced = False
    closed = False
    orphan = False
    """The parent was never heard of; figures go to the trace's first root."""
    open_below = 0
    """Local roots only: spans of theirs that have not ended."""
    open_children = 0
    """Direct children that are open or have something open below."""
    entry: Entry | None = None
    rollup: Rollup | None = None
    below: Below | None = None
    visible: list[Node] | None = None
    """Nearest calls and fees below, with nothing but plain spans between (law 3); a call shows only itself."""
    inner: list[Node] | None = None
    """For a call that ended: what was visible below it."""

    def __init__(self, span_id: SpanId, parent_id: SpanId, parent: Node | None) -> None:
        self.span_id = span_id
        self.parent_id = parent_id
        self.parent = parent
        self.root: Node = parent.root if parent is not None else self
