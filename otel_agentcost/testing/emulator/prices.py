"""The emulator's own price list: written by hand from the vendors' price pages, read by nothing but its till.

It shares no line with the price book of otel-agentcost, so that agreement of the two is evidence. US dollars, as
decimal text, per million tokens (searches: per thousand), as listed in November 2026. Sources: the public pricing
pages of OpenAI, Anthropic, Google (Gemini API), Mistral, Cohere, Groq, OpenRouter and Amazon Bedrock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PICO_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one model costs: US dollars per million tokens as decimal text; empty = as its parent unit."""

    input: str
    output: str = "0"
    cached: str = ""
    cache_write_5m: str = ""
    cache_write_1h: str = ""
    audio_input: str = ""
    audio_output: str = ""
    search: str = "0"
    """Per thousand web searches."""
    search_preview: str = ""
    """Per thousand searches of the older `web_search_preview` tool; empty = as `search`."""
    search_by_prompt: bool = False
    """One fee for a grounded prompt, however many queries it took."""
    tiers: Mapping[str, Rates] = field(default_factory=dict)
    """Full rates of a service tier (flex, priority)."""
    long_from: int = 0
    """With more input tokens than this the whole request is priced by `long`; 0 = never."""
    long: Rates | None = None
    snapshot: str = ""
    """The dated name the provider answers with."""


def _claude(fresh: str, output: str, cached: str, write_5m: str, write_1h: str, snapshot: str = "") -> Rates:
    return Rates(
        input=fresh,
        output=output,
        cached=cached,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        search="10",
        snapshot=snapshot,
    )


def _gpt(fresh: str, output: str, cached: str, *, preview: str = "", snapshot: str = "", **tiers: Rates) -> Rates:
    return Rates(
        input=fresh,
        output=output,
        cached=cached,
        search="10",
        search_preview=preview,
        snapshot=snapshot,
        tiers=tiers,
    )


_OPENAI = {
    "gpt-4o": _gpt(
        "2.50",
        "10",
        "1.25",
        preview="25",
        snapshot="gpt-4o-2024-08-06",
        priority=_gpt("4.25", "17", "2.125", preview="25"),
    ),
    "gpt-4o-mini": _gpt(
        "0.15",
        "0.60",
        "0.075",
        preview="25",
        snapshot="gpt-4o-mini-2024-07-18",
        priority=_gpt("0.25", "1", "0.125", preview="25"),
    ),
    "gpt-4.1": _gpt(
        "2",
        "8",
        "0.50",
        preview="25",
        snapshot="gpt-4.1-2025-04-14",
        priority=_gpt("3.50", "14", "0.875", preview="25"),
    ),
    "gpt-4.1-mini": _gpt("0.40", "1.60", "0.10", preview="25", snapshot="gpt-4.1-mini-2025-04-14"),
    "gpt-5": _gpt(
        "1.25",
        "10",
        "0.125",
        snapshot="gpt-5-2025-08-07",
        flex=_gpt("0.625", "5", "0.0625"),
        priority=_gpt("2.50", "20", "0.25"),
    ),
    "gpt-5-mini": _gpt(
        "0.25",
        "2",
        "0.025",
        snapshot="gpt-5-mini-2025-08-07",
        flex=_gpt("0.125", "1", "0.0125"),
        priority=_gpt("0.45", "3.60", "0.045"),
    ),
    "o3": _gpt(
        "2",
        "8",
        "0.50",
        snapshot="o3-2025-04-16",
        flex=_gpt("1", "4", "0.25"),
        priority=_gpt("3.50", "14", "0.875"),
    ),
    "gpt-4o-audio-preview": Rates(
        input="2.50",
        output="10",
        audio_input="40",
        audio_output="80",
        snapshot="gpt-4o-audio-preview-2025-06-03",
    ),
    "gpt-3.5-turbo-instruct": Rates(input="1.50", output="2", snapshot="gpt-3.5-turbo-instruct:20230824-v2"),
    "text-embedding-3-small": Rates(input="0.02"),
    "text-embedding-3-large": Rates(input="0.13"),
}

