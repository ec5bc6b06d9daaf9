"""Zero code: what OpenTelemetry's own launcher calls, and what `agentcost run` prepares.

    opentelemetry-instrument python app.py     # entry points below; environment or OTEL_CONFIG_FILE decides the rest
    agentcost run -- python app.py             # no OpenTelemetry set-up at all: bootstrap_environment()

Nothing here may keep a program from starting: a wrong setting is logged, counted, and the defaults hold.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otel_agentcost.errors import ConfigError
from otel_agentcost.otel.health import count, guard, log_once

RECORD_VARIABLE = "AGENTCOST_RECORD_DIR"
"""Folder of the local record; set by `agentcost run`, and honoured under `opentelemetry-instrument`, too."""
OTLP_VARIABLE = "AGENTCOST_RUN_OTLP"
"""1: `agentcost run` exports by OTLP as well."""
STARTUP = Path(__file__).parent / "startup"
"""Folder with the sitecustomize module that starts everything in a child process."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OFF = ("false", "0", "no", "off")


def switched_off() -> bool:
    """Tell whether the environment wants nothing from us, without reading any file.

    AGENTCOST_ENABLED=false, OTEL_SDK_DISABLED=true, or `agentcost` among OTEL_PYTHON_DISABLED_INSTRUMENTATIONS.
    """
    if os.environ.get("AGENTCOST_ENABLED", "").strip().lower() in _OFF:
        return True
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return True
    disabled = os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    return "agentcost" in {name.strip() for name in disabled.split(",")}


def pre_instrument() -> None:
    """Start with the provider the launcher has configured. Entry point of group `opentelemetry_pre_instrument`."""
    with guard("auto.pre_instrument"):
        start()


def start(*, tracer_provider: Any = None, meter_provider: Any = None, config: Any = None) -> None:
    """Install with settings that cannot fail: a wrong one is an error in the log, and the defaults hold."""
    if switched_off():
        return
    from otel_agentcost.otel.install import install, installed

    if installed() is not None and tracer_provider is None:
        return
    made = install(tracer_provider, meter_provider, config if config is not None else settings())
    directory = os.environ.get(RECORD_VARIABLE)
    if directory and made.active and not made.recording:
        from otel_agentcost.otel.record import SpanRecorder

        made.beside(SpanRecorder(directory))


def settings() -> Any:
    """Return the settings, or the defaults if they are wrong. The service runs on; the error is told in the log."""
    import logging

    from otel_agentcost.otel.config import Config, misspelt_variables

    for variable, meant in misspelt_variables().items():
        log_once(f"auto.{variable}", "otel-agentcost: %s is read by nobody; did you mean %s?", variable, meant)
    try:
        return Config.load()
    except ConfigError as error:
        count("config_error")
        log_once("auto.config", "otel-agentcost: the defaults hold, because of %s", error, level=logging.ERROR)
        return Config()


class AgentCostInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the package ships no types
    """The same as `install()`, in the form OpenTelemetry's tools expect. Group `opentelemetry_instrumentor`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing is required: clients are followed once the application imports them."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        start(
            tracer_provider=kwargs.get("tracer_provider"),
            meter_provider=kwargs.get("meter_provider"),
            config=kwargs.get("config"),
        )

    def _uninstrument(self, **kwargs: Any) -> None:
        from otel_agentcost.otel.install import uninstall

        uninstall()


def bootstrap_environment(
    environment: Mapping[str, str], *, record_dir: str | os.PathLike[str], otlp: bool | None = None
) -> dict[str, str]:
    """Return an environment in which every Python process measures itself and keeps a local record.

    Such a process starts an SDK with our processor before the program's first line, unless the program (or
    `opentelemetry-instrument`) sets one up itself: then ours joins that one. `otlp` says whether spans and metrics are
    exported as well; by default they are where an OTLP endpoint is set.
    """
    result = dict(environment)
    startup = str(STARTUP)
    paths = [path for path in result.get("PYTHONPATH", "").split(os.pathsep) if path and path != startup]
    result["PYTHONPATH"] = os.pathsep.join([startup, *paths])
    result[RECORD_VARIABLE] = str(record_dir)
    if otlp is None:
        otlp = any(result.get(name) for name in _ENDPOINTS)
    result[OTLP_VARIABLE] = "1" if otlp else "0"
    return result
