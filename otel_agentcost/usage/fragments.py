"""Read a bare usage object whose kind is named: `read_usage("openai.chat", {...}, model="gpt-4o")`.

For callers who hold usage but no exchange: `agentcost price --usage`, conformance vectors, stored invoices. The
names are `<vendor>.<api>` (`openai.chat`, `xai.responses`, `bedrock.converse`, `gemini.generateContent` ...),
`otel.genai` for span attributes, and `normalized` for quantities by unit. The object may be the usage alone or any
piece of the answer around it. Only what was counted is reported: minimum durations, fixed token blocks and fees per
prompt are matters of price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from otel_agentcost.usage.answers import read_answer, tell, unwrapped
from otel_agentcost.usage.apis import Api, tables
from otel_agentcost.usage.counting import CountError, at, quantity, settle, whole
from otel_agentcost.usage.providers import canonical_provider, provider_kind
from otel_agentcost.usage.reading import EMPTY, Kind, Quantity, Reading, Usage
from otel_agentcost.usage.recognition import stand_in
from otel_agentcost.usage.units import UNITS

_BY_ENDING: Mapping[str, str] = {
    "chat": "openai.chat",
    "chat.completions": "openai.chat",
    "completions": "openai.completions",
    "responses": "openai.responses",
    "realtime": "openai.responses",
    "embeddings": "openai.embeddings",
    "embedding": "openai.embeddings",
    "images": "openai.images",
    "image": "openai.images",
    "transcription": "openai.transcription",
    "transcriptions": "openai.transcription",
    "stt": "openai.transcription",
    "speech": "openai.speech",
    "tts": "openai.speech",
    "video": "openai.videos",
    "videos": "openai.videos",
    "moderation": "openai.moderation",
    "messages": "anthropic.messages",
    "generatecontent": "google.generateContent",
    "interactions": "google.interactions",
    "embedcontent": "google.embedContent",
    "converse": "bedrock.converse",
    "invoke": "bedrock.invoke",
    "rerank": "rerank",
    "ocr": "mistral.ocr",
    "embed": "cohere.embed",
    "generate": "ollama.generate",
}
_BY_VENDOR: Mapping[str, Mapping[str, str]] = {
    "cohere": {"chat": "cohere.chat", "generate": "cohere.generate", "embeddings": "cohere.embed"},
    "local": {"chat": "ollama.chat", "embeddings": "ollama.embed", "embed": "ollama.embed"},
    "google": {
        "": "google.generateContent", "chat": "google.generateContent", "grounding": "google.generateContent",
        "embeddings": "google.embedContent", "embedding": "google.embedContent", "images": "google.predict",
    },
    "anthropic": {"": "anthropic.messages", "chat": "anthropic.messages"},
    "aws": {"": "bedrock.converse", "chat": "bedrock.converse"},
    "elevenlabs": {"speech": "elevenlabs.speech", "tts": "elevenlabs.speech"},
}  # fmt: skip
_LOOSE: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("prompt_tokens",),
    "output_tokens": ("completion_tokens",),
    "cache_read_tokens": ("cached_tokens",),
    "input_characters": ("characters", "input_chars", "chars"),
    "input_document_pages": ("pages", "pages_processed", "document_pages"),
    "input_annotated_document_pages": ("annotated_pages",),
    "output_images": ("images", "n_images"),
    "output_video_seconds": ("video_seconds",),
    "audio_seconds": ("audio_duration",),
    "rerank_searches": ("search_units",),
    "web_searches": ("web_search_queries", "webSearchQueries", "search_queries", "web_search_requests"),
    "grounded_prompts": ("grounded_requests",),
    "storage_searches": ("file_searches", "file_search_calls"),
    "code_interpreter_sessions": ("containers", "sessions", "code_interpreter_containers"),
    "gpu_seconds": ("gpu_s",),
    "vcpu_seconds": ("cpu_seconds", "vcpu_s"),
    "memory_gb_seconds": ("gb_seconds",),
}
"""Other names under which people write a unit in a bare object."""
_COUNTED_IN: Mapping[str, tuple[str, str]] = {
    "openai.speech": ("input_characters", "characters"),
    "elevenlabs.speech": ("input_characters", "characters"),
    "mistral.ocr": ("input_document_pages", "pages"),
    "openai.videos": ("output_video_seconds", "seconds"),
    "openai.transcription": ("audio_seconds", "duration"),
}
_OTEL: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "prompt_tokens", "input_tokens"),
    "output_tokens": (
        "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "completion_tokens", "output_tokens",
    ),
    "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
    "cache_write_tokens": (
        "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
    ),
    "output_reasoning_tokens": ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
}  # fmt: skip
_NOT_A_CALL: Mapping[str, Kind] = MappingProxyType(
    {"gpu": "compute", "vcpu": "compute", "memory": "compute", "machine": "compute", "energy": "compute",
     "tool_calls": "tool", "api_requests": "api", "api_units": "api", "api_bytes": "api", "storage": "api"}
)  # fmt: skip


def read_usage(
    dialect: str,
    usage: Mapping[str, object],
    *,
    model: str | None = None,
    provider: str | None = None,
    context: Mapping[str, str] = EMPTY,
) -> Reading:
    """Return what a usage object of a named kind says; never raises, an unknown name reads by shape.

    `context` is what the caller knows besides (tier, region, processing); what the object itself states is added.
    """
    name = dialect.strip().lower()
    vendor = canonical_provider(provider) or _vendor(name)
    asked = usage.get("request_model")
    answered = usage.get("response_model")
    chosen = answered if isinstance(answered, str) and answered else model
    base = Reading(
        kind="call",
        provider=vendor,
        model=chosen,
        request_model=asked if isinstance(asked, str) else model,
        context=dict(context),
        dialect=dialect,
    )
    status = usage.get("http.response.status_code", usage.get("status_code"))
    if isinstance(status, int) and status >= 400 and len(usage) == 1:
        return replace(base, status="not_billed", reason=f"http_{status}")
    if usage.get("stream") is True and usage.get("usage") is None and len(usage) <= 2:
        return replace(base, status="no_usage", reason="stream_without_usage")
    try:
        if name.startswith("otel"):
            return _otel(base, usage, exclusive="exclusive" in name)
        if name in ("normalized", "normalised", "units") or name.startswith("compute"):
            return _normalized(base, usage)
        api = _api(name, vendor, usage)
        return _normalized(base, usage) if api is None else _fragment(base, api, usage, name)
    except (CountError, RecursionError) as wrong:
        return replace(base, status="invalid", reason=str(wrong)[:200])


def _vendor(name: str) -> str | None:
    """Return the vendor a dialect's name begins with, when it is one."""
    vendor = canonical_provider(name.partition(".")[0].partition("/")[0])
    return vendor if provider_kind(vendor) else None


