"""The local record is valid OTLP/JSON, complete, bounded, one file per process."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from otel_agentcost.otel import health
from otel_agentcost.otel.record import SpanRecorder, attribute_value
from otel_agentcost.otel.sampling import AlwaysRecordSampler


def lines(directory: Path) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line) for file in sorted(directory.glob("*.jsonl")) for line in file.read_text().splitlines()]


def spans(directory: Path) -> list[dict]:  # type: ignore[type-arg]
    return [
        span
        for line in lines(directory)
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def provider(recorder: SpanRecorder) -> TracerProvider:
    made = TracerProvider(resource=Resource.create({"service.name": "s"}), shutdown_on_exit=False)
    made.add_span_processor(recorder)
    return made


def as_protobuf(line: dict) -> ExportTraceServiceRequest:  # type: ignore[type-arg]
    """Read OTLP/JSON with the official schema; ids are hex there, base64 in plain proto JSON."""
    import base64

    def convert(node: object) -> object:
        if isinstance(node, dict):
            return {
                key: base64.b64encode(bytes.fromhex(value)).decode()
                if key in ("traceId", "spanId", "parentSpanId")
                else convert(value)
                for key, value in node.items()
            }
        return [convert(item) for item in node] if isinstance(node, list) else node

    return json_format.ParseDict(convert(line), ExportTraceServiceRequest())


def test_a_span_is_what_the_otlp_exporter_would_send(tmp_path: Path) -> None:
    """Field by field the same message as OpenTelemetry's own encoder makes."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    made = provider(SpanRecorder(tmp_path))
    made.add_span_processor(SimpleSpanProcessor(memory))
    tracer = made.get_tracer("scope", "1.0", "https://schema", {"scope": "attribute"})
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as root:
        link = Link(root.get_span_context(), {"l": 1})
        with tracer.start_as_current_span("child", kind=SpanKind.CLIENT, links=[link]) as child:
            child.set_attributes(
                {"t": "text", "i": 2**60, "f": 0.1, "b": True, "list": ["a", "b"], "numbers": [1, 2], "e": "ü\n\"'"}
            )
            child.add_event("event", {"k": 1.5}, timestamp=5)
            child.set_status(Status(StatusCode.ERROR, "bad"))

    expected = official(memory.get_finished_spans())
    (line,) = lines(tmp_path)
    got = as_protobuf(line)
    assert got.resource_spans[0].resource == expected.resource_spans[0].resource
    assert got.resource_spans[0].scope_spans[0].scope == expected.resource_spans[0].scope_spans[0].scope
    ours, theirs = (list(request.resource_spans[0].scope_spans[0].spans) for request in (got, expected))
    for span in (*ours, *theirs):
        for flagged in (span, *span.links):
            flagged.flags &= ~0xFF  # the exporter leaves out the W3C byte that the proto file defines
    assert ours == theirs


def test_values_without_a_json_form_keep_their_meaning(tmp_path: Path) -> None:
    """Not-a-number and infinity are the strings the proto mapping defines, never invalid JSON."""
    made = provider(SpanRecorder(tmp_path))
    span = made.get_tracer("t").start_span("s")
    span.set_attributes({"nan": float("nan"), "inf": float("inf"), "ninf": float("-inf")})
    span.end()

    (found,) = spans(tmp_path)
    values = {item["key"]: item["value"] for item in found["attributes"]}
    assert values["nan"] == {"doubleValue": "NaN"}
    assert values["inf"] == {"doubleValue": "Infinity"}
    assert values["ninf"] == {"doubleValue": "-Infinity"}
    assert attribute_value(b"\x00\xff") == {"bytesValue": "AP8="}  # SDKs before 1.44 turn bytes into text
    assert attribute_value({"k": [1, None]}) == {
        "kvlistValue": {"values": [{"key": "k", "value": {"arrayValue": {"values": [{"intValue": "1"}, {}]}}}]}
    }


def test_lines_are_written_when_a_root_ends_and_at_shutdown(tmp_path: Path) -> None:
    """A crash after a session loses nothing of it; a clean exit loses nothing at all."""
    recorder = SpanRecorder(tmp_path)
    made = provider(recorder)
    tracer = made.get_tracer("t")
    with tracer.start_as_current_span("root"):
        tracer.start_span("child").end()
        assert recorder.path is None
    assert [span["name"] for span in spans(tmp_path)] == ["child", "root"]

    with tracer.start_as_current_span("open"):
        tracer.start_span("other").end()
        made.shutdown()
    assert [span["name"] for span in spans(tmp_path)] == ["child", "root", "other", "open"]


def test_a_long_session_is_written_as_it_goes(tmp_path: Path) -> None:
    """Memory holds at most a batch of spans."""
    recorder = SpanRecorder(tmp_path)
    tracer = provider(recorder).get_tracer("t")
    with tracer.start_as_current_span("root"):
        for number in range(300):
            tracer.start_span(str(number)).end()
        assert len(spans(tmp_path)) >= 256
        assert len(recorder._waiting) < 128


def test_a_full_record_counts_what_it_leaves_out(tmp_path: Path) -> None:
    """The bound is kept, and the loss is known."""
    tracer = provider(SpanRecorder(tmp_path, max_bytes=1500)).get_tracer("t")
    for number in range(10):
        tracer.start_span(str(number)).end()

    kept = len(spans(tmp_path))
    assert 1 <= kept < 10
    assert health.snapshot()["record_dropped"] == 10 - kept
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1500


def test_a_directory_that_cannot_be_written_does_not_hurt(tmp_path: Path) -> None:
    """The program runs on; the loss is counted."""
    blocker = tmp_path / "file"
    blocker.write_text("x")
    tracer = provider(SpanRecorder(blocker / "below")).get_tracer("t")
    tracer.start_span("s").end()

    assert health.snapshot()["record_dropped"] == 1


def test_spans_that_no_exporter_gets_are_not_written(tmp_path: Path) -> None:
    """Recorded for totals is not exported."""
    made = TracerProvider(sampler=AlwaysRecordSampler(ALWAYS_OFF), shutdown_on_exit=False)
    made.add_span_processor(SpanRecorder(tmp_path))
    made.get_tracer("t").start_span("s").end()
    made.shutdown()

    assert spans(tmp_path) == []


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    """No line is torn and no span is lost."""
    tracer = provider(SpanRecorder(tmp_path)).get_tracer("t")

    def work() -> None:
        for _ in range(50):
            tracer.start_span("s").end()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(spans(tmp_path)) == 200


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_writes_its_own_file_and_nothing_twice(tmp_path: Path) -> None:
    """What waits in the parent is written by the parent alone."""
    recorder = SpanRecorder(tmp_path)
    tracer = provider(recorder).get_tracer("t")
    with tracer.start_as_current_span("root"):
        tracer.start_span("before").end()
        pid = os.fork()
        if pid == 0:  # pragma: no cover - the child reports through its file
            tracer.start_span("in child").end()
            recorder.force_flush()
            os._exit(0)
        os.waitpid(pid, 0)

    assert sorted(span["name"] for span in spans(tmp_path)) == ["before", "in child", "root"]
    assert {file.name for file in tmp_path.iterdir()} == {f"spans-{pid}.jsonl", f"spans-{os.getpid()}.jsonl"}
