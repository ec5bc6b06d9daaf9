"""Estimate: a labelled guess from the length of the text, where a stream was billed and nobody said for what.

    tokens = characters / (characters per token of this model, learned from calls that did state usage)
    tokens = pieces, for an answer that came token by token, as OpenAI, Groq and vLLM send them

Learning costs a little, so only the first calls of a model teach. An estimate never replaces a stated figure; it is
labelled (`estimated`), and where nothing can be estimated the usage stays unknown.
"""

from __future__ import annotations

from dataclasses import replace

from otel_agentcost.usage.reading import Reading, Usage
from otel_agentcost.usage.text_size import TextSize, request_characters

CHARACTERS_PER_TOKEN = 4
"""Before anything was learned: the usual figure for English prose (OpenAI help centre, "What are tokens")."""

TOKEN_SIZED = 8
"""Pieces of a stream that are no longer than this on average, in characters, are single tokens: over recorded
OpenAI-form streams with usage their number is within 6 % of the billed tokens in half of the cases."""

LESSONS = 8
"""Calls that teach the ratio of one model, each way."""

MAX_MODELS = 512
"""Models whose ratios are kept; later ones are estimated with the usual figure."""

SILENT = frozenset({"stream_without_usage", "cut_stream_without_usage"})
"""Reasons of readings about a stream that was billed and stated no usage."""


class Ratios:
    """Characters per token by model and direction, learned from the first calls that state usage."""

    def __init__(self) -> None:
        # No lock: of two lessons at the same moment one may be lost, which changes an estimate by nothing to speak of.
        self._learned: dict[tuple[str, str], tuple[int, int, int]] = {}
        """(model, direction) -> characters, tokens, calls"""

    def wants(self, model: str, direction: str) -> bool:
        """Tell whether one more call of this model would teach something."""
        known = self._learned.get((model, direction))
        return len(self._learned) < MAX_MODELS if known is None else known[2] < LESSONS

    def learn(self, model: str, direction: str, characters: int, tokens: int) -> None:
        """Take one call that states usage as a lesson; one without text or tokens teaches nothing."""
        if characters > 0 and tokens > 0:
            seen, counted, calls = self._learned.get((model, direction), (0, 0, 0))
            self._learned[model, direction] = (seen + characters, counted + tokens, calls + 1)

    def tokens(self, model: str, direction: str, characters: int) -> int:
        """Estimate tokens from characters, rounded up."""
        seen, counted, _ = self._learned.get((model, direction), (CHARACTERS_PER_TOKEN, 1, 0))
        return -(-characters * counted // seen)


def estimated(reading: Reading, ratios: Ratios, *, asked: int | None, written: TextSize | None) -> Reading:
    """Return a reading with estimated usage where it has none but was billed, else the reading as it is.

    `asked` are characters of the request, `written` the text of the answer; None where unknown. A stream that was cut
    after it had told its input keeps that, and its output is at least what was seen.
    """
    model = reading.request_model or reading.model or ""
    if reading.status == "no_usage" and reading.reason in SILENT and asked is not None and written is not None:
        usage = Usage(
            input_tokens=ratios.tokens(model, "input", asked),
            output_tokens=written_tokens(written, model, ratios),
        )
        reason = "cut_stream,estimated_from_text" if reading.reason.startswith("cut") else "estimated_from_text"
        return replace(reading, usage=usage, status="usage", estimated=True, reason=reason)
    if reading.status == "usage" and reading.reason == "cut_stream" and reading.usage is not None and written:
        seen = written_tokens(written, model, ratios)
        if seen > reading.usage.output_tokens:
            usage = Usage({**reading.usage, "output_tokens": seen})
            return replace(reading, usage=usage, estimated=True, reason="cut_stream,estimated_from_text")
    return reading


def written_tokens(written: TextSize, model: str, ratios: Ratios) -> int:
    """Estimate the tokens of an answer: its pieces, where they are tokens, or by its length."""
    if written.characters <= TOKEN_SIZED * written.pieces:
        return written.pieces
    return ratios.tokens(model, "output", written.characters)


def learn(reading: Reading, ratios: Ratios, *, body: bytes, written: TextSize | None) -> None:
    """Let a reading with stated usage teach how long this model's tokens are."""
    usage = reading.usage
    if usage is None or reading.estimated or reading.status != "usage" or usage.get("input_images"):
        return
    model = reading.request_model or reading.model or ""
    if ratios.wants(model, "input"):
        ratios.learn(model, "input", request_characters(body) or 0, usage.input_tokens)
    if written and ratios.wants(model, "output"):
        hidden = int(usage.get("output_reasoning_tokens", 0))  # thought, but not shown
        ratios.learn(model, "output", written.characters, usage.output_tokens - hidden)
