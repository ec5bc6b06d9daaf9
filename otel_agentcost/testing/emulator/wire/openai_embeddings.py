"""OpenAI embeddings: short deterministic vectors, as numbers or as base64 of 32-bit floats."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Iterator, Mapping

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Block, Prompt, tokens
from otel_agentcost.testing.emulator.wire import Event, Wire
from otel_agentcost.testing.emulator.wire.openai_chat import refuse

DIMENSIONS = 16


def read(body: JSON, groups: Mapping[str, str]) -> Prompt:
    """Read an embeddings request: a text, several, or lists of token numbers."""
    asked = body["input"]
    inputs = [asked] if isinstance(asked, str) or (asked and isinstance(asked[0], int)) else list(asked)
    blocks = [Block(content=str(text), tokens=tokens(text) if isinstance(text, str) else len(text)) for text in inputs]
    return Prompt(
        provider=groups.get("provider", ""),
        api="openai.embeddings",
        model=str(body["model"]),
        blocks=tuple(blocks),
        limit=0,
        extra={
            "dimensions": int(body.get("dimensions") or DIMENSIONS),
            "base64": body.get("encoding_format") == "base64",
        },
    )


def vector(text: str, dimensions: int) -> list[float]:
    """Derive a vector from a text: eight digest bits a dimension, between -1 and 1."""
    numbers: list[float] = []
    while len(numbers) < dimensions:
        digest = hashlib.sha256(f"{len(numbers)}:{text}".encode()).digest()
        numbers += [(byte - 128) / 128 for byte in digest]
    return numbers[:dimensions]


def whole(prompt: Prompt, answer: Answer) -> JSON:
    """Write the vectors; embeddings have no output tokens."""
    data: list[JSON] = []
    for index, block in enumerate(prompt.blocks):
        numbers = vector(block.content, prompt.extra["dimensions"])
        packed = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
        data.append({"object": "embedding", "index": index, "embedding": packed if prompt.extra["base64"] else numbers})
    counts = {"usage": {"prompt_tokens": answer.input, "total_tokens": answer.input}} if answer.usage else {}
    return {"object": "list", "data": data, "model": answer.model, **counts}


def stream(prompt: Prompt, answer: Answer) -> Iterator[Event]:
    """Embeddings are never streamed."""
    raise ValueError("embeddings are never streamed")


EMBEDDINGS = Wire(
    api="openai.embeddings",
    provider="openai",
    path=re.compile(r"(?:/v1)?/embeddings"),
    read=read,
    whole=whole,
    stream=stream,
    media="application/json",
    refuse=refuse,
)
