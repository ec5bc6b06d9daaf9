"""Read values of agentcost.yaml: each reader names the dotted key, the value and what to do when it is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches

from otel_agentcost.errors import ConfigError
from otel_agentcost.pricing.calendar import day_number

MAX_DECIMALS = 12
_MAX_SIZE = 30
"""How large or small a number may be, as a power of ten: one that nobody means is a mistake."""
_TIME = re.compile(r"^(?:[01]\d|2[0-3]):[0-5]\d$")
_CURRENCY = re.compile(r"^[A-Z]{3}$")


def shown(value: object) -> str:
    """Write a value for an error message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def mapping(key: str, value: object) -> Mapping[str, object]:
    """Return a mapping with text keys."""
    if not isinstance(value, Mapping):
        raise ConfigError(key, f"{shown(value)} is not a mapping", hint="write `name: value` lines below it")
    return value


def sequence(key: str, value: object) -> Sequence[object]:
    """Return a list."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ConfigError(key, f"{shown(value)} is not a list", hint="start each entry with `- `")
    return value


def known_keys(key: str, value: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Refuse a key nobody reads, suggesting the one that was probably meant."""
    names = tuple(allowed)
    for name in value:
        if name not in names:
            close = get_close_matches(str(name), names, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(names)}"
            raise ConfigError(f"{key}.{name}" if key else str(name), "unknown key", hint=hint)


def text(key: str, value: object) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(key, f"{shown(value)} is not a text", hint="put it in quotes")
    return value.strip()


def flag(key: str, value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ConfigError(key, f"{shown(value)} is neither true nor false")
    return value


def amount(key: str, value: object) -> str:
    """Return a price as a decimal string; YAML floats are read by the digits that were written.

    Raises:
        ConfigError: not a number, negative, or finer than a pico-unit.
    """
    number = decimal(key, value)
    if number < 0:
        raise ConfigError(key, f"{shown(value)} is negative", hint="a price is 0 or more; write a rebate as a discount")
    plain = format(abs(number).normalize(), "f")
    if len(plain.partition(".")[2]) > MAX_DECIMALS:
        raise ConfigError(
            key, f"{shown(value)} has more than {MAX_DECIMALS} decimals", hint="quote it per a larger block"
        )
    return plain


def decimal(key: str, value: object) -> Decimal:
    """Return a finite decimal number from a number or its text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ConfigError(key, f"{shown(value)} is not a number", hint='write it as "1.25"')
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
    except InvalidOperation:
        raise ConfigError(key, f"{shown(value)} is not a number", hint='write it as "1.25"') from None
    if not number.is_finite():
        raise ConfigError(key, f"{shown(value)} is not a finite number")
    if abs(number.adjusted()) > _MAX_SIZE:
        raise ConfigError(key, f"{shown(value)} is beyond any price", hint='write it as "1.25"')
    return number


def positive_integer(key: str, value: object) -> int:
    """Return a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(key, f"{shown(value)} is not a whole number above 0")
    return value


def day(key: str, value: object) -> str:
    """Return a day as ISO text."""
    if isinstance(value, date):
        return value.isoformat()[:10]
    try:
        day_number(str(value))
    except ValueError:
        raise ConfigError(key, f"{shown(value)} is not a day", hint="write it as 2026-11-20 (UTC)") from None
    return str(value)


def window(key: str, value: object) -> list[str]:
    """Return one time window [start, end) of a UTC day."""
    pair = sequence(key, value)
    if len(pair) != 2 or not all(isinstance(v, str) and _TIME.match(v) for v in pair):
        raise ConfigError(key, f"{shown(value)} is not a time window", hint='write it as ["01:00", "04:00"] (UTC)')
    return [str(v) for v in pair]


def weekday(key: str, value: object) -> int:
    """Return a weekday, 1 for Monday to 7 for Sunday."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 7:
        raise ConfigError(key, f"{shown(value)} is not a weekday", hint="1 is Monday, 7 is Sunday")
    return value


def currency(key: str, value: object) -> str:
    """Return an ISO 4217 code."""
    if not isinstance(value, str) or not _CURRENCY.match(value):
        raise ConfigError(key, f"{shown(value)} is not a currency code", hint="three capital letters, e.g. EUR")
    return value


def when(entry: Mapping[str, object], key: str) -> dict[str, object]:
    """Return the date conditions of an entry: from, to, windows, weekdays, each checked."""
    result: dict[str, object] = {}
    for bound in ("from", "to"):
        if bound in entry:
            result[bound] = day(f"{key}.{bound}", entry[bound])
    if "windows" in entry:
        windows = sequence(f"{key}.windows", entry["windows"])
        result["windows"] = [window(f"{key}.windows[{i}]", w) for i, w in enumerate(windows)]
    if "weekdays" in entry:
        days = sequence(f"{key}.weekdays", entry["weekdays"])
        result["weekdays"] = [weekday(f"{key}.weekdays[{i}]", d) for i, d in enumerate(days)]
    if "from" in result and "to" in result and str(result["from"]) > str(result["to"]):
        raise ConfigError(f"{key}.to", f"{result['to']} is before `from`, {result['from']}")
    return result