_SONNET_LONG = _claude("6", "22.50", "0.60", "7.50", "12")

_ANTHROPIC = {
    "claude-sonnet-4-5": Rates(
        input="3",
        output="15",
        cached="0.30",
        cache_write_5m="3.75",
        cache_write_1h="6",
        search="10",
        snapshot="claude-sonnet-4-5-20250929",
        long_from=200_000,
        long=_SONNET_LONG,
    ),
    "claude-haiku-4-5": _claude("1", "5", "0.10", "1.25", "2", "claude-haiku-4-5-20251001"),
    "claude-opus-4-1": _claude("15", "75", "1.50", "18.75", "30", "claude-opus-4-1-20250805"),
    "claude-opus-4-5": _claude("5", "25", "0.50", "6.25", "10", "claude-opus-4-5-20251101"),
    "claude-sonnet-5": _claude("2", "10", "0.20", "2.50", "4"),
}

_GOOGLE = {
    "gemini-2.5-flash": Rates(
        input="0.30",
        output="2.50",
        cached="0.03",
        audio_input="1",
        search="35",
        search_by_prompt=True,
    ),
    "gemini-2.5-pro": Rates(
        input="1.25",
        output="10",
        cached="0.125",
        search="35",
        search_by_prompt=True,
        long_from=200_000,
        long=Rates(input="2.50", output="15", cached="0.25", search="35", search_by_prompt=True),
    ),
}

PRICES: Mapping[str, Mapping[str, Rates]] = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "google": _GOOGLE,
    "mistral": {
        "mistral-large-2512": Rates(input="0.50", output="1.50"),
        "mistral-small-2603": Rates(input="0.15", output="0.60"),
    },
    "cohere": {
        "command-a-03-2025": Rates(input="2.50", output="10"),
        "command-r-plus-08-2024": Rates(input="2.50", output="10"),
        "command-r7b-12-2024": Rates(input="0.0375", output="0.15"),
    },
    "groq": {
        "llama-3.3-70b-versatile": Rates(input="0.59", output="0.79"),
        "llama-3.1-8b-instant": Rates(input="0.05", output="0.08"),
        "openai/gpt-oss-120b": Rates(input="0.15", output="0.60", cached="0.075"),
    },
    "openrouter": {
        "openai/gpt-4o-mini": Rates(input="0.15", output="0.60", cached="0.075"),
        "anthropic/claude-sonnet-4.5": Rates(input="3", output="15", cached="0.30"),
    },
    "aws": {
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0": Rates(
            input="3.30", output="16.50", cached="0.33", cache_write_5m="4.125", cache_write_1h="6.60"
        ),
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0": Rates(
            input="3", output="15", cached="0.30", cache_write_5m="3.75", cache_write_1h="6"
        ),
        "amazon.nova-lite-v1:0": Rates(input="0.06", output="0.24", cached="0.015"),
    },
    "ollama": {"llama3.2": Rates(input="0"), "qwen3": Rates(input="0")},
}
"""Every model the emulator serves, by provider. Local models (ollama) are free."""

REASONING = ("gpt-5", "o3", "gemini-2.5-", "openai/gpt-oss-")
"""Beginnings of the names of models that think before they answer, without being asked to."""


def pico_each(price: str, per: int) -> int:
    """Turn a price for `per` units into whole pico-dollars for one; raises where that is not exact."""
    whole, _, fraction = price.partition(".")
    if len(fraction) > PICO_DIGITS or not (whole + fraction).isdigit():
        raise ValueError(f"price {price!r} is not plain decimal text with at most {PICO_DIGITS} decimals")
    block = int(whole + fraction.ljust(PICO_DIGITS, "0"))
    each, left = divmod(block, per)
    if left:
        raise ValueError(f"price {price!r} per {per} is not a whole number of pico-dollars each")
    return each
