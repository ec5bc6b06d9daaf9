"""PriceBook: what it promises beyond the vectors: it never raises, stays small, and stays out of the way."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agentcost.errors import PriceBookError
from otel_agentcost.pricing.book import FORMAT, NO_CHARGE, PriceBook
from otel_agentcost.pricing.overrides import Overrides
from otel_agentcost.usage.reading import Reading, Usage
from otel_agentcost.usage.units import UNITS

AT = int(datetime(2026, 11, 21, 12, tzinfo=timezone.utc).timestamp()) * 10**9
BOOK = PriceBook.bundled()


def call(model: str | None, provider: str | None = "openai", **usage: int) -> Reading:
    return Reading(kind="call", provider=provider, model=model, usage=Usage(usage))


def test_bundled_book_is_shared() -> None:
    """It is read once, and names its version."""
    assert PriceBook.bundled() is BOOK
    assert BOOK.version in BOOK.price(call("gpt-4o", input_tokens=1), at=AT).price_id


def test_another_format_is_refused() -> None:
    """A file of another form is a clear error, not a wrong price."""
    with pytest.raises(PriceBookError, match=r"'agentcost-prices/9' is not 'agentcost-prices/1'"):
        PriceBook({"format": "agentcost-prices/9", "version": "1", "providers": []})


def test_importing_reads_no_prices_and_no_heavy_library() -> None:
    """The book is read on first use; neither pydantic nor genai-prices is ever imported."""
    program = (
        "import sys; from otel_agentcost.pricing.book import PriceBook; import otel_agentcost._data as d; parsed = [];"
        "heavy = {'pydantic', 'genai_prices', 'yaml', 'httpx2'}; before = heavy & set(sys.modules);"
        "original = d.json.loads; d.json.loads = lambda text: parsed.append(len(text)) or original(text);"
        "book = PriceBook.bundled(); print(before, max(parsed) > 100_000, heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() True set()"


def test_caches_are_bounded_and_remember_misses() -> None:
    """Ten thousand distinct names leave no more than the caches' bounds; a second miss is a look-up."""
    book = PriceBook({"format": FORMAT, "version": "t", "providers": [{"id": "acme", "models": []}]})
    for number in range(10_000):
        book.price(call(f"m-{number}", "acme", input_tokens=1), at=AT)
    assert len(book._plans) <= 4096
    assert book._find.cache_info().currsize <= 8192
    before = book._find.cache_info().misses
    assert book.price(call("m-9999", "acme", input_tokens=2), at=AT).reasons == ("unknown_model",)
    assert book._find.cache_info().misses == before


def test_context_nobody_prices_by_does_not_widen_the_cache() -> None:
    """A request id in the context is not a new plan."""
    book = PriceBook.bundled()
    book.price(call("gpt-4o", input_tokens=1), at=AT)
    before = len(book._plans)
    for number in range(100):
        reading = Reading(
            kind="call", provider="openai", model="gpt-4o", usage=Usage(input_tokens=1), context={"trace": str(number)}
        )
        book.price(reading, at=AT)
    assert len(book._plans) - before <= 1


def test_time_of_day_costs_one_plan_a_minute_at_most() -> None:
    """A model with peak hours changes its price within a day although the day is what is cached."""
    peak = int(datetime(2026, 11, 20, 2, tzinfo=timezone.utc).timestamp()) * 10**9
    reading = call("deepseek-v4-flash", "deepseek", input_tokens=10_000, output_tokens=1_000)
    assert [BOOK.price(reading, at=at).total for at in (peak, peak + 7_200 * 10**9, peak)] == [
        4_200_000_000,
        2_100_000_000,
        4_200_000_000,
    ]


def test_price_is_the_same_from_many_threads() -> None:
    """Bounded caches are shared between threads without harm."""
    readings = [call(f"gpt-4o-{number % 7}", input_tokens=number, output_tokens=number) for number in range(200)]
    expected = [BOOK.price(reading, at=AT) for reading in readings]
    fresh = PriceBook(BOOK._content)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda reading: fresh.price(reading, at=AT), readings)) == expected


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**60), st.floats(), st.text(max_size=5), st.decimals(allow_nan=True)
)


@given(
    kind=st.sampled_from(["call", "aggregate", "tool", "api", "compute"]),
    provider=st.one_of(
        st.none(), st.text(max_size=12), st.sampled_from(["openai", "azure", "google", "ollama", "x_ai"])
    ),
    model=st.one_of(
        st.none(), st.text(max_size=40), st.sampled_from(["gpt-4o", "gemini-2.5-pro", "arn:aws:bedrock:::/"])
    ),
    usage=st.dictionaries(st.sampled_from([*UNITS, "nonsense"]), ODD, max_size=6),
    context=st.dictionaries(
        st.sampled_from(["host", "path", "method", "service_tier", "region", "machine"]),
        st.text(max_size=12),
        max_size=4,
    ),
    cost=st.one_of(st.none(), st.decimals(allow_nan=True)),
    at=st.integers(0, 2**63),
)
def test_price_never_raises(kind, provider, model, usage, context, cost, at) -> None:  # type: ignore[no-untyped-def]
    """Whatever evidence says, there is a bill: with a total only when the status has one."""
    reading = Reading(
        kind=kind,
        provider=provider,
        model=model,
        usage=Usage(usage),
        context=MappingProxyType(context),
        reported_cost=cost,
        reported_by="emitter" if cost is not None else "",
        tool="x",
    )
    bill = BOOK.price(reading, at=at)
    assert not any(reason.startswith("pricing_error") for reason in bill.reasons), bill.reasons
    assert (bill.total is None) == (bill.status in ("unpriced", "invalid"))
    if bill.items and bill.total is not None:
        assert bill.total == sum(item.pico for item in bill.items)
    if bill.status not in ("priced", "free", "provider_reported"):
        assert bill.reasons


