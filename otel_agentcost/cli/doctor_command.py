"""`agentcost doctor`: is everything in place for cost to reach the root span?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from importlib.metadata import PackageNotFoundError, distribution, entry_points, version
from typing import Literal

import click

from otel_agentcost.cli.app import FINDINGS, OK, shared_options
from otel_agentcost.cli.console import Console, table
from otel_agentcost.errors import AgentCostError

Verdict = Literal["ok", "note", "warn", "fail"]

OLD_BOOK_DAYS = 60
"""A price book older than this is worth a look: vendors change prices several times a year."""
OLDEST_SDK = (1, 39)
PROBE_SECONDS = 2.0
SMALL_ATTRIBUTE_LIMIT = 32
"""Below this a span has no room for cost beside what instrumentations write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@click.command("doctor")
@shared_options
def command(console: Console) -> int:
    """Check the set-up: OpenTelemetry, HTTP tap, prices, settings, export.

    Nothing leaves the machine but one connection attempt to the OTLP endpoint, if one is set. The exit code is 1 when
    something will not work.

    \b
    Examples:
      $ agentcost doctor
      $ agentcost doctor --json
    """
    checks = [check for look in LOOKS for check in _safely(look, console)]
    if console.as_json:
        console.document(
            {
                "ok": not any(c.verdict == "fail" for c in checks),
                "checks": [
                    {"name": c.name, "verdict": c.verdict, "found": c.found, "advice": c.advice} for c in checks
                ],
            }
        )
    else:
        rows = [(click.style(c.verdict, fg=_COLOURS[c.verdict]), c.name, c.found) for c in checks]
        for check, line in zip(checks, table(rows), strict=True):
            console.line(line)
            if check.advice:
                console.line(f"      {check.advice}")
    return FINDINGS if any(c.verdict == "fail" for c in checks) else OK


_COLOURS = {"ok": "green", "note": "blue", "warn": "yellow", "fail": "red"}


def _safely(look: Callable[[Console], Iterator[Check]], console: Console) -> Iterator[Check]:
    """Run one look; what it cannot even look at is a failure of that check, not of the doctor."""
    name = look.__name__.strip("_").replace("_", " ")
    try:
        yield from look(console)
    except AgentCostError as error:
        yield Check(name=name, verdict="fail", found=str(error))
    except Exception as error:
        yield Check(name=name, verdict="fail", found=f"{type(error).__name__}: {error}")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _python(console: Console) -> Iterator[Check]:
    running = ".".join(map(str, sys.version_info[:3]))
    yield Check(name="python", verdict="ok", found=f"{running} ({sys.executable})")
    yield Check(name="otel-agentcost", verdict="ok", found=_installed("otel-agentcost") or "not installed as a package")


