"""Usage and Reading: what was consumed, and everything one piece of evidence tells about it.

    HTTP exchange | foreign span  ->  Reading(kind, usage, provider, model, context, identity, ...)

Usage is stored as *inclusive totals with subsets*: `input_tokens` holds all input, `cache_read_tokens` the part of
it that came from a cache. `leaves()` turns that into *exclusive* quantities, the only thing that is ever priced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

from otel_agentcost.usage.records import maker
from otel_agentcost.usage.units import UNITS, exclusive_order, specific_first

Quantity = int | Decimal
"""A count, or a measured amount with at most nine decimals (seconds, megabytes). Never a float."""

Kind = Literal["call", "aggregate", "tool", "api", "compute"]
AggregateMode = Literal["sum", "cumulative", "authoritative"]
Status = Literal["usage", "no_usage", "error", "invalid", "not_billed"]

MAX_QUANTITY = 2**53
_ONE_SIDED = frozenset({"embeddings", "rerank", "moderation", "transcription", "retrieval", "charge"})
"""Operations that have no output tokens to report."""
EMPTY: Mapping[str, str] = MappingProxyType({})


class Usage(Mapping[str, Quantity]):
    """Immutable quantities by unit key: inclusive totals and their subsets.

    A unit that is absent was not reported; a unit that is 0 was reported as zero.
    """

    __slots__ = ("_quantities",)

    def __init__(self, quantities: Mapping[str, Quantity] | None = None, /, **more: Quantity) -> None:
        self._quantities: dict[str, Quantity] = {**quantities, **more} if quantities else more

    def __getitem__(self, unit: str) -> Quantity:
        return self._quantities[unit]

    def __iter__(self) -> Iterator[str]:
        return iter(self._quantities)

    def __len__(self) -> int:
        return len(self._quantities)

    def __hash__(self) -> int:
        return hash(frozenset(self._quantities.items()))

    def __repr__(self) -> str:
        return f"Usage({', '.join(f'{k}={v}' for k, v in self._quantities.items())})"

    @property
    def input_tokens(self) -> int:
        """All input tokens, cached ones included."""
        return int(self._quantities.get("input_tokens", 0))

    @property
    def output_tokens(self) -> int:
        """All output tokens, reasoning included."""
        return int(self._quantities.get("output_tokens", 0))

    @property
    def detailed(self) -> bool:
        """Tell whether more is known than two totals: cache, reasoning, modality or a provider tool."""
        return any(unit not in ("input_tokens", "output_tokens") and q for unit, q in self._quantities.items())

    def __add__(self, other: Mapping[str, Quantity]) -> Usage:
        total = dict(self._quantities)
        for unit, quantity in other.items():
            total[unit] = total.get(unit, 0) + quantity
        return Usage(total)

    def contradiction(self) -> str | None:
        """Say what is impossible about these quantities, naming both numbers, or return None.

        Impossible: an unknown unit, a bool or float, a negative or unbelievably large number, a subset larger than
        a total that was reported with it, disjoint subsets that add up to more than their total. Of several, the
        first by unit name is told.
        """
        return None if self._adds_up() else self._problem()

    def _adds_up(self) -> bool:
        """Tell quickly that nothing is wrong: whole counts, and every exclusive quantity is 0 or more.

        A subset larger than its total would leave the total less than nothing, so looking at what is left is enough.
        """
        values = list(self._quantities.values())
        for value in values:
            if type(value) is not int or not 0 <= value <= MAX_QUANTITY:
                return False
        units = tuple(self._quantities)
        for unit in units:
            if unit not in UNITS:
                return False
        for i, inside in exclusive_order(units):
            rest = values[i]
            for j in inside:
                rest -= values[j]
            if rest < 0:
                return False
            values[i] = rest
        return True

    def _problem(self) -> str | None:
        by_name = sorted(self._quantities.items())
        for unit, quantity in by_name:
            if unit not in UNITS:
                return f"unknown_unit:{unit}"
            if isinstance(quantity, bool) or not isinstance(quantity, (int, Decimal)):
                return f"not_a_number:{unit}"
            if isinstance(quantity, Decimal) and not quantity.is_finite():
                return f"not_a_number:{unit}"
            if quantity < 0:
                return f"negative:{unit}={quantity}"
            if quantity > MAX_QUANTITY:
                return f"too_large:{unit}={quantity}"
        for unit, quantity in by_name:
            for above in UNITS[unit].ancestors:
                total = self._quantities.get(above)
                if total is not None and quantity > total:
                    return f"subset_exceeds_total:{unit}={_plain(quantity)}>{above}={_plain(total)}"
        for unit, quantity in self.leaves().items():
            if quantity < 0:
                return f"subsets_exceed_total:{unit}={_plain(self._quantities[unit])}"
        return None

    def leaves(self, priced: frozenset[str] | None = None) -> dict[str, Quantity]:
        """Return the exclusive quantity of each unit: `leaf(U) = usage(U) - sum of leaf(descendants of U)`.

        With `priced`, only those units count as descendants and appear in the result, so what has no price of its
        own stays inside its nearest priced ancestor. A negative leaf means the usage contradicts itself.
        """
        units = frozenset(self._quantities) if priced is None else frozenset(self._quantities) & priced
        result: dict[str, Quantity] = {}
        for unit in specific_first(units):
            outer = UNITS[unit].dimensions
            inside = sum((q for key, q in result.items() if outer < UNITS[key].dimensions), 0)
            result[unit] = self._quantities[unit] - inside
        return result


def _plain(quantity: Quantity) -> str:
    """Write a quantity without exponent or trailing zeros."""
    return format(quantity.normalize(), "f") if isinstance(quantity, Decimal) else str(quantity)


def new_usage(quantities: dict[str, Quantity]) -> Usage:
    """Make a usage of a dict that nobody changes any more, without copying it."""
    usage = object.__new__(Usage)
    usage._quantities = quantities
    return usage


NOTHING = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Consumption of one model inside a call that used several (advisor models, compaction, fallbacks)."""

    model: str | None
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one span or one HTTP exchange tells about consumption. Readers make it, the price book prices it."""

    kind: Kind
    usage: Usage | None = None
    """Inclusive totals; None when the evidence has no usage at all (never 0 for unknown)."""
    status: Status = "usage"
    reason: str = ""
    """With a status other than `usage`: why, e.g. `stream_without_usage`, `http_429`, `negative:input_tokens=-1`."""
    provider: str | None = None
    """Canonical provider id (semconv/providers.yaml), or the raw name when nobody knows it."""
    model: str | None = None
    """The model that answered; falls back to the requested one."""
    request_model: str | None = None
    operation: str = "chat"
    """chat, text_completion, embeddings, rerank, image, speech, transcription, moderation, fetch_response ..."""
    context: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """What a price may depend on: service_tier, request_service_tier, processing, speed, region, inference_geo,
    search_context_size, tool_version, size, quality, host ..."""
    identity: tuple[str, ...] = ()
    """Ids of the billed request, strongest first: response id, provider request id."""
    parts: tuple[Part, ...] = ()
    """Per-model split when a call used more than one model; their sum is what is billed."""
    reported_cost: Decimal | None = None
    """Money stated in the evidence, in `reported_currency`."""
    reported_currency: str = "USD"
    reported_by: Literal["", "provider", "user", "emitter"] = ""
    """provider: stated in the provider's own response; user: stated by the application through our API;
    emitter: computed by an instrumentation (a figure of last resort)."""
    dialect: str = ""
    """Which table or reader read it, e.g. `otel-genai`, `openinference`, `openai.chat`."""
    aggregate: AggregateMode = "sum"
    """For kind `aggregate`: how the figures relate to the calls below."""
    estimated: bool = False
    """Token counts are guesses (from text), not the provider's."""
    server: bool = False
    """The span was emitted by the model server itself (vLLM and others), not by a caller."""
    tool: str | None = None
    """Tool name for kind `tool`; for kind `api` the matched host."""
    agent: str | None = None
    window_tokens: int | None = None
    """Tokens in the context window at the last turn, where it differs from the billed input."""

    @property
    def billable(self) -> Usage:
        """Usage, or nothing."""
        return self.usage if self.usage is not None else NOTHING

    @property
    def has_both_sides(self) -> bool:
        """Tell whether a call's input and output are known; a span that ended early may know its input only."""
        usage = self.usage
        if usage is None or self.kind != "call" or self.operation in _ONE_SIDED:
            return True
        return "output_tokens" in usage or "input_tokens" not in usage

    def with_usage(self, usage: Usage) -> Reading:
        """Return the same reading about other quantities (used for remainders): no parts, no reported cost."""
        return replace(self, usage=usage, parts=(), reported_cost=None, reported_by="", status="usage", reason="")


new_reading = maker(Reading)
"""Makes a reading at a quarter of its constructor's cost; for the paths every span takes."""
