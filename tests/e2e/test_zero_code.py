"""Zero code, from outside: unchanged programs in processes of their own, and what arrives at a backend or record.

The emulator's own bill is the judge of every total.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost.otel.auto import bootstrap_environment
from otel_agentcost.otel.run import protocol
from otel_agentcost.pricing.money import PICO
from otel_agentcost.testing import ProviderEmulator
from tests.e2e.collector import Collector

PROGRAMS = Path(__file__).parent / "programs"
LAUNCHER = Path(sys.executable).parent / "opentelemetry-instrument"
SECRETS = ("sk-secret-key-4711", "Captain Example", "authorization", "x-api-key", "?key=")


@pytest.fixture(scope="module")
def running() -> Iterator[ProviderEmulator]:
    with ProviderEmulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running: ProviderEmulator) -> ProviderEmulator:
    running.reset()
    return running


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


def environment(**more: str) -> dict[str, str]:
    """Return a clean environment: nothing of ours or OpenTelemetry's from the shell that runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "AGENTCOST_", "PYTHON", "HTTP", "http_"))}
    return {**kept, "AGENTCOST_RAISE": "1", "NO_PROXY": "*", **more}


def run(*command: str, env: dict[str, str], cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def program(name: str) -> str:
    return str(PROGRAMS / f"{name}.py")


def recorded(directory: Path) -> list[dict[str, Any]]:
    """Read the local record: spans with plain attributes."""
    found = []
    for file in directory.glob("*.jsonl"):
        for line in file.read_text(encoding="utf-8").splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        attributes = {a["key"]: next(iter(a["value"].values())) for a in span.get("attributes", [])}
                        found.append({**span, "parent": span.get("parentSpanId", ""), "attributes": attributes})
    return found


def root_total_pico(spans: list[dict[str, Any]]) -> int:
    """Add the exact session totals of all roots."""
    return sum(int(s["attributes"].get("agentcost.session.cost.pico", 0)) for s in spans if not s["parent"])


def own_total_pico(spans: list[dict[str, Any]]) -> int:
    """Add the own costs of all spans, as a backend would."""
    return sum(round(float(s["attributes"].get("agentcost.cost.amount", 0)) * PICO) for s in spans)


def without_secrets(*texts: str | bytes) -> None:
    for text in texts:
        for secret in SECRETS:
            assert (secret.encode() if isinstance(text, bytes) else secret) not in text


def otlp(collector: Collector) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "agent",
    }


def test_opentelemetry_instrument_with_environment(
    emulator: ProviderEmulator, collector: Collector, tmp_path: Path
) -> None:
    """One launcher in front of an unchanged program: exact totals on every root, metrics, and no secret."""
    exporters = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "none"}
    done = run(
        str(LAUNCHER), sys.executable, program("agent"), emulator.url,
        env=environment(**otlp(collector), **exporters, AGENTCOST_TENANT="acme"), cwd=tmp_path,
    )  # fmt: skip
    spans = collector.spans()

    assert done.stdout.splitlines() == ["gpt-4o-2024-08-06", "True", "claude-sonnet-4-5-20250929"]
    assert len(emulator.billed) == 3
    assert emulator.total_pico > 0
    assert root_total_pico(spans) == own_total_pico(spans) == emulator.total_pico
    assert {span["service"] for span in spans} == {"agent"}
    assert {span["attributes"].get("agentcost.tenant") for span in spans} == {"acme"}
    assert round(collector.metrics()["agentcost.client.cost"] * PICO) == emulator.total_pico
    assert collector.metrics()["agentcost.client.calls"] == 3
    without_secrets(*(body for _, body in collector.bodies))


