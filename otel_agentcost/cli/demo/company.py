"""The agents of the demo: an editor who plans, asks a researcher, buys data, translates, ranks and writes.

They are written as anybody would write them: openai, anthropic and google-genai clients, httpx for a paid API, and no
word about cost but two: `session()` says where a run begins, and the GPU that ranks says how long it was busy. What
the models answer is scripted (`said`), so that the sum can be worked out by hand: examples/demo-by-hand.md.
"""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import openai
from google import genai
from google.genai import types as gemini

from otel_agentcost.otel.session import charge, session, step, tool

QUESTION = "What do rising electricity prices mean for our data centres?"
GPU_SECONDS = Decimal("2.5")
"""What the ranking job says it used of the company's own H100."""


def said(**reply: Any) -> dict[str, str]:
    """Header that tells the local stand-in what to answer and how many tokens it shall count."""
    return {"x-emulator-reply": json.dumps(reply)}


class Company:
    """Clients as an application sets them up, with the address of the stand-in in place of the providers'."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.openai = openai.OpenAI(base_url=f"{url}/v1", api_key="demo", max_retries=2)
        self.anthropic = anthropic.Anthropic(base_url=url, api_key="demo", max_retries=2)
        self.anthropic_async = anthropic.AsyncAnthropic(base_url=url, api_key="demo", max_retries=2)
        self.gemini = genai.Client(api_key="demo", http_options=gemini.HttpOptions(base_url=url))

    def brief(self) -> str:
        """Run the whole company once."""
        with session(name="market brief", agent="editor", tenant="acme", project="briefs") as run:
            plan = self.plan()
            facts = asyncio.run(self.research(plan))
            notes = self.translate(facts)
            ranked = self.rank(notes)
            text = self.write(ranked)
            run.outcome("success", value=1.5)
        return text

    @step("plan")
    def plan(self) -> str:
        """Think about the question with a reasoning model."""
        answer = self.openai.responses.create(
            model="gpt-5-mini",
            input=f"Plan a short market brief: {QUESTION}",
            reasoning={"effort": "low"},
            extra_headers=said(input_tokens=1200, output_tokens=400, reasoning_tokens=128),
        )
        return str(answer.output_text)

    async def research(self, plan: str) -> str:
        """Let a model choose tools, run them at the same time, and let it sum up what they found."""
        with step("research"):
            async with openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="demo", max_retries=2) as client:
                messages: list[Any] = [{"role": "user", "content": f"{plan}\nUse market_data and ask_researcher."}]
                wanted = await client.chat.completions.create(
                    model="gpt-4o",
                    messages=messages,
                    tools=[_tool("market_data"), _tool("ask_researcher")],
                    extra_headers=said(input_tokens=2000, output_tokens=60),
                )
                asked = wanted.choices[0].message
                messages.append(asked.model_dump(exclude_none=True))
                found = await asyncio.gather(*(self.use(call) for call in asked.tool_calls or ()))
                messages.extend(found)
                # The provider turns the first attempt away (429); the SDK waits and tries again.
                answer = await client.chat.completions.create(
                    model="gpt-4o",
                    messages=messages,
                    extra_headers=said(input_tokens=2400, cached_tokens=1920, output_tokens=300, status=429, times=1),
                )
            return answer.choices[0].message.content or ""

    async def use(self, call: Any) -> dict[str, str]:
        """Run one tool the model asked for."""
        work = {"market_data": self.market_data, "ask_researcher": self.ask_researcher}[call.function.name]
        async with tool(call.function.name):
            result = await work(QUESTION)
        return {"role": "tool", "tool_call_id": call.id, "content": result}

    async def market_data(self, question: str) -> str:
        """Ask an API that costs half a cent a request."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            answers = [await client.get("/v1/search", params={"q": f"{question} {year}"}) for year in (2025, 2026)]
        return json.dumps([answer.json()["results"][0] for answer in answers])

    async def ask_researcher(self, question: str) -> str:
        """Hand the question to another agent, which reads the company's archive (cached) and searches the web."""
        archive = {"type": "text", "text": "The archive. " * 600, "cache_control": {"type": "ephemeral"}}
        async with session(agent="researcher"):
            first = await self.anthropic_async.messages.create(
                model="claude-sonnet-4-5",
                max_tokens=2000,
                system=[archive],
                tools=[{"type": "web_search_20250305", "name": "web_search"}],
                messages=[{"role": "user", "content": question}],
                extra_headers=said(input_tokens=10_000, cache_write_5m_tokens=8000, output_tokens=500, web_searches=2),
            )
            second = await self.anthropic_async.messages.create(
                model="claude-sonnet-4-5",
                max_tokens=2000,
                system=[archive],
                messages=[{"role": "user", "content": f"{_text(first)}\nSum up."}],
                extra_headers=said(input_tokens=10_600, cached_tokens=8000, output_tokens=700),
            )
        return _text(second)

    @step("translate")
    def translate(self, facts: str) -> str:
        """Try one model, which refuses the request, then another that streams."""
        try:
            self.openai.chat.completions.create(
                model="gpt-4.1",
                messages=[{"role": "user", "content": facts}],
                extra_headers=said(status=400),
            )
        except openai.BadRequestError:
            pass  # a failed call that is not billed
        config = gemini.GenerateContentConfig(
            http_options=gemini.HttpOptions(headers=said(input_tokens=1500, output_tokens=600, reasoning_tokens=200))
        )
        stream = self.gemini.models.generate_content_stream(
            model="gemini-2.5-flash", contents=f"Translate into German: {facts}", config=config
        )
        return "".join(chunk.text or "" for chunk in stream)

    @step("rank")
    def rank(self, notes: str) -> str:
        """Embed the notes, and rank them on the company's own GPU."""
        self.openai.embeddings.create(
            model="text-embedding-3-small", input=[notes], extra_headers=said(input_tokens=5000)
        )
        charge(unit="gpu_seconds", quantity=GPU_SECONDS, model="own-h100", reason="ranking")
        return notes

    @step("write")
    def write(self, notes: str) -> str:
        """Write the brief while it streams to the reader."""
        with self.anthropic.messages.stream(
            model="claude-haiku-4-5",
            max_tokens=4000,
            messages=[{"role": "user", "content": f"Write the brief.\n{notes}"}],
            extra_headers=said(input_tokens=3000, output_tokens=900),
        ) as stream:
            return "".join(stream.text_stream)


def _tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def _text(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")
