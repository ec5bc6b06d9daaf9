"""Who and what for: identity labels in canonical keys, and the cost a span already states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from otel_agentcost import _semconv
from otel_agentcost.usage.quantities import decimal_of
from otel_agentcost.usage.reading import EMPTY
from otel_agentcost.usage.tables import LABELS, Attributes

_MAX_TEXT = 512
_PLACES: Mapping[str, tuple[int, str]] = {
    source: (rank, label) for label, sources in LABELS.items() for rank, source in enumerate(sources)
}
_KEYS = frozenset(_PLACES)
_LATER = 1000
_PICO = 10**12
_BEYOND = 2**63
"""No span costs nine million: such a figure is a fault, and no integer attribute could hold it."""


def read_labels(attributes: Attributes, resource: Attributes = EMPTY) -> Mapping[str, str]:
    """Return the identity of a span in canonical keys, whatever the dialect; a span's own label beats its resource's.

    session.id, user.id, gen_ai.conversation.id, gen_ai.agent.{name,id,version}, gen_ai.prompt.{name,version},
    deployment.environment.name, agentcost.{tenant,project,cost_center,purpose,outcome,value}.
    """
    own = _KEYS.intersection(attributes)
    shared = _KEYS.intersection(resource) if resource else ()
    if not own and not shared:
        return EMPTY
    best: dict[str, tuple[int, str]] = {}
    for inherited, keys, source in ((0, own, attributes), (_LATER, shared, resource)):
        for key in keys:
            text = _text(source[key])
            if text is None:
                continue
            rank, label = _PLACES[key]
            if label not in best or best[label][0] > rank + inherited:
                best[label] = (rank + inherited, text)
    return {label: text for label, (_, text) in best.items()}


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip()[:_MAX_TEXT] or None
    if isinstance(value, bool):
        return None
    return str(value) if isinstance(value, (int, float)) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """The cost a span already carries, written by us or by whoever follows our registry."""

    pico: int | None
    """Own cost in 1e-12 units of `currency`; None when the span states only why there is none."""
    status: str = ""
    reason: str = ""
    source: str = ""
    price_id: str = ""
    currency: str = "USD"


def read_stated(attributes: Attributes) -> Stated | None:
    """Return the `agentcost.cost.*` a span already carries, or None when it carries neither amount nor status.

    The amount is the exact integer it was derived from; an amount that is no finite number, or beyond 2^63
    pico-units, counts as absent.
    """
    amount = attributes.get(_semconv.AGENTCOST_COST_AMOUNT)
    status = attributes.get(_semconv.AGENTCOST_COST_STATUS)
    if amount is None and status is None:
        return None
    number = decimal_of(amount)
    pico = None if number is None else round(Fraction(number) * _PICO)
    texts = [
        _plain(attributes.get(key))
        for key in (
            _semconv.AGENTCOST_COST_REASON,
            _semconv.AGENTCOST_COST_SOURCE,
            _semconv.AGENTCOST_PRICE_ID,
            _semconv.AGENTCOST_COST_CURRENCY,
        )
    ]
    return Stated(
        pico=pico if pico is not None and -_BEYOND < pico < _BEYOND else None,
        status=_plain(status),
        reason=texts[0],
        source=texts[1],
        price_id=texts[2],
        currency=texts[3] or "USD",
    )


def _plain(value: object) -> str:
    """Return a text as it is, a number as Python writes it, and nothing for anything else."""
    return str(value) if value and isinstance(value, (str, int, float)) else ""
