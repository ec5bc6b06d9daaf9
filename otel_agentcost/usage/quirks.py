"""What no table can say about one provider's usage: one named function each, with the reason it exists.

A quirk gets the tally made from the table and may correct it. Evidence for each is a real exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from otel_agentcost.usage.apis import tables
from otel_agentcost.usage.counting import CountError, Tally, at, money, quantity, tally, walk
from otel_agentcost.usage.reading import Part, Usage

Quirk = Callable[[Tally], None]


def reasoning_outside_output(seen: Tally) -> None:
    """xAI chat counts reasoning beside completion_tokens, everybody else inside; the stated total tells which.

    `total = input + output + reasoning` proves "beside"; reasoning larger than the output cannot be inside either.
    """
    reasoning = seen.quantities.get("output_reasoning_tokens", 0)
    if not reasoning:
        return
    output = seen.quantities.get("output_tokens", 0)
    total = seen.usage.get("total_tokens")
    beside = total == seen.quantities.get("input_tokens", 0) + output + reasoning
    if beside or (reasoning > output and seen.provider == "x-ai"):
        seen.quantities["output_tokens"] = output + reasoning


def reasoning_always_outside_output(seen: Tally) -> None:
    """xAI chat: completion_tokens never includes reasoning, whether or not a total is stated to prove it.

    Unless the total proves the opposite: newer answers of the same endpoint may.
    """
    reasoning = seen.quantities.get("output_reasoning_tokens", 0)
    output = seen.quantities.get("output_tokens", 0)
    total = seen.usage.get("total_tokens")
    if reasoning and total != seen.quantities.get("input_tokens", 0) + output:
        seen.quantities["output_tokens"] = output + reasoning


def thinking_only_in_total(seen: Tally) -> None:
    """Gemini behind its OpenAI-form endpoint shows thinking only as a total larger than input + output.

    35 + 12 with a total of 109: 62 thinking tokens, billed as output. Nobody else leaves tokens unexplained, so the
    rule asks for a Gemini model.
    """
    if seen.model is None or "gemini" not in seen.model.lower():
        return
    if seen.quantities.get("output_reasoning_tokens"):
        return
    total = seen.usage.get("total_tokens")
    output = seen.quantities.get("output_tokens", 0)
    if type(total) is int and "input_tokens" in seen.quantities:
        missing = total - seen.quantities["input_tokens"] - output
        if missing > 0:
            seen.quantities["output_tokens"] = output + missing
            seen.quantities["output_reasoning_tokens"] = missing


def byok_upstream(seen: Tally) -> None:
    """OpenRouter with the caller's own key states only its fee as cost; the model's price is billed upstream."""
    if seen.cost is not None and seen.usage.get("is_byok") is True:
        upstream = money(at(seen.usage, ("cost_details", "upstream_inference_cost")), Decimal(1))
        seen.cost += upstream or 0


def cache_write_total_from_split(seen: Tally) -> None:
    """Anthropic may give cache writes by lifetime without their total: then the total is their sum."""
    if "cache_write_tokens" in seen.quantities:
        return
    split = [seen.quantities[u] for u in ("cache_write_5m_tokens", "cache_write_1h_tokens") if u in seen.quantities]
    if split:
        seen.quantities["cache_write_tokens"] = sum(split)
        seen.quantities["input_tokens"] = seen.quantities.get("input_tokens", 0) + sum(split)


def window_beside_billed(seen: Tally) -> None:
    """Cohere bills fewer tokens than it feeds to the model; the context window is filled by the larger number."""
    fed = at(seen.usage, ("tokens", "input_tokens"))
    if isinstance(fed, (int, float)) and not isinstance(fed, bool) and fed > 0:
        seen.window = int(quantity(fed, "tokens.input_tokens"))


def iterations(seen: Tally) -> None:
    """Anthropic's top-level usage leaves out compaction and advisor runs: `usage.iterations[]` is what is billed.

    Each iteration is billed at its own model (an advisor is another one). The context window is filled by the last
    `message` iteration alone, not by the sum of a server-side tool loop.
    """
    rows = seen.usage.get("iterations")
    if not isinstance(rows, list) or not rows:
        return
    by_model: dict[str | None, Usage] = {}
    for row in rows:
        if not isinstance(row, Mapping):
            raise CountError("not_an_object:iterations")
        one = tally(tables().counts["anthropic"], Tally(usage=row, answer=row))
        cache_write_total_from_split(one)
        named = row.get("model")
        model = named if isinstance(named, str) and named else seen.model
        by_model[model] = by_model.get(model, Usage()) + one.quantities
        if row.get("type") == "message":
            seen.window = int(one.quantities.get("input_tokens", 0))
    billed = Usage()
    for usage in by_model.values():
        billed = billed + usage
    if not billed.input_tokens and not billed.output_tokens:
        return
    # Tools are counted beside the tokens, and for the call as a whole.
    tools = {unit: q for unit, q in seen.quantities.items() if unit.startswith(("web_", "code_"))}
    reasoning = seen.quantities.get("output_reasoning_tokens")
    own = by_model.get(seen.model)
    if own is None:
        by_model[seen.model] = own = Usage()
    if reasoning is not None and "output_reasoning_tokens" not in billed and reasoning <= own.output_tokens:
        tools["output_reasoning_tokens"] = reasoning
    by_model[seen.model] = own + tools
    seen.quantities = dict(billed + tools)
    if len(by_model) > 1:
        seen.parts = [Part(model=model, usage=usage) for model, usage in by_model.items() if usage]


def compound_models(seen: Tally) -> None:
    """Groq's compound systems run several models in one call and bill each at its own price."""
    breakdown = at(seen.answer, ("usage_breakdown", "models")) or at(
        seen.answer, ("x_groq", "usage_breakdown", "models")
    )
    if not isinstance(breakdown, list) or not breakdown:
        return
    by_model: dict[str | None, Usage] = {}
    for row in breakdown:
        inner = row.get("usage") if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not isinstance(inner, Mapping):
            return
        model = row.get("model")
        one = tally(tables().counts["openai"], Tally(usage=inner, answer=row))
        name = model if isinstance(model, str) else seen.model
        by_model[name] = by_model.get(name, Usage()) + one.quantities
    billed = Usage()
    for usage in by_model.values():
        billed = billed + usage
    if billed.input_tokens == seen.quantities.get("input_tokens") and billed.output_tokens == seen.quantities.get(
        "output_tokens"
    ):
        seen.parts = [Part(model=model, usage=usage) for model, usage in by_model.items()]


