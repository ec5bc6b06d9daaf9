"""From the numbers an emitter wrote to inclusive totals with subsets: the arithmetic of semconv/dialects/README.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from otel_agentcost.usage.reading import MAX_QUANTITY, Quantity, Usage
from otel_agentcost.usage.units import UNITS

InputRule = Literal["inclusive", "exclusive", "auto"]

TOTAL = "total_tokens"
"""Not a unit: all tokens together, where an emitter states it. Tells inclusive and exclusive counts apart."""

_NANO = Decimal("1e-9")
_MAX_TEXT = 24
_MAX_EXPONENT = 30
_HUGE = 10**_MAX_EXPONENT
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_MODALITIES = ("image", "audio", "video")
SIMPLE = frozenset({"input_tokens", "output_tokens"})
"""Two totals and nothing else: no part can contradict them."""
COMMON = SIMPLE | {
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_reasoning_tokens",
}
"""Units that cannot overlap: their parts are disjoint by what they are."""


def quantity(unit: str, value: object) -> Quantity | str:
    """Return one number as a quantity, or say what is wrong with it: `not_a_number:`, `not_whole:`, `negative:`.

    Tokens are whole: 31, 31.0 and "31" are 31. Other units keep at most nine decimals. A bool is no number.
    """
    if type(value) is int and 0 <= value <= MAX_QUANTITY:
        return value
    number = decimal_of(value)
    if number is None:
        return f"not_a_number:{unit}"
    if number < 0:
        return f"negative:{_shown(unit, number)}"
    if number > MAX_QUANTITY:
        return f"too_large:{_shown(unit, number)}"
    if number == number.to_integral_value():
        return int(number)
    if unit.endswith("_tokens"):
        return f"not_whole:{_shown(unit, number)}"
    return number.quantize(_NANO, ROUND_HALF_EVEN)


def decimal_of(value: object) -> Decimal | None:
    """Return a finite number of ordinary size exactly as it is written (a float by its shortest form), or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        number = Decimal(max(-_HUGE, min(value, _HUGE)))
    elif isinstance(value, float):
        number = Decimal(repr(value))
    elif isinstance(value, Decimal):
        number = value
    elif isinstance(value, str) and len(value) <= _MAX_TEXT and _NUMBER.fullmatch(value):
        number = Decimal(value)
    else:
        return None
    if not number.is_finite() or abs(number.adjusted()) > _MAX_EXPONENT:
        return None
    return number


def _shown(unit: str, number: Decimal) -> str:
    """Name a unit with its number, unless the number is too long to be worth reading."""
    text = format(number, "f")
    return f"{unit}={text}" if len(text) <= _MAX_TEXT else unit


def settle_totals(
    counts: dict[str, Quantity],
    *,
    rule: InputRule,
    exclusive_vendor: bool,
    output_exclusive: bool,
    additive_input: Sequence[str],
    additive_output: Sequence[str],
) -> None:
    """Make `input_tokens` and `output_tokens` inclusive, in place, and take `total_tokens` out.

    The emitter's rule holds unless the numbers prove it wrong: parts larger than their total, or a stated total that
    only the other reading explains.
    """
    total = counts.pop(TOTAL, None)
    fill_cache_writes(counts)
    parts_in = sum((counts[unit] for unit in additive_input if unit in counts), 0)
    parts_out = sum((counts[unit] for unit in additive_output if unit in counts), 0)
    if total and not (parts_in and rule != "inclusive"):
        _derive_missing(counts, total)
    if parts_in:
        stated = counts.get("input_tokens", 0)
        output = counts.get("output_tokens", 0)
        exclusive = rule == "exclusive" or (rule == "auto" and exclusive_vendor)
        if parts_in > stated:
            exclusive = True
        elif total and not (rule == "auto" and exclusive):
            ways = {False: stated + output, True: stated + output + parts_in}
            if total not in (ways[exclusive], ways[exclusive] + parts_out) and total in (
                ways[not exclusive],
                ways[not exclusive] + parts_out,
            ):
                exclusive = not exclusive
        if exclusive:
            counts["input_tokens"] = stated + parts_in
    if parts_out:
        stated = counts.get("output_tokens", 0)
        whole_input = counts.get("input_tokens", 0)
        exclusive = output_exclusive
        if parts_out > stated:
            exclusive = True
        elif total == whole_input + stated:
            exclusive = False
        elif total == whole_input + stated + parts_out:
            exclusive = True
        if exclusive:
            counts["output_tokens"] = stated + parts_out


def _derive_missing(counts: dict[str, Quantity], total: Quantity) -> None:
    """Find the one of input and output that an emitter left out beside a total."""
    for known, missing in (("input_tokens", "output_tokens"), ("output_tokens", "input_tokens")):
        if known in counts and missing not in counts and total > counts[known]:
            counts[missing] = total - counts[known]
            return


def fill_cache_writes(counts: dict[str, Quantity]) -> None:
    """State the cache writes as a whole where only the split by lifetime is known."""
    if "cache_write_tokens" not in counts:
        split = [counts[u] for u in ("cache_write_5m_tokens", "cache_write_1h_tokens") if u in counts]
        if split:
            counts["cache_write_tokens"] = sum(split, 0)


def complete_overlaps(counts: dict[str, Quantity]) -> None:
    """State the least overlap that disjoint-looking parts of a total must have, in place.

    Text is the remainder of a modality split, so it is dropped first. Then tokens that must be both cached and of a
    modality are counted as such: images first, then audio, then video.
    """
    if counts.keys() <= COMMON:
        return
    missing = _shortfall(counts, "input_tokens")
    if missing and "input_text_tokens" in counts:
        counts.pop("input_text_tokens")
        counts.pop("cache_text_read_tokens", None)
        missing = _shortfall(counts, "input_tokens")
    for modality in _MODALITIES:
        if missing <= 0:
            break
        joined = f"cache_{modality}_read_tokens"
        already = counts.get(joined, 0)
        cached = counts.get("cache_read_tokens", 0) - sum(counts.get(f"cache_{m}_read_tokens", 0) for m in _MODALITIES)
        more = min(missing, counts.get(f"input_{modality}_tokens", 0) - already, cached)
        if more > 0:
            counts[joined] = already + more
            missing -= more
    if "output_text_tokens" in counts and _shortfall(counts, "output_tokens"):
        counts.pop("output_text_tokens")


def _shortfall(counts: Mapping[str, Quantity], total: str) -> Quantity:
    """How many tokens the parts of a total have more than it, by exclusive quantities; 0 when all is well."""
    if total not in counts:
        return 0
    inside = UNITS[total].dimensions
    parts = {unit: q for unit, q in counts.items() if inside <= UNITS[unit].dimensions}
    if len(parts) < 3 or any(parts[total] < q for q in parts.values()):
        return 0
    return max(0, -Usage(parts).leaves()[total])


def usage_of(counts: Mapping[str, Quantity]) -> Usage | str:
    """Return the usage, or what contradicts itself in it (every single number was checked when it was read)."""
    usage = Usage(counts)
    if counts.keys() <= COMMON:
        get = counts.get
        written = get("cache_write_tokens", 0)
        if (
            get("cache_read_tokens", 0) + written <= get("input_tokens", 0)
            and get("output_reasoning_tokens", 0) <= get("output_tokens", 0)
            and get("cache_write_5m_tokens", 0) + get("cache_write_1h_tokens", 0) <= written
        ):
            return usage
    return usage.contradiction() or usage
