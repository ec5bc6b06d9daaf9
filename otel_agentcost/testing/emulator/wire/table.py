"""All wire formats in order of trial, and the providers of well-known host names."""

from __future__ import annotations

from collections.abc import Mapping

from otel_agentcost.testing.emulator.wire import (
    Wire,
    anthropic,
    bedrock,
    cohere,
    gemini,
    ollama,
    openai_chat,
    openai_embeddings,
    openai_responses,
)

WIRES: tuple[Wire, ...] = (
    *openai_chat.CHAT,
    openai_responses.RESPONSES,
    anthropic.MESSAGES,
    anthropic.COUNT_TOKENS,
    gemini.GENERATE,
    gemini.COUNT_TOKENS,
    openai_embeddings.EMBEDDINGS,
    openai_chat.COMPLETIONS,
    cohere.CHAT,
    ollama.CHAT,
    ollama.GENERATE,
    bedrock.CONVERSE,
)

HOSTS: Mapping[str, str] = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "api.mistral.ai": "mistral",
    "api.cohere.com": "cohere",
    "api.groq.com": "groq",
    "openrouter.ai": "openrouter",
    "amazonaws.com": "aws",
}
