"""Shell tests let errors of ours through: a bug that only raises a counter would go unseen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agentcost.otel import health


@pytest.fixture(autouse=True)
def our_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AGENTCOST_RAISE", "1")
    health.reset()
    yield
    health.reset()
