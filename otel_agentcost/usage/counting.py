"""From a usage object to units: add up the terms of a table, refuse what is no number, mend forced overlaps.

Nothing here raises for bad evidence: a value that is no count makes the whole tally `invalid`, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from otel_agentcost.usage.apis import Counts, Path, Terms
from otel_agentcost.usage.reading import MAX_QUANTITY, Part, Quantity, Usage

NINE = Decimal("0.000000001")
_JOINS = (
    ("input_audio_tokens", "cache_audio_read_tokens"),
    ("input_image_tokens", "cache_image_read_tokens"),
    ("input_video_tokens", "cache_video_read_tokens"),
)
"""A modality of the input and the unit of those of its tokens that came from a cache."""
_INPUT_SIDES = ("cache_read_tokens", "cache_write_tokens", "input_tool_tokens")
_OUTPUT_SIDES = ("output_audio_tokens", "output_image_tokens", "output_video_tokens", "output_citation_tokens")


class CountError(ValueError):
    """A value where a count belongs is something else; the text is the reason."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What has been counted so far; quirks may change it."""

    usage: Mapping[str, object]
    """The provider's usage object."""
    answer: Mapping[str, object]
    """The whole answer, or what a stream amounts to."""
    provider: str | None = None
    model: str | None = None
    request: Mapping[str, str] = field(default_factory=dict)
    """Context of the request."""
    quantities: dict[str, Quantity] = field(default_factory=dict)
    context: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    cost: Decimal | None = None
    window: int | None = None
    estimated: bool = False


def walk(value: object, path: Path) -> Iterator[object]:
    """Yield what stands at a path: one value, or several where it goes through `*`; nothing when it is absent."""
    if not path:
        if value is not None:
            yield value
        return
    step, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        if step in value:
            yield from walk(value[step], rest)
    elif isinstance(value, list):
        if step == "*":
            for element in value:
                yield from walk(element, rest)
        elif step.isdecimal() and int(step) < len(value):
            yield from walk(value[int(step)], rest)


def at(value: object, path: Path) -> object:
    """Return the one value at a path, or None."""
    for step in path:
        if type(value) is dict:  # what JSON gives; the general test is ten times slower
            value = value.get(step)
        elif value is None:
            return None
        elif isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def quantity(value: object, name: str, *, text: bool = False) -> Quantity:
    """Return a JSON value as an exact quantity; raises CountError with the reason for everything else.

    Whole floats are counts (some encoders write 3.0); other floats are measured amounts, kept to nine decimals.
    Digits in a string are accepted only where the table says that this provider writes them so.
    """
    if type(value) is int:
        number: Quantity = value
    elif isinstance(value, bool):
        raise CountError(f"not_a_number:{name}")
    elif isinstance(value, (float, Decimal)) or (text and isinstance(value, str)):
        if isinstance(value, float) and not isfinite(value):
            raise CountError(f"not_a_number:{name}")
        try:
            exact = Decimal(str(value).strip()[:40])
            if not exact.is_finite() or abs(exact) > MAX_QUANTITY:
                raise CountError(f"not_a_number:{name}")
            number = int(exact) if exact == exact.to_integral_value() else exact.quantize(NINE).normalize()
        except InvalidOperation:
            raise CountError(f"not_a_number:{name}") from None
    else:
        raise CountError(f"not_a_number:{name}")
    if number < 0:
        raise CountError(f"negative:{name}={number}")
    if number > MAX_QUANTITY:
        raise CountError(f"too_large:{name}")
    return number


