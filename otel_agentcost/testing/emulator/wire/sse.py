"""Server-sent events and JSON lines as providers write them."""

from __future__ import annotations

import json

from otel_agentcost.testing.emulator.prompt import JSON

DONE = b"data: [DONE]\n\n"


def sse(document: JSON, event: str = "", end: str = "\n") -> bytes:
    """Write one event; Gemini ends its lines with CR LF."""
    name = f"event: {event}{end}" if event else ""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"{name}data: {text}{end}{end}".encode()


def line(document: JSON) -> bytes:
    """Write one line of JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
