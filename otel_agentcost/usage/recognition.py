"""Is this HTTP request a model call, and which? By parsed host and path, behind gateways also by the body's shape.

    recognise("POST", "https://api.openai.com/v1/chat/completions", body) -> Call(api="openai.chat", ...)

Hosts are never matched as substrings. On a host nobody knows a path that could be anybody's (`/v1/messages`) needs a
request body of the right shape; a path nobody else has (`/chat/completions`) is enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import unquote

from otel_agentcost.usage.apis import Api, Pattern, tables
from otel_agentcost.usage.counting import at, put_context
from otel_agentcost.usage.providers import HostFacts, canonical_provider, host_facts
from otel_agentcost.usage.reading import EMPTY
from otel_agentcost.usage.records import maker

WHOLE_BODY = 256 * 1024
"""Request bodies up to this size are parsed; of larger ones only the beginning and the end are looked at."""
EDGE = 8192
MAX_PATH = 2048
_URL = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?:[^/?#@]*@)?(?P<host>[^/?#]*)(?P<path>[^?#]*)")
_STRING_FIELD = {
    name: re.compile(rb'"%s"\s*:\s*"((?:[^"\\]|\\.){1,200})"' % name.encode())
    for name in ("model", "model_id", "service_tier")
}
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_INCLUDE_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_FORM_FIELD = re.compile(rb'name="?model"?[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n([^\r\n]{1,200})')


_NO_USAGE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A recognised request: which API, whose, which model was asked for, and what a price may depend on."""

    api: str
    """Name of the API in semconv/apis.yaml, e.g. `openai.chat`."""
    operation: str
    provider: str | None
    """Canonical id of who is called; None behind a gateway that says nothing."""
    host: str
    method: str = "POST"
    request_model: str | None = None
    streaming: bool = False
    context: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    request_usage: Mapping[str, int] = field(default_factory=lambda: _NO_USAGE)
    """Consumption only the request tells, e.g. the characters of a text to be spoken."""
    asks_usage: bool = False
    """A stream for which `stream_options.include_usage` was asked."""
    can_ask_usage: bool = False
    """A stream in OpenAI form at a host known to accept `stream_options.include_usage`."""
    item: str = ""
    """Id in the path of a stored response, run or file."""


_new_call = maker(Call)


def recognise(method: str, url: str, request_body: bytes | None) -> Call | None:
    """Return the call a request is, or None when it is no metered model call; never raises.

    Token counts, model lists and files are None: nobody bills them.
    """
    try:
        return _recognise(method.upper(), url, request_body)
    except (ValueError, RecursionError, TypeError, AttributeError):
        return None


def is_free(method: str, url: str) -> bool:
    """Tell whether a request goes to an endpoint of a model API that is known to cost nothing."""
    split = _split(url)
    if split is None:
        return False
    host, path = split
    segments, verb = _segments(path)
    free, _ = _candidate(method.upper(), host, path, segments, verb, None)
    return free and _facts(host, path) is not None


@dataclass(frozen=True, slots=True)
class _Route:
    """What method and address alone tell about a request."""

    api: Api
    host: str
    path: str
    captured: Mapping[str, str]
    facts: HostFacts | None
    provider: str | None
    region: str | None
    streaming: bool


def _recognise(method: str, url: str, body: bytes | None) -> Call | None:
    # The same few addresses are called over and over; a query may be different each time and decides nothing.
    address = url.partition("?")[0]
    route = _route(method, address) if len(address) <= MAX_PATH else _route.__wrapped__(method, address)
    if route is None:
        return None
    request = read_request(body) if body else None
    if route.facts is None and route.api.asks:
        keys = request.keys() if request is not None else frozenset()
        if not any(wanted <= keys for wanted in route.api.asks):
            return None
    return _call(route, method, request or {})


@lru_cache(maxsize=512)
def _route(method: str, url: str) -> _Route | None:
    split = _split(url)
    if split is None:
        return None
    host, path = split
    segments, verb = _segments(path)
    candidates = _lookup(segments, verb)
    if not candidates:
        return None
    _, found = _candidate(method, host, path, segments, verb, candidates)
    if found is None:
        return None
    api, captured, facts = found
    provider = facts.provider if facts is not None else api.provider
    region = facts.region if facts is not None else None
    located = _LOCATION.search(path)
    if provider == "google" and located:
        region = located[1]
    streaming = verb.startswith("stream") or path.endswith(("-stream", "with-response-stream", "_stream"))
    return _Route(api, host, path, captured, facts, provider, region, streaming)


def _split(url: str) -> tuple[str, str] | None:
    found = _URL.match(url)
    if found is None or found["scheme"].lower() not in ("http", "https"):
        return None
    return found["host"].lower(), found["path"][:MAX_PATH]


def _segments(path: str) -> tuple[tuple[str, ...], str]:
    """Take a path apart; what follows the colon of its last segment is the verb (`...:generateContent`)."""
    segments = tuple(segment for segment in path.split("/") if segment)
    if not segments:
        return (), ""
    last, colon, verb = segments[-1].rpartition(":")
    if colon and verb.isalpha() and last:
        return (*segments[:-1], last), verb
    return segments, ""


def _lookup(segments: tuple[str, ...], verb: str) -> tuple[tuple[Pattern, Api | None], ...]:
    index = tables().index
    if not segments:
        return ()
    if verb:
        found = index.get(("", verb), ()) + index.get((segments[-1], verb), ())
        if found:
            return found
    exact = index.get((segments[-1], ""), ())
    below = index.get((segments[-2], "*"), ()) if len(segments) > 1 else ()
    if exact and below:
        return tuple(sorted((*exact, *below), key=lambda one: -len(one[0].segments)))
    return exact or below


