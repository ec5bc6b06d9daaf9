"""The wire formats: one module for each family of APIs, each a table of `Wire`s."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from otel_agentcost.testing.emulator.model import Answer
from otel_agentcost.testing.emulator.prompt import JSON, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request to the emulator."""

    method: str
    path: str
    """Decoded, without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes = b""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Bytes of a streamed answer, and the output tokens the model had produced when they left."""

    data: bytes
    produced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How one API is spoken. Every function is pure."""

    api: str
    provider: str
    """Who serves it, unless path prefix, host or model say otherwise."""
    path: re.Pattern[str]
    """Matched against the whole path; a group `model` is the model, a group `verb` the operation."""
    read: Callable[[JSON, Mapping[str, str]], Prompt]
    """Read the request body and the groups of the path into a prompt (its provider may be empty)."""
    whole: Callable[[Prompt, Answer], JSON]
    """Write the answer as one JSON body."""
    stream: Callable[[Prompt, Answer], Iterator[Event]]
    """Write the answer as a stream of events."""
    media: str
    """Content type of a stream."""
    refuse: Callable[[int, str], JSON]
    """Write an error in the provider's form."""
    request_id: str = "x-request-id"
    """Response header that names the request."""
    free: bool = False
    """It only counts tokens: nothing is generated, cached or billed."""
    prefix: str = ""
    """How response ids begin."""
    headers: Callable[[Prompt, Answer], Mapping[str, str]] = lambda _prompt, _answer: {}
    """More response headers."""
