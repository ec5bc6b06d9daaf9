"""`agentcost doctor`: what is in place, what is missing, what to do."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Agentcost


def checks(agentcost: Agentcost) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in json.loads(agentcost("doctor", "--json").stdout)["checks"]}


def test_a_good_set_up_has_no_failure(agentcost: Agentcost) -> None:
    """The test environment itself is a good one; the processor check really ends spans."""
    result = agentcost("doctor")
    assert result.exit_code == 0
    found = checks(agentcost)
    assert found["processor"]["verdict"] == "ok"
    assert found["opentelemetry"]["verdict"] == "ok"
    assert "httpx" in found["http tap"]["found"]
    assert "book 20" in found["prices"]["found"]
    assert found["settings"]["found"] == "no agentcost.yaml; the defaults"


def test_broken_settings_are_a_failure_that_names_the_key(agentcost: Agentcost, tmp_path: Path) -> None:
    """The doctor survives what it finds and tells it."""
    (tmp_path / "agentcost.yaml").write_text("detail: much\n")
    result = agentcost("doctor", "--json")
    assert result.exit_code == 1
    found = {c["name"]: c for c in json.loads(result.stdout)["checks"]}
    assert found["settings"]["verdict"] == "fail"
    assert "agentcost.yaml:1" in found["settings"]["found"]


def test_an_endpoint_that_answers_is_ok_and_one_that_does_not_is_a_failure(
    agentcost: Agentcost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is tried, nothing is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        assert checks(agentcost)["export"]["verdict"] == "ok"
    found = checks(agentcost)["export"]
    assert found["verdict"] == "fail"
    assert f"127.0.0.1:{port}" in found["found"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://:not-a-port")
    assert checks(agentcost)["export"]["verdict"] == "fail"


@pytest.mark.parametrize(
    ("variable", "value", "name", "verdict"),
    [
        ("OTEL_SDK_DISABLED", "true", "opentelemetry", "fail"),
        ("OTEL_TRACES_SAMPLER", "traceidratio", "sampling", "note"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "8", "span limits", "warn"),
        ("AGENTCOST_DETIAL", "full", "settings", "warn"),
        ("OTEL_TRACES_EXPORTER", "none", "export", "note"),
    ],
)
def test_variables_that_get_in_the_way_are_told(
    variable: str, value: str, name: str, verdict: str, agentcost: Agentcost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is named with what it does."""
    monkeypatch.setenv(variable, value)
    found = checks(agentcost)[name]
    assert found["verdict"] == verdict
    assert variable in found["found"] or value in found["found"]


def test_a_library_that_cannot_be_followed_is_told(agentcost: Agentcost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of httpx that looks different inside is named; afterwards nothing stays patched."""
    import httpx

    before = httpx.Client.send
    assert "httpx" in checks(agentcost)["http tap"]["found"]
    assert httpx.Client.send is before
    from otel_agentcost.otel import http
    from otel_agentcost.otel.http.patching import wrap

    class Strange:
        pass

    monkeypatch.setitem(http.ADAPTERS, "json", lambda module, tap: wrap(Strange, "send", lambda f: f) and None)
    found = checks(agentcost)["http tap"]
    assert found["verdict"] == "warn"
    assert "Strange" in found["found"]
