"""What a request asks, in one form for every provider, and the rule by which its tokens are counted.

    tokens(text) = ceil(characters / 4)
    input tokens = tokens of every block of text + 3 for every message + 85 for every image
                   + tokens of every tool offered (its definition as compact JSON) + 1 for every 400 audio characters

Blocks are kept in the order in which providers cache them: tools, system, messages. Providers' readers build a
prompt; the model answers it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]
"""A parsed JSON object of a provider's wire format."""

MESSAGE_TOKENS = 3
IMAGE_TOKENS = 85
AUDIO_CHARACTERS = 400
SEARCH_TOKENS = 500
"""Input tokens that the pages of one web search add."""


def tokens(text: str) -> int:
    """Count tokens: four characters each, rounded up."""
    return -(-len(text) // 4)


def compact(value: object) -> str:
    """Write JSON in one canonical form, so that equal definitions count equally."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of the prompt that is cached or not cached as a whole."""

    content: str
    tokens: int
    audio: int = 0
    """How many of the tokens are audio."""
    cache: str = ""
    """The lifetime of a cache breakpoint at its end: 5m or 1h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool the application offers."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One request to a model."""

    provider: str
    api: str
    model: str
    blocks: tuple[Block, ...] = ()
    question: str = ""
    """The last message of the user, directives included."""
    results: tuple[str, ...] = ()
    """Tool results since the question."""
    rounds: int = 0
    """How often tools were asked for since the question."""
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    """auto, none, required, or the name of the one tool to ask for."""
    parallel: bool = True
    search: str = ""
    """The provider's own web search, where it is offered: the name of its tool."""
    lookup: bool = False
    """Other tools of the provider are offered whose results it feeds to the model itself (Gemini)."""
    stream: bool = False
    stream_usage: bool = True
    """The application wants usage at the end of a stream."""
    tier: str = ""
    """Service tier that was asked for."""
    effort: str = "medium"
    """How much a reasoning model thinks: none, minimal, low, medium, high."""
    thinks: bool = False
    """The application asked a model to think that does not do so by itself."""
    limit: int | None = None
    """Most output tokens."""
    choices: int = 1
    schema: Mapping[str, Any] | None = None
    """The answer shall be JSON of this schema."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What only the provider's own writer needs."""

    @property
    def input_tokens(self) -> int:
        """All tokens of the prompt."""
        return sum(block.tokens for block in self.blocks)


@dataclass(slots=True)
class PromptBuilder:
    """Collects blocks in order, and what was said since the user's last question."""

    blocks: list[Block] = field(default_factory=list)
    question: str = ""
    results: list[str] = field(default_factory=list)
    rounds: int = 0
    asked: bool = False

    def offer(self, definitions: Iterable[Any], *, cache: str = "") -> None:
        """Add the tools offered, each a block."""
        for definition in definitions:
            mark = cache_mark(definition) or cache
            bare = {k: v for k, v in definition.items() if k != "cache_control"}
            text = compact(bare)
            self.blocks.append(Block(content=text, tokens=tokens(text), cache=mark))

    def say(
        self, role: str, text: str, *, cache: str = "", images: int = 0, audio: int = 0, opens: bool = True
    ) -> None:
        """Add text of a message; `opens` counts the message itself (its first block)."""
        total = tokens(text) + (MESSAGE_TOKENS if opens else 0) + images * IMAGE_TOKENS + audio
        content = f"{role}:{text}:{images}:{audio}"
        self.blocks.append(Block(content=content, tokens=total, audio=audio, cache=cache))

    def ask(self, text: str) -> None:
        """Note what the user says; a new message begins a new question."""
        if self.asked and not self.results and not self.rounds:
            self.question = f"{self.question} {text}"
        else:
            self.question = text
        self.results.clear()
        self.rounds = 0
        self.asked = True

    def turn(self) -> None:
        """Note that the model asked for tools."""
        self.rounds += 1

    def result(self, text: str) -> None:
        """Note what a tool answered."""
        self.results.append(text)

    def answer(self) -> None:
        """Note that the model answered in words: the next user text is a new question."""
        self.asked = False


def cache_mark(block: Mapping[str, Any]) -> str:
    """Read an Anthropic cache breakpoint: its lifetime, or nothing."""
    control = block.get("cache_control")
    if not isinstance(control, Mapping):
        return ""
    return "1h" if control.get("ttl") == "1h" else "5m"


def audio_tokens(data: str) -> int:
    """Count the tokens of base64 audio."""
    return -(-len(data) // AUDIO_CHARACTERS)
