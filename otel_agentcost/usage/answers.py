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
from otel_agentcost.usage.reading import Part, Reading, Status, Usage, new_reading
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
    identity = _identity(call, answer, headers)
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
        return _reading(call, model, identity, call.context, status="invalid", reason=str(wrong))
    if not seen.quantities and call.request_usage and status < 400:
        seen.quantities.update(call.request_usage)
    context = _context(api, call, seen, answer)
    if not seen.quantities:
        outcome, reason = _nothing(api, answer, status)
        return _reading(call, model, identity, context, status=outcome, reason=reason)
    settle(seen.quantities)
    usage, wrong_usage = whole(seen.quantities)
    if wrong_usage is not None and seen.cost is not None:
        # The bill is stated, so an odd subset cannot spoil it: totals and whatever fits are kept.
        usage, wrong_usage = _fitting(usage)
    return _reading(
        call,
        model,
        identity,
        context,
        status="usage" if wrong_usage is None else "invalid",
        reason=wrong_usage or "",
        usage=usage if wrong_usage is None else None,
        seen=seen,
    )


def _reading(
    call: Call,
    model: str | None,
    identity: tuple[str, ...],
    context: Mapping[str, str],
    *,
    status: Status,
    reason: str,
    usage: Usage | None = None,
    seen: Tally | None = None,
) -> Reading:
    return new_reading(
        kind="call",
        usage=usage,
        status=status,
        reason=reason,
        provider=call.provider,
        model=model,
        request_model=call.request_model,
        operation=call.operation,
        context=context,
        identity=identity,
        parts=tuple(seen.parts) if seen is not None and usage is not None else (),
        reported_cost=seen.cost if seen is not None else None,
        reported_by="provider" if seen is not None and seen.cost is not None else "",
        dialect=call.api,
        window_tokens=seen.window if seen is not None else None,
    )


def _context(api: Api, call: Call, seen: Tally, answer: Answer) -> dict[str, str]:
    context = dict(call.context)
    context.update(seen.context)
    tier = answer.get("service_tier")
    if isinstance(tier, str) and 0 < len(tier) <= 64:
        context["service_tier"] = tier
    put_context(context, api.context, answer)
    if context.get("inference_geo") == "not_available":
        del context["inference_geo"]
    if context.get("traffic_type") == "PROVISIONED_THROUGHPUT":
        context["processing"] = "provisioned"
    return context


def _fitting(usage: Usage) -> tuple[Usage, str | None]:
    """Keep the totals and add the subsets one by one as long as nothing contradicts them."""
    kept = Usage({unit: q for unit, q in usage.items() if unit in ("input_tokens", "output_tokens")})
    for unit, quantity in usage.items():
        if unit not in kept:
            longer = kept + {unit: quantity}
            if longer.contradiction() is None:
                kept = longer
    return kept, kept.contradiction()


def _nothing(api: Api, answer: Answer, status: int) -> tuple[Status, str]:
    """Say why an answer has no usage."""
    if status >= 400:
        return "not_billed", f"http_{status}"
    state = answer.get("status")
    if isinstance(state, str) and state in _FAILED:
        return "not_billed", f"response_{state}"
    if isinstance(state, str) and state in _WAITING:
        return "no_usage", f"response_{state}"
    if api.without_usage == "not_billed":
        return "not_billed", "free_endpoint"
    error = answer.get("error")
    if error:
        kind = error.get("type") or error.get("code") if isinstance(error, Mapping) else error
        return "not_billed", f"error:{kind}"[:80] if isinstance(kind, (str, int)) else "error"
    return "no_usage", "answer_without_usage"


def _identity(call: Call, answer: Answer, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the billed request: the answer's own (or that of the path), then the provider's request id."""
    own = _text(answer, _IDS) or call.item
    for name in _REQUEST_IDS:
        value = headers.get(name)
        if value and len(value) <= 128:
            return (own, value) if own else (value,)
    return (own,) if own else ()


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
        if items.path and items.path[0] not in answer:
            continue
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


def named(answer: Answer) -> bool:
    """Tell whether an event names both its model and its id."""
    return _text(answer, _MODELS) is not None and _text(answer, _IDS) is not None


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
