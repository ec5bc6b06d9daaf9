"""Streams that end before their end: cut by the provider, left by the application, or silent about usage."""

from __future__ import annotations

from collections.abc import Callable

from tests.live.sdks import importable


def _openai(url: str, text: str, leave_after: int = -1, usage: bool = True) -> None:
    import openai

    options = {"stream_options": {"include_usage": True}} if usage else {}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client:
        messages = [{"role": "user", "content": text}]
        stream = client.chat.completions.create(model="gpt-4o", messages=messages, stream=True, **options)  # type: ignore
        with stream:
            for number, _ in enumerate(stream):
                if number == leave_after:
                    break


def _responses(url: str, text: str, leave_after: int = -1) -> None:
    import openai

    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-secret", max_retries=0) as client,
        client.responses.create(model="gpt-5", input=text, stream=True) as stream,
    ):
        for number, _ in enumerate(stream):
            if number == leave_after:
                break


def _anthropic(url: str, text: str, leave_after: int = -1) -> None:
    import anthropic

    with (
        anthropic.Anthropic(base_url=url, api_key="sk-secret", max_retries=0) as client,
        client.messages.stream(
            model="claude-haiku-4-5", max_tokens=300, messages=[{"role": "user", "content": text}]
        ) as stream,
    ):
        for number, _ in enumerate(stream):
            if number == leave_after:
                break


def _google(url: str, text: str, leave_after: int = -1) -> None:
    from google import genai

    with genai.Client(api_key="sk-secret", http_options={"base_url": url}) as client:
        stream = client.models.generate_content_stream(model="gemini-2.5-flash", contents=text)
        for number, _ in enumerate(stream):
            if number == leave_after:
                break


CUT = "Tell me [[output 120]] [[cut 10]]"
SLOW = "Tell me [[output 120]] [[delay 0.005]]"

CASES: dict[str, tuple[str, str, Callable[[str], None]]] = {
    "openai-without-usage": ("openai", "openai", lambda url: _openai(url, "Tell me [[output 120]]", usage=False)),
    "openai-withheld": ("openai", "openai", lambda url: _openai(url, "Tell me [[output 120]] [[usage off]]")),
    "openai-cut": ("openai", "openai", lambda url: _openai(url, CUT)),
    "openai-left": ("openai", "openai", lambda url: _openai(url, SLOW, leave_after=5)),
    "responses-cut": ("openai", "openai", lambda url: _responses(url, CUT)),
    "responses-left": ("openai", "openai", lambda url: _responses(url, SLOW, leave_after=9)),
    "anthropic-cut": ("anthropic", "anthropic", lambda url: _anthropic(url, CUT)),
    "anthropic-left": ("anthropic", "anthropic", lambda url: _anthropic(url, SLOW, leave_after=8)),
    "google-cut": ("google.genai", "google", lambda url: _google(url, "Tell me [[output 120]] [[cut 4]]")),
    "google-left": ("google.genai", "google", lambda url: _google(url, SLOW, leave_after=3)),
}
"""Name -> package, provider, what to run."""


def available() -> dict[str, tuple[str, str, Callable[[str], None]]]:
    """The cases whose SDK is installed."""
    return {name: case for name, case in CASES.items() if importable(case[0])}
