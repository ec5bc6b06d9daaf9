"""Agents on the real SDKs: the model asks for two tools in parallel, gets results, asks for one more, answers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

from tests.live.sdks import importable

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK = (
    'Weather? [[tool get_weather {"city": "Bonn"}]] [[tool get_weather {"city": "Rome"}]]'
    ' [[then]] [[tool get_weather {"city": "Oslo"}]] [[then]] [[say All are sunny.]]'
)
CITIES = [["Bonn", "Rome"], ["Oslo"]]


def result(city: str) -> str:
    return f"sunny in {city}"


def openai_chat(url: str, asked: list[list[str]], stream: bool = False) -> str:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k")
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": ASK}]
    while True:
        if stream:
            with client.chat.completions.stream(
                model="gpt-4o", messages=messages, tools=tools, stream_options={"include_usage": True}
            ) as events:
                message = events.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools).choices[0].message
        if not message.tool_calls:
            client.close()
            return str(message.content)
        cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
        asked.append(cities)
        messages.append(message.model_dump(exclude_none=True))
        for call, city in zip(message.tool_calls, cities, strict=False):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result(city)})


def openai_chat_stream(url: str, asked: list[list[str]]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic remarks on the SDK's own generic models
        return openai_chat(url, asked, stream=True)


def openai_responses(url: str, asked: list[list[str]]) -> str:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k")
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}]
    items: Any = ASK
    previous: Any = None
    while True:
        response = client.responses.create(model="gpt-5", input=items, tools=tools, previous_response_id=previous)
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            client.close()
            return response.output_text
        cities = [json.loads(call.arguments)["city"] for call in calls]
        asked.append(cities)
        previous = response.id
        items = [
            {"type": "function_call_output", "call_id": call.call_id, "output": result(city)}
            for call, city in zip(calls, cities, strict=False)
        ]


def anthropic(url: str, asked: list[list[str]], stream: bool = False) -> str:
    from anthropic import Anthropic

    client = Anthropic(base_url=url, api_key="k")
    messages: list[Any] = [{"role": "user", "content": ASK}]
    request: Any = {
        "model": "claude-haiku-4-5",
        "max_tokens": 300,
        "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
    }
    while True:
        if stream:
            with client.messages.stream(messages=messages, **request) as events:
                message = events.get_final_message()
        else:
            message = client.messages.create(messages=messages, **request)
        uses: list[Any] = [block for block in message.content if block.type == "tool_use"]
        if message.stop_reason != "tool_use":
            client.close()
            return str(message.content[0].text)  # type: ignore[union-attr]
        asked.append([use.input["city"] for use in uses])
        messages.append({"role": "assistant", "content": message.content})
        results = [{"type": "tool_result", "tool_use_id": u.id, "content": result(u.input["city"])} for u in uses]
        messages.append({"role": "user", "content": results})


def anthropic_stream(url: str, asked: list[list[str]]) -> str:
    return anthropic(url, asked, stream=True)


def google(url: str, asked: list[list[str]], stream: bool = False) -> str:
    from google import genai
    from google.genai import types

    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url))
    declaration = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declaration])])
    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text=ASK)])]
    while True:
        if stream:
            chunks = list(
                client.models.generate_content_stream(model="gemini-2.5-flash", contents=contents, config=config)
            )
        else:
            chunks = [client.models.generate_content(model="gemini-2.5-flash", contents=contents, config=config)]
        calls: list[Any] = [call for chunk in chunks for call in chunk.function_calls or []]
        if not calls:
            client.close()
            return "".join(chunk.text or "" for chunk in chunks)
        asked.append([call.args["city"] for call in calls])
        contents.append(types.Content(role="model", parts=[types.Part(function_call=call) for call in calls]))
        results = [
            types.Part.from_function_response(name=call.name, response={"result": result(call.args["city"])})
            for call in calls
        ]
        contents.append(types.Content(role="user", parts=results))


def google_stream(url: str, asked: list[list[str]]) -> str:
    return google(url, asked, stream=True)


def mistral(url: str, asked: list[list[str]]) -> str:
    from mistralai.client import Mistral

    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": ASK}]
    with Mistral(api_key="k", server_url=url) as client:
        while True:
            message: Any = (
                client.chat.complete(model="mistral-large-2512", messages=messages, tools=tools).choices[0].message
            )
            if not message.tool_calls:
                return str(message.content)
            cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
            asked.append(cities)
            messages.append(message)
            for call, city in zip(message.tool_calls, cities, strict=False):
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result(city)})


def cohere(url: str, asked: list[list[str]]) -> str:
    from cohere import ClientV2

    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": ASK}]
    with ClientV2(api_key="k", base_url=url) as client:
        while True:
            message: Any = client.chat(model="command-a-03-2025", messages=messages, tools=tools).message
            if not message.tool_calls:
                return str(message.content[0].text)
            cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
            asked.append(cities)
            messages.append(message)
            for call, city in zip(message.tool_calls, cities, strict=False):
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result(city)})


def groq(url: str, asked: list[list[str]]) -> str:
    from groq import Groq

    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": ASK}]
    with Groq(api_key="k", base_url=url) as client:
        while True:
            answer = client.chat.completions.create(model="llama-3.3-70b-versatile", messages=messages, tools=tools)
            message = answer.choices[0].message
            if not message.tool_calls:
                return str(message.content)
            cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
            asked.append(cities)
            messages.append(message.model_dump(exclude_none=True))
            for call, city in zip(message.tool_calls, cities, strict=False):
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result(city)})


def ollama(url: str, asked: list[list[str]]) -> str:
    from ollama import Client

    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": ASK}]
    client = Client(host=url)
    while True:
        message = client.chat(model="llama3.2", messages=messages, tools=tools).message
        if not message.tool_calls:
            client._client.close()
            return str(message.content)
        cities = [call.function.arguments["city"] for call in message.tool_calls]
        asked.append(cities)
        messages.append(message)
        messages += [{"role": "tool", "tool_name": "get_weather", "content": result(city)} for city in cities]


def boto3(url: str, asked: list[list[str]]) -> str:
    import boto3

    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "k", "region_name": "us-east-1"}
    client = boto3.client("bedrock-runtime", endpoint_url=url, **keys)
    tools = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]}
    messages: list[Any] = [{"role": "user", "content": [{"text": ASK}]}]
    while True:
        answer = client.converse(modelId="amazon.nova-lite-v1:0", messages=messages, toolConfig=tools)
        message = answer["output"]["message"]
        uses = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        if answer["stopReason"] != "tool_use":
            client.close()
            return str(message["content"][0]["text"])
        asked.append([use["input"]["city"] for use in uses])
        messages.append(message)
        results = [
            {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": result(use["input"]["city"])}]}}
            for use in uses
        ]
        messages.append({"role": "user", "content": results})


LOOPS: dict[Callable[[str, list[list[str]]], str], str] = {
    openai_chat: "openai",
    openai_chat_stream: "openai",
    openai_responses: "openai",
    anthropic: "anthropic",
    anthropic_stream: "anthropic",
    google: "google.genai",
    google_stream: "google.genai",
    mistral: "mistralai.client",
    cohere: "cohere",
    groq: "groq",
    ollama: "ollama",
    boto3: "boto3",
}


def available() -> list[Callable[[str, list[list[str]]], str]]:
    """The loops whose SDK is installed."""
    return [loop for loop, package in LOOPS.items() if importable(package)]
