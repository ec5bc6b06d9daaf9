"""Arguments of the session API: checked where they are given, so that a wrong one is told to who wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from otel_agentcost.otel import identity
from otel_agentcost.otel.scope import Attributes
from otel_agentcost.pricing.money import Money, pico_of
from otel_agentcost.usage.reading import Quantity

Amount = str | int | Decimal | Money
"""Money as the API takes it: exact text, whole units, a decimal, or Money; never a float."""


def money(name: str, amount: Amount, currency: str) -> Money:
    """Return an amount as Money, or raise TypeError saying how to write it."""
    if isinstance(amount, Money):
        return amount
    if isinstance(amount, bool) or not isinstance(amount, (str, int, Decimal)):
        hint = f'; write {name}="{amount!r}"' if isinstance(amount, float) else ""
        raise TypeError(f"{name} must be text, int or Decimal, not {type(amount).__name__}{hint}")
    if not isinstance(currency, str) or len(currency) != 3 or not currency.isascii() or not currency.isupper():
        raise TypeError(f"currency must be a code such as USD, not {currency!r}")
    try:
        value = Decimal(amount)
        finite = value.is_finite()
    except ArithmeticError:
        finite = False
    if not finite or value < 0:
        raise TypeError(f"{name} must be an amount of money of at least 0, not {amount!r}")
    return Money(pico_of(value), currency)


def positive(name: str, number: object) -> Quantity:
    """Return a count or decimal above 0, or raise TypeError."""
    if isinstance(number, bool) or not isinstance(number, (int, Decimal)):
        raise TypeError(f"{name} must be a whole number or Decimal, not {number!r}")
    if (isinstance(number, Decimal) and not number.is_finite()) or number <= 0:
        raise TypeError(f"{name} must be more than 0, not {number!r}")
    return number


def nine_decimals(value: Decimal) -> Decimal:
    """Round a measured quantity to the nine decimals a reading keeps."""
    return value.quantize(Decimal("1e-9"))


def optional_text(name: str, value: object) -> None:
    """Raise TypeError unless the value is None or a short text."""
    if value is not None and (not isinstance(value, str) or not value or len(value) > identity.MAX_LENGTH):
        raise TypeError(f"{name} must be a text of 1 to {identity.MAX_LENGTH} characters, not {value!r}")


def checked_attributes(attributes: Mapping[str, Any] | None) -> Attributes:
    """Return span attributes as a dict, or raise TypeError."""
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping) or not all(isinstance(key, str) for key in attributes):
        raise TypeError(f"attributes must be a map with text keys, not {attributes!r}")
    return dict(attributes)
