"""`agentcost price`: one bill from a model's name and what it consumed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from otel_agentcost.cli.app import FINDINGS, OK, shared_options
from otel_agentcost.cli.arithmetic import bill_json, bill_lines
from otel_agentcost.cli.console import Console
from otel_agentcost.cli.settings import load_config, price_book
from otel_agentcost.errors import InputError
from otel_agentcost.usage.fragments import read_usage
from otel_agentcost.usage.reading import Reading
from otel_agentcost.usage.units import UNITS


@click.command("price")
@click.option("--model", "-m", help="Model as the provider names it, or the machine for compute.")
@click.option("--provider", "-p", help="Who sells it; without it the model's name decides.")
@click.option("--usage", "-u", help="What was consumed: a JSON object, or @FILE.")
@click.option("--dialect", "-d", help="Whose usage object it is, e.g. openai.chat, anthropic.messages, normalized.")
@click.option("--at", "moment", help="Moment of the call: ISO date or time, or Unix seconds. Default: now.")
@click.option("--context", "-c", help="What the price depends on besides: a JSON object, e.g. service_tier, region.")
@click.option("--vectors", type=click.Path(), help="Price a file of vectors that bring their own prices instead.")
@shared_options
def command(
    console: Console,
    model: str | None,
    provider: str | None,
    usage: str | None,
    dialect: str | None,
    moment: str | None,
    context: str | None,
    vectors: str | None,
) -> int:
    """Price one call: quantity x rate for every unit, and the exact total.

    The usage object may be the provider's own, as it stands in the response, or quantities by unit (input_tokens
    includes cache_read_tokens and cache_write_tokens). The exit code is 1 when no cost can be claimed.

    \b
    Examples:
      $ agentcost price --model gpt-4o --usage '{"prompt_tokens": 1000, "completion_tokens": 500}'
      $ agentcost price -m claude-sonnet-4-5 -u '{"input_tokens": 10, "cache_read_input_tokens": 9000}' --json
      $ agentcost price -m gpt-5 -u '{"input_tokens": 1000}' --context '{"service_tier": "flex"}' --at 2026-11-21
      $ agentcost price -p google -m gemini-2.5-flash -u @usage.json
      $ agentcost price -m H100 -u '{"gpu_seconds": 90}' --context '{"gpu": "H100"}'
      $ agentcost price --vectors vectors.json
    """
    if vectors is not None:
        if model or provider or usage or dialect or moment or context:
            raise click.UsageError("--vectors stands alone: its vectors bring model, usage, time and prices.")
        return _price_vectors(console, vectors)
    if usage is None:
        raise click.UsageError("Missing option '--usage' (what was consumed), or '--vectors FILE'.")
    quantities = _json_object("--usage", usage)
    told = {key: _text(key, value) for key, value in _json_object("--context", context or "{}").items()}
    at = _moment(moment)
    reading = read(quantities, dialect=dialect, model=model, provider=provider, context=told)
    bill = price_book(load_config(console)).price(reading, at=at)
    if console.as_json:
        described = bill_json(bill)
        described["reading"] = {"kind": reading.kind, "dialect": reading.dialect, "usage": reading.usage}
        console.document(described)
    else:
        for line in bill_lines(bill):
            console.line(line)
        for note in bill.notes:
            console.line(f"note    {note}")
    return OK if bill.total is not None else FINDINGS


def read(
    usage: Mapping[str, object],
    *,
    dialect: str | None,
    model: str | None,
    provider: str | None,
    context: Mapping[str, str],
) -> Reading:
    """Read a usage object of a named dialect, or of the one its keys betray. Raises InputError without one."""
    chosen = dialect or detect(usage, provider)
    reading = read_usage(chosen, usage, model=model, provider=provider, context=context)
    if reading.status == "no_usage" and not reading.usage:
        known = ", ".join(sorted(usage)) or "none"
        raise InputError(
            f"--usage: no known quantity in it (keys: {known}; read as {chosen}); name its form with --dialect, or use "
            "units such as input_tokens, output_tokens (all: agentcost prices --units)"
        )
    if reading.kind in ("tool", "api"):
        # Fees are found by the tool's name or the host; --model is the only name there is here.
        reading = replace(reading, tool=context.get("host") or model, provider=reading.provider or provider)
    return reading


_MARKS = (
    ("openai.responses", ("input_tokens_details", "output_tokens_details")),
    (
        "anthropic.messages",
        ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "server_tool_use"),
    ),
    ("google.generateContent", ("promptTokenCount", "candidatesTokenCount", "totalTokenCount", "usageMetadata")),
    ("bedrock.converse", ("inputTokens", "outputTokens")),
    ("ollama.chat", ("prompt_eval_count", "eval_count")),
    ("cohere.chat", ("billed_units",)),
    ("openai.chat", ("prompt_tokens", "completion_tokens")),
)
"""Keys that only one API's usage object has, in the order to look for them."""


