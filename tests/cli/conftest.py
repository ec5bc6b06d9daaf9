"""What the command line's tests share: running it, and a small trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from otel_agentcost.cli.app import application
from otel_agentcost.cli.traces.collection import any_value

Agentcost = Callable[..., Result]
TRACE = "5b8efff798038103d269b633813fc60c"
ROOT = "eee19b7ec3c1b174"
CALL = "eee19b7ec3c1b173"
CALL_2 = "eee19b7ec3c1b172"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test runs in a folder of its own, without anybody's settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("AGENTCOST_CONFIG", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def agentcost() -> Agentcost:
    """Run `agentcost` in this process: agentcost("price", "--model", ...) -> click's Result."""

    def run(*arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002
        return CliRunner().invoke(application, [str(a) for a in arguments], input=input)

    return run


def span(
    span_id: str, *, parent: str = "", name: str = "chat gpt-4o", start: int = 0, failed: bool = False, **more: object
) -> dict[str, Any]:
    """One OTLP JSON span; attributes with `_` for `.` after gen_ai would be ambiguous, so pass them as a dict."""
    attributes = dict(more.pop("attributes", {}))  # type: ignore[call-overload]
    return {
        "traceId": more.pop("trace_id", TRACE),
        "spanId": span_id,
        "parentSpanId": parent,
        "name": name,
        "kind": 3 if parent else 1,
        "startTimeUnixNano": str(1_763_726_400_000_000_000 + start),
        "endTimeUnixNano": str(1_763_726_401_000_000_000 + start),
        "attributes": [{"key": k, "value": any_value(v)} for k, v in attributes.items()],
        "status": {"code": 2} if failed else {},
        **more,
    }


def chat(tokens_in: int, tokens_out: int, model: str = "gpt-4o", **more: object) -> dict[str, object]:
    """Attributes of one model call in OpenTelemetry's GenAI conventions."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": tokens_in,
        "gen_ai.usage.output_tokens": tokens_out,
        **more,
    }


def otlp(*spans: dict[str, Any]) -> dict[str, Any]:
    """An OTLP JSON document."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "agent"}}]},
                "scopeSpans": [{"scope": {"name": "tests"}, "spans": list(spans)}],
            }
        ]
    }


TWO_CALLS = otlp(
    span(ROOT, name="run"),
    span(CALL, parent=ROOT, start=1, attributes=chat(1000, 500)),
    span(CALL_2, parent=ROOT, start=2, attributes=chat(2000, 100)),
)
"""gpt-4o, list price 2.50 and 10 a million: 0.0025 + 0.005 and 0.005 + 0.001, together 0.0135."""
TWO_CALLS_PICO = 13_500_000_000


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    """A file `trace.json` with two calls below a root."""
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(TWO_CALLS, indent=1))
    return file


EXCHANGE = {
    "id": "one",
    "method": "POST",
    "url": "https://api.openai.com/v1/chat/completions",
    "status": 200,
    "response_headers": {"content-type": "application/json"},
    "request_body": json.dumps({"model": "gpt-4o", "messages": []}),
    "response_body": json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-4o-2024-08-06",
            "choices": [],
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 500,
                "total_tokens": 1500,
                "prompt_tokens_details": {"cached_tokens": 400},
            },
        }
    ),
}
"""A recorded exchange in the form `agentcost read` takes."""


@pytest.fixture
def exchanges_file(tmp_path: Path) -> Path:
    """A file `exchanges.jsonl` with one exchange."""
    file = tmp_path / "exchanges.jsonl"
    file.write_text(json.dumps(EXCHANGE) + "\n")
    return file