def search_of_search_option(seen: Tally) -> None:
    """OpenAI's search models search once per call, which only the request and the model name tell."""
    if seen.provider in ("openai", "azure", None) and seen.quantities.get("web_searches", 0) == 0:
        asked = "search_context_size" in seen.request
        if (
            "search-preview" in (seen.model or "")
            or "search-api" in (seen.model or "")
            or (asked and seen.provider is not None)
        ):
            seen.quantities["web_searches"] = 1


def search_actions(seen: Tally) -> None:
    """A web_search_call is billed when it searched; opening a page or finding in one is not a search.

    xAI also states its tools as counts: those stand for the items, never beside them.
    """
    items = at(seen.answer, ("output",))
    searches = 0
    for item in items if isinstance(items, list) else ():
        if item == "web_search_call":
            searches += 1
        elif isinstance(item, Mapping) and item.get("type") == "web_search_call":
            action = at(item, ("action", "type"))
            searches += action in (None, "search")
    if searches > seen.quantities.get("web_searches", 0):
        seen.quantities["web_searches"] = searches


def interpreter_containers(seen: Tally) -> None:
    """Code interpreter is billed per container session, however many calls ran in it."""
    items = at(seen.answer, ("output",))
    containers: set[object] = set()
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if item == "code_interpreter_call":
            containers.add(index)
        elif isinstance(item, Mapping) and item.get("type") == "code_interpreter_call":
            name = item.get("container_id")
            containers.add(name if isinstance(name, str) else index)
    if containers and not seen.quantities.get("code_executions"):
        seen.quantities["code_interpreter_sessions"] = len(containers)


