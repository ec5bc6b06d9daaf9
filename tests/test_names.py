"""Model names: bare names keep what a price depends on, families keep what a request is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agentcost.usage.names import bare_model, model_family, routed_provider
from otel_agentcost.usage.providers import canonical_provider, host_facts

VECTORS = json.loads((Path(__file__).parent / "conformance/usage/names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: str(case["id"]))
def test_names_vector(case: dict[str, Any]) -> None:
    """Every hand-written vector of names.json holds."""
    what, expect = case["given"], case["expect"]

    if "alias" in what:
        assert {"provider": canonical_provider(what["alias"])} == expect
    elif "host" in what:
        facts = host_facts(what["host"], what.get("path", ""))
        told = facts and {"provider": facts.provider, "region": facts.region, "kind": facts.kind}
        assert told == expect
    else:
        model = what["model"]
        told = {"bare": bare_model(model), "family": model_family(model), "routed": routed_provider(model)}
        assert told == expect


@given(st.text(max_size=80))
def test_names_are_stable(model: str) -> None:
    """A bare name of a bare name is itself, nothing raises, nothing becomes empty."""
    bare = bare_model(model)

    assert bare_model(bare) == bare
    assert bool(bare) == bool(model.strip())
    assert model_family(model) or not model.strip()
    routed_provider(model)
