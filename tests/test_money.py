"""Money: integers of a millionth of a millionth, one rounding, half to even."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agentcost.pricing.bill import Bill, LineItem, Lines, Rate, new_bill, total_of
from otel_agentcost.pricing.money import PICO, Money, decimal_text, divide_half_even, pico_of
from otel_agentcost.pricing.plan import Plan
from otel_agentcost.pricing.tariff import Tariff, UnitRate
from otel_agentcost.usage.reading import Usage

PRICES = st.decimals(min_value=0, max_value=1000, places=6).map(lambda price: format(price.normalize(), "f"))
COUNTS = st.integers(min_value=0, max_value=2**40)
WIDE = Context(prec=80)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**18))
def test_division_rounds_half_to_even(numerator: int, denominator: int) -> None:
    """The one rounding is that of IEEE 754 decimal arithmetic: nearest, half to even, for negatives too."""
    exact = WIDE.divide(Decimal(numerator), Decimal(denominator))
    expected = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN, context=WIDE))
    nearest = abs(Fraction(numerator, denominator) - divide_half_even(numerator, denominator)) <= Fraction(1, 2)
    assert nearest
    assert divide_half_even(numerator, denominator) == expected


@given(st.integers(-(10**24), 10**24))
def test_text_and_pico_are_inverse(pico: int) -> None:
    """A total written as text is read back as the same integer."""
    assert pico_of(decimal_text(pico)) == pico


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0"), (7500000000, "0.0075"), (PICO, "1"), (1, "0.000000000001"), (-1500000000000, "-1.5"), (10**13, "10")],
)
def test_text_is_plain(pico: int, text: str) -> None:
    """No exponent, no trailing zeros."""
    assert decimal_text(pico) == text


@given(st.integers(0, 2**51))
def test_double_gives_the_integer_back(pico: int) -> None:
    """The attribute is derived from the integer and rounds back to it up to 2^51 pico-units (2 251 dollars)."""
    assert round(Money(pico).amount * 1e12) == pico


def test_currencies_do_not_mix() -> None:
    """Dollars and euros have no sum."""
    with pytest.raises(ValueError, match="cannot add EUR to USD"):
        Money(1) + Money(1, "EUR")


def plan(*, input_price: str, cached_price: str, output_price: str, factor: Fraction = Fraction(1)) -> Plan:
    rates = {"input_tokens": input_price, "cache_read_tokens": cached_price, "output_tokens": output_price}
    tariff = Tariff(rates={unit: UnitRate(price, 10**6, factor=factor) for unit, price in rates.items()})
    return Plan(tariff, ("input_tokens", "cache_read_tokens", "output_tokens"), price_id="x", currency="USD")


@given(PRICES, PRICES, PRICES, COUNTS, COUNTS, COUNTS, st.fractions(0, 2, max_denominator=1000))
def test_lines_are_the_exact_products_rounded_once(
    input_price: str, cached_price: str, output_price: str, fresh: int, cached: int, output: int, factor: Fraction
) -> None:
    """Each line is quantity x price x factor, rounded once; the total is the integer sum of the lines."""
    priced_by = plan(input_price=input_price, cached_price=cached_price, output_price=output_price, factor=factor)
    usage = Usage(input_tokens=fresh + cached, cache_read_tokens=cached, output_tokens=output)
    bill = priced_by.bill(usage)
    expected = 0
    for quantity, price in ((fresh, input_price), (cached, cached_price), (output, output_price)):
        exact = Fraction(quantity) * Fraction(price) * PICO * factor / 10**6
        expected += divide_half_even(exact.numerator, exact.denominator)
    assert bill.total == expected
    assert total_of(bill.items) == expected
    assert sum(item.quantity for item in bill.items) == fresh + cached + output
    assert all(item.rate.cost(item.quantity) == item.pico for item in bill.items)


@given(PRICES, COUNTS, COUNTS)
def test_more_never_costs_less(price: str, few: int, more: int) -> None:
    """A bill is monotone in the quantity."""
    priced_by = plan(input_price=price, cached_price="0", output_price="0")
    bills = [
        priced_by.bill(Usage(input_tokens=count, cache_read_tokens=0, output_tokens=0))
        for count in sorted((few, few + more))
    ]
    assert bills[0].total is not None
    assert bills[1].total is not None
    assert bills[0].total <= bills[1].total


@given(PRICES, PRICES, st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=8))
def test_grouping_does_not_change_a_sum(input_price: str, output_price: str, calls: list[tuple[int, int]]) -> None:
    """Totals are sums of integers: any grouping of the same bills adds up to the same."""
    priced_by = plan(input_price=input_price, cached_price="0", output_price=output_price)
    bills = [priced_by.bill(Usage(input_tokens=i, cache_read_tokens=0, output_tokens=o)) for i, o in calls]
    items = [item for bill in bills for item in bill.items]
    assert sum(bill.total or 0 for bill in bills) == total_of(items) == total_of(reversed(items))
    by_component = [bill.by_component() for bill in bills if bill.items]
    assert sum(amount for part in by_component for amount in part.values()) == total_of(items)


def test_lines_are_made_when_somebody_looks() -> None:
    """A bill's lines behave like the tuple of its items, and add up to its total."""
    bill = plan(input_price="2.5", cached_price="0.25", output_price="10").bill(
        Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=7)
    )
    lines = bill.items
    assert isinstance(lines, Lines)
    assert lines.made is None
    assert bill.only_component == "llm"
    assert bill.by_component() == {"llm": bill.total}
    assert lines.made is None, "nobody had to look"
    assert [(item.unit, item.quantity) for item in lines] == [
        ("input_tokens", 600),
        ("cache_read_tokens", 400),
        ("output_tokens", 7),
    ]
    assert total_of(lines) == bill.total == 600 * 2_500_000 + 400 * 250_000 + 7 * 10_000_000
    assert lines == tuple(lines)
    assert (lines[1].unit, lines[-1].unit, len(lines), bool(lines)) == ("cache_read_tokens", "output_tokens", 3, True)
    assert hash(bill) == hash(replace(bill, items=tuple(lines)))
    assert repr(bill) == repr(replace(bill, items=tuple(lines)))
    assert bill == replace(bill, items=tuple(lines))


def test_quick_bill_is_the_same_bill() -> None:
    """The fast constructor makes what the dataclass makes, field by field."""
    line = LineItem("input_tokens", 5, Rate("1", 10), 7)
    quick = new_bill(
        status="priced",
        total=7,
        items=(line,),
        reasons=("r",),
        source="book",
        price_id="id",
        currency="USD",
        notes=("n",),
    )
    slow = Bill(
        status="priced",
        total=7,
        items=(line,),
        reasons=("r",),
        source="book",
        price_id="id",
        currency="USD",
        notes=("n",),
    )
    assert quick == slow
    assert repr(quick) == repr(slow)
