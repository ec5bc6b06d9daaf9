"""Steering: directives, header and script say the same things."""

from __future__ import annotations

import pytest

from otel_agentcost.testing.emulator.reply import RULE, Reply, ToolCall, from_mapping, over, split_directives


def test_directives_are_taken_out_of_the_question() -> None:
    """What is left is the question, with single spaces."""
    plain, rounds = split_directives("What is [[output 20]] the [[tier flex]]weather?")

    assert plain == "What is the weather?"
    assert [Reply(output_tokens=20, service_tier="flex")] == rounds


def test_then_begins_the_next_round() -> None:
    """Replies are in order of the rounds of tool results."""
    text = 'Go [[tool find {"q": "a"}]] [[tool find {"q": "b"}]] [[then]] [[tool read]] [[then]] [[say Done.]]'
    plain, rounds = split_directives(text)

    assert plain == "Go"
    assert [
        Reply(tools=(ToolCall("find", {"q": "a"}), ToolCall("find", {"q": "b"}))),
        Reply(tools=(ToolCall("read"),)),
        Reply(text="Done."),
    ] == rounds


def test_brackets_inside_tool_arguments_do_not_close_the_directive() -> None:
    """JSON arguments may hold nested lists."""
    plain, rounds = split_directives('Plot [[tool plot {"points": [[1, 2], [3, 4]]}]] please')

    assert plain == "Plot please"
    assert tuple(call.arguments for call in rounds[0].tools) == ({"points": [[1, 2], [3, 4]]},)


def test_every_directive_has_its_field() -> None:
    """The list of the module docstring is complete and means what it says."""
    text = (
        "[[reasoning 5]][[input 9]][[cached 8]][[write5m 7]][[write1h 6]][[search 2]][[usage off]]"
        "[[fail 429]][[times 2]][[retry-after 0.05]][[cut 4]][[delay 0.01]][[encoding gzip]][[split 3]][[model m-1]]"
    )

    assert (
        Reply(
            reasoning_tokens=5,
            input_tokens=9,
            cached_tokens=8,
            cache_write_5m_tokens=7,
            cache_write_1h_tokens=6,
            web_searches=2,
            usage=False,
            status=429,
            times=2,
            retry_after=0.05,
            cut_after=4,
            delay=0.01,
            encoding="gzip",
            split=3,
            model="m-1",
        )
        == split_directives(text)[1][0]
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[sing loudly]]", r"unknown directive \[\[sing\]\]; known are cached, cut"),
        ("[[output many]]", "invalid literal for int"),
        ("an [[output 3", "without closing brackets"),
    ],
)
def test_a_wrong_directive_is_named(text: str, problem: str) -> None:
    """Typos are errors, not words of the question."""
    with pytest.raises(ValueError, match=problem):
        split_directives(text)


def test_the_header_form_names_unknown_keys() -> None:
    """The JSON form has the field names of Reply."""
    reply = from_mapping({"status": 500, "tools": [{"name": "find", "arguments": {"q": 1}}]})

    assert Reply(status=500, tools=(ToolCall("find", {"q": 1}),)) == reply
    with pytest.raises(ValueError, match="unknown key 'stauts'; known are cache_write_1h_tokens"):
        from_mapping({"stauts": 500})


def test_what_the_upper_reply_does_not_say_the_lower_does() -> None:
    """Script over header over directive, field by field."""
    lower = Reply(text="low", output_tokens=3)

    assert Reply(text="high", output_tokens=3) == over(Reply(text="high"), lower)
    assert lower == over(RULE, lower)
