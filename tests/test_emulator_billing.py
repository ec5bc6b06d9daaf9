"""The emulator's own arithmetic, against sums worked out by hand."""

from __future__ import annotations

import pytest

from otel_agentcost.testing.emulator.billing import Row, Till, amount, by_provider
from otel_agentcost.testing.emulator.prices import PRICES, Rates, pico_each


def test_a_price_is_a_whole_number_of_pico_dollars_each() -> None:
    """2.50 per million tokens is 2 500 000 pico each; 10 per thousand searches is a cent."""
    assert pico_each("2.50", 10**6) == 2_500_000
    assert pico_each("0.0375", 10**6) == 37_500
    assert pico_each("10", 1000) == 10_000_000_000
    assert pico_each("0", 10**6) == 0


@pytest.mark.parametrize("price", ["1e3", "-1", "1.0000000000001", "", "free"])
def test_a_price_that_is_no_plain_decimal_is_refused(price: str) -> None:
    """The list is decimal text; nothing is guessed."""
    with pytest.raises(ValueError, match="is not plain decimal text"):
        pico_each(price, 10**6)


def test_a_price_that_does_not_divide_is_refused() -> None:
    """Every amount of the emulator is exact, so a rate that is not is an error."""
    with pytest.raises(ValueError, match="not a whole number"):
        pico_each("0.00000000001", 10**6)


def test_every_listed_price_is_exact() -> None:
    """The whole list compiles to integers, tiers and long prompts included."""
    for models in PRICES.values():
        for rates in models.values():
            for every in (rates, rates.long, *rates.tiers.values()):
                if every is not None:
                    row = Row(provider="", api="", input=10, cached=1, cache_write_5m=1, cache_write_1h=1, output=1)
                    assert amount(row, every) >= 0


def test_cached_tokens_are_billed_once_and_at_their_own_rate() -> None:
    """gpt-4o: 1 000 input of which 400 cached, 100 output = 600 x 2.5 + 400 x 1.25 + 100 x 10 per million."""
    row = Row(provider="openai", api="openai.chat", input=1_000, cached=400, output=100)

    assert amount(row, PRICES["openai"]["gpt-4o"]) == 1_500_000_000 + 500_000_000 + 1_000_000_000


def test_cache_writes_and_searches_have_their_own_rates() -> None:
    """claude-haiku-4-5: 100 fresh, 200 read, 300 written for 5m, 400 for 1h, 50 out, 2 searches."""
    row = Row(
        provider="anthropic",
        api="anthropic.messages",
        input=1_000,
        cached=200,
        cache_write_5m=300,
        cache_write_1h=400,
        output=50,
        web_searches=2,
    )

    expected = 100 * 1_000_000 + 200 * 100_000 + 300 * 1_250_000 + 400 * 2_000_000 + 50 * 5_000_000 + 2 * 10**10
    assert expected == amount(row, PRICES["anthropic"]["claude-haiku-4-5"])


def test_a_service_tier_replaces_all_rates() -> None:
    """o3 flex is 1 / 4 / 0.25 instead of 2 / 8 / 0.50."""
    row = Row(provider="openai", api="openai.chat", input=10, cached=4, output=3, service_tier="flex")

    assert amount(row, PRICES["openai"]["o3"]) == 6 * 1_000_000 + 4 * 250_000 + 3 * 4_000_000


def test_a_long_prompt_is_dearer_as_a_whole_and_only_above_the_limit() -> None:
    """gemini-2.5-pro: 200 000 tokens are ordinary, 200 001 make all of them long."""
    rates = PRICES["google"]["gemini-2.5-pro"]
    at = Row(provider="google", api="", input=200_000, output=1)
    above = Row(provider="google", api="", input=200_001, output=1)

    assert amount(at, rates) == 200_000 * 1_250_000 + 10_000_000
    assert amount(above, rates) == 200_001 * 2_500_000 + 15_000_000


def test_a_grounded_prompt_is_one_fee_however_many_queries() -> None:
    """Gemini 2.5 bills 35 per thousand grounded prompts, not per query."""
    rates = PRICES["google"]["gemini-2.5-flash"]

    assert amount(Row(provider="google", api="", web_searches=3), rates) == 35_000_000_000


def test_the_older_search_tool_is_dearer() -> None:
    """web_search 10, web_search_preview 25 per thousand on models that do not think."""
    new = Row(provider="openai", api="", web_searches=2)
    old = Row(provider="openai", api="", web_searches=2, preview_search=True)

    assert amount(new, PRICES["openai"]["gpt-4o"]) == 2 * 10**10
    assert amount(old, PRICES["openai"]["gpt-4o"]) == 5 * 10**10


def test_audio_is_not_billed_as_text() -> None:
    """gpt-4o-audio-preview: 1 000 of 1 500 input tokens are audio, 600 of 800 output tokens are."""
    row = Row(provider="openai", api="", input=1_500, audio_input=1_000, output=800, audio_output=600)

    assert amount(row, PRICES["openai"]["gpt-4o-audio-preview"]) == 91_250_000_000


def test_a_part_larger_than_the_whole_is_an_error() -> None:
    """A bill never gets a negative line."""
    with pytest.raises(ValueError, match="larger than the whole"):
        amount(Row(provider="openai", api="", input=1, cached=2), Rates(input="1"))


def test_the_till_keeps_the_order_of_arrival_and_prices_when_read() -> None:
    """A row may still grow while its call is under way; the bill shows it as it stands."""
    till = Till()
    first = till.open(Row(provider="openai", api="openai.chat", rates=Rates(input="1", output="2"), input=3))
    till.open(Row(provider="shop", api="http", fee_pico=7))

    assert [call.amount_pico for call in till.billed()] == [3_000_000, 7]
    first.output = 5
    assert by_provider(till.billed()) == {"openai": 13_000_000, "shop": 7}
    till.clear()
    assert till.billed() == []