def _api(name: str, vendor: str | None, usage: Mapping[str, object]) -> Api | None:
    known = tables().apis
    for given, api in known.items():
        if given.lower() == name:
            return api
    before, _, ending = name.partition(".") if "." in name else name.partition("/")
    own = canonical_provider(before) or vendor or ""
    found = _BY_VENDOR.get(own, {}).get(ending) or _BY_ENDING.get(ending) or _BY_VENDOR.get(own, {}).get("")
    if found is None:
        found = tell(dict(usage)) or ("openai.responses" if "output" in usage else None)
    return known[found] if found else None


def _fragment(base: Reading, api: Api, usage: Mapping[str, object], name: str) -> Reading:
    answer, plain = _answer(api, usage)
    vendor = _vendor(name)
    if vendor in api.by_provider and base.provider not in api.by_provider:
        # The dialect says whose counting rules hold, the provider who is paid.
        call = stand_in(api.name, vendor)
    else:
        call = replace(stand_in(api.name, base.provider), provider=base.provider)
    known = _known(usage, base.context)
    call = replace(call, request_model=base.request_model, context=known)
    reading = read_answer(call, answer)
    if plain and reading.status in ("no_usage", "usage"):
        counted = _counted(api, usage)
        own = reading.billable
        more = {unit: q for unit, q in counted.items() if unit not in own and (not own or not _of_tokens(unit))}
        if more:
            reading = replace(reading, status="usage", reason="", usage=own + more)
    return replace(
        reading,
        provider=base.provider,
        model=base.model or reading.model,
        context={**known, **{k: v for k, v in reading.context.items() if k not in base.context}},
        dialect=base.dialect,
        identity=(),
    )


