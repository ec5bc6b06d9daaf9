"""The deterministic model: every number of an answer follows from the request."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agentcost.testing.emulator.model import Answer, Model, example
from otel_agentcost.testing.emulator.prices import PRICES
from otel_agentcost.testing.emulator.prompt import Block, Prompt, Tool, tokens
from otel_agentcost.testing.emulator.reply import RULE, Reply, ToolCall

WEATHER = Tool(name="get_weather", schema={"type": "object", "properties": {"city": {"type": "string"}}})
SEARCH = Tool(name="find", schema={"type": "object", "properties": {"n": {"type": "integer"}}})


def asked(it: Model, question: str = "Hi", reply: Reply = RULE, **more: Any) -> Answer:
    blocks = more.pop("blocks", (Block(content=question, tokens=tokens(question)),))
    provider = more.pop("provider", "openai")
    name = more.pop("model", "gpt-4o")
    prompt = Prompt(provider=provider, api="openai.chat", model=name, blocks=blocks, question=question, **more)
    return it.answer(prompt, PRICES[provider][name], question, reply, "id-1", 1)


def blocks(*sizes: int, cache: str = "") -> tuple[Block, ...]:
    """Blocks of these sizes with content that depends on the place; the last one may be a breakpoint."""
    made = [Block(content=f"block {n}", tokens=size) for n, size in enumerate(sizes)]
    last = made[-1]
    return (*made[:-1], Block(content=last.content, tokens=last.tokens, cache=cache))


def test_tokens_are_characters_by_four_rounded_up() -> None:
    """Nothing is nothing, one character is one token, five are two."""
    assert [tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]


def test_without_steering_the_model_repeats_the_question() -> None:
    """Output tokens are those of the words."""
    answer = asked(Model(), "What is the time?")

    assert answer.text == "You asked: What is the time?"
    assert tokens(answer.text) == answer.output
    assert (answer.input, answer.reasoning, answer.finish) == (5, 0, "stop")


def test_tools_are_asked_for_when_the_question_names_them() -> None:
    """Named tools in the order offered, in parallel, with arguments that satisfy their schema."""
    answer = asked(Model(), "find it and get_weather", tools=(WEATHER, SEARCH))

    assert (ToolCall("get_weather", {"city": "find it and get_weather"}), ToolCall("find", {"n": 1})) == answer.calls
    spoken = sum(tokens(call.name) + tokens(answer.arguments(n)) for n, call in enumerate(answer.calls))
    assert (spoken, "calls", "") == (answer.output, answer.finish, answer.text)


@pytest.mark.parametrize(
    ("question", "more", "names"),
    [
        ("Hello", {}, []),
        ("refind nothing", {}, []),
        ("find and get_weather", {"parallel": False}, ["get_weather"]),
        ("find", {"choice": "none"}, []),
        ("Hello", {"choice": "required"}, ["get_weather"]),
        ("find", {"choice": "required"}, ["find"]),
        ("Hello", {"choice": "find"}, ["find"]),
        ("find", {"rounds": 1, "results": ("done",)}, []),
    ],
)
def test_tool_choice_is_honoured(question: str, more: dict[str, Any], names: list[str]) -> None:
    """none, required, one tool, no parallel calls, and an answer once results are there."""
    answer = asked(Model(), question, tools=(WEATHER, SEARCH), **more)

    assert names == [call.name for call in answer.calls]


def test_results_are_answered_in_words() -> None:
    """After a round of tools the model says what it found."""
    answer = asked(Model(), "find", tools=(SEARCH,), rounds=1, results=("sunny", "24 degrees"))

    assert answer.text == "Found: sunny | 24 degrees"


@pytest.mark.parametrize(("effort", "thoughts"), [("none", 0), ("low", 32), ("medium", 64), ("high", 128)])
def test_reasoning_follows_the_effort_and_is_part_of_the_output(effort: str, thoughts: int) -> None:
    """Models that think add their thoughts to the output tokens."""
    answer = asked(Model(), "Hi", model="gpt-5", effort=effort)

    assert (thoughts, thoughts + tokens("You asked: Hi")) == (answer.reasoning, answer.output)


def test_the_limit_cuts_the_answer() -> None:
    """No more output tokens than allowed, and the finish says so."""
    answer = asked(Model(), "a long question indeed", limit=3)

    assert (answer.output, answer.finish, answer.text) == (3, "length", "You asked: a")


def test_asked_for_output_tokens_are_exact() -> None:
    """The words are stretched or cut to the count; scripted words stay as they are."""
    stretched = asked(Model(), "Hi", Reply(output_tokens=50))
    scripted = asked(Model(), "Hi", Reply(output_tokens=50, text="Short."))

    assert (stretched.output, len(stretched.text)) == (50, 200)
    assert (scripted.output, scripted.text) == (50, "Short.")
    assert [*scripted.steps()][-1].produced == 50


@pytest.mark.parametrize("question", ["Hi", "x" * 5_000, "get_weather and find"])
def test_the_pieces_of_an_answer_add_up_to_it(question: str) -> None:
    """Steps hold every character once, and end at the exact output."""
    answer = asked(Model(), question, tools=(WEATHER, SEARCH), model="gpt-5")
    steps = [*answer.steps()]

    assert answer.text == "".join(step.data for step in steps if step.kind == "text")
    for index in range(len(answer.calls)):
        data = "".join(step.data for step in steps if step.kind == "call" and step.index == index)
        assert answer.arguments(index) == data
    counts = [step.produced for step in steps]
    assert counts == sorted(counts)
    assert answer.output == counts[-1]


def test_a_repeated_beginning_is_cached_in_whole_steps() -> None:
    """OpenAI: from 1 024 tokens on, rounded down to 128s, as far as the blocks are the same."""
    model = Model()
    first = asked(model, blocks=blocks(600, 700, 50))
    same = asked(model, blocks=blocks(600, 700, 50))
    other = asked(model, blocks=(*blocks(600, 700), Block(content="other", tokens=9)))
    short = asked(model, blocks=(*blocks(600), Block(content="other", tokens=900)))

    assert [a.cached for a in (first, same, other, short)] == [0, 1280, 1280, 0]


def test_caches_belong_to_one_model() -> None:
    """Another model has not seen the beginning."""
    model = Model()
    asked(model, blocks=blocks(2_000))

    assert asked(model, blocks=blocks(2_000), model="gpt-4o-mini").cached == 0
    assert asked(model, blocks=blocks(2_000)).cached == 1920


def test_a_breakpoint_is_written_once_then_read() -> None:
    """Anthropic: the first call writes up to the breakpoint, the second reads it, what follows is fresh."""
    model = Model(cache_minimum=100)
    prompt = (*blocks(60, 60, cache="5m"), Block(content="question", tokens=10))
    first = asked(model, provider="anthropic", model="claude-haiku-4-5", blocks=prompt)
    second = asked(model, provider="anthropic", model="claude-haiku-4-5", blocks=prompt)

    assert (first.input, first.cached, first.cache_write_5m, first.cache_write_1h) == (130, 0, 120, 0)
    assert (second.input, second.cached, second.cache_write_5m, second.cache_write_1h) == (130, 120, 0, 0)


def test_hour_and_minute_breakpoints_split_the_write() -> None:
    """Up to the last 1h breakpoint for an hour, from there to the last one for five minutes."""
    model = Model(cache_minimum=10)
    prompt = (
        Block(content="system", tokens=100, cache="1h"),
        Block(content="turn", tokens=30, cache="5m"),
        Block(content="ask", tokens=7),
    )
    longer = (*prompt[:2], Block(content="ask", tokens=7, cache="5m"))
    first = asked(model, provider="anthropic", model="claude-haiku-4-5", blocks=prompt)
    second = asked(model, provider="anthropic", model="claude-haiku-4-5", blocks=longer)

    assert (first.cached, first.cache_write_5m, first.cache_write_1h) == (0, 30, 100)
    assert (second.cached, second.cache_write_5m, second.cache_write_1h) == (130, 7, 0)


def test_a_short_breakpoint_is_not_cached() -> None:
    """Below the minimum nothing is written or read."""
    answer = asked(Model(), provider="anthropic", model="claude-haiku-4-5", blocks=blocks(1_000, cache="5m"))

    assert (answer.cached, answer.cache_write_5m) == (0, 0)


def test_searches_add_the_pages_they_read() -> None:
    """500 input tokens for each search, none where the provider does not bill them."""
    billed = asked(Model(), "search it", model="gpt-5", search="web_search")
    preview = asked(Model(), "search it", search="web_search_preview")
    gemini = asked(Model(), "search it", provider="google", model="gemini-2.5-flash", search="google_search")
    none = asked(Model(), "tell me", model="gpt-5", search="web_search")

    assert [a.input for a in (billed, preview, gemini, none)] == [503, 3, 3, 2]
    assert [len(a.queries) for a in (billed, preview, gemini, none)] == [1, 1, 1, 0]


def test_a_tier_the_model_does_not_have_is_the_ordinary_one() -> None:
    """Only known tiers are billed."""
    assert [
        asked(Model(), model="gpt-5", tier="flex").tier,
        asked(Model(), model="gpt-4o", tier="flex").tier,
        asked(Model(), model="gpt-5", tier="auto").tier,
    ] == ["flex", "", ""]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "hello"),
        ({"type": "integer"}, 1),
        ({"type": "NUMBER"}, 1.5),
        ({"type": ["boolean", "null"]}, True),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 5}, 5),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"type": "object", "properties": {"x": {"type": "integer"}, "y": {}}, "required": ["x"]}, {"x": 1}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "integer"}}}, 1),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/B"}}, "B": {"const": "b"}},
            },
            {"a": ["b"]},
        ),
    ],
)
def test_an_example_satisfies_its_schema(schema: dict[str, Any], value: Any) -> None:
    """Tool arguments and JSON answers are made from the schema."""
    assert value == example(schema, "hello")
