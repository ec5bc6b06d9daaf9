"""Pieces of answers: the ends of very large ones, JSON arrays and rows, binary frames, grounding of a stream."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from otel_agentcost.usage.streams import MAX_LOOKS, json_object, json_objects, lines

EDGE = 64 * 1024
"""So many bytes of either end of a very large answer are looked at."""
MAX_ROWS = 200_000
_MARK = re.compile(rb'[uU]sage|"meta"|[tT]oken_?[cC]ount|eval_count')
_OBJECT_KEY = re.compile(rb'"(usage|usageMetadata|usage_metadata|usage_info|meta)"\s*:\s*(?=\{)')
_TEXT_KEY = re.compile(rb'"(id|model|modelVersion|responseId|object|service_tier)"\s*:\s*"([^"\\]{1,300})"')
_NUMBER_KEY = re.compile(rb'"(prompt_eval_count|eval_count)"\s*:\s*([0-9]{1,15})\b')
_DECODER = json.JSONDecoder()


def skim(start: bytes, end: bytes) -> dict[str, object]:
    """Find the usage object and the plain names of an answer in its two ends, without parsing what lies between.

    Only for answers filled with numbers or base64 text, and for cut ones: a usage object is looked for from the
    end, names from the beginning.
    """
    found: dict[str, object] = {}
    start, end = start[:EDGE], end[-EDGE:]
    for match in _TEXT_KEY.finditer(start + b" " + end):
        found.setdefault(match[1].decode(), match[2].decode("utf-8", "replace"))
    for text in (end, start):
        for match in reversed(list(_OBJECT_KEY.finditer(text))[-16:]):
            name = match[1].decode()
            if name in found or text[max(0, match.start() - 1) : match.start()] == b"\\":
                continue
            try:
                value, _ = _DECODER.raw_decode(text[match.end() : match.end() + EDGE].decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                continue
            found[name] = value
        for match in _NUMBER_KEY.finditer(text):
            found[match[1].decode()] = int(match[2])
    return found


def array_objects(text: bytes) -> Iterator[dict[str, Any]]:
    """Yield the objects of one JSON array; of a cut one those that are whole."""
    body = text.decode("utf-8", "replace")
    at = body.find("[") + 1
    while True:
        while at < len(body) and body[at] in " \t\r\n,":
            at += 1
        if at >= len(body) or body[at] != "{":
            return
        try:
            value, at = _DECODER.raw_decode(body, at)
        except (ValueError, RecursionError):
            return
        yield value


def json_rows(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield every row of a JSON lines file (bounded)."""
    for count, line in enumerate(lines(data)):
        if count >= MAX_ROWS:
            return
        row = json_object(line)
        if row is not None:
            yield row


def with_usage(texts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Parse the events that can carry usage or an error, up to a bound; the rest is not looked into."""
    looks = 0
    for text in texts:
        if _MARK.search(text) is None and b'"error"' not in text:
            continue
        looks += 1
        if looks > MAX_LOOKS:
            return
        value = json_object(text)
        if value is not None:
            yield value


def frame_objects(found: Iterable[tuple[Mapping[str, str], bytes]]) -> Iterator[dict[str, Any]]:
    """Yield what frames of an AWS event stream carry.

    Model answers are wrapped (`{"bytes": <base64 of JSON>}`); the other events are plain, and named by a header.
    """
    for headers, payload in found:
        value = json_object(payload)
        if value is None:
            continue
        wrapped = value.get("bytes")
        if isinstance(wrapped, str):
            try:
                inner = json_object(base64.b64decode(wrapped, validate=False))
            except (binascii.Error, ValueError):
                continue
            if inner is not None:
                yield inner
        elif headers.get(":message-type") in ("exception", "error"):
            yield {"error": {"type": headers.get(":exception-type", "exception")}}
        else:
            name = headers.get(":event-type", "")
            yield {name: value} if name and name not in value else value


def gather_grounding(answer: dict[str, Any], chunks: tuple[bytes, ...]) -> None:
    """Join the grounding metadata of all events of a stream: the last event need not repeat it."""
    queries: dict[str, list[str]] = {"webSearchQueries": [], "imageSearchQueries": []}
    joined: dict[str, Any] = {}
    for chunk in chunks:
        if b"groundingMetadata" not in chunk:
            continue
        for event in _grounded(chunk):
            inner = event.get("response")
            holder = inner if isinstance(inner, dict) else event
            candidates = holder.get("candidates")
            for candidate in candidates if isinstance(candidates, list) else ():
                data = candidate.get("groundingMetadata") if isinstance(candidate, dict) else None
                if not isinstance(data, dict):
                    continue
                joined.update({key: value for key, value in data.items() if value})
                for key, seen in queries.items():
                    asked = data.get(key)
                    for query in asked if isinstance(asked, list) else ():
                        if isinstance(query, str) and query and query not in seen:
                            seen.append(query)
    if joined:
        joined.update({key: seen for key, seen in queries.items() if seen})
        answer["candidates"] = []
        answer["groundingMetadata"] = joined


def _grounded(chunk: bytes) -> Iterator[dict[str, Any]]:
    if chunk.lstrip()[:1] == b"[":
        yield from array_objects(chunk)
    else:
        yield from json_objects(lines(chunk), b"groundingMetadata")


class Edges:
    """Keep the first and last bytes of a very large answer."""

    __slots__ = ("_end", "head", "overflow", "trimmed")

    def __init__(self) -> None:
        self.head = b""
        self._end = b""
        self.trimmed = True
        self.overflow = False

    def take(self, chunks: list[bytes]) -> int:
        """Take the next chunks; return how many bytes they have."""
        block = b"".join(chunks)
        if len(self.head) < EDGE:
            self.head += block[: EDGE - len(self.head)]
        self._end = block[-EDGE:] if len(block) >= EDGE else (self._end + block)[-EDGE:]
        return len(block)

    @property
    def tail(self) -> bytes:
        return self._end

    @property
    def marked(self) -> tuple[bytes, ...]:
        return ()
