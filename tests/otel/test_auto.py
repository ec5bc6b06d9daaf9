"""Zero-code start-up inside one process: what switches it on and off, and that it never fails."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once

from otel_agentcost.otel import auto, awaiting, health, run
from otel_agentcost.otel.auto import AgentCostInstrumentor, pre_instrument, start
from otel_agentcost.otel.install import installed, uninstall
from otel_agentcost.otel.session import session, tool


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    import os

    for name in list(os.environ):
        if name.startswith(("AGENTCOST_", "OTEL_")) and name != "AGENTCOST_RAISE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTCOST_CAPTURE_HTTP", "false")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    yield
    uninstall()


def test_both_entry_points_together_install_once() -> None:
    """The launcher calls the one, then the other."""
    pre_instrument()
    first = installed()
    AgentCostInstrumentor().instrument(skip_dep_check=True)
    try:
        assert first is not None
        assert installed() is first
    finally:
        AgentCostInstrumentor().uninstrument()
    assert installed() is None


def test_the_entry_points_are_declared() -> None:
    """What pyproject.toml declares is what a launcher loads."""
    from importlib.metadata import entry_points

    (before,) = entry_points(group="opentelemetry_pre_instrument", name="agentcost")
    (instrumentor,) = entry_points(group="opentelemetry_instrumentor", name="agentcost")
    assert before.load() is pre_instrument
    assert instrumentor.load() is AgentCostInstrumentor


def test_the_instrumentor_takes_a_provider_in_code() -> None:
    """`AgentCostInstrumentor().instrument(tracer_provider=...)`, as with every instrumentor."""
    provider = TracerProvider(shutdown_on_exit=False)
    AgentCostInstrumentor().instrument(tracer_provider=provider)
    try:
        found = installed()
        assert found is not None
        assert found.providers == [provider]
    finally:
        AgentCostInstrumentor().uninstrument()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AGENTCOST_ENABLED", "false"),
        ("AGENTCOST_ENABLED", "0"),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "redis, agentcost"),
    ],
)
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """By our own variable, and by OpenTelemetry's."""
    monkeypatch.setenv(variable, value)
    pre_instrument()

    assert auto.switched_off()
    assert installed() is None


def test_a_wrong_setting_is_logged_and_the_defaults_hold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A typing mistake in a file must not stop a service."""
    (tmp_path / "agentcost.yaml").write_text("detail: ful\n")
    start()
    found = installed()

    assert found is not None
    assert found.config.detail == "default"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "agentcost.yaml:1: detail: is 'ful'; allowed is one of default, full" in caplog.text
    assert health.snapshot()["config_error"] == 1


def test_a_nearly_right_variable_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """AGENTCOST_DETIAL would otherwise be silence."""
    monkeypatch.setenv("AGENTCOST_DETIAL", "full")
    start()

    assert "AGENTCOST_DETIAL is read by nobody; did you mean AGENTCOST_DETAIL?" in caplog.text


def test_a_record_is_kept_where_a_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`agentcost run` around `opentelemetry-instrument`: the variable alone is enough, and once."""
    monkeypatch.setenv("AGENTCOST_RECORD_DIR", str(tmp_path / "record"))
    provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    start()
    start(tracer_provider=provider)
    with session("s"), tool("t", fee="1"):
        pass

    (file,) = (tmp_path / "record").iterdir()
    assert file.read_text().count('"spanId"') == 2


def test_an_error_while_starting_stays_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher would give up all instrumentation if we raised."""
    monkeypatch.delenv("AGENTCOST_RAISE")

    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(auto, "start", broken)
    pre_instrument()

    assert health.snapshot()["errors{type=RuntimeError,where=auto.pre_instrument}"] == 1


def test_waiting_for_a_provider_gives_the_setter_back() -> None:
    """Nothing of ours is left behind in the API."""
    original = trace._set_tracer_provider
    told: list[object] = []
    awaiting.when_set(told.append)
    awaiting.when_set(told.append)
    provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    awaiting.stop()

    assert told == [provider, provider]
    assert trace._set_tracer_provider is original


def test_an_api_with_other_insides_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later OpenTelemetry may rename what is wrapped; that is counted, not raised."""
    monkeypatch.delattr(trace, "_set_tracer_provider")
    awaiting.when_set(lambda provider: None)
    awaiting.stop()

    assert health.snapshot()["unpatched"] == 1


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["python", "app.py", "--x"], "app"),
        (["python", "/srv/bin/worker"], "worker"),
        (["python", "-m", "my.agent", "-v"], "my.agent"),
        (["python", "-X", "dev", "-W", "error", "-u", "tool.py"], "tool"),
        (["python", "-c", "print()"], "python"),
        (["python"], "python"),
    ],
)
def test_a_program_is_named_as_a_person_would(monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str) -> None:
    """`unknown_service` helps nobody find a run."""
    monkeypatch.setattr(sys, "orig_argv", arguments)

    assert run.program_name() == name


def test_a_named_service_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME stands over our guess."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")

    assert run._new_provider().resource.attributes["service.name"] == "mine"
