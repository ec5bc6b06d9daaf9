"""Asking: get usage out of a stream that would not tell it, and let the application see the stream it asked for.

OpenAI's chat streams state no usage unless `stream_options.include_usage` is set. With it every event gains
`"usage":null`, and one event without choices comes before `[DONE]`. Both are taken out again on the way to the
application, event by event, so that it receives the bytes it would have received.

Only hosts known to accept the option are asked, and only where usage would be missing otherwise; should one refuse
nevertheless, the request goes out again as the application made it, and that model is not asked again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from otel_agentcost.otel.health import report
from otel_agentcost.usage.codecs import Pipe, encodings
from otel_agentcost.usage.exchange import Call

ASKED = frozenset({"openai", "azure"})
"""Providers whose streams tell nothing unasked. Others that know the option (Groq, DeepSeek, Together, Fireworks,
xAI, OpenRouter ...) state usage without it, and Mistral answers 422 to it (openai-agents-python issue 442)."""

REFUSALS = frozenset({400, 404, 422})
"""Statuses a host may answer to an option it does not know."""

MAX_REFUSED = 256
"""Host and model pairs remembered as refusing."""

MAX_EVENT = 1024 * 1024
"""An event larger than this is passed on unseen rather than held."""

_WRITTEN_NULL = b',"usage":null'
_NULL = re.compile(rb',\s*"usage":\s*null')
# Inside a JSON string the quote would be escaped, so this can only be the key itself.
_USAGE = re.compile(rb'"usage":\s*\{')
_END = re.compile(rb"\r?\n\r?\n")
_OPTION = b'"stream_options":{"include_usage":true}'


def worth_asking(call: Call) -> bool:
    """Tell whether a stream would tell no usage, and its host is known to tell it when asked."""
    return call.can_ask_usage and not call.asks_usage and call.provider in ASKED


def asking(body: bytes) -> bytes | None:
    """Return the request body with `include_usage` set, otherwise untouched; None where it cannot or must not be.

    An application that set `include_usage` itself, to whatever value, keeps its value.
    """
    if b'"stream_options"' not in body:
        end = body.rstrip()
        if not end.endswith(b"}") or end.rstrip(b"} \t\r\n").endswith(b"{"):
            return None
        return end[:-1] + b"," + _OPTION + b"}"
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    options = request.get("stream_options") if isinstance(request, dict) else None
    if options is None:
        options = {}
    if not isinstance(request, dict) or not isinstance(options, dict) or "include_usage" in options:
        return None
    request["stream_options"] = {**options, "include_usage": True}
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()


class Hider:
    """Turn the stream that was asked for into the one the application asked for.

    Whole events are passed on as soon as they are complete; the beginning of an event waits for its end, which a
    reader of server-sent events would do as well.
    """

    __slots__ = ("_broken", "_held", "_pipe")

    def __init__(self, content_encoding: str | None) -> None:
        stack = encodings(content_encoding)
        self._pipe = Pipe(stack) if stack else None
        """We asked for an answer that is not compressed; one that is all the same is decompressed."""
        self._held = b""
        self._broken = False

    @staticmethod
    def suits(status: int, headers: Mapping[str, str]) -> bool:
        """Tell whether an answer is a stream of events that needs hiding."""
        kind = headers.get("content-type") or ""
        return status == 200 and kind.partition(";")[0].strip().lower() == "text/event-stream"

    @property
    def decodes(self) -> bool:
        """The application receives the stream decoded; `content-encoding` has to go."""
        return self._pipe is not None

    def take(self, chunk: bytes) -> bytes:
        """Return what the application may see now. Never raises: after an error of ours all is shown."""
        if self._broken:
            return chunk
        try:
            return self._take(chunk)
        except Exception as error:
            if not report("tap.hide", error):
                raise
            self._broken = True
            held, self._held = self._held, b""
            return held + chunk

    def _take(self, chunk: bytes) -> bytes:
        if self._pipe is not None:
            chunk = b"".join(self._pipe.feed(chunk))
        elif not self._held and chunk.endswith(b"\n\n"):
            # The usual chunk: whole events, and usage in them only as the null our question caused.
            shown = chunk.replace(_WRITTEN_NULL, b"")
            if b'"usage"' not in shown:
                return shown
        data = self._held + chunk if self._held else chunk
        ends = [found.end() for found in _END.finditer(data)]
        if not ends:
            if len(data) <= MAX_EVENT:
                self._held = data
                return b""
            self._held = b""
            return data
        self._held = data[ends[-1] :]
        return self._shown(data[: ends[-1]])

    def rest(self) -> bytes:
        """Return what is still held when the stream is over."""
        held, self._held = self._held, b""
        return self._shown(held) if held else b""

    def _shown(self, data: bytes) -> bytes:
        if b'"usage"' not in data:
            return data
        shown = _NULL.sub(b"", data)
        if _USAGE.search(shown) is None:
            return shown
        kept = []
        start = 0
        for end in [match.end() for match in _END.finditer(shown)] or [len(shown)]:
            event = shown[start:end]
            if not _only_usage(event):
                kept.append(event)
            start = end
        kept.append(shown[start:])
        return b"".join(kept)


def _only_usage(event: bytes) -> bool:
    """Tell whether an event carries usage and no choice: the one that came because it was asked for."""
    if _USAGE.search(event) is None:
        return False
    for line in event.splitlines():
        if line.startswith(b"data:"):
            try:
                payload = json.loads(line[5:])
            except (ValueError, RecursionError):
                return False
            return isinstance(payload, dict) and payload.get("choices") == [] and isinstance(payload.get("usage"), dict)
    return False