def _candidate(
    method: str,
    host: str,
    path: str,
    segments: tuple[str, ...],
    verb: str,
    candidates: tuple[tuple[Pattern, Api | None], ...] | None,
) -> tuple[bool, tuple[Api, dict[str, str], HostFacts | None] | None]:
    """Return whether the path is a free one, and else the API it belongs to."""
    facts = _facts(host, path)
    for pattern, api in _lookup(segments, verb) if candidates is None else candidates:
        captured = pattern.match(segments, pattern.verb and verb)
        if captured is None:
            continue
        if api is None:
            return True, None
        if method not in api.methods or captured.get("model", "").startswith("count-tokens"):
            continue
        if facts is not None:
            if api.hosts and facts.provider not in api.hosts and facts.kind != "gateway":
                continue
        elif api.asks is None:
            continue
        return False, (api, captured, facts)
    return False, None


def _facts(host: str, path: str) -> HostFacts | None:
    # Only the first segments decide, and ids further down would fill the cache.
    return host_facts(host, "/".join(path.split("/")[:4]) + "/")


def read_request(body: bytes) -> Mapping[str, object] | None:
    """Return what a request body says, whole when small; of a large or multipart one only a few plain fields."""
    if len(body) <= WHOLE_BODY and body.lstrip()[:1] == b"{":
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None
    return _edges(bytes(body[:EDGE]), bytes(body[-EDGE:]))


def _edges(start: bytes, end: bytes) -> Mapping[str, object] | None:
    if start.startswith((b"--", b"\r\n--")):
        form = _FORM_FIELD.search(start) or _FORM_FIELD.search(end)
        return {"model": form[1].decode("utf-8", "replace")} if form else None
    if not start.lstrip().startswith(b"{"):
        return None
    found: dict[str, object] = {}
    # Well-written clients put the plain fields before or after the long one. A nested field of the same name
    # could be taken for it; the answer's own model name is stronger anyway.
    for name, pattern in _STRING_FIELD.items():
        text = pattern.search(start) or pattern.search(end)
        if text:
            found[name] = text[1].decode("utf-8", "replace")
    if _STREAM.search(start) or _STREAM.search(end):
        found["stream"] = True
    if _INCLUDE_USAGE.search(start) or _INCLUDE_USAGE.search(end):
        found["stream_options"] = {"include_usage": True}
    for name in ("messages", "input", "prompt", "contents", "documents", "query", "texts"):
        if b'"%s"' % name.encode() in start:
            found.setdefault(name, ())
    return found


def _call(route: _Route, method: str, request: Mapping[str, object]) -> Call:
    table = tables()
    api, provider = route.api, route.provider
    context: dict[str, str] = {}
    put_context(context, table.request_context, request)
    tools = request.get("tools")
    if tools:
        _tools(context, tools)
    if route.region:
        context["region"] = route.region
    if route.host:
        context["host"] = route.host
    if api.operation == "batch_results":
        context["processing"] = "batch"
    options = request.get("stream_options")
    streaming = request.get("stream") is True or route.streaming
    chat_form = api.name in ("openai.chat", "openai.completions")
    return _new_call(
        api=api.name,
        operation=api.operation,
        provider=provider,
        host=route.host,
        method=method,
        request_model=_model(api, route.captured, route.path, request),
        streaming=streaming,
        context=context,
        request_usage=_from_request(api, request) if api.from_request else _NO_USAGE,
        asks_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
        can_ask_usage=streaming and chat_form and provider in table.include_usage,
        item=route.captured.get("id", ""),
    )


def _from_request(api: Api, request: Mapping[str, object]) -> dict[str, int]:
    """Return consumption that only the request tells: the length of a text."""
    texts = ((unit, at(request, places[0])) for unit, places in api.from_request)
    return {unit: len(text) for unit, text in texts if isinstance(text, str) and text}


_LOCATION = re.compile(r"/locations/([a-z0-9-]+)/")
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")


def _model(api: Api, captured: Mapping[str, str], path: str, request: Mapping[str, object]) -> str | None:
    for key in ("model", "model_id", "modelId"):
        value = request.get(key)
        if isinstance(value, str) and value:
            return value[:300]
    requests = request.get("requests")
    if isinstance(requests, list) and requests:
        inner = at(requests[0], ("model",))
        if isinstance(inner, str) and inner:
            return inner[:300]
    if "model" in captured:
        return unquote(captured["model"])[:300]
    deployment = _DEPLOYMENT.search(path)
    if deployment is not None:
        return unquote(deployment[1])[:300]
    if api.operation == "speech":
        return None
    return None


def _tools(context: dict[str, str], tools: object) -> None:
    table = tables()
    for tool in tools if isinstance(tools, (list, tuple)) else ():
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if not isinstance(kind, str) or len(kind) > 64:
            continue
        for prefix, key in table.tool_types.items():
            if kind.startswith(prefix):
                context[key] = kind
                for name, field_key in table.tool_fields.items():
                    value = tool.get(name)
                    if isinstance(value, str) and 0 < len(value) <= 64:
                        context[field_key] = value


def stand_in(api: str, provider: str | None, *, streaming: bool = False) -> Call:
    """Return a call for an answer whose request is not known, only its API (offline records, `--api`)."""
    known = tables().apis[api]
    named = canonical_provider(provider)
    return Call(api=api, operation=known.operation, provider=named or known.provider, host="", streaming=streaming)


@lru_cache(maxsize=1)
def api_names() -> frozenset[str]:
    """Return the names of all APIs that can be read."""
    return frozenset(tables().apis)
