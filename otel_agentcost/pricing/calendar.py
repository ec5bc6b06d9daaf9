"""When a price holds: days, times of day and weekdays in UTC, all conditions at once (a pure reading of the clock)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

DAY_NS = 86_400_000_000_000
MINUTE_NS = 60_000_000_000
_EPOCH = date(1970, 1, 1).toordinal()
FIRST_DAY = -(10**9)
LAST_DAY = 10**9


def day_of(at: int) -> int:
    """Return the UTC day of a Unix time in nanoseconds, as days since 1970-01-01."""
    return at // DAY_NS


def minute_of(at: int) -> int:
    """Return the minute of the UTC day, 0 to 1439."""
    return at % DAY_NS // MINUTE_NS


def day_number(text: str) -> int:
    """Return the day number of an ISO date."""
    return date.fromisoformat(text).toordinal() - _EPOCH


def day_text(day: int) -> str:
    """Return the ISO date of a day number."""
    return date.fromordinal(day + _EPOCH).isoformat()


def weekday_of(day: int) -> int:
    """Return 1 for Monday to 7 for Sunday."""
    return (day + 3) % 7 + 1


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


class Constraint:
    """Days `from`..`to` (both inclusive), `windows` of the day ([start, end), may cross midnight), `weekdays`.

    Every condition that is given must hold; no condition always holds.
    """

    __slots__ = ("first", "last", "weekdays", "windows")

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.first = day_number(entry["from"]) if "from" in entry else FIRST_DAY
        self.last = day_number(entry["to"]) if "to" in entry else LAST_DAY
        self.weekdays: frozenset[int] = frozenset(entry.get("weekdays", ()))
        self.windows = tuple((_minutes(start), _minutes(end)) for start, end in entry.get("windows", ()))

    def on_day(self, day: int) -> bool:
        """Tell whether the price can hold at some time of this day."""
        return self.first <= day <= self.last and (not self.weekdays or weekday_of(day) in self.weekdays)

    def at_minute(self, minute: int) -> bool:
        """Tell whether the price holds at this minute of a day on which it can hold."""
        if not self.windows:
            return True
        for start, end in self.windows:
            if start <= minute < end if start < end else minute >= start or minute < end:
                return True
        return False

    def holds(self, day: int, minute: int) -> bool:
        """Tell whether the price holds."""
        return self.on_day(day) and self.at_minute(minute)
