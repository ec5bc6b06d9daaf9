"""The emulator speaks so that every SDK's own types show exactly what it billed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agentcost.testing import BilledCall, ProviderEmulator
from tests.live.sdks import Seen, Way, available


@pytest.fixture(scope="module")
def emulator() -> Iterator[ProviderEmulator]:
    with ProviderEmulator(cache_minimum=128) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(emulator: ProviderEmulator) -> None:
    emulator.reset()


def billed(call: BilledCall) -> Seen:
    """The emulator's row in the form of what SDKs show."""
    written = call.cache_write_5m + call.cache_write_1h
    return Seen(call.input, call.output, call.cached, written, call.reasoning, call.web_searches)


@pytest.mark.parametrize("way", available(), ids=lambda way: way.name)
def test_an_sdk_shows_exactly_what_was_billed(emulator: ProviderEmulator, way: Way) -> None:
    """Usage in the SDK's own types equals the emulator's ledger: first call, cached second call, web search."""
    shown = [way.run(emulator.url, text) for text in ("Hello there", "Hello there", "Please search for news")]

    calls = emulator.billed
    assert [billed(call) for call in calls] == shown
    assert [call.provider for call in calls] == [way.provider] * 3
    assert all(call.complete for call in calls)
    assert (emulator.total_pico > 0) == (way.provider != "ollama")


@pytest.mark.parametrize("way", available(), ids=lambda way: way.name)
@pytest.mark.parametrize("steer", ["[[encoding gzip]]", "[[split 7]]", "[[encoding gzip]] [[split 3]]"])
def test_encodings_and_odd_chunks_change_nothing(emulator: ProviderEmulator, way: Way, steer: str) -> None:
    """However the bytes travel, SDKs read the same."""
    shown = way.run(emulator.url, f"Grüße aus Köln {steer}")

    assert [billed(call) for call in emulator.billed] == [shown]
