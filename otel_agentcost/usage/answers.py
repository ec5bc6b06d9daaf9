"""From an answer to a Reading: find the usage the table points to, count it, name the billed request.

The same code reads a JSON answer and a stream, because a stream is first assembled into the answer it amounts to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from otel_agentcost.usage.apis import Api, Read, tables
from otel_agentcost.usage.counting import CountError, Tally, at, put_context, settle, tally, whole
from otel_agentcost.usage.quirks import QUIRKS
from otel_agentcost.usage.reading import Part, Reading, Usage
from otel_agentcost.usage.recognition import Call

Answer = Mapping[str, object]
NO_HEADERS: Mapping[str, str] = {}
_MODELS = (("model",), ("modelVersion",), ("model_id",), ("usageMetadata", "model"))
_IDS = (("id",), ("response_id",), ("responseId",), ("generation_id",))
_REQUEST_IDS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-goog-request-id")
_ALONE = ("images_without_tokens", "images_of_predictions")
"""Quirks that can make usage out of an answer that states none."""
_FAILED = frozenset({"failed", "cancelled", "expired"})
_WAITING = frozenset({"queued", "in_progress", "requires_action", "cancelling"})


def read_answer(call: Call, answer: Answer, headers: Mapping[str, str] = NO_HEADERS, *, status: int = 200) -> Reading:
    """Return what one answer tells; usage that contradicts itself is `invalid`, usage that is missing `no_usage`."""
    api = tables().apis[call.api]
    found = _find(api, answer, headers)
    model = _text(answer, _MODELS) or call.request_model
    seen = Tally(
        usage=found[1] if found else {},
        answer=answer,
        provider=call.provider,
        model=model,
        request=call.context,
    )
    base = _base(call, answer, headers, model)
    try:
        if found is not None:
            name = found[0].counts
            if name == "openai" and call.provider in api.by_provider:
                name = api.by_provider[call.provider or ""]
            counts = tables().counts[name]
            tally(counts, seen)
            for quirk in (*counts.quirks, *api.quirks):
                QUIRKS[quirk](seen)
            _count_items(api, answer, seen)
        else:
            for quirk in api.quirks:
                if quirk in _ALONE:
                    QUIRKS[quirk](seen)
    except CountError as wrong:
        return replace(base, status="invalid", reason=str(wrong))
    if not seen.quantities and call.request_usage and status < 400:
        seen.quantities.update(call.request_usage)
    return _finish(api, call, base, seen, answer, status)


def _finish(api: Api, call: Call, base: Reading, seen: Tally, answer: Answer, status: int) -> Reading:
    context = dict(base.context)
    context.update(seen.context)
    put_context(context, (("service_tier", (("service_tier",),)), *api.context), answer)
    if context.get("inference_geo") == "not_available":
        del context["inference_geo"]
    if context.get("traffic_type") == "PROVISIONED_THROUGHPUT":
        context["processing"] = "provisioned"
    base = replace(base, context=context)
    if not seen.quantities:
        return _nothing(api, base, answer, status)
    cost = {} if seen.cost is None else {"reported_cost": seen.cost, "reported_by": "provider"}
    settle(seen.quantities)
    usage, wrong = whole(seen.quantities)
    if wrong is not None and seen.cost is not None:
        # The bill is stated, so an odd subset cannot spoil it: totals and whatever fits are kept.
        usage, wrong = _fitting(usage)
    if wrong is not None:
        return replace(base, status="invalid", reason=wrong, **cost)  # type: ignore[arg-type]
    return replace(
        base,
        usage=usage,
        parts=tuple(seen.parts),
        window_tokens=seen.window,
        estimated=seen.estimated,
        **cost,  # type: ignore[arg-type]
    )


def _fitting(usage: Usage) -> tuple[Usage, str | None]:
    """Keep the totals and add the subsets one by one as long as nothing contradicts them."""
    kept = Usage({unit: q for unit, q in usage.items() if unit in ("input_tokens", "output_tokens")})
    for unit, quantity in usage.items():
        if unit not in kept:
            longer = kept + {unit: quantity}
            if longer.contradiction() is None:
                kept = longer
    return kept, kept.contradiction()


def _nothing(api: Api, base: Reading, answer: Answer, status: int) -> Reading:
    if status >= 400:
        return replace(base, status="not_billed", reason=f"http_{status}")
    state = answer.get("status")
    if isinstance(state, str) and state in _FAILED:
        return replace(base, status="not_billed", reason=f"response_{state}")
    if isinstance(state, str) and state in _WAITING:
        return replace(base, status="no_usage", reason=f"response_{state}")
    if api.without_usage == "not_billed":
        return replace(base, status="not_billed", reason="free_endpoint")
    error = answer.get("error")
    if error:
        kind = error.get("type") or error.get("code") if isinstance(error, Mapping) else error
        return replace(
            base, status="not_billed", reason=f"error:{kind}"[:80] if isinstance(kind, (str, int)) else "error"
        )
    return replace(base, status="no_usage", reason="answer_without_usage")


def _base(call: Call, answer: Answer, headers: Mapping[str, str], model: str | None) -> Reading:
    identity: list[str] = []
    own = _text(answer, _IDS)
    if own and not call.item.startswith("file"):
        identity.append(own)
    elif call.item:
        identity.append(call.item)
    for name in _REQUEST_IDS:
        value = headers.get(name)
        if value and len(value) <= 128:
            identity.append(value)
            break
    return Reading(
        kind="call",
        provider=call.provider,
        model=model,
        request_model=call.request_model,
        operation=call.operation,
        context=call.context,
        identity=tuple(identity),
        dialect=call.api,
    )


def _find(api: Api, answer: Answer, headers: Mapping[str, str]) -> tuple[Read, Mapping[str, object]] | None:
    for read in api.reads:
        place: object = headers if read.headers else at(answer, read.at)
        if not isinstance(place, Mapping) or not place:
            continue
        if read.has:
            if any(place.get(key) is not None for key in read.has):
                return read, place
            continue
        if read.headers and not any(
            path[0] in place for _, terms in tables().counts[read.counts].units for term in terms for path in term
        ):
            continue
        return read, place
    return None


def _count_items(api: Api, answer: Answer, seen: Tally) -> None:
    """Count the tools a provider ran by the items of its answer; a count stated in the usage is stronger."""
    for items in api.items:
        rows = at(answer, items.path)
        counted: dict[str, int] = {}
        for row in rows if isinstance(rows, list) else ():
            kind = row.get(items.type) if isinstance(row, Mapping) else row
            unit = items.units.get(kind) if isinstance(kind, str) else None
            if unit is not None:
                counted[unit] = counted.get(unit, 0) + 1
        for unit, count in counted.items():
            seen.quantities[unit] = max(seen.quantities.get(unit, 0), count)


def _text(answer: Answer, places: tuple[tuple[str, ...], ...]) -> str | None:
    for place in places:
        value = at(answer, place)
        if isinstance(value, str) and 0 < len(value) <= 300:
            return value
    return None


def tell(answer: Answer) -> str | None:
    """Return the API an answer is of by its own shape, or None; used where the URL says nothing."""
    for api in tables().apis.values():
        for tells in api.tells:
            if all(key in answer and (value is None or answer[key] == value) for key, value in tells.items()):
                return api.name
    return None


def unwrapped(api: Api, event: dict[str, Any]) -> dict[str, Any]:
    """Return the answer inside a stream event, with the event's own plain fields where it has none."""
    inner: dict[str, Any] = event
    for key in api.unwrap:
        value = inner.get(key)
        if isinstance(value, dict):
            inner = {**{k: v for k, v in inner.items() if _plain(v)}, **value}
            if "usage" in event and "usage" not in value:
                inner["usage"] = event["usage"]
    return inner


