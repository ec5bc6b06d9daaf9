"""Model names: what is only addressing falls away (`bare_model`), then what is only a version (`model_family`)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from otel_agentcost._data import load


def _compile(rules: list[list[str]]) -> tuple[tuple[re.Pattern[str], str], ...]:
    # In the tables `$` is the end of the text and not the place before a last line break: RE2 knows no other.
    return tuple((re.compile(pattern.replace("$", r"\Z")), to.replace("$", "\\")) for pattern, to in rules)


_TABLE: dict[str, Any] = load("providers")["model_names"]
_PREFIXES: dict[str, str] = _TABLE["prefixes"]
_BARE = _compile(_TABLE["bare"])
_FAMILY = _compile(_TABLE["family"])
_MAX_STEPS = 8
"""A name has few layers of addressing; a longer one is hostile."""
_MAX_LENGTH = 512


@lru_cache(maxsize=4096)
def bare_model(model: str) -> str:
    """Return a model name without its address, lower-case: `models/`, `publishers/*/models/`, known router
    prefixes (`openrouter/anthropic/`), ARNs up to the model id. Versions, tags (`:free`) and region profiles
    (`us.anthropic.`) have a price of their own and stay.
    """
    return _peel(model)[1]


@lru_cache(maxsize=4096)
def routed_provider(model: str) -> str | None:
    """Return the provider the prefixes of a model name tell: the innermost one that has a name, or None.

    `openai/gpt-4o` is `openai`, `openrouter/anthropic/claude-sonnet-4.5` is `anthropic`, `meta-llama/llama-3` None.
    """
    return _peel(model)[0]


@lru_cache(maxsize=4096)
def model_family(model: str) -> str:
    """Return the bare name without region profile, vendor, date, version and `latest`, to compare two requests.

    `gpt-4o-2024-08-06` and `gpt-4o` are one family, so are `us.anthropic.claude-sonnet-4-5-20250929-v1:0` and
    `anthropic/claude-sonnet-4.5`. Never used to find a price.
    """
    name = _peel(model)[1]
    for pattern, to in _FAMILY:
        shorter = pattern.sub(to, name)
        name = shorter or name
    return name


def _peel(model: str) -> tuple[str | None, str]:
    name = model[:_MAX_LENGTH].strip().lower()
    provider: str | None = None
    for _ in range(_MAX_STEPS):
        before = name
        for pattern, to in _BARE:
            name = pattern.sub(to, name) or name
        prefix, slash, rest = name.partition("/")
        if slash and rest and prefix in _PREFIXES:
            provider = _PREFIXES[prefix] or provider
            name = rest
        if name == before:
            break
    return provider, name
