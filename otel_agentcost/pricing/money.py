"""Money is an integer number of pico-units (1e-12) of one currency; nothing here ever rounds but `divide`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

PICO = 10**12
MAX_PICO = 10**30
"""The largest amount a bill claims, 10^18 units of currency; a larger one is no figure but a fault."""
TOO_LARGE = "amount_too_large"


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An exact amount: `pico` units of 1e-12 `currency`."""

    pico: int
    currency: str = "USD"

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}")
        return Money(self.pico + other.pico, self.currency)

    def __str__(self) -> str:
        return decimal_text(self.pico)

    @property
    def amount(self) -> float:
        """The double for backends, derived once; `round(amount * 1e12)` gives the integer back up to 2 251
        units (2^51 pico: the quotient and the product are each rounded once to 53 bits)."""
        return self.pico / PICO


def divide_half_even(numerator: int, denominator: int) -> int:
    """Divide two integers, rounding half to even: the one rounding of a line item."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def decimal_text(pico: int) -> str:
    """Write pico-units as a plain decimal string without an exponent or trailing zeros: 7500000000 -> `0.0075`."""
    sign = "-" if pico < 0 else ""
    whole, fraction = divmod(abs(pico), PICO)
    tail = f"{fraction:012d}".rstrip("0")
    return f"{sign}{whole}.{tail}" if tail else f"{sign}{whole}"


def pico_of(amount: Decimal | str | int) -> int:
    """Read an amount of currency (a decimal, or its text) as pico-units, half-even at the twelfth decimal."""
    numerator, denominator = Decimal(amount).as_integer_ratio()
    return divide_half_even(numerator * PICO, denominator)
