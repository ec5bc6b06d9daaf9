"""Paid APIs and tools that are no models."""

from __future__ import annotations

import json

import pytest

from otel_agentcost.testing import Fee, ProviderEmulator


def test_a_search_has_a_fee_on_any_host() -> None:
    """Half a cent a request, billed under the host that was asked."""
    emulator = ProviderEmulator()
    exchange = emulator.respond("GET", "http://api.search.example:8080/v1/search?q=otel")

    assert json.loads(b"".join(exchange.body))["query"] == "otel"
    assert [(call.provider, call.api, call.model, call.amount_pico) for call in emulator.billed] == [
        ("api.search.example", "http", "search", 5_000_000_000)
    ]
    assert emulator.totals_pico == {"api.search.example": 5_000_000_000}


@pytest.mark.parametrize(
    ("url", "body", "units"),
    [
        ("/v1/extract", b'{"units": 12}', 12),
        ("/v1/extract", b'{"items": ["a", "b", "c"]}', 3),
        ("/v1/extract?units=4", b"", 4),
        ("/v1/extract", b"not json", 1),
    ],
)
def test_units_are_counted_and_told(url: str, body: bytes, units: int) -> None:
    """A tenth of a cent each; the response header says how many."""
    emulator = ProviderEmulator()
    exchange = emulator.respond("POST", url, headers={"host": "extract.example"}, body=body)

    assert dict(exchange.headers)["x-billed-units"] == str(units)
    assert (emulator.billed[0].units, emulator.total_pico) == (units, units * 10**9)


def test_tools_are_served_and_some_have_a_fee() -> None:
    """geocode costs a fifth of a cent, any other tool nothing."""
    emulator = ProviderEmulator()
    for name in ("geocode", "add"):
        assert emulator.respond("POST", f"/tools/{name}", body=b"{}").status == 200

    assert [(c.model, c.amount_pico) for c in emulator.billed] == [("geocode", 2_000_000_000), ("add", 0)]


def test_a_refused_request_costs_nothing() -> None:
    """The header steers paid APIs too."""
    emulator = ProviderEmulator()
    exchange = emulator.respond("GET", "/v1/search", headers={"x-emulator-reply": '{"status": 503}'})

    assert (exchange.status, emulator.billed[0].status, emulator.total_pico) == (503, 503, 0)


def test_the_list_of_fees_can_be_replaced() -> None:
    """Only what is on it is served."""
    emulator = ProviderEmulator(fees=[Fee(method="GET", path="/price/*/now", per_request="1.25")])

    assert emulator.respond("GET", "/price/eur/now").status == 200
    assert emulator.respond("GET", "/v1/search").status == 404
    assert emulator.total_pico == 1_250_000_000_000