def _plain(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def has_usage(api: Api, answer: Answer) -> bool:
    """Tell whether an event states usage where the table says it stands."""
    if any(answer.get(key) != value for key, value in api.only.items()):
        return False
    found = _find(api, answer, NO_HEADERS)
    return found is not None


def assemble(api: Api, first: Iterable[dict[str, Any]], with_usage: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Make the answer a stream amounts to: names from its first events, everything else from those with usage.

    Tables with `merge` give several events with usage, in order: each completes and revises the one before (a
    provider states the input at the start and revises it at the end, or spreads its counts over two events).
    """
    answer: dict[str, Any] = {}
    for event in first:
        for key, value in unwrapped(api, event).items():
            if _plain(value) and key not in answer:
                answer[key] = value
    for event in with_usage:
        for key, value in unwrapped(api, event).items():
            if value is not None and value != "":
                answer[key] = _laid_over(answer.get(key), value) if api.merge else value
    return answer


def _laid_over(before: object, now: object) -> object:
    """Return the later of two values; objects are completed by what only the earlier one has."""
    if isinstance(before, dict) and isinstance(now, dict):
        later = {key: _laid_over(before.get(key), value) for key, value in now.items() if value is not None}
        return {**before, **later}
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now) == 1:
        one, other = before[0], now[0]
        if isinstance(one, dict) and isinstance(other, dict):
            # watsonx repeats the input count as 0 in every event but the first.
            return [{**one, **{key: value for key, value in other.items() if value}}]
    return now


def combine(call: Call, readings: Iterable[Reading]) -> Reading | None:
    """Add up the rows of a batch file: one Reading with one part per model."""
    by_model: dict[str | None, Usage] = {}
    first: Reading | None = None
    for reading in readings:
        first = first or reading
        if reading.usage is not None:
            by_model[reading.model] = by_model.get(reading.model, Usage()) + reading.usage
    if first is None:
        return None
    if not by_model:
        return first
    total = Usage()
    for usage in by_model.values():
        total = total + usage
    several = len(by_model) > 1
    return replace(
        first,
        status="usage",
        reason="",
        usage=total,
        model=next(iter(by_model)),
        parts=tuple(Part(model=model, usage=usage) for model, usage in by_model.items()) if several else (),
        identity=(call.item,) if call.item else first.identity,
        context={**first.context, "processing": "batch"},
    )
