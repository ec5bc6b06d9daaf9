"""Streams that end before their end: what cannot be known exactly is labelled, and never a silent 0."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.broken import available
from tests.live.test_matrix import drive

LABELS = {"estimated", "partial", "unpriced"}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    return drive({"broken": True, "native": False})


@pytest.mark.parametrize("name", available())
def test_a_stream_without_its_end_is_exact_or_labelled(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    """Either the root says what was billed, or a span says that its figure is estimated or missing."""
    outcome = outcomes[name]

    assert outcome["billed"] > 0
    assert len(outcome["roots"]) == 1
    exact = outcome["roots"] == [outcome["billed"]]
    assert exact or LABELS & set(outcome["labels"]), outcome
    assert outcome["roots"] != [0] or outcome["unpriced"] == [1]
    assert outcome["leaked"] == []


def test_a_stream_that_was_not_asked_for_usage_is_exact(outcomes: dict[str, dict[str, Any]]) -> None:
    """At a host known to accept it usage is asked for behind the application's back."""
    outcome = outcomes["openai-without-usage"]

    assert (outcome["roots"], outcome["unpriced"]) == ([outcome["billed"]], [None])
