"""Tool loops through the real SDKs: the model asks for tools in parallel, gets results, asks again, answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from otel_agentcost.testing import ProviderEmulator
from tests.live.loops import CITIES, available


@pytest.fixture(scope="module")
def emulator() -> Iterator[ProviderEmulator]:
    with ProviderEmulator() as running:
        yield running


@pytest.mark.parametrize("loop", available(), ids=lambda loop: loop.__name__)
def test_an_agent_gets_its_tools_and_its_answer(
    emulator: ProviderEmulator, loop: Callable[[str, list[list[str]]], str]
) -> None:
    """Two parallel calls, one more, then words: three billed calls whose input grows."""
    emulator.reset()
    asked: list[list[str]] = []
    said = loop(emulator.url, asked)

    assert (asked, said) == (CITIES, "All are sunny.")
    inputs = [call.input for call in emulator.billed]
    assert len(inputs) == 3
    assert inputs == sorted(set(inputs))
