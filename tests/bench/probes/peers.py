"""What other instrumentations add to the same calls: one environment each, we and a hand-written span beside them.

Defaults everywhere, so some of them also record prompts and answers. No bar depends on these rows; they show where a
figure of ours stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.bench.answers import answer_to
from tests.bench.figures import Findings
from tests.bench.probes.clients import WARM, Dropped, chat, client_of, new_provider, ours, stream, with_span
from tests.bench.rounds import Case, Form, alternate


def _instrumentor(name: str) -> Any:
    if name == "openai-v2":
        from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
    elif name == "openllmetry":
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor
    else:
        from openinference.instrumentation.openai import OpenAIInstrumentor
    return OpenAIInstrumentor()


@contextmanager
def instrumented(name: str, client: openai.OpenAI) -> Iterator[None]:
    """Set a peer up as its documentation says, and take it away again."""
    if name == "logfire":
        import logfire

        logfire.configure(
            send_to_logfire=False,
            console=False,
            metrics=False,
            additional_span_processors=[BatchSpanProcessor(Dropped())],
        )
        with logfire.instrument_openai(client):
            yield
        return
    provider = new_provider()
    instrumentor = _instrumentor(name)
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield
    finally:
        instrumentor.uninstrument()
        provider.shutdown()


def _measure(name: str, form: Form) -> Findings:
    client = client_of(httpx2.MockTransport(answer_to(httpx2)))
    provider = new_provider()
    works = (("chat", chat(client), form.pick(60, 200)), ("stream", stream(client), form.pick(6, 20)))
    rounds = form.pick(3, 7)
    found = Findings()
    before = []
    for _, work, operations in works:
        cases = {
            "bare": Case(work, warm=WARM),
            "span20": Case(with_span(work, provider), warm=WARM),
            "ours": Case(work, ours, warm=WARM),
        }
        before.append(alternate(cases, rounds=rounds, operations=operations))
    # The peer comes last and stays: not every one leaves the client as it found it.
    with instrumented(name, client):
        for (title, work, operations), times in zip(works, before, strict=True):
            peer = alternate({name: Case(work, warm=WARM)}, rounds=rounds, operations=operations)
            row = {"bare µs": times.of("bare") / 1000}
            row |= {f"{case} +µs": times.added(case, "bare") / 1000 for case in ("span20", "ours")}
            row[f"{name} +µs"] = (peer.of(name) - times.of("bare")) / 1000
            found.rows[f"{title}, CPU, beside {name}"] = row
    return found


def measure_openai_v2(form: Form) -> Findings:
    """opentelemetry-instrumentation-openai-v2."""
    return _measure("openai-v2", form)


def measure_openllmetry(form: Form) -> Findings:
    """opentelemetry-instrumentation-openai of OpenLLMetry."""
    return _measure("openllmetry", form)


def measure_openinference(form: Form) -> Findings:
    """openinference-instrumentation-openai."""
    return _measure("openinference", form)


def measure_logfire(form: Form) -> Findings:
    """logfire with genai-prices."""
    return _measure("logfire", form)
