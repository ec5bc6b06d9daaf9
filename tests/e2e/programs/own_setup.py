"""A service with an OpenTelemetry set-up of its own: it prints what its own exporter saw.

own_setup.py URL
"""

from __future__ import annotations

import json
import sys

import agent  # beside this file
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

memory = InMemorySpanExporter()
provider = TracerProvider(resource=Resource.create({"service.name": "own"}))
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
assert trace.get_tracer_provider() is provider, "the application's own provider was refused"

with trace.get_tracer("service").start_as_current_span("request"):
    agent.ask(sys.argv[1])
(root,) = (span for span in memory.get_finished_spans() if span.parent is None)
print(json.dumps({"total": (root.attributes or {}).get("agentcost.session.cost.total")}))
