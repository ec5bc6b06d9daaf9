"""P7: what importing and installing costs a program that has the OpenTelemetry SDK and openai already.

Every sample is an interpreter of its own. The price book is read at the first priced call; what that costs is
measured, too, and reported beside the bar.
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from tests.bench.figures import Figure, Findings
from tests.bench.rounds import Form

_BEFORE = """
import json, os, sys, time, gc
import openai, httpx2
import opentelemetry.sdk.trace, opentelemetry.sdk.trace.export, opentelemetry.metrics
provider = opentelemetry.sdk.trace.TracerProvider(shutdown_on_exit=False)
def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
gc.collect()
names = set(sys.modules)
rss, cpu = memory(), time.process_time_ns()
"""
_AFTER = """
spent, grown = time.process_time_ns() - cpu, memory() - rss
"""
_FIRST_CALL = """
from opentelemetry.trace import SpanKind
def call():
    with provider.get_tracer("bench").start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT) as span:
        span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5})
rss, cpu = memory(), time.process_time_ns()
call()
first, first_grown = time.process_time_ns() - cpu, memory() - rss
"""
_TELL = """
print(json.dumps({"ms": spent / 1e6, "MB": grown / 1e6, "modules": len(set(sys.modules) - names),
    "first ms": first / 1e6, "first MB": first_grown / 1e6}))
"""
_NO_CALL = "first = first_grown = 0\n"

PROGRAMS = {
    "nothing": _BEFORE + _AFTER + _NO_CALL + _TELL,
    "ours": _BEFORE + "import otel_agentcost\notel_agentcost.install(provider)\n" + _AFTER + _FIRST_CALL + _TELL,
    "otelgenai": _BEFORE
    + "from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor\n"
    + "OpenAIInstrumentor().instrument(tracer_provider=provider)\n"
    + _AFTER
    + _NO_CALL
    + _TELL,
}


def run(program: str) -> dict[str, float]:
    """One fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure_startup(form: Form) -> Findings:
    """P7."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PROGRAMS}
    for program in PROGRAMS.values():
        run(program)  # the compiled files of every package are written now
    for _ in range(form.pick(3, 8)):
        for name in (*PROGRAMS, *reversed(PROGRAMS)):
            found[name].append(run(PROGRAMS[name]))

    def middle(name: str, key: str) -> float:
        return median(one[key] for one in found[name])

    cpu, memory = middle("ours", "ms"), middle("ours", "MB")
    row = {
        "ours ms": cpu,
        "ours MB": memory,
        "ours modules": middle("ours", "modules"),
        "otelgenai ms": middle("otelgenai", "ms"),
        "otelgenai MB": middle("otelgenai", "MB"),
        "first priced call ms": middle("ours", "first ms"),
        "first priced call MB": middle("ours", "first MB"),
    }
    return Findings(
        figures=[
            Figure(bar="P7", ours=cpu, peer=f"otelgenai {row['otelgenai ms']:.0f} ms", absolute=row),
            Figure(bar="P7m", ours=memory, peer=f"otelgenai {row['otelgenai MB']:.1f} MB", absolute=row),
        ],
        rows={"import and instrument": row},
    )