def generated_images(seen: Tally) -> None:
    """An image a response's tool made is billed beside the text tokens, which do not include it."""
    items = at(seen.answer, ("output",))
    made = 0
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping) and item.get("type") == "image_generation_call":
            made += item.get("status") in (None, "completed", "generating")
            for key in ("size", "quality"):
                value = item.get(key)
                if isinstance(value, str) and len(value) <= 64:
                    seen.context.setdefault(key, value)
        elif item == "image_generation_call":
            made += 1
    made = max(made, _count(at(seen.usage, ("server_side_tool_usage_details", "image_generation_calls"))))
    if made:
        seen.quantities["output_images"] = made


def images_without_tokens(seen: Tally) -> None:
    """Image models billed per image state no usage: the images of the answer are counted instead."""
    data = seen.answer.get("data")
    if "output_tokens" not in seen.quantities and isinstance(data, list) and data:
        seen.quantities["output_images"] = len(data)


def image_output(seen: Tally) -> None:
    """What an image endpoint puts out is image tokens, except those it says are text."""
    output = seen.quantities.get("output_tokens")
    if output and "output_image_tokens" not in seen.quantities:
        text = at(seen.usage, ("output_tokens_details", "text_tokens"))
        seen.quantities["output_image_tokens"] = max(0, output - (quantity(text, "text_tokens") if text else 0))


def guardrail_blocked_input(seen: Tally) -> None:
    """Bedrock: when a guardrail blocks the prompt the model never runs, and only the guardrail is billed.

    The canned answer still states tokens of its own; a model that did run is known by the service's own counts.
    """
    blocked = seen.answer.get("amazon-bedrock-guardrailAction") == "INTERVENED"
    if blocked and seen.usage is seen.answer and "amazon-bedrock-invocationMetrics" not in seen.answer:
        seen.quantities.clear()


def images_of_predictions(seen: Tally) -> None:
    """Imagen answers with images and no usage; they are billed per image."""
    made = sum(1 for one in walk(seen.answer, ("predictions", "*", "bytesBase64Encoded")) if one)
    if made and "input_tokens" not in seen.quantities:
        seen.quantities["output_images"] = made


def grounding(seen: Tally) -> None:
    """Gemini's searches stand in the grounding metadata: how many queries, and that the prompt was grounded.

    Older models bill per grounded prompt, newer ones per query; the price book decides, so both are counted.
    Queries are billed once each and empty ones never; an answer that only read given URLs ran no search.
    Source: Gemini API pricing notes on grounding.
    """
    queries: set[str] = set()
    maps = False
    for data in _grounding_metadata(seen.answer):
        for key in ("webSearchQueries", "imageSearchQueries"):
            asked = data.get(key)
            if isinstance(asked, list):
                queries.update(query for query in asked if isinstance(query, str) and query)
        chunks = data.get("groundingChunks")
        for chunk in chunks if isinstance(chunks, list) else ():
            maps = maps or (isinstance(chunk, Mapping) and "maps" in chunk)
        maps = maps or bool(data.get("googleMapsWidgetContextToken"))
    if queries:
        seen.quantities["web_searches"] = len(queries)
        seen.quantities["grounded_prompts"] = 1
    if maps:
        seen.quantities["maps_groundings"] = 1


def _grounding_metadata(answer: Mapping[str, object]) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = []
    own = answer.get("groundingMetadata")
    for value in (own, *walk(answer, ("candidates", "*", "groundingMetadata"))):
        if isinstance(value, Mapping):
            found.append(value)
    return found


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _named(*functions: Quirk) -> dict[str, Quirk]:
    return {getattr(function, "__name__", ""): function for function in functions}


QUIRKS: Mapping[str, Quirk] = _named(
    reasoning_outside_output,
    reasoning_always_outside_output,
    thinking_only_in_total,
    byok_upstream,
    cache_write_total_from_split,
    window_beside_billed,
    iterations,
    compound_models,
    search_of_search_option,
    search_actions,
    interpreter_containers,
    generated_images,
    images_without_tokens,
    image_output,
    guardrail_blocked_input,
    images_of_predictions,
    grounding,
)
"""Every quirk by the name the tables use."""
