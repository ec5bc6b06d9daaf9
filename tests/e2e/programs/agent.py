"""An agent that knows nothing of OpenTelemetry: it asks models over HTTP and prints what it got.

agent.py URL [plain|sdks|threads|tasks|fork|crash]
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

SECRET = "sk-secret-key-4711"
QUESTION = "Where is the treasure of Captain Example buried?"


def ask(url: str, *, stream: bool = False) -> str:
    """Call the chat API and return the raw answer, as the application reads it."""
    import httpx

    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": stream,
        **({"stream_options": {"include_usage": True}} if stream else {}),
    }
    headers = {"authorization": f"Bearer {SECRET}"}
    with httpx.Client() as client, client.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers) as r:
        return b"".join(r.iter_raw()).decode()


async def ask_async(url: str) -> str:
    """Call the messages API of another provider, asynchronously."""
    import httpx

    body = {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": QUESTION}]}
    headers = {"x-api-key": SECRET, "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/v1/messages?key={SECRET}", json=body, headers=headers)
        return answer.text


def main(url: str, mode: str) -> None:
    """Do the work of one mode."""
    if mode == "plain":
        print(json.loads(ask(url))["model"])
        print("data: [DONE]" in ask(url, stream=True))
        print(json.loads(asyncio.run(ask_async(url)))["model"])
    elif mode == "sdks":
        import anthropic
        import openai

        chat = openai.OpenAI(base_url=f"{url}/v1", api_key=SECRET).chat.completions
        messages = [{"role": "user", "content": QUESTION}]
        print(chat.create(model="gpt-4o", messages=messages).model)
        usage = {"include_usage": True}  # nobody asks an unknown host for it unasked, and an estimate is not exact
        print(len(list(chat.create(model="gpt-4o", messages=messages, stream=True, stream_options=usage))) > 2)
        claude = anthropic.Anthropic(base_url=url, api_key=SECRET)
        with claude.messages.stream(model="claude-sonnet-4-5", max_tokens=64, messages=messages) as stream:
            print(stream.get_final_message().model)
    elif mode == "threads":
        with ThreadPoolExecutor(3) as pool:
            print(len(list(pool.map(lambda _: ask(url), range(4)))))
    elif mode == "tasks":

        async def both() -> None:
            print(len(await asyncio.gather(ask_async(url), ask_async(url))))

        asyncio.run(both())
    elif mode == "fork":
        children = []
        for _ in range(2):
            pid = os.fork()
            if pid == 0:
                ask(url)
                sys.exit(0)  # an ordinary exit of a child runs what must be flushed
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        ask(url)
        print("forked")
    elif mode == "crash":
        ask(url)
        raise SystemExit(3)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "plain")
