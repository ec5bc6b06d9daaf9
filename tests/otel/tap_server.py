"""A small HTTP/1.1 server on a real socket, which answers as told and sees how its clients hang up."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Answer:
    """What to send back: a body in one piece, or chunk by chunk."""

    body: bytes = b""
    chunks: list[bytes] | None = None
    """Sent as HTTP chunks, or plainly where the headers state a length."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    pause: float = 0.0
    """Seconds before each chunk."""
    drop_after: int | None = None
    """Cut the connection after so many chunks."""
    stall_after: int | None = None
    """Say nothing more after so many chunks, until the client hangs up."""


@dataclass(kw_only=True)
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    sent: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)


class Wire:
    """Serve answers by path; `answers[path]` is an Answer, a list of them (one per request), or a function."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | list[Answer] | Callable[[Seen], Answer]] = {}
        self.seen: list[Seen] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return False
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunked(reader)
        seen = Seen(method=method, path=target, headers=headers, body=body)
        self.seen.append(seen)
        found = self.answers[target.partition("?")[0]]
        if isinstance(found, list):
            found = found.pop(0)
        answer = found if isinstance(found, Answer) else found(seen)
        return await self._send(answer, seen, reader, writer)

    async def _chunked(self, reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body

    async def _send(
        self, answer: Answer, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        headers = dict(answer.headers)
        framed = False
        if answer.chunks is None:
            headers["content-length"] = str(len(answer.body))
        elif framed := "content-length" not in headers:
            headers["transfer-encoding"] = "chunked"
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode())
        if answer.chunks is None:
            writer.write(answer.body)
            await writer.drain()
            return True
        watch = asyncio.ensure_future(reader.read(1))
        for number, chunk in enumerate(answer.chunks):
            if answer.drop_after == number:
                writer.transport.abort()
                return False
            await asyncio.wait({watch}, timeout=None if answer.stall_after == number else answer.pause)
            if watch.done():
                seen.hung_up.set()
                return False
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" if framed else chunk)
            await writer.drain()
            seen.sent += 1
        watch.cancel()  # before the end is told, or it might eat the start of the next request
        await asyncio.wait({watch})
        writer.write(b"0\r\n\r\n" if framed else b"")
        await writer.drain()
        return True


@contextmanager
def wire() -> Iterator[Wire]:
    server = Wire()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def chat(tokens_in: int = 12, tokens_out: int = 7, ident: str = "chatcmpl-1", text: str = "hello") -> bytes:
    """A chat completion in one piece."""
    return json.dumps(
        {
            "id": ident,
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            },
        }
    ).encode()


def event(payload: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def chat_events(
    tokens_in: int = 12,
    tokens_out: int = 7,
    *,
    ident: str = "chatcmpl-1",
    words: int = 7,
    usage: bool = True,
    null_usage: bool | None = None,
) -> list[bytes]:
    """The events of a streamed chat completion; with `usage`, as `stream_options.include_usage` makes them."""
    null_usage = usage if null_usage is None else null_usage
    common: dict[str, object] = {
        "id": ident, "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06",
    }  # fmt: skip
    more: dict[str, object] = {"usage": None} if null_usage else {}
    events = [
        event(common | {"choices": [{"index": 0, "delta": {"content": f"word{n} "}, "finish_reason": None}]} | more)
        for n in range(words)
    ]
    events.append(event(common | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]} | more))
    if usage:
        total = {
            "prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out,
        }  # fmt: skip
        events.append(event(common | {"choices": [], "usage": total}))
    events.append(b"data: [DONE]\n\n")
    return events


EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}


def cut(body: bytes, size: int) -> list[bytes]:
    """Cut a body into pieces of one size, wherever that falls."""
    return [body[start : start + size] for start in range(0, len(body), size)]


def zipped(body: bytes) -> bytes:
    return gzip.compress(body)