def _answer(api: Api, usage: Mapping[str, object]) -> tuple[dict[str, object], bool]:
    """Put a bare object where the API's table expects usage; a piece of an answer stays as it is.

    The second value tells that the object is bare.
    """
    inner = usage.get("response")
    if isinstance(inner, Mapping):
        return _answer(api, inner)
    for read in api.reads:
        if read.at and at(usage, read.at) is not None:
            return unwrapped(api, dict(usage)), False
    places = [read for read in api.reads if not read.headers]
    answer: dict[str, object] = {}
    if any(key in usage for key in ("output", "candidates", "choices", "groundingMetadata", "data")):
        answer.update(
            {
                key: usage[key]
                for key in ("output", "candidates", "choices", "groundingMetadata", "data")
                if key in usage
            }
        )
    grounding = usage.get("grounding") or usage.get("grounding_metadata") or usage.get("groundingMetadata")
    if isinstance(grounding, Mapping):
        answer["groundingMetadata"] = grounding
    elif "webSearchQueries" in usage:
        answer["groundingMetadata"] = usage
    for read in places:
        if len(read.at) == 1 and (not read.has or any(key in usage for key in read.has)):
            answer.setdefault(read.at[0], dict(usage))
        elif not read.at:
            answer.update({key: value for key, value in usage.items() if key not in answer})
    return answer, True


def _counted(api: Api, usage: Mapping[str, object]) -> dict[str, Quantity]:
    """Count what an API states in the request only: characters spoken, pages, images asked for."""
    found: dict[str, Quantity] = {}
    text = usage.get("input") or usage.get("text")
    if api.operation == "speech" and isinstance(text, str):
        found["input_characters"] = len(text)
    if api.operation == "image" and usage.get("n") is not None:
        found["output_images"] = quantity(usage["n"], "n")
    unit, key = _COUNTED_IN.get(api.name, ("", ""))
    if unit and usage.get(key) is not None:
        found[unit] = quantity(usage[key], key, text=True)
    return {**_units(usage), **found}


def _of_tokens(unit: str) -> bool:
    return ("family", "tokens") in UNITS[unit].dimensions


def _known(usage: Mapping[str, object], context: Mapping[str, str]) -> dict[str, str]:
    """Add what the object says about tier, size, tool version and so on to what the caller knows."""
    known: dict[str, str] = {}
    for key in (
        "size",
        "quality",
        "search_context_size",
        "service_tier",
        "speed",
        "processing",
        "inference_geo",
        "region",
    ):
        value = usage.get(key)
        if isinstance(value, str) and 0 < len(value) <= 64:
            known[key] = value
    tool = usage.get("tool")
    if isinstance(tool, str) and 0 < len(tool) <= 64:
        known["tool_version"] = tool
    return {**known, **context}


def _normalized(base: Reading, usage: Mapping[str, object]) -> Reading:
    """Quantities by unit: `children` are added up (an object repeating their sum adds nothing), `repeat` multiplies."""
    children = usage.get("children")
    if isinstance(children, list):
        total = Usage()
        for child in children:
            if isinstance(child, Mapping):
                total = total + _units(child)
        quantities: dict[str, Quantity] = dict(total)
    else:
        quantities = _units(usage)
    times = usage.get("repeat")
    if times is not None:
        many = quantity(times, "repeat")
        quantities = {unit: amount * many for unit, amount in quantities.items()}
    return _done(replace(base, context=_known(usage, base.context)), quantities)


def _units(usage: Mapping[str, object]) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for unit in UNITS:
        for key in (unit, *_LOOSE.get(unit, ())):
            value = usage.get(key)
            if value is not None and not isinstance(value, (Mapping, list)):
                found[unit] = quantity(value, key, text=True)
                break
    return found


def _otel(base: Reading, usage: Mapping[str, object], *, exclusive: bool) -> Reading:
    """Span attributes: input tokens include cached ones, unless more is cached than there is input."""
    quantities: dict[str, Quantity] = {}
    for unit, names in _OTEL.items():
        for name in names:
            value = usage.get(name)
            if value is not None:
                quantities[unit] = quantity(value, name, text=True)
                break
    cached = quantities.get("cache_read_tokens", 0) + quantities.get("cache_write_tokens", 0)
    if cached and (exclusive or cached > quantities.get("input_tokens", 0)):
        quantities["input_tokens"] = quantities.get("input_tokens", 0) + cached
    return _done(base, quantities)


def _done(base: Reading, quantities: dict[str, Quantity]) -> Reading:
    if not quantities:
        return replace(base, status="no_usage", reason="no_known_unit")
    settle(quantities)
    usage, wrong = whole(quantities)
    if wrong is not None:
        return replace(base, status="invalid", reason=wrong)
    families = {dict(UNITS[unit].dimensions)["family"] for unit in quantities}
    kinds = {_NOT_A_CALL.get(family, "call") for family in families}
    kind: Kind = next(iter(kinds)) if len(kinds) == 1 else "call"
    return replace(base, usage=usage, kind=kind)


__all__ = ["read_usage"]