@pytest.mark.skipif(
    find_spec("opentelemetry.configuration") is None,
    reason="OpenTelemetry before 1.44 has no opentelemetry-configuration",
)
def test_opentelemetry_instrument_with_a_configuration_file(
    emulator: ProviderEmulator, collector: Collector, tmp_path: Path
) -> None:
    """Declarative configuration knows no custom processors; we are there all the same."""
    config = tmp_path / "otel.yaml"
    config.write_text(
        f"""
file_format: "1.0"
resource: {{attributes: [{{name: service.name, value: from-file}}]}}
tracer_provider:
  processors:
    - batch: {{exporter: {{otlp_http: {{endpoint: "{collector.url}/v1/traces"}}}}}}
"""
    )
    settings = tmp_path / "costs.yaml"
    settings.write_text("detail: full\n")
    run(
        str(LAUNCHER), sys.executable, program("agent"), emulator.url,
        env=environment(OTEL_CONFIG_FILE=str(config), AGENTCOST_CONFIG=str(settings)), cwd=tmp_path,
    )  # fmt: skip
    spans = collector.spans()

    assert root_total_pico(spans) == emulator.total_pico > 0
    assert {span["service"] for span in spans} == {"from-file"}
    assert any("agentcost.cost.output" in span["attributes"] for span in spans)
    without_secrets(*(body for _, body in collector.bodies))


def test_agentcost_enabled_false_touches_nothing(
    emulator: ProviderEmulator, collector: Collector, tmp_path: Path
) -> None:
    """One variable switches it off; what the program exports is what it exported before."""
    run(
        str(LAUNCHER), sys.executable, program("agent"), emulator.url,
        env=environment(**otlp(collector), OTEL_METRICS_EXPORTER="none", AGENTCOST_ENABLED="false"), cwd=tmp_path,
    )  # fmt: skip
    spans = collector.spans()

    assert spans
    assert not any(key.startswith("agentcost.") for span in spans for key in span["attributes"])


def test_a_broken_configuration_does_not_stop_the_program(
    emulator: ProviderEmulator, collector: Collector, tmp_path: Path
) -> None:
    """The error is in the log, with file and line; the defaults hold and the totals are there."""
    (tmp_path / "agentcost.yaml").write_text("detail: [unclosed\n")
    done = run(
        str(LAUNCHER), sys.executable, program("agent"), emulator.url,
        env=environment(**otlp(collector), OTEL_METRICS_EXPORTER="none"), cwd=tmp_path,
    )  # fmt: skip

    assert "agentcost.yaml:2: is not YAML" in done.stderr
    assert "the defaults hold" in done.stderr
    assert root_total_pico(collector.spans()) == emulator.total_pico > 0


@pytest.mark.parametrize("mode", ["plain", "sdks", "threads", "tasks", "fork"])
def test_a_run_without_any_set_up_keeps_an_exact_record(emulator: ProviderEmulator, tmp_path: Path, mode: str) -> None:
    """`agentcost run`: threads, tasks and forked children, everything is charged once."""
    env = bootstrap_environment(environment(), record_dir=tmp_path / "record")
    run(sys.executable, program("agent"), emulator.url, mode, env=env, cwd=tmp_path)
    spans = recorded(tmp_path / "record")

    assert len(emulator.billed) == {"plain": 3, "sdks": 3, "threads": 4, "tasks": 2, "fork": 3}[mode]
    assert root_total_pico(spans) == own_total_pico(spans) == emulator.total_pico > 0
    assert len(list((tmp_path / "record").glob("*.jsonl"))) == (3 if mode == "fork" else 1)
    without_secrets(*(file.read_text() for file in (tmp_path / "record").iterdir()))


def test_a_run_exports_by_otlp_where_an_endpoint_is_set(
    emulator: ProviderEmulator, collector: Collector, tmp_path: Path
) -> None:
    """The same spans in the record and at the endpoint; metrics, too; the program names itself."""
    env = bootstrap_environment(environment(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url), record_dir=tmp_path / "record")
    run(sys.executable, program("agent"), emulator.url, env=env, cwd=tmp_path)

    assert root_total_pico(collector.spans()) == root_total_pico(recorded(tmp_path / "record")) == emulator.total_pico
    assert {span["id"] for span in collector.spans()} == {s["spanId"] for s in recorded(tmp_path / "record")}
    assert {span["service"] for span in collector.spans()} == {"agent"}
    assert round(collector.metrics()["agentcost.client.cost"] * PICO) == emulator.total_pico


