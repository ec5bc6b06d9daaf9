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
from otel_agentcost.usage.quantities import (
    SIMPLE,
    TOTAL,
    complete_overlaps,
    decimal_of,
    quantity,
    settle_totals,
    usage_of,
)
from otel_agentcost.usage.reading import EMPTY, Kind, Quantity, Reading, Status, Usage, new_reading
from otel_agentcost.usage.shapes import SHAPES
from otel_agentcost.usage.tables import (
    EXCLUSIVE_VENDORS,
    MARKERS,
    NAME_PREFIXES,
    Attributes,
    Dialect,
    Gathered,
    Outcome,
    candidates,
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
        shape = SHAPES.find(scope, attributes, resource)
        if shape is not None:
            known = shape.read(name, kind, attributes)
            if known is not None:
                return known
        present = MARKERS.intersection(attributes)
    possible = candidates(present, scope)
    for dialect, rules in possible:
        for rule in rules:
            if rule.holds(name, attributes, resource):
                reading = _Span(dialect, name, kind, attributes, failed).read()
                if reading is not None and present:
                    SHAPES.learn(
                        possible,
                        dialect,
                        reading,
                        name=name,
                        kind=kind,
                        scope=scope,
                        attributes=attributes,
                        resource=resource,
                    )
                return reading
    return None


class _Span:
    """One span while it is read by its dialect."""

    __slots__ = ("attributes", "dialect", "failed", "found", "kind", "name")

    def __init__(self, dialect: Dialect, name: str, kind: str, attributes: Attributes, failed: bool) -> None:
        self.dialect = dialect
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.failed = failed
        self.found: Gathered = dialect.gather(attributes)

    def read(self) -> Reading | None:
        kind, operation = self._decide()
        if kind == "none":
            return None
        found, dialect = self.found, self.dialect
        counts, problem = self._counts(aggregate=kind == "aggregate")
        if kind == "tool":
            if not problem and not any(counts.values()):
                return self._tool()
            kind = "aggregate"  # a tool that states tokens sums up the calls inside it
        aggregate = kind == "aggregate"
        provider, model, request_model, context = self._who()
        usage, status, reason = self._usage(operation, provider, counts, problem)
        cost, currency, by_provider = self._cost() if "cost" in found.fields else (None, "USD", False)
        agent = _text(found.fields.get("agent"))
        if agent is None and aggregate:
            agent = _text(found.fields.get("aggregate_agent"))
        return new_reading(
            kind=_KINDS[kind],
            usage=usage,
            status=status,
            reason=reason,
            provider=provider,
            model=model,
            request_model=request_model,
            operation=operation or ("chat" if kind == "call" else kind),
            context=context,
            identity=() if aggregate or not found.identity else self._identity(),
            reported_cost=cost,
            reported_currency=currency,
            reported_by=("provider" if by_provider else "emitter") if cost is not None else "",
            dialect=dialect.name,
            aggregate=dialect.aggregate,
            server=dialect.server or self.kind == "server",
            tool=_text(found.fields.get("tool")) if kind != "call" else None,
            agent=agent,
        )

    # -- what it is ----------------------------------------------------------------------------------------------

    def _decide(self) -> Outcome:
        for rule in self.dialect.kinds:
            outcome = rule.decide(self.name, self.found)
            if outcome is not None:
                return outcome
        return "none", ""

    def _tool(self) -> Reading:
        name = _text(self.found.fields.get("tool"))
        if name is None:
            for prefix in self.dialect.tool_names:
                if self.name.startswith(prefix):
                    name = _text(self.name[len(prefix) :])
                    break
        return new_reading(
            kind="tool",
            usage=_ONE_TOOL_CALL,
            operation="execute_tool",
            dialect=self.dialect.name,
            tool=name,
            agent=_text(self.found.fields.get("agent")),
            server=self.dialect.server or self.kind == "server",
        )

    # -- how much ------------------------------------------------------------------------------------------------

    def _counts(self, *, aggregate: bool) -> tuple[dict[str, Quantity], str]:
        """Every count the span states, or the first problem (by unit name) with one of them."""
        stated = self.found.usage
        if aggregate and self.found.aggregate_usage:
            stated = self.found.aggregate_usage
        prefix = self.dialect.usage_prefix
        if prefix:
            own = {k[len(prefix) :]: v for k, v in self.attributes.items() if k.startswith(prefix)}
            stated = {**stated, **{unit: value for unit, value in own.items() if unit in UNITS}}
        counts: dict[str, Quantity] = {}
        problems: list[str] = []
        for unit, value in stated.items():
            number = quantity(unit, value)
            if isinstance(number, str):
                problems.append(number)
            else:
                counts[unit] = number
        return (counts, "") if not problems else ({}, min(problems))

    def _usage(
        self, operation: str, provider: str | None, counts: dict[str, Quantity], problem: str
    ) -> tuple[Usage | None, Status, str]:
        if problem:
            return None, "invalid", problem
        dialect = self.dialect
        if operation == "embeddings" and TOTAL in counts:
            counts.setdefault("input_tokens", counts[TOTAL])
        if not counts.keys() <= SIMPLE:
            told_inclusive = "inclusive_when" in self.found.fields
            settle_totals(
                counts,
                rule="inclusive" if told_inclusive else dialect.rule,
                exclusive_vendor=provider in EXCLUSIVE_VENDORS,
                output_exclusive=dialect.output_exclusive and not told_inclusive,
                additive_input=dialect.additive_input,
                additive_output=dialect.additive_output,
            )
            complete_overlaps(counts)
        for unit, value in self.found.plus.items():
            more = quantity(unit, value)
            if isinstance(more, str):
                return None, "invalid", more
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
        told = _text(self.found.fields.get("error"))
        if told is None:
            return "error"
        return f"http_{told}" if told.isascii() and told.isdigit() else f"error:{told[:64]}"

    def _cost(self) -> tuple[Decimal | None, str, bool]:
        """Money stated on the span, its currency, and whether the provider itself stated it."""
        fields = self.found.fields
        amount = decimal_of(fields["cost"])
        if amount is None or amount < 0:
            return None, "USD", False
        by_provider = "cost_by" in fields and fields["cost_by"] == self.dialect.cost_by_provider
        return amount, (_text(fields.get("currency")) or "USD").upper(), by_provider

    # -- who -----------------------------------------------------------------------------------------------------

    def _who(self) -> tuple[str | None, str | None, str | None, Mapping[str, str]]:
        """Provider, model that answered, model asked for, and what else a price depends on."""
        fields = self.found.fields
        request_model = _text(fields.get("request_model"))
        model = _text(fields.get("response_model")) or request_model
        context: dict[str, str] = {}
        if self.found.context:
            for key, value in self.found.context.items():
                text = _text(value)
                if text is not None:
                    context[key] = text
        host = _text(fields.get("host"))
        facts = None
        if host is not None:
            context["host"] = host
            facts = host_facts(host)
            if facts is not None and facts.region is not None:
                context.setdefault("region", facts.region)
        provider = canonical_provider(_text(fields.get("provider")) or self.dialect.provider_is)
        kind = provider_kind(provider)
        if kind in ("framework", ""):
            # A framework's name is not a biller's; a name nobody knows stays unless host or model know better.
            told = facts.provider if facts is not None else routed_provider(model) if model else None
            if told is not None:
                provider = told
            elif kind == "framework":
                provider = None
        return provider, model, request_model, context or EMPTY

    def _identity(self) -> tuple[str, ...]:
        """Ids of the request, strongest first, each once."""
        found = self.found.identity
        if len(found) == 1:
            only = _text(*found.values())
            return (only,) if only is not None else ()
        ids = (_text(found[rank]) for rank in sorted(found))
        return tuple(dict.fromkeys(one for one in ids if one is not None))


def _text(value: object) -> str | None:
    """Return a text or whole number as bounded text; anything else is no text."""
    if isinstance(value, str):
        return value.strip()[:_MAX_TEXT] or None
    return str(value) if type(value) is int else None