def detect(usage: Mapping[str, object], provider: str | None = None) -> str:
    """Tell whose usage object it is, by its keys; a whole response is told by the usage inside."""
    if usage and all(key in UNITS for key in usage):
        return "normalized"
    if any(key.startswith("gen_ai.") for key in usage):
        return "otel.genai"
    inner = usage.get("usage")
    looked_at: Mapping[str, Any] = inner if isinstance(inner, Mapping) else usage
    for dialect, keys in _MARKS:
        if any(key in looked_at or key in usage for key in keys):
            if dialect == "openai.chat" and provider:
                # Many providers speak this form, some count differently.
                return f"{provider.lower()}.chat"
            return dialect
    return f"{provider.lower()}.chat" if provider else "normalized"


def _json_object(option: str, text: str) -> dict[str, Any]:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{option}: {text[1:]} cannot be read ({error})") from error
    try:
        value = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{option}: not JSON at column {error.colno} ({error.msg}); an object like '{{\"input_tokens\": 1000}}'"
        ) from error
    if not isinstance(value, dict):
        raise InputError(f"{option}: must be a JSON object, not {type(value).__name__}")
    return value


def _text(key: str, value: object) -> str:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"--context: {key} must be text, not {value!r}")


def _moment(text: str | None) -> int:
    """Read a moment as Unix nanoseconds; a time without a zone is UTC."""
    if text is None:
        return time.time_ns()
    if text.isdecimal():
        return int(text) * 10**9
    try:
        # Python 3.10 does not know the Z of ISO 8601.
        moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError as error:
        raise InputError(
            f"--at: {text!r} is no time; write 2026-11-21, 2026-11-21T12:00:00Z or Unix seconds"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def _price_vectors(console: Console, file: str) -> int:
    """Print one JSON line for each vector; where a vector says what is expected, compare and exit 1 on a difference."""
    from otel_agentcost.pricing.vectors import price_vector

    different = compared = total = 0
    for vector in _vectors(file):
        total += 1
        try:
            line = price_vector(vector)
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise InputError(f"{file}: vector {vector.get('id', total)!r} is malformed ({_fault(error)})") from error
        console.record(line)
        expected = vector.get("expected")
        if isinstance(expected, Mapping):
            compared += 1
            problem = _difference(line, expected)
            if problem:
                different += 1
                console.note(f"agentcost: {vector.get('id')}: {problem}")
    console.note(f"{total} vectors" + (f", {compared - different} of {compared} as expected" if compared else ""))
    return FINDINGS if different else OK


def _fault(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else str(error)


def _vectors(file: str) -> Iterator[Mapping[str, Any]]:
    """Read `{"vectors": [...]}`, a JSON list, or JSON lines."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError as whole:
        try:
            content = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError:
            raise InputError(f"{file}: line {whole.lineno}: not JSON ({whole.msg})") from whole
    vectors = content.get("vectors") if isinstance(content, dict) else content
    if not isinstance(vectors, list) or not vectors or not all(isinstance(v, dict) for v in vectors):
        raise InputError(f"{file}: holds no vectors; expected {{'vectors': [...]}} or a list of objects")
    yield from vectors


def _difference(line: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Say how a priced vector differs from what it expects, or nothing."""
    if line["status"] != expected.get("status"):
        return f"status {line['status']} ({line.get('reason')}), expected {expected.get('status')}"
    if "total_pico_usd" in expected and line["pico"] != expected["total_pico_usd"]:
        return f"total {line['pico']} pico, expected {expected['total_pico_usd']}"
    wanted = expected.get("lines")
    if isinstance(wanted, list):
        mine = sorted((str(i["unit"]), Decimal(str(i["quantity"])), int(i["pico"])) for i in line["lines"])
        theirs = sorted((str(w["unit"]), Decimal(str(w["quantity"])), int(w["cost_pico_usd"])) for w in wanted)
        if mine != theirs:
            return f"lines {mine}, expected {theirs}"
    return ""
