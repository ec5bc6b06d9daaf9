"""Run: an SDK of our own for programs that have none, started by `agentcost run` in each of their processes.

The provider made here is tentative. It answers as the global one, but the application's own
`set_tracer_provider` still works; then our processor and the local record move in with the application's provider,
and its exporters see the cost.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace

from otel_agentcost.otel import auto, awaiting
from otel_agentcost.otel.health import count, guard, log_once

_NOT_LOADED_TWICE = frozenset({"agentcost", "httpx", "httpx2"})


def start_run() -> None:
    """Measure this process. Nothing is ever raised into the program."""
    with guard("run.start"):
        if not auto.switched_off():
            _start()


def _start() -> None:
    from dataclasses import replace

    from otel_agentcost.otel.install import installed

    if installed() is not None:  # opentelemetry-instrument's own sitecustomize ran before ours
        return
    config = auto.settings()
    if not config.enabled:
        return
    # fees of paid APIs are found on HTTP spans, and nobody else is there to make them
    config = replace(config, capture=replace(config.capture, http_spans=True))
    exported = os.environ.get(auto.OTLP_VARIABLE) == "1"
    tentative = None
    if not awaiting.is_set(trace.get_tracer_provider()):
        tentative = _new_provider()
        _provide(tentative)
    meter_provider = None
    if exported and tentative is not None:
        with guard("run.metrics"):
            meter_provider = _meter_provider(tentative.resource)
    auto.start(config=config, meter_provider=meter_provider)
    made = installed()
    if made is not None:
        awaiting.when_set(made.follow)
    if exported and tentative is not None:
        with guard("run.otlp"):
            _export(tentative)
    _instrument_others()


def _new_provider() -> Any:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    resource = Resource.create()
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource.create({"service.name": program_name()}))
    return TracerProvider(resource=resource)


def program_name() -> str:
    """Name the program as a person would: its module, its script, or the interpreter."""
    arguments = list(sys.orig_argv)[1:]
    while arguments:
        argument = arguments.pop(0)
        if argument == "-m" and arguments:
            return arguments[0]
        if argument == "-c":
            break
        if argument in ("-W", "-X", "--check-hash-based-pycs"):
            arguments = arguments[1:]
        elif not argument.startswith("-"):
            return Path(argument).stem or "python"
    return "python"


def _provide(provider: Any) -> None:
    """Make a provider the global one without using up the application's single chance to set its own."""
    if hasattr(trace, "_TRACER_PROVIDER"):
        trace._TRACER_PROVIDER = provider
    else:
        count("unpatched", owner="opentelemetry.trace", attribute="_TRACER_PROVIDER")
        trace.set_tracer_provider(provider)


def _export(provider: Any) -> None:
    """Export spans by OTLP. Registered last, so that what is exported has its cost on it in every SDK."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider.add_span_processor(BatchSpanProcessor(_exporter("traces", "trace_exporter", "OTLPSpanExporter")))


def _meter_provider(resource: Any) -> Any:
    """Make a provider for our metrics alone; the application's own metrics stay its own affair."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = _exporter("metrics", "metric_exporter", "OTLPMetricExporter")
    return MeterProvider([PeriodicExportingMetricReader(exporter)], resource=resource)


def _exporter(signal: str, module: str, name: str) -> Any:
    from importlib import import_module

    package = "grpc" if protocol(signal) == "grpc" else "http"
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{package}.{module}"), name)()


def protocol(signal: str) -> str:
    """Return `grpc` or `http/protobuf` for a signal; without a word about it, port 4317 means gRPC."""
    upper = signal.upper()
    named = os.environ.get(f"OTEL_EXPORTER_OTLP_{upper}_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if named:
        return named
    endpoint = os.environ.get(f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT") or os.environ.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT", ""
    )
    try:
        port = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").port
    except ValueError:
        port = None
    return "grpc" if port == 4317 else "http/protobuf"


def _instrument_others() -> None:
    """Load the other instrumentations that are installed, as opentelemetry-instrument would."""
    from importlib.metadata import entry_points

    disabled = {name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    if "*" in disabled:
        return
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        if entry_point.name in disabled or entry_point.name in _NOT_LOADED_TWICE:
            continue
        try:
            entry_point.load()().instrument(raise_exception_on_conflict=True)
        except Exception as error:  # what it instruments is not installed, or it is broken: not our business
            if type(error).__name__ not in ("DependencyConflictError", "ModuleNotFoundError"):
                count("instrumentor_failed", instrumentor=entry_point.name)
                log_once(f"run.{entry_point.name}", "otel-agentcost: %s cannot instrument: %s", entry_point.name, error)
