"""Makers: what they make cannot be told from what the constructor makes."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from otel_agentcost.pricing.bill import Bill
from otel_agentcost.usage.reading import EMPTY, Reading, Usage
from otel_agentcost.usage.records import maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A record with every kind of field."""

    late: str = "late"
    first: int
    several: list[int] = field(default_factory=list)


def test_a_made_record_equals_a_constructed_one() -> None:
    """Same type, fields, equality, hash and text; a list default is a fresh one each time."""
    new_note = maker(Note)
    assert new_note(first=1) == Note(first=1)
    assert new_note(first=1, late="x", several=[2]) == Note(first=1, late="x", several=[2])
    assert repr(new_note(first=1)) == repr(Note(first=1))
    assert new_note(first=1).several is not new_note(first=1).several
    reading = maker(Reading)(kind="call", usage=Usage(input_tokens=3))
    assert type(reading) is Reading
    assert reading == Reading(kind="call", usage=Usage(input_tokens=3))
    assert reading.context is EMPTY
    assert replace(reading, model="m") == Reading(kind="call", usage=Usage(input_tokens=3), model="m")


def test_a_made_record_is_frozen() -> None:
    """Nobody can change it, and it has no other attributes."""
    note = maker(Note)(first=1)
    with pytest.raises(FrozenInstanceError):
        note.first = 2  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        note.other = 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("record", [Reading, Bill, Note])
def test_a_maker_asks_for_the_same_fields(record: type) -> None:
    """A field that was added to a record is known to its maker, required or not."""
    wanted = {p.name: p.default is p.empty for p in inspect.signature(record).parameters.values()}
    given = {p.name: p.default is p.empty for p in inspect.signature(maker(record)).parameters.values()}
    assert given == wanted


def test_records_that_cannot_be_made_quickly_are_refused() -> None:
    """Without slots, or with values to check, the constructor is the only way."""

    @dataclass(frozen=True)
    class Open:
        one: int

    @dataclass(frozen=True, slots=True)
    class Checked:
        one: int

        def __post_init__(self) -> None:
            raise ValueError("checked")

    for record in (Open, Checked):
        with pytest.raises(TypeError, match=record.__name__):
            maker(record)
