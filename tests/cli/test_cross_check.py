"""`agentcost prices --cross-check`: our book beside other lists, which are only ever read as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Agentcost = Callable[..., Result]
LITELLM: dict[str, Any] = {
    "sample_spec": {"litellm_provider": "one of the providers", "input_cost_per_token": 0.0},
    "gpt-4o": {
        "litellm_provider": "openai",
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-06,
    },
    "gpt-4o-mini": {"litellm_provider": "openai", "input_cost_per_token": 3e-07, "output_cost_per_token": 6e-07},
    "gemini/gemini-2.5-pro": {"litellm_provider": "gemini", "input_cost_per_token": 0},
    "gpt-9-unheard-of": {"litellm_provider": "openai", "input_cost_per_token": 1e-06},
    "their-own": {"litellm_provider": "nobody-we-know", "input_cost_per_token": 1e-06},
    "broken": "not a model",
}
MODELS_DEV = {
    "openai": {
        "id": "openai",
        "models": {
            "gpt-4o": {"id": "gpt-4o", "cost": {"input": 2.5, "output": 10, "cache_read": 1.25}},
            "gpt-4o-mini": {"id": "gpt-4o-mini", "cost": {"input": 0.15, "output": 0.9}},
            "gpt-4.1": {"id": "gpt-4.1"},
        },
    }
}


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[object], str]:
    """Write a list to a file."""

    def write(content: object) -> str:
        path = tmp_path / "list.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return str(path)

    return write


def test_a_rate_that_differs_is_a_finding(agentcost: Agentcost, listed: Callable[[object], str]) -> None:
    """Every unit of every model that both know; 0 and models of nobody we know are no statement."""
    result = agentcost("prices", "--cross-check", "--against", listed(LITELLM), "--json")
    (found,) = json.loads(result.stdout)["lists"]
    assert result.exit_code == 1
    assert found["differences"] == [
        {"provider": "openai", "model": "gpt-4o-mini", "unit": "input_tokens", "ours": "0.15", "theirs": "0.3"}
    ]
    assert (found["compared"], found["agreeing"]) == (3, 2)
    assert found["only_theirs"] == ["openai/gpt-9-unheard-of"]


def test_both_forms_are_told_apart_by_what_stands_in_them(
    agentcost: Agentcost, listed: Callable[[object], str]
) -> None:
    """models.dev states USD per million."""
    result = agentcost("prices", "--against", listed(MODELS_DEV), "--json")
    (found,) = json.loads(result.stdout)["lists"]
    assert [(d["model"], d["unit"], d["ours"], d["theirs"]) for d in found["differences"]] == [
        ("gpt-4o-mini", "output_tokens", "0.6", "0.9")
    ]
    assert "gpt-4o-mini" in agentcost("prices", "--against", listed(MODELS_DEV)).stdout


def test_agreement_within_the_tolerance_is_no_finding(agentcost: Agentcost, listed: Callable[[object], str]) -> None:
    """60 % off is allowed here; without it the exit code is 1."""
    assert agentcost("prices", "--against", listed(MODELS_DEV), "--tolerance", "60").exit_code == 0
    assert agentcost("prices", "--against", listed(MODELS_DEV)).exit_code == 1


def test_a_list_of_no_known_form_is_named(agentcost: Agentcost, listed: Callable[[object], str]) -> None:
    """Anything else is an error of use, not a finding."""
    for content in ([], {"a": 1}, {"a": {"b": {}}}):
        result = agentcost("prices", "--against", listed(content))
        assert (result.exit_code, "list.json" in result.stderr) == (2, True)
    assert agentcost("prices", "--against", "nowhere.json").exit_code == 2


def test_the_installed_map_is_read_without_importing_its_package(
    agentcost: Agentcost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's files are known from its metadata; importing it would be seen."""
    site = tmp_path / "site"
    (site / "litellm").mkdir(parents=True)
    (site / "litellm" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (site / "litellm" / "model_prices_and_context_window_backup.json").write_text(json.dumps(LITELLM))
    info = site / "litellm-9.9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 9.9.9\n")
    (info / "RECORD").write_text("litellm/__init__.py,,\nlitellm/model_prices_and_context_window_backup.json,,\n")
    monkeypatch.syspath_prepend(site)
    result = agentcost("prices", "--cross-check")
    assert result.exit_code == 1
    assert result.stdout.startswith("litellm 9.9.9\n")
    assert "gpt-4o-mini" in result.stdout


def test_nothing_to_compare_with_says_what_would_do(agentcost: Agentcost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither installed nor given: an error that names both ways."""

    def nowhere(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", nowhere)
    result = agentcost("prices", "--cross-check")
    assert result.exit_code == 2
    assert "litellm" in result.stderr
    assert "--against" in result.stderr
