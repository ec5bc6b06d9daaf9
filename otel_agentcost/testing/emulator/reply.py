"""How to steer the next answer: a `Reply`, from a script, from a header, or from directives in the user's text.

A directive stands anywhere in the last user message, between double brackets, and is not part of the question:

    [[tool search {"q": "otel"}]]   ask for this tool (several in one answer = parallel calls)
    [[then]]                        what follows is for the next answer, after the tool results
    [[say It is sunny.]]            the words of the answer
    [[output 200]] [[reasoning 64]] [[input 9000]] [[cached 8000]]   token counts
    [[write5m 2000]] [[write1h 0]]  cache writes               [[search 2]]  web searches the provider runs
    [[tier flex]]                   the service tier that is billed      [[usage off]]  tell nothing about usage
    [[fail 429]] [[times 2]] [[retry-after 0.05]]   refuse the first `times` attempts of this request
    [[cut 5]] [[delay 0.01]]        break the stream off after 5 events; seconds before every event
    [[encoding gzip]] [[split 7]]   content encoding (gzip, deflate, br, zstd, identity); bytes per chunk

The header `x-emulator-reply` carries the same as a JSON object with the field names of `Reply`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

HEADER = "x-emulator-reply"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model asks for."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the emulated model or its host shall do; a field left at None is decided by the emulator's rules."""

    text: str | None = None
    tools: tuple[ToolCall, ...] = ()
    input_tokens: int | None = None
    """All input, cached tokens included."""
    cached_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    """All output, reasoning included."""
    reasoning_tokens: int | None = None
    web_searches: int | None = None
    service_tier: str | None = None
    model: str | None = None
    """The model name in the answer, where it shall differ from the rule (priced as the requested model)."""
    usage: bool = True
    """False: bill, but tell nothing about usage."""
    status: int = 200
    """Anything but 200 is an error in the provider's own form."""
    retry_after: float = 0.01
    """Seconds, told with a 429, 503 or 529."""
    times: int = 1
    """How many attempts of the same request an error status refuses (header and directives only)."""
    cut_after: int | None = None
    """Break the connection after so many stream events (or in the middle of a body that is no stream)."""
    delay: float = 0.0
    """Seconds before every stream event, or before the whole answer."""
    encoding: str | None = None
    split: int = 0
    """Bytes in one chunk on the wire; 0 = one event, one chunk."""


RULE = Reply()
_FIELDS = {f.name for f in fields(Reply)}
_INTEGERS = {
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
    "input": "input_tokens",
    "cached": "cached_tokens",
    "write5m": "cache_write_5m_tokens",
    "write1h": "cache_write_1h_tokens",
    "search": "web_searches",
    "fail": "status",
    "times": "times",
    "cut": "cut_after",
    "split": "split",
}
_DECIMALS = {"retry-after": "retry_after", "delay": "delay"}
_WORDS = {"say": "text", "tier": "service_tier", "encoding": "encoding", "model": "model"}


def from_mapping(values: Mapping[str, Any]) -> Reply:
    """Read the JSON form of a reply; raises ValueError naming an unknown key."""
    unknown = sorted(set(values) - _FIELDS)
    if unknown:
        raise ValueError(f"{HEADER}: unknown key {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    known = dict(values)
    if "tools" in known:
        known["tools"] = tuple(ToolCall(str(t["name"]), t.get("arguments", {})) for t in known["tools"])
    return Reply(**known)


def split_directives(text: str) -> tuple[str, list[Reply]]:
    """Return the text without its directives, and one reply for each round of tool results (the first for none).

    Directives that steer the exchange rather than the answer (fail, cut, delay, encoding, split) hold for the round
    they stand in. Raises ValueError naming a directive that does not exist.
    """
    plain: list[str] = []
    rounds = [RULE]
    at = 0
    while (start := text.find("[[", at)) >= 0:
        plain.append(text[at:start])
        inside, at = _inside(text, start + 2)
        word, _, rest = inside.strip().partition(" ")
        if word == "then":
            rounds.append(RULE)
        else:
            rounds[-1] = _apply(rounds[-1], word, rest.strip())
    plain.append(text[at:])
    return " ".join("".join(plain).split()), rounds


def _inside(text: str, start: int) -> tuple[str, int]:
    """Find what stands before the closing brackets; brackets inside the JSON arguments of a tool do not close."""
    end = text.find("]]", start)
    while end >= 0:
        candidate = text[start:end]
        brace = candidate.find("{")
        if not candidate.startswith("tool ") or brace < 0:
            return candidate, end + 2
        try:
            json.loads(candidate[brace:])
        except ValueError:
            end = text.find("]]", end + 1)
            continue
        return candidate, end + 2
    raise ValueError(f"directive without closing brackets: {text[start - 2 : start + 40]!r}")


def _apply(reply: Reply, word: str, rest: str) -> Reply:
    changes: dict[str, Any]
    if word == "tool":
        name, _, arguments = rest.partition(" ")
        call = ToolCall(name, json.loads(arguments) if arguments.strip() else {})
        changes = {"tools": (*reply.tools, call)}
    elif word == "usage":
        changes = {"usage": rest not in ("off", "no", "none")}
    elif word in _INTEGERS:
        changes = {_INTEGERS[word]: int(rest)}
    elif word in _DECIMALS:
        changes = {_DECIMALS[word]: float(rest)}
    elif word in _WORDS:
        changes = {_WORDS[word]: rest}
    else:
        known = sorted({"tool", "then", "usage", *_INTEGERS, *_DECIMALS, *_WORDS})
        raise ValueError(f"unknown directive [[{word}]]; known are {', '.join(known)}")
    return replace(reply, **changes)


def over(upper: Reply, lower: Reply) -> Reply:
    """Lay one reply over another: what `upper` does not say, `lower` does."""
    said = {name: value for name in _FIELDS if (value := getattr(upper, name)) != getattr(RULE, name)}
    return replace(lower, **said)
