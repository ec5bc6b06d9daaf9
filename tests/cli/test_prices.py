"""`agentcost prices` and `agentcost schema`: look-up, lists, freshness, the form of the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.conftest import Agentcost


def found(agentcost: Agentcost, *arguments: str) -> Any:
    result = agentcost("prices", *arguments, "--json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_the_book_tells_its_version_age_and_size(agentcost: Agentcost) -> None:
    """Freshness at a glance."""
    facts = found(agentcost)
    assert facts["version"]
    assert facts["age_days"] >= 0
    assert facts["models"] > 500
    assert len(facts["sha256"]) == 64
    assert "genai-prices" in facts["attribution"]


def test_a_model_is_looked_up_with_every_rate(agentcost: Agentcost) -> None:
    """Standard rates, tiers and variants of one model on one day."""
    model = found(agentcost, "gpt-4o", "--at", "2026-11-21")
    assert (model["provider"], model["model"]) == ("openai", "gpt-4o")
    assert model["rates"]["input_tokens"] == {"price": "2.5", "per": 1_000_000}
    assert model["effective"] == {}


def test_own_prices_and_discounts_are_shown_beside_the_list(agentcost: Agentcost, tmp_path: Path) -> None:
    """What you pay stands beside what the list says."""
    (tmp_path / "agentcost.yaml").write_text('discounts:\n  - model: gpt-4o\n    percent: "10"\n')
    model = found(agentcost, "gpt-4o")
    assert "x 9/10" in model["effective"]["input_tokens"]
    assert "yours: $2.5 / 1,000,000 x 9/10" in agentcost("prices", "gpt-4o").stdout


def test_part_of_a_name_lists_the_models_that_contain_it(agentcost: Agentcost) -> None:
    """A search, when the name is no model of its own."""
    models = found(agentcost, "embedding-3")
    assert {"openai"} <= {m["provider"] for m in models}
    assert all("embedding-3" in m["model"] for m in models)


def test_lists_can_be_narrowed_to_a_provider(agentcost: Agentcost) -> None:
    """--list --provider."""
    assert {m["provider"] for m in found(agentcost, "--list", "--provider", "mistral")} == {"mistral"}


@pytest.mark.parametrize(("option", "key"), [("--fees", "fees"), ("--machines", "compute")])
def test_fees_and_machines_are_listed_with_their_sources(option: str, key: str, agentcost: Agentcost) -> None:
    """What tools, APIs and machines cost."""
    rules = found(agentcost, option)[key]
    assert rules
    assert all(rule["id"] for rule in rules)
    assert agentcost("prices", option).stdout.count("\n") == len(rules) + 1


def test_units_are_listed(agentcost: Agentcost) -> None:
    """Every billable unit with its block and what it is part of."""
    units = found(agentcost, "--units")
    assert units["cache_read_tokens"]["per"] == 1_000_000
    assert "input_tokens" in units["cache_read_tokens"]["inside"]
    assert "cache_read_tokens" in agentcost("prices", "--units").stdout


def test_nothing_found_is_a_finding(agentcost: Agentcost) -> None:
    """Exit code 1 for a name nobody has, 2 for a provider nobody knows or a day that is none."""
    assert agentcost("prices", "nobodys-model-9").exit_code == 1
    assert agentcost("prices", "--list", "--provider", "nobody").exit_code == 2
    assert agentcost("prices", "gpt-4o", "--at", "soon").exit_code == 2


def test_the_schema_is_a_schema_and_knows_the_settings(agentcost: Agentcost) -> None:
    """What is printed validates a file that works and refuses one that does not."""
    schema = json.loads(agentcost("schema").stdout)
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    check = validator(schema)
    assert check.is_valid({"detail": "full", "fees": [{"host": "api.example.com", "per_call": "0.01"}]})
    assert not check.is_valid({"detial": "full"})


def test_a_settings_file_can_be_checked(agentcost: Agentcost, tmp_path: Path) -> None:
    """schema --check: ok, or the file, line and key."""
    (tmp_path / "good.yaml").write_text("detail: full\n")
    assert agentcost("schema", "--check", "good.yaml").stdout == "good.yaml: ok\n"
    assert json.loads(agentcost("schema", "--check", "good.yaml", "--json").stdout)["ok"] is True
    (tmp_path / "bad.yaml").write_text("enabled: true\ndetail: much\n")
    result = agentcost("schema", "--check", "bad.yaml")
    assert result.exit_code == 2
    assert "bad.yaml:2" in result.stderr
    assert "detail" in result.stderr