def test_fault_of_ours_is_a_reason_not_an_exception() -> None:
    """Evidence of a wrong type ends as an unpriced bill that names the fault."""
    broken = Reading(kind="call", provider="openai", model="gpt-4o", usage=Usage(input_tokens=1), context={"host": []})  # type: ignore[dict-item]
    bill = BOOK.price(broken, at=AT)
    assert (bill.status, bill.total, bill.reasons) == ("unpriced", None, ("pricing_error:TypeError",))


def test_window_of_a_model() -> None:
    """The context window comes from the book, or from the user's own entry."""
    assert BOOK.context_window("openai", "gpt-4o-2024-08-06") == 128_000
    assert BOOK.context_window("openai", "nobody-knows") is None
    own = Overrides.from_mapping(
        {"prices": [{"model": "brain-*", "units": {"input_tokens": 1}, "context_window": 5_000}]}
    )
    assert BOOK.with_overrides(own).context_window("house", "brain-1") == 5_000


def test_membership_tells_what_is_worth_reading() -> None:
    """The shell asks before it reads a span nobody charges for."""
    assert "api.tavily.com" in BOOK.priced_hosts
    assert "API.Tavily.com" in BOOK.priced_hosts
    assert "example.com" not in BOOK.priced_hosts
    assert None not in BOOK.priced_hosts
    assert "web_search" not in BOOK.priced_tools
    own = BOOK.with_overrides(Overrides.from_mapping({"fees": [{"tool": "web_*", "per_call": 1}]}))
    assert "web_search" in own.priced_tools
    assert "http.response.header.x-credits-used" in BOOK.fee_attributes


def test_no_charge_is_one_object() -> None:
    """The ledger compares by identity: nobody has a fee is not an unknown price."""
    bill = BOOK.price(Reading(kind="tool", tool="get_weather", usage=Usage(tool_calls=1)), at=AT)
    assert bill is NO_CHARGE
    assert (NO_CHARGE.status, NO_CHARGE.total) == ("not_billed", 0)


def test_notes_say_how_a_price_was_found() -> None:
    """`explain` can tell whose list price stands in for whose."""
    bill = BOOK.price(call("gpt-4o", "azure.ai.openai", input_tokens=1), at=AT)
    assert bill.notes == ("list price of openai, sold by azure",)


def test_lines_name_the_rule_that_chose_their_rate() -> None:
    """Tier, region and variant stand in the note of the rate."""
    reading = Reading(
        kind="call",
        provider="x-ai",
        model="grok-4.6",
        usage=Usage(input_tokens=200_000, output_tokens=1),
        context={"region": "us"},
    )
    assert BOOK.price(reading, at=AT).items[0].rate.note == "x1.1 region=us tier>=200000"


def test_seconds_are_exact_decimals() -> None:
    """Measured time is a decimal, and a line is rounded once."""
    reading = Reading(
        kind="compute", provider="aws", usage=Usage(vcpu_seconds=Decimal("0.1")), context={"machine": "fargate"}
    )
    assert BOOK.price(reading, at=AT).total == 1_124_444


def test_money_by_detail_and_component() -> None:
    """What `detail: full` shows adds up to the total, as do the rollup buckets."""
    usage = Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=10, web_searches=1)
    bill = BOOK.price(Reading(kind="call", provider="openai", model="gpt-4o", usage=usage), at=AT)
    assert bill.by_detail() == {
        "input": 1_500_000_000,
        "cache_read": 500_000_000,
        "output": 100_000_000,
        "tool": 10_000_000_000,
    }
    assert bill.by_component() == {"llm": 2_100_000_000, "tool": 10_000_000_000}
    assert bill.text == "0.0121"
    assert BOOK.price(call("nobody", input_tokens=1), at=AT).by_component() == {}


def test_shipped_currency_is_the_dollar() -> None:
    """Bills say their currency; another one is the user's wish."""
    assert BOOK.price(call("gpt-4o", input_tokens=1), at=AT).currency == "USD"


def test_members_without_rules_are_false() -> None:
    """`if not book.priced_hosts` saves reading HTTP spans when nobody has a fee."""
    empty = PriceBook({"format": FORMAT, "version": "t", "providers": []})
    assert not empty.priced_hosts
    assert not empty.priced_tools
    assert BOOK.priced_hosts