def test_a_run_joins_the_set_up_a_program_brings(emulator: ProviderEmulator, tmp_path: Path) -> None:
    """The application's provider is accepted, its own exporter sees the cost, and the record has it, too."""
    env = bootstrap_environment(environment(), record_dir=tmp_path / "record")
    done = run(sys.executable, program("own_setup"), emulator.url, env=env, cwd=tmp_path)

    assert round(json.loads(done.stdout)["total"] * PICO) == emulator.total_pico > 0
    assert root_total_pico(recorded(tmp_path / "record")) == emulator.total_pico


def test_a_run_of_opentelemetry_instrument_is_recorded(
    emulator: ProviderEmulator, collector: Collector, tmp_path: Path
) -> None:
    """Both launchers in one line: one processor, exporter and record agree."""
    env = bootstrap_environment(
        environment(**otlp(collector), OTEL_METRICS_EXPORTER="none"), record_dir=tmp_path / "record", otlp=False
    )
    run(str(LAUNCHER), sys.executable, program("agent"), emulator.url, env=env, cwd=tmp_path)

    assert root_total_pico(collector.spans()) == root_total_pico(recorded(tmp_path / "record")) == emulator.total_pico


def test_a_run_keeps_exit_code_output_and_another_sitecustomize(emulator: ProviderEmulator, tmp_path: Path) -> None:
    """The program is as it was; a sitecustomize module of the user still runs."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("print('theirs')\n")
    env = bootstrap_environment(environment(PYTHONPATH=str(site)), record_dir=tmp_path / "record")
    done = run(sys.executable, program("agent"), emulator.url, "crash", env=env, cwd=tmp_path, code=3)

    assert done.stdout == "theirs\n"
    assert done.stderr == ""
    assert root_total_pico(recorded(tmp_path / "record")) == emulator.total_pico > 0


def test_a_python_without_the_package_runs_unmeasured_and_says_so(tmp_path: Path) -> None:
    """Another interpreter started by the program is not broken."""
    env = bootstrap_environment(environment(), record_dir=tmp_path / "record")
    # -S: no site-packages, so neither OpenTelemetry nor we can be imported; it leaves the import to us, too
    done = run(sys.executable, "-S", "-c", "import sitecustomize; print('works')", env=env, cwd=tmp_path)

    assert done.stdout == "works\n"
    assert "has no otel-agentcost" in done.stderr
    assert not (tmp_path / "record").exists()


def test_a_program_without_calls_leaves_no_record(tmp_path: Path) -> None:
    """No span, no file."""
    env = bootstrap_environment(environment(), record_dir=tmp_path / "record")
    run(sys.executable, "-c", "pass", env=env, cwd=tmp_path)

    assert not (tmp_path / "record").exists()


def test_the_prepared_environment_is_stable() -> None:
    """Preparing twice changes nothing; what the user has on the path stays, behind ours."""
    first = bootstrap_environment({"PYTHONPATH": "a", "X": "1"}, record_dir="/r")
    again = bootstrap_environment(first, record_dir="/r")

    assert again == first
    assert first["PYTHONPATH"].split(os.pathsep)[1:] == ["a"]
    assert first["X"] == "1"
    assert first["AGENTCOST_RUN_OTLP"] == "0"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:port"}, "http/protobuf"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "http/protobuf",
        ),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "grpc"),
    ],
)
def test_the_protocol_is_the_named_one_or_what_the_port_tells(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    """Nobody should have to know that one port speaks gRPC."""
    for name in list(os.environ):
        if name.startswith("OTEL_EXPORTER_OTLP"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert protocol("traces") == expected