def money(value: object, scale: Decimal) -> Decimal | None:
    """Return stated money in dollars, exactly as written; None for what is no amount."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else str(value).strip()[:64])
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0 or amount > 10**9 or amount.adjusted() < -30:
        return Decimal(0) if amount == 0 else None
    return amount * scale


_Shape = tuple[str, tuple[str, ...], tuple[Any, ...]]
_Step = tuple[str, str, "str | None", Terms]
"""A unit, the one place that states it (a key, and one inside it or None), and the terms for all other cases."""
_steps_of: dict[_Shape, tuple[_Step, ...]] = {}
_PLAIN = frozenset({int, float, str, bool, type(None)})
"""Types of JSON values in which no path goes on."""
_SHAPES = 1024
"""Shapes of usage objects remembered; a provider has a handful."""


def _steps(counts: Counts, usage: Mapping[str, object]) -> tuple[_Step, ...]:
    """Return what of a table can be found in a usage object with these keys; absent choices are left out."""
    inner = tuple([tuple(value) if type(value) is dict else type(value) in _PLAIN for value in usage.values()])
    shape = (counts.name, tuple(usage), inner)
    steps = _steps_of.get(shape)
    if steps is None:
        found = []
        for unit, terms in counts.units:
            there = tuple(
                left for left in (tuple(path for path in term if _there(usage, path)) for term in terms) if left
            )
            if not there:
                continue
            path = there[0][0]
            single = len(there) == 1 and len(there[0]) == 1 and len(path) <= 2 and "*" not in path
            if single and len(path) == 2 and type(usage[path[0]]) is not dict:
                single = False
            found.append((unit, path[0] if single else "", path[1] if single and len(path) == 2 else None, there))
        steps = tuple(found)
        if len(_steps_of) < _SHAPES:
            _steps_of[shape] = steps
    return steps


def _there(usage: Mapping[str, object], path: Path) -> bool:
    if path[0] not in usage:
        return False
    value = usage[path[0]]
    return len(path) == 1 or (path[1] in value if type(value) is dict else type(value) not in _PLAIN)


def tally(counts: Counts, tally: Tally) -> Tally:
    """Add what a usage object states to a tally; raises CountError when something in it is no count."""
    usage: Any = tally.usage
    quantities = tally.quantities
    for unit, key, inside, terms in _steps(counts, usage):
        if key:
            value = usage[key] if inside is None else usage[key][inside]
            if type(value) is int and 0 <= value <= MAX_QUANTITY:
                quantities[unit] = value
                continue
        total: Quantity | None = None
        for choices in terms:
            found = _first(usage, choices, counts.text_numbers)
            if found is not None:
                total = found if total is None else total + found
        if total is not None:
            quantities[unit] = total
    if "input_tokens" not in quantities and "output_tokens" not in quantities:
        for name, unit in counts.when_alone:
            if usage.get(name) is not None:
                quantities[unit] = quantity(usage[name], name)
    for one in counts.lists:
        rows = at(usage, one.path)
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, Mapping):
                listed = one.units.get(str(row.get(one.name, "")).lower())
                if listed is not None and row.get(one.count) is not None:
                    amount = quantity(row[one.count], f"{one.name}.{one.count}")
                    quantities[listed] = quantities.get(listed, 0) + amount
    if quantities:
        for unit, least in counts.at_least:
            quantities[unit] = max(quantities.get(unit, 0), least)
    put_context(tally.context, counts.context, usage)
    if tally.cost is None:
        for stated in counts.cost:
            if stated.path[0] not in usage:
                continue
            value = at(usage, stated.path)
            if value is not None and not isinstance(value, Mapping):
                tally.cost = money(value, stated.scale)
                break
    return tally


def put_context(context: dict[str, str], wanted: tuple[tuple[str, tuple[Path, ...]], ...], source: object) -> None:
    """Copy short texts and numbers from their places into a context; what is absent or of another type is not."""
    if not isinstance(source, Mapping):
        return
    for key, places in wanted:
        for place in places:
            if place[0] not in source:
                continue
            value = at(source, place)
            if isinstance(value, str) and 0 < len(value) <= 64:
                context[key] = value
                break
            if isinstance(value, int) and not isinstance(value, bool):
                context[key] = str(value)
                break


def _first(usage: Mapping[str, object], choices: tuple[Path, ...], text: bool) -> Quantity | None:
    """Return the first positive choice, else the first that is there at all."""
    zero: Quantity | None = None
    for path in choices:
        if path[0] not in usage:
            continue
        if "*" in path:
            several = [quantity(value, path[-1], text=text) for value in walk(usage, path)]
            found: Quantity | None = sum(several) if several else None
        else:
            value = usage[path[0]] if len(path) == 1 else at(usage, path)
            found = (
                None if value is None or isinstance(value, (Mapping, list)) else quantity(value, path[-1], text=text)
            )
        if found:
            return found
        if zero is None:
            zero = found
    return zero


def settle(quantities: dict[str, Quantity]) -> None:
    """Make overlapping subsets consistent where the provider did not report how they overlap.

    Cached tokens may be audio or image tokens as well. When both subsets together exceed the input, they must
    overlap by at least the excess; that least overlap is put into the unit that is both. Units without a rate of
    their own (reasoning, tool results) give way before anything is called contradictory.
    """
    get = quantities.get
    total = get("input_tokens")
    inside = get("cache_read_tokens", 0) + get("cache_write_tokens", 0) + get("input_tool_tokens", 0)
    mixed = get("input_audio_tokens") or get("input_image_tokens") or get("input_video_tokens")
    if total is not None and (mixed or inside > total):
        excess = -_room(quantities, total)
        if excess > 0:
            cached = quantities.get("cache_read_tokens", 0)
            cached -= sum(quantities.get(join, 0) for _, join in _JOINS)
            for modality, join in _JOINS:
                most = min(excess, cached, quantities.get(modality, 0) - quantities.get(join, 0))
                if most > 0:
                    quantities[join] = quantities.get(join, 0) + most
                    excess -= most
                    cached -= most
            if excess > 0 and quantities.get("input_tool_tokens", 0) > 0:
                quantities["input_tool_tokens"] = max(0, quantities["input_tool_tokens"] - excess)
    output = quantities.get("output_tokens")
    reasoning = quantities.get("output_reasoning_tokens", 0)
    if output is not None and 0 < reasoning <= output:
        over = reasoning + sum(quantities.get(unit, 0) for unit in _OUTPUT_SIDES) - output
        if over > 0:
            quantities["output_reasoning_tokens"] = max(0, reasoning - over)


def _room(quantities: Mapping[str, Quantity], total: Quantity) -> Quantity:
    """Return how many input tokens remain outside every subset; negative when the subsets must overlap."""
    inside = sum(quantities.get(unit, 0) for unit in _INPUT_SIDES)
    for modality, join in _JOINS:
        inside += quantities.get(modality, 0) - quantities.get(join, 0)
    return total - inside


def whole(quantities: Mapping[str, Quantity]) -> tuple[Usage, str | None]:
    """Return the usage and what is impossible about it."""
    usage = Usage(quantities)
    return usage, usage.contradiction()
