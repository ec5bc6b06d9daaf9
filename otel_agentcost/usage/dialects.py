"""Read foreign spans: attributes in, Reading out. What to look for is data (semconv/dialects/), not code.

reading = read_span(name="chat gpt-5", kind="client", scope="...", attributes=span.attributes)
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from otel_agentcost.usage.http_spans import read_http_client
from otel_agentcost.usage.labels import Stated, read_labels, read_stated
from otel_agentcost.usage.names import routed_provider
from otel_agentcost.usage.providers import canonical_provider, host_facts, provider_kind
from otel_agentcost.usage.quantities import TOTAL, complete_overlaps, decimal_of, quantity, settle_totals, usage_of
from otel_agentcost.usage.reading import EMPTY, Kind, Quantity, Reading, Status, Usage
from otel_agentcost.usage.tables import (
    EXCLUSIVE_VENDORS,
    MARKERS,
    NAME_PREFIXES,
    Attributes,
    Dialect,
    Documents,
    Outcome,
    Sources,
    candidates,
    look,
)
from otel_agentcost.usage.units import UNITS

__all__ = ["Stated", "read_http_client", "read_labels", "read_span", "read_stated"]

_ONE_TOOL_CALL = Usage(tool_calls=1)
_MAX_TEXT = 512
_KINDS: Mapping[str, Kind] = {
    "call": "call",
    "aggregate": "aggregate",
    "tool": "tool",
    "api": "api",
    "compute": "compute",
}


def read_span(
    *,
    name: str,
    kind: str,
    scope: str,
    attributes: Attributes,
    resource: Attributes = EMPTY,
    failed: bool = False,
) -> Reading | None:
    """Return what a span tells about consumption, or None when it tells nothing.

    `kind` is internal, client, server, producer or consumer. Never raises: numbers that cannot be true come back as
    `status="invalid"` with the reason.
    """
    if MARKERS.isdisjoint(attributes):
        if not name.startswith(NAME_PREFIXES):
            return None
        present: frozenset[str] = frozenset()
    else:
        present = MARKERS.intersection(attributes)
    for dialect, rules in candidates(present, scope):
        for rule in rules:
            if rule.holds(name, attributes, resource):
                return _Span(dialect, name, kind, attributes, failed).read()
    return None


class _Span:
    """One span while it is read by its dialect."""

    __slots__ = ("attributes", "dialect", "documents", "failed", "kind", "name")

    def __init__(self, dialect: Dialect, name: str, kind: str, attributes: Attributes, failed: bool) -> None:
        self.dialect = dialect
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.failed = failed
        self.documents: Documents = {}

    def read(self) -> Reading | None:
        kind, operation = self._decide()
        if kind == "none":
            return None
        counts, problem = self._counts(aggregate=kind == "aggregate")
        if kind == "tool":
            if not any(counts.values()) and not problem:
                return self._tool(counts)
            kind = "aggregate"  # a tool that states tokens sums up the calls inside it
        provider, model, request_model, host, region = self._who()
        context = self._context(host, region)
        if kind == "compute":
            context = {**context, "machine": model} if model and "machine" not in context else context
        usage, status, reason = self._usage(kind, operation, provider, counts, problem)
        cost, currency, by_provider = self._cost()
        dialect = self.dialect
        agent = self._text(dialect.agent)
        if agent is None and kind == "aggregate":
            agent = self._text(dialect.aggregate_agent)
        return Reading(
            kind=_KINDS[kind],
            usage=usage,
            status=status,
            reason=reason,
            provider=provider,
            model=model,
            request_model=request_model,
            operation=operation or ("chat" if kind == "call" else kind),
            context=context,
            identity=() if kind == "aggregate" else self._identity(),
            reported_cost=cost,
            reported_currency=currency,
            reported_by=("provider" if by_provider else "emitter") if cost is not None else "",
            dialect=dialect.name,
            aggregate=dialect.aggregate,
            server=dialect.server or self.kind == "server",
            tool=self._text(dialect.tool) if kind in ("aggregate", "api") else None,
            agent=agent,
        )

    # -- what it is ----------------------------------------------------------------------------------------------

    def _decide(self) -> Outcome:
        for rule in self.dialect.kinds:
            found = rule.decide(self.name, self.attributes, self.documents, self._has_usage)
            if found is not None:
                return found
        return "none", ""

    def _has_usage(self) -> bool:
        dialect = self.dialect
        return any(look(self.attributes, s, self.documents) is not None for _, s in dialect.usage) or any(
            look(self.attributes, s, self.documents) is not None for _, s in dialect.aggregate_usage
        )

    def _tool(self, counts: Mapping[str, Quantity]) -> Reading:
        name = self._text(self.dialect.tool)
        if name is None:
            for prefix in self.dialect.tool_names:
                if self.name.startswith(prefix):
                    name = self.name[len(prefix) :][:_MAX_TEXT] or None
                    break
        return Reading(
            kind="tool",
            usage=_ONE_TOOL_CALL if not counts else Usage({**counts, "tool_calls": 1}),
            operation="execute_tool",
            dialect=self.dialect.name,
            tool=name,
            agent=self._text(self.dialect.agent),
            server=self.dialect.server or self.kind == "server",
        )

    # -- how much ------------------------------------------------------------------------------------------------

    def _counts(self, *, aggregate: bool) -> tuple[dict[str, Quantity], str]:
        dialect = self.dialect
        counts: dict[str, Quantity] = {}
        attributes, documents = self.attributes, self.documents
        for table in (dialect.aggregate_usage, dialect.usage) if aggregate else (dialect.usage,):
            for unit, sources in table:
                value = look(attributes, sources, documents)
                if value is None:
                    continue
                number = quantity(unit, value)
                if isinstance(number, str):
                    return {}, number
                counts[unit] = number
            if counts:
                break
        if dialect.usage_prefix:
            skip = len(dialect.usage_prefix)
            for key, value in attributes.items():
                if key.startswith(dialect.usage_prefix) and key[skip:] in UNITS:
                    number = quantity(key[skip:], value)
                    if isinstance(number, str):
                        return {}, number
                    counts[key[skip:]] = number
        return counts, ""

    def _usage(
        self, kind: str, operation: str, provider: str | None, counts: dict[str, Quantity], problem: str
    ) -> tuple[Usage | None, Status, str]:
        if problem:
            return None, "invalid", problem
        dialect = self.dialect
        if operation == "embeddings" and TOTAL in counts:
            counts.setdefault("input_tokens", counts[TOTAL])
        if len(counts) > 2 or TOTAL in counts or counts.keys() - {"input_tokens", "output_tokens"}:
            rule = dialect.rule
            if dialect.inclusive_when and look(self.attributes, dialect.inclusive_when, self.documents) is not None:
                rule = "inclusive"
            settle_totals(
                counts,
                rule=rule,
                exclusive_vendor=provider in EXCLUSIVE_VENDORS,
                output_exclusive=dialect.output_exclusive and rule != "inclusive",
                additive_input=dialect.additive_input,
                additive_output=dialect.additive_output,
            )
            complete_overlaps(counts)
        for unit, sources in dialect.plus:
            value = look(self.attributes, sources, self.documents)
            more = quantity(unit, value) if value is not None else 0
            if isinstance(more, str):
                return None, "invalid", more
            if more:
                counts[unit] = counts.get(unit, 0) + more
        if not any(counts.values()):
            if self.failed:
                return None, "error", self._error()
            return None, "no_usage", "zero_usage" if counts else "no_usage"
        usage = usage_of(counts)
        if isinstance(usage, str):
            return None, "invalid", usage
        return usage, "usage", ""

    def _error(self) -> str:
        told = look(self.attributes, self.dialect.error, self.documents)
        if isinstance(told, int) and not isinstance(told, bool):
            return f"http_{told}"
        if isinstance(told, str) and told:
            return f"http_{told}" if told.isascii() and told.isdigit() else f"error:{told[:64]}"
        return "error"

    def _cost(self) -> tuple[Decimal | None, str, bool]:
        """Money stated on the span, its currency, and whether the provider itself stated it."""
        dialect = self.dialect
        amount = decimal_of(look(self.attributes, dialect.cost, self.documents)) if dialect.cost else None
        if amount is None or amount < 0:
            return None, "USD", False
        sources, wanted = dialect.cost_by_provider
        by_provider = bool(sources) and look(self.attributes, sources, self.documents) == wanted
        return amount, (self._text(dialect.currency) or "USD").upper(), by_provider

    # -- who -----------------------------------------------------------------------------------------------------

    def _who(self) -> tuple[str | None, str | None, str | None, str | None, str | None]:
        """Provider, model that answered, model asked for, host, region of the host."""
        dialect = self.dialect
        request_model = self._text(dialect.request_model)
        model = self._text(dialect.response_model) or request_model
        host = self._text(dialect.host)
        facts = host_facts(host) if host else None
        provider = canonical_provider(self._text(dialect.provider) or dialect.provider_is)
        if provider is None or provider_kind(provider) in ("framework", ""):
            # The name of a framework is not a biller's; a name nobody knows is kept unless the host knows better.
            told = facts.provider if facts is not None else routed_provider(model) if model else None
            if told is not None:
                provider = told
            elif provider_kind(provider) == "framework":
                provider = None
        return provider, model, request_model, host, facts.region if facts is not None else None

    def _context(self, host: str | None, region: str | None) -> Mapping[str, str]:
        context: dict[str, str] = {}
        for key, sources in self.dialect.context:
            value = self._text(sources)
            if value is not None:
                context[key] = value
        if host is not None:
            context["host"] = host
        if region is not None:
            context.setdefault("region", region)
        return context or EMPTY

    def _identity(self) -> tuple[str, ...]:
        found: list[str] = []
        for source in self.dialect.identity:
            value = self._text((source,))
            if value is not None and value not in found:
                found.append(value)
        return tuple(found)

    def _text(self, sources: Sources) -> str | None:
        """The first value that is a text (or a whole number), stripped and bounded."""
        for source in sources:
            value = look(self.attributes, (source,), self.documents)
            if value is None:
                continue
            if type(value) is int:
                return str(value)
            if isinstance(value, str) and (plain := value.strip()):
                return plain[:_MAX_TEXT]
        return None