def _opentelemetry(console: Console) -> Iterator[Check]:
    api, sdk = _installed("opentelemetry-api"), _installed("opentelemetry-sdk")
    if not sdk:
        yield Check(
            name="opentelemetry",
            verdict="fail",
            found="no SDK",
            advice="pip install opentelemetry-sdk opentelemetry-api",
        )
        return
    supported = tuple(int(part) for part in sdk.split(".")[:2]) >= OLDEST_SDK
    found = f"sdk {sdk}, api {api}, exporter-otlp {_installed('opentelemetry-exporter-otlp') or 'none'}"
    wanted = ".".join(map(str, OLDEST_SDK))
    advice = "" if supported else f"versions from {wanted} on are supported and tested"
    yield Check(name="opentelemetry", verdict="ok" if supported else "fail", found=found, advice=advice)
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield Check(
            name="opentelemetry", verdict="fail", found="OTEL_SDK_DISABLED=true", advice="no span is made; unset it"
        )
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "")
    if sampler and not sampler.endswith("always_on"):
        yield Check(
            name="sampling",
            verdict="note",
            found=f"OTEL_TRACES_SAMPLER={sampler}",
            advice="spans that are not recorded cost nothing here; metrics and totals are complete with "
            "otel_agentcost.otel.sampling.AlwaysRecordSampler",
        )
    limit = os.environ.get("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT") or os.environ.get("OTEL_ATTRIBUTE_COUNT_LIMIT")
    if limit and limit.isdigit() and int(limit) < SMALL_ATTRIBUTE_LIMIT:
        yield Check(
            name="span limits",
            verdict="warn",
            found=f"at most {limit} attributes on a span",
            advice="cost is not written to a full span; raise OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        )


def _processor(console: Console) -> Iterator[Check]:
    """Let a priced call end below a processor registered before ours, and look what an exporter gets."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from otel_agentcost.otel.processor import AgentCostSpanProcessor

    seen = {}
    for position in ("first", "last"):
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        ours, theirs = AgentCostSpanProcessor(), SimpleSpanProcessor(exporter)
        for processor in (ours, theirs) if position == "first" else (theirs, ours):
            provider.add_span_processor(processor)
        tracer = provider.get_tracer("agentcost.doctor")
        with tracer.start_as_current_span("run"), tracer.start_as_current_span("chat", attributes=_CALL):
            pass
        provider.shutdown()
        written = {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}
        total = written.get("run", {}).get("agentcost.session.cost.total")
        seen[position] = isinstance(total, float) and total > 0
    if all(seen.values()):
        yield Check(name="processor", verdict="ok", found="exporters see the cost, whatever the order of registration")
    elif seen["first"]:
        yield Check(
            name="processor",
            verdict="warn",
            found="exporters see the cost only when registered after us",
            advice="add AgentCostSpanProcessor() first, or AgentCostSpanProcessor.wrap(your processor)",
        )
    else:
        yield Check(name="processor", verdict="fail", found="cost does not reach the exporter of this SDK")


_CALL: dict[str, str | int] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 500,
}


def _http_tap(console: Console) -> Iterator[Check]:
    """Follow the HTTP libraries that are here, for a moment, and say which could not be; name who stands beside us."""
    import importlib

    from otel_agentcost.otel import health, http

    present = []
    before = health.snapshot()
    http.install()
    try:
        for module in http.ADAPTERS:
            try:
                importlib.import_module(module)
            except ImportError:
                continue
            package = module.partition(".")[0]
            present.append(f"{package} {_installed(package)}".strip())
    finally:
        http.uninstall()
    failed = [
        key for key, count in health.snapshot().items() if key.startswith("unpatched{") and count > before.get(key, 0)
    ]
    if failed:
        yield Check(
            name="http tap",
            verdict="warn",
            found=f"cannot follow {', '.join(failed)}",
            advice="this release of the library has another inside; calls through it are known from spans only",
        )
    elif present:
        yield Check(name="http tap", verdict="ok", found=f"follows {', '.join(present)}")
    else:
        yield Check(
            name="http tap",
            verdict="note",
            found=f"none of {', '.join(http.ADAPTERS)} is installed",
            advice="calls are then known from the spans of other instrumentations only",
        )
    others = sorted(
        {point.name for point in entry_points(group="opentelemetry_instrumentor")} - {"agentcost", "httpx", "httpx2"}
    )
    if others:
        yield Check(name="instrumentations", verdict="ok", found=", ".join(others))


def _zero_code(console: Console) -> Iterator[Check]:
    ours = [p for p in entry_points(group="opentelemetry_pre_instrument") if p.name == "agentcost"]
    if not ours:
        yield Check(
            name="zero code",
            verdict="fail",
            found="the entry point opentelemetry_pre_instrument:agentcost is not installed",
            advice="pip install otel-agentcost (a source folder on PYTHONPATH has no entry points)",
        )
    elif not _installed("opentelemetry-distro"):
        yield Check(
            name="zero code",
            verdict="note",
            found="opentelemetry-instrument is not installed",
            advice="pip install 'otel-agentcost[zero-code]', or call otel_agentcost.install(), or use agentcost run",
        )
    else:
        yield Check(name="zero code", verdict="ok", found=f"opentelemetry-distro {_installed('opentelemetry-distro')}")
    for package in ("brotli", "zstandard"):
        try:
            distribution(package)
        except PackageNotFoundError:
            yield Check(
                name="codecs",
                verdict="note",
                found=f"{package} is not installed",
                advice="answers compressed with it cannot be read: pip install 'otel-agentcost[codecs]'",
            )


def _prices(console: Console) -> Iterator[Check]:
    from otel_agentcost.cli.settings import load_config, price_book

    book = price_book(load_config(console))
    try:
        age = (datetime.now(timezone.utc).date() - date.fromisoformat(book.version[:10])).days
    except ValueError:
        yield Check(name="prices", verdict="ok", found=f"book {book.version}")
        return
    found = f"book {book.version}, {age} days old"
    if age > OLD_BOOK_DAYS:
        yield Check(name="prices", verdict="warn", found=found, advice="pip install --upgrade otel-agentcost")
    else:
        yield Check(name="prices", verdict="ok", found=found)


def _settings(console: Console) -> Iterator[Check]:
    from otel_agentcost.cli.settings import load_config
    from otel_agentcost.otel.config import misspelt_variables

    config = load_config(console)
    yield Check(name="settings", verdict="ok", found=config.source or "no agentcost.yaml; the defaults")
    if not config.enabled:
        yield Check(name="settings", verdict="warn", found="enabled: false", advice="nothing is measured")
    for variable, meant in misspelt_variables().items():
        yield Check(
            name="settings", verdict="warn", found=f"{variable} is read by nobody", advice=f"did you mean {meant}?"
        )


def _export(console: Console) -> Iterator[Check]:
    """Try the OTLP endpoint: a connection, no data."""
    import socket
    from urllib.parse import urlsplit

    exporters = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    if exporters == "none":
        yield Check(name="export", verdict="note", found="OTEL_TRACES_EXPORTER=none: spans go nowhere")
        return
    variable = next(
        (v for v in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") if os.environ.get(v)), None
    )
    if variable is None:
        yield Check(
            name="export",
            verdict="note",
            found="OTEL_EXPORTER_OTLP_ENDPOINT is not set",
            advice="agentcost run keeps a local record; a Collector or Jaeger listens at http://localhost:4317 (grpc) "
            "or :4318 (http/protobuf)",
        )
        return
    endpoint = os.environ[variable]
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    try:
        host, port = parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme, 4317)
    except ValueError:
        host = ""
    if not host:
        yield Check(name="export", verdict="fail", found=f"{variable}={endpoint} is no address")
        return
    try:
        socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
    except OSError as error:
        yield Check(
            name="export",
            verdict="fail",
            found=f"nobody answers at {host}:{port} ({error.strerror or error})",
            advice=f"{variable}={endpoint}; is the Collector running?",
        )
    else:
        yield Check(name="export", verdict="ok", found=f"{host}:{port} answers ({variable})")


LOOKS = (_python, _opentelemetry, _processor, _http_tap, _zero_code, _prices, _settings, _export)
