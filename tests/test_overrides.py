"""agentcost.yaml, price part: what is wrong is named with its dotted key, its value and what to do."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from otel_agentcost._data import load
from otel_agentcost.errors import ConfigError
from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.pricing.fees import host_matches, path_matches
from otel_agentcost.pricing.overrides import PRICE_KEYS, Overrides
from otel_agentcost.pricing.vectors import nanoseconds
from otel_agentcost.usage.reading import Reading, Usage

EXAMPLE = Path(__file__).parents[1] / "examples" / "agentcost.yaml"
MISTAKES = Path(__file__).parent / "conformance" / "settings" / "mistakes.json"
UNITS = {"units": {"input_tokens": 1}}


def mistakes() -> list[Any]:
    """The hand-written vectors of both languages: settings, the dotted key, what is said."""
    content = json.loads(MISTAKES.read_text())
    assert content["format"] == "agentcost-conformance/settings/1"
    assert all(set(vector) == {"settings", "key", "says"} for vector in content["vectors"])
    return [pytest.param(v["settings"], v["key"], v["says"], id=v["says"][:70]) for v in content["vectors"]]


@pytest.mark.parametrize(("content", "key", "says"), mistakes())
def test_mistake_is_named(content: dict[str, Any], key: str, says: str) -> None:
    """A ConfigError names the dotted key, the value and what to do."""
    with pytest.raises(ConfigError) as caught:
        Overrides.from_mapping(content)
    assert (key, says) == (caught.value.key, str(caught.value))


def test_every_settings_file_is_run() -> None:
    """No file of the folder is left out."""
    assert list(MISTAKES.parent.glob("*.json")) == [MISTAKES]


def test_yaml_numbers_without_end_are_refused() -> None:
    """`.nan` and `.inf` are floats in YAML."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="is not a finite number"):
            Overrides.from_mapping({"prices": [{"model": "x", "units": {"input_tokens": value}}]})


def test_nothing_said_is_nothing_changed() -> None:
    """Empty sections, as YAML leaves them, are allowed."""
    assert Overrides.from_mapping({key: None for key in PRICE_KEYS if key != "currency"}) == Overrides()


def test_days_may_be_yaml_dates() -> None:
    """YAML reads an unquoted day as a date."""
    made = Overrides.from_mapping({"prices": [{"model": "x", **UNITS, "from": date(2026, 1, 1)}]})
    assert made.prices[0].standard.constraint.on_day(20_454)
    assert not made.prices[0].standard.constraint.on_day(20_453)


def test_floats_are_read_by_their_digits() -> None:
    """0.1 is a tenth, not the nearest double."""
    book = PriceBook.bundled().with_overrides(
        Overrides.from_mapping({"prices": [{"model": "x", "units": {"input_tokens": {"price": 0.1, "per": 1}}}]})
    )
    bill = book.price(Reading(kind="call", provider="house", model="x", usage=Usage(input_tokens=3)), at=0)
    assert bill.total == 300_000_000_000


def example() -> dict[str, Any]:
    return yaml.safe_load(EXAMPLE.read_text())


def test_example_is_valid_and_complete() -> None:
    """The commented example passes the schema and shows every top-level key but the switch itself."""
    schema = load("agentcost.schema")
    jsonschema.Draft202012Validator.check_schema(schema)
    as_json = json.loads(json.dumps(example(), default=str))
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(as_json)) == []
    assert set(as_json) == set(schema["properties"]) - {"enabled"}


def test_example_prices_what_it_says() -> None:
    """The figures of the example, worked out by hand."""
    overrides = Overrides.from_mapping({key: value for key, value in example().items() if key in PRICE_KEYS})
    book = PriceBook.bundled().with_overrides(overrides)
    at = nanoseconds("2026-11-21T12:00:00Z")

    def total(**reading: Any) -> int | None:
        return book.price(Reading(**{"kind": "call", **reading}), at=at).total

    # 1 000 x 0.4 + 1 000 x 1.6 euro per million
    assert total(provider="acme", model="acme-1", usage=Usage(input_tokens=1000, output_tokens=1000)) == 2_000_000_000
    # 2.5 dollars per million x 0.905 euro, 12.5 % off
    assert total(provider="azure", model="my-deployment", usage=Usage(input_tokens=1000)) == 2_262_500_000
    assert total(provider="openai", model="gpt-4o", usage=Usage(input_tokens=1000)) == 1_979_687_500
    assert total(kind="tool", tool="crm_lookup", usage=Usage(tool_calls=1)) == 2_000_000_000
    path = {"host": "api.credit.example", "method": "POST", "path": "/v2/reports/de"}
    assert total(kind="api", context=path, usage=Usage(api_requests=1)) == 1_200_000_000_000
    machine = {"machine": "gpu-node-7", "gpu": "H100 80GB"}
    assert total(kind="compute", context=machine, usage=Usage(gpu_seconds=3600)) == 2_100_000_000_000


@pytest.mark.parametrize(("content", "key", "says"), mistakes())
def test_schema_is_no_stricter_than_the_reader(content: dict[str, Any], key: str, says: str) -> None:
    """The schema never refuses what the reader takes; most of what the reader refuses, it refuses too."""
    schema = jsonschema.Draft202012Validator(load("agentcost.schema"))
    refused = bool(list(schema.iter_errors(json.loads(json.dumps(content)))))
    beyond = (
        "ascending",
        "is before",
        "no rate for",
        "rates: {USD",
        "finite",
        "not above 0",
        "is not a day",
        "12 decimals",
        "has no price",
    )
    assert refused or any(part in says for part in beyond), key


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("api.x.com", "api.x.com", True),
        ("api.x.com", "eu.api.x.com", False),
        ("api.x.com", "api.x.com.evil.com", False),
        ("*.x.com", "api.x.com", True),
        ("*.x.com", "x.com", False),
        ("*.x.com", "notx.com", False),
    ],
)
def test_hosts_match_whole_labels(pattern: str, host: str, matches: bool) -> None:
    """Exactly, or below a dot; never in the middle of a name."""
    assert host_matches(pattern, host) is matches


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/search", "/search", True),
        ("/search", "/search/", True),
        ("/search", "/search?q=1", True),
        ("/search", "/v1/search", False),
        ("/{v}/map", "/v2/map", True),
        ("/{v}/map", "/map", False),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/a", True),
        ("/a/**", "/b/a", False),
        ("/**", "/", True),
        ("/", "/", True),
        ("/", "/x", False),
    ],
)
def test_paths_match_by_segment(template: str, path: str, matches: bool) -> None:
    """`{x}` is one segment, a final `**` any rest."""
    assert path_matches(template, path) is matches
