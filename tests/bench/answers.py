"""Answers: what the model would have sent, and clients that receive it without a network.

The same small exchange for every case: a chat completion of a dated GPT-4o with cached input, and a stream of events
of about 330 bytes each, with usage in the last one, as api.openai.com sends them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from itertools import count
from typing import Any

URL = "https://api.openai.com/v1/chat/completions"
MODEL = "gpt-4o-2024-08-06"
USAGE = {
    "prompt_tokens": 1843,
    "completion_tokens": 412,
    "total_tokens": 2255,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
MESSAGES = [{"role": "user", "content": "What did the meeting decide about the price of the second sensor?"}]
PLACE = "chatcmpl-B7xQ2mZp9vKq3LwT8sYd1NcR5hGf"
"""Where each answer gets an id of its own, of the same length."""
TEXT = "The second sensor will cost a third less from March on, and the first one stays as it is. " * 8

STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-request-id": "req_0123456789abcdef"}


def chat_body() -> bytes:
    """A chat completion as JSON."""
    message = {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []}
    answer = {
        "id": PLACE,
        "object": "chat.completion",
        "created": 1_763_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_cbf1785567",
    }
    return json.dumps(answer).encode()


@lru_cache(maxsize=8)
def stream_chunks(events: int) -> tuple[bytes, ...]:
    """A stream of so many events, one per chunk; the last but one states usage, the last is `[DONE]`."""
    chunks = []
    for number in range(events - 2):
        delta = {"content": f" word{number:05}"}
        if number == 0:
            delta = {"role": "assistant", "content": ""}
        chunks.append(_event({"choices": [_choice(delta, None)], "usage": None}))
    chunks.append(_event({"choices": [], "usage": USAGE}))
    chunks.append(b"data: [DONE]\n\n")
    return tuple(chunks)


def _choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _event(more: dict[str, Any]) -> bytes:
    event = {
        "id": PLACE,
        "object": "chat.completion.chunk",
        "created": 1_763_000_000,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_cbf1785567",
        **more,
        "obfuscation": "h3Kd9sLq2Xv7bT0pWm4e",
    }
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"  # as api.openai.com writes it


def streaming_request(events: int, *, ask: bool = True) -> bytes:
    """The body of a streaming request; its `n` tells the stand-in how many events to send."""
    request: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": True, "seed": events}
    if ask:
        request["stream_options"] = {"include_usage": True}
    return json.dumps(request).encode()


def answer_to(module: Any) -> Any:
    """Return the handler of a mock transport for `httpx` or `httpx2`: chat, or a stream of `seed` events."""
    before, _, after = chat_body().partition(PLACE.encode())
    response = module.Response
    numbers = count()

    def handle(request: Any) -> Any:
        body = request.content
        if b'"stream":true' in body or b'"stream": true' in body:
            return response(200, headers=STREAM_HEADERS, content=iter(stream_chunks(_events(body))))
        number = next(numbers)
        headers = {"content-type": "application/json", "x-request-id": f"req_{number:016d}"}
        return response(200, headers=headers, content=b"%bchatcmpl-%028d%b" % (before, number, after))

    return handle


def answer_to_async(module: Any) -> Any:
    """The same for an async client."""
    response = module.Response

    async def handle(request: Any) -> Any:
        return response(200, headers=STREAM_HEADERS, content=_later(stream_chunks(_events(request.content))))

    return handle


async def _later(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _events(body: bytes) -> int:
    _, _, rest = body.partition(b'"seed":')
    digits = bytes(_leading_digits(rest.lstrip()))
    return int(digits) if digits else 200


def _leading_digits(text: bytes) -> Iterator[int]:
    for character in text:
        if not 48 <= character <= 57:
            return
        yield character
