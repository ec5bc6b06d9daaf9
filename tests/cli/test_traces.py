"""Trace files of every form become the same spans; what is broken is named and the rest is kept."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost.cli.console import Console
from otel_agentcost.cli.traces import Traces, format_of, read_traces, write_traces
from otel_agentcost.cli.traces.collection import any_value, plain_value
from otel_agentcost.cli.traces.wire import encode
from otel_agentcost.errors import InputError

TRACE = "5b8efff798038103d269b633813fc60c"
ROOT = "eee19b7ec3c1b174"
CALL = "eee19b7ec3c1b173"


def otlp_span(span_id: str = CALL, *, parent: str = ROOT, name: str = "chat gpt-4o", **attributes: object) -> Any:
    return {
        "traceId": TRACE,
        "spanId": span_id,
        "parentSpanId": parent,
        "name": name,
        "kind": 3,
        "startTimeUnixNano": "1763726400000000001",
        "endTimeUnixNano": "1763726401000000001",
        "attributes": [{"key": k, "value": any_value(v)} for k, v in attributes.items()],
        "status": {},
    }


def payload(*spans: Any) -> Any:
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "agent"}}]},
                "scopeSpans": [{"scope": {"name": "opentelemetry.openai", "version": "1.0"}, "spans": list(spans)}],
            }
        ]
    }


TWO = payload(otlp_span(ROOT, parent="", name="run"), otlp_span(**{"gen_ai.usage.input_tokens": 1000, "gen_ai.x": 0.1}))


def read(path: Path | str) -> Traces:
    return read_traces([str(path)], Console())


def spans_of(traces: Traces) -> list[tuple[object, ...]]:
    return [
        (r.trace_id, r.span_id, r.parent_id, r.name, r.kind, r.scope, r.start_ns, r.end_ns, r.attributes, r.resource)
        for r in traces.records
    ]


@pytest.fixture
def expected(tmp_path: Path) -> list[tuple[object, ...]]:
    file = tmp_path / "expected.json"
    file.write_text(json.dumps(TWO, indent=2))
    return spans_of(read(file))


def test_a_json_document_gives_spans_with_scope_resource_and_typed_attributes(tmp_path: Path) -> None:
    """ids, kind, scope, resource, 64-bit times and typed values arrive exactly."""
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(TWO, indent=2))
    traces = read(file)
    call = traces.records[1]
    assert traces.problems == []
    assert (call.trace_id, call.span_id, call.parent_id) == (TRACE, CALL, ROOT)
    assert (call.kind, call.scope, call.resource) == ("client", "opentelemetry.openai", {"service.name": "agent"})
    assert (call.start_ns, call.end_ns) == (1763726400000000001, 1763726401000000001)
    assert call.attributes == {"gen_ai.usage.input_tokens": 1000, "gen_ai.x": 0.1}
    assert not call.failed


def as_lines(_: Path) -> bytes:
    first, second = TWO["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return b"".join(json.dumps(payload(span)).encode() + b"\n" for span in (first, second))


def as_one_line(_: Path) -> bytes:
    return json.dumps(TWO).encode()


def as_gzip(_: Path) -> bytes:
    return gzip.compress(json.dumps(TWO).encode())


def as_protobuf(_: Path) -> bytes:
    return encode(read_back(TWO))


def as_delimited_protobuf(_: Path) -> bytes:
    data = encode(read_back(TWO))
    assert 128 <= len(data) < 2**14
    return bytes((len(data) & 0x7F | 0x80, len(data) >> 7)) + data


def as_collector_protobuf(_: Path) -> bytes:
    data = encode(read_back(TWO))
    return len(data).to_bytes(4, "big") + data


def as_snake_case(_: Path) -> bytes:
    text = json.dumps(TWO)
    for camel, snake in (
        ("resourceSpans", "resource_spans"),
        ("scopeSpans", "scope_spans"),
        ("traceId", "trace_id"),
        ("parentSpanId", "parent_span_id"),
        ("spanId", "span_id"),
        ("startTimeUnixNano", "start_time_unix_nano"),
        ("endTimeUnixNano", "end_time_unix_nano"),
        ("stringValue", "string_value"),
        ("intValue", "int_value"),
        ("doubleValue", "double_value"),
    ):
        text = text.replace(camel, snake)
    return text.encode()


def as_tempo(_: Path) -> bytes:
    import base64

    def b64(identifier: str) -> str:
        return base64.b64encode(bytes.fromhex(identifier)).decode()

    spans = json.loads(json.dumps(TWO))["resourceSpans"]
    for span in spans[0]["scopeSpans"][0]["spans"]:
        span["kind"] = "SPAN_KIND_CLIENT"
        span["traceId"], span["spanId"] = b64(span["traceId"]), b64(span["spanId"])
        span["parentSpanId"] = b64(span["parentSpanId"]) if span["parentSpanId"] else ""
    return json.dumps({"batches": spans}).encode()


def as_tempo_v2(path: Path) -> bytes:
    return json.dumps({"trace": {"resourceSpans": json.loads(as_tempo(path))["batches"]}, "metrics": {}}).encode()


def as_jaeger_v3(_: Path) -> bytes:
    return json.dumps({"result": TWO}).encode()


def as_concatenated_documents(path: Path) -> bytes:
    return b"\n".join(json.dumps(json.loads(line), indent=1).encode() for line in as_lines(path).splitlines())


def as_list(path: Path) -> bytes:
    return json.dumps([json.loads(line) for line in as_lines(path).splitlines()], indent=2).encode()


def as_old_library_form(_: Path) -> bytes:
    text = json.dumps(TWO).replace('"scopeSpans"', '"instrumentationLibrarySpans"')
    return text.replace('"scope"', '"instrumentationLibrary"').encode()


def with_byte_order_mark(_: Path) -> bytes:
    return b"\xef\xbb\xbf" + json.dumps(TWO).encode()


def with_metrics_between(path: Path) -> bytes:
    first, second = as_lines(path).splitlines()
    return b"\n".join((first, b'{"resourceMetrics": []}', b"", b"{}", second, b""))


def read_back(value: Any) -> Any:
    traces = Traces()
    traces.add(json.loads(json.dumps(value)), file="", where="")
    return traces.payloads[0]


FORMS = (
    as_lines,
    as_one_line,
    as_gzip,
    as_protobuf,
    as_delimited_protobuf,
    as_collector_protobuf,
    as_snake_case,
    as_tempo,
    as_tempo_v2,
    as_jaeger_v3,
    as_concatenated_documents,
    as_list,
    as_old_library_form,
    with_byte_order_mark,
    with_metrics_between,
)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
def test_every_form_gives_the_same_spans(form: Any, tmp_path: Path, expected: list[tuple[object, ...]]) -> None:
    """One trace in any of the known forms is one and the same list of spans."""
    file = tmp_path / "trace.any"
    file.write_bytes(form(tmp_path))
    traces = read(file)
    assert traces.problems == []
    # Tempo's fixture names its kind, all others number it.
    assert spans_of(traces) == expected


@pytest.mark.parametrize("suffix", ["json", "jsonl", "pb", "json.gz", "pb.gz"])
def test_what_is_written_reads_back_to_the_same_spans(
    suffix: str, tmp_path: Path, expected: list[tuple[object, ...]]
) -> None:
    """Every output form is a faithful copy, with events, links and status."""
    source = json.loads(json.dumps(TWO))
    span = source["resourceSpans"][0]["scopeSpans"][0]["spans"][1]
    span["status"] = {"code": 2, "message": "boom"}
    span["events"] = [{"timeUnixNano": "5", "name": "exception", "attributes": []}]
    span["links"] = [{"traceId": TRACE, "spanId": ROOT}]
    file = tmp_path / "in.json"
    file.write_text(json.dumps(source))
    traces = read(file)
    out = tmp_path / f"out.{suffix}"
    write_traces(traces, str(out), format_of(str(out)))
    again = read(out)
    assert spans_of(again) == expected
    assert again.records[1].failed
    written = again.spans[1].source
    assert written["status"] == {"code": 2, "message": "boom"}
    assert written["events"][0]["name"] == "exception"
    assert written["links"] == [{"traceId": TRACE, "spanId": ROOT}]


def test_jaeger_json_becomes_otlp(tmp_path: Path) -> None:
    """Jaeger's tags go back to kind, status, scope and resource; short ids are padded, microseconds become ns."""
    trace = {
        "traceID": TRACE,
        "spans": [
            {
                "traceID": TRACE,
                "spanID": "ee19b7ec3c1b174",
                "operationName": "chat",
                "references": [
                    {"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": "00000000000000aa"},
                    {"refType": "CHILD_OF", "traceID": TRACE, "spanID": ROOT},
                ],
                "startTime": 1763726400000001,
                "duration": 1500,
                "tags": [
                    {"key": "span.kind", "type": "string", "value": "client"},
                    {"key": "otel.scope.name", "type": "string", "value": "opentelemetry.openai"},
                    {"key": "otel.status_code", "type": "string", "value": "ERROR"},
                    {"key": "gen_ai.usage.input_tokens", "type": "int64", "value": 12},
                    {"key": "agentcost.value", "type": "float64", "value": 1},
                    {"key": "blob", "type": "binary", "value": "AAE="},
                ],
                "logs": [
                    {
                        "timestamp": 1763726400000002,
                        "fields": [{"key": "event", "type": "string", "value": "exception"}],
                    }
                ],
                "processID": "p1",
            }
        ],
        "processes": {"p1": {"serviceName": "agent", "tags": [{"key": "host.name", "type": "string", "value": "h"}]}},
    }
    file = tmp_path / "jaeger.json"
    file.write_text(json.dumps({"data": [trace], "errors": None}))
    traces = read(file)
    record = traces.records[0]
    assert traces.problems == []
    assert (record.span_id, record.parent_id, record.kind) == ("0ee19b7ec3c1b174", ROOT, "client")
    assert (record.start_ns, record.end_ns) == (1763726400000001000, 1763726400001501000)
    assert record.failed
    assert record.scope == "opentelemetry.openai"
    assert record.resource == {"service.name": "agent", "host.name": "h"}
    assert record.attributes == {"gen_ai.usage.input_tokens": 12, "agentcost.value": 1.0, "blob": b"\x00\x01"}
    assert isinstance(record.attributes["agentcost.value"], float)
    assert traces.spans[0].source["links"] == [{"traceId": TRACE, "spanId": "00000000000000aa"}]
    assert traces.spans[0].source["events"][0]["name"] == "exception"


def problem_of(file: Path, data: bytes) -> tuple[Traces, str]:
    file.write_bytes(data)
    traces = read(file)
    assert traces.problems
    return traces, str(traces.problems[0])


def test_a_truncated_document_keeps_its_whole_spans_and_names_the_byte(tmp_path: Path) -> None:
    """Half a span is dropped, whole spans before it are kept, and the message says where the file ends."""
    text = json.dumps(TWO, indent=2)
    cut = text[: text.rindex("gen_ai.x") - 4]
    traces, problem = problem_of(tmp_path / "t.json", cut.encode())
    assert [r.name for r in traces.records] == ["run"]
    assert str(tmp_path / "t.json") in problem
    assert "cut off" in problem
    assert f"line {cut.count(chr(10)) + 1}, column" in problem
    assert "kept 1 whole span before it" in problem


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    """In JSON lines a bad line is named by number, all others are read, also when the first or last is the bad one."""
    first, second = as_lines(tmp_path).splitlines()
    for bad in (b"{not json", b"\xff\xfe{", b'"text"', b'{"spans": 3}'):
        traces, problem = problem_of(tmp_path / "t.jsonl", b"\n".join((first, bad, second)))
        assert [r.name for r in traces.records] == ["run", "chat gpt-4o"]
        assert "line 2" in problem
    traces, problem = problem_of(tmp_path / "t.jsonl", b"\n".join((b"{half", first, second)))
    assert len(traces.records) == 2
    assert "line 1" in problem
    traces, problem = problem_of(tmp_path / "t.jsonl", first + b"\n" + second[:-30])
    assert [r.name for r in traces.records] == ["run"]
    assert "line 2" in problem


@pytest.mark.parametrize("prefix", ["none", "collector"])
def test_truncated_protobuf_keeps_its_whole_spans(prefix: str, tmp_path: Path) -> None:
    """A protobuf file cut inside the last span still gives the spans before it, and says at which byte it ends."""
    data = as_collector_protobuf(tmp_path) if prefix == "collector" else as_protobuf(tmp_path)
    traces, problem = problem_of(tmp_path / "t.pb", data[:-20])
    assert [r.name for r in traces.records] == ["run"]
    assert f"byte {len(data) - 20}" in problem
    assert "kept 1 whole span before it" in problem


def test_truncated_gzip_keeps_what_was_unpacked(tmp_path: Path) -> None:
    """A cut gzip file of JSON lines is read up to the cut, with a message."""
    lines = b"".join(
        json.dumps(payload(otlp_span(f"{n:016x}", name=f"chat {n * 7919}"))).encode() + b"\n" for n in range(1, 3000)
    )
    traces, problem = problem_of(tmp_path / "t.jsonl.gz", gzip.compress(lines)[:-4000])
    assert "gzip" in problem
    assert len(traces.records) > 100


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello", "invalid JSON"),
        (b'{"spans": 1}', "no trace in it (its keys: spans)"),
        (b"[1]", "no trace"),
        (bytes(range(256)), "byte"),
        (b"\x28\xb5\x2f\xfd\x00", "zstd"),
        (b'{"resourceSpans": 5}', "malformed"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [1]}]}]}', "span 1: a span must be an object"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_trace_is_told_in_one_line(data: bytes, words: str, tmp_path: Path) -> None:
    """Any input gives a message with the file's name, never a traceback."""
    traces, problem = problem_of(tmp_path / "x", data)
    assert words in problem
    assert "\n" not in problem
    assert traces.records == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("traceId", None, "traceId is missing"),
        ("traceId", "xyz", "traceId 'xyz' is no id"),
        ("spanId", "0" * 16, "spanId is all zeros"),
        ("startTimeUnixNano", "yesterday", "startTimeUnixNano 'yesterday'"),
        ("startTimeUnixNano", -5, "startTimeUnixNano '-5'"),
        ("kind", [], "span_kind"),
        ("attributes", "none", "attributes must be a list"),
        ("attributes", [{"value": {}}], "an attribute has no key"),
    ],
)
def test_a_malformed_span_is_named_and_its_neighbours_are_kept(
    field: str, value: object, words: str, tmp_path: Path
) -> None:
    """One bad span: its number and field are reported, the other is read, JSON output carries both."""
    bad = {**otlp_span("00000000000000ff"), field: value}
    traces, problem = problem_of(tmp_path / "x.json", json.dumps(payload(bad, otlp_span())).encode())
    assert "span 1" in problem
    assert words in problem
    assert [r.span_id for r in traces.records] == [CALL]
    write_traces(traces, str(tmp_path / "out.json"), "json")
    assert (tmp_path / "out.json").read_text().count("spanId") == 2
    write_traces(traces, str(tmp_path / "out.pb"), "proto")
    assert [r.span_id for r in read(tmp_path / "out.pb").records] == [CALL]


def test_a_malformed_value_reaches_its_reader_as_it_is(tmp_path: Path) -> None:
    """A count that is no number is not dropped: whoever prices it must be able to say `invalid`."""
    span = otlp_span()
    span["attributes"] = [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "many"}}]
    file = tmp_path / "x.json"
    file.write_text(json.dumps(payload(span)))
    assert read(file).records[0].attributes == {"gen_ai.usage.input_tokens": "many"}


def test_a_span_exported_twice_is_read_and_written_once(tmp_path: Path) -> None:
    """A retried export does not double anything."""
    file = tmp_path / "x.jsonl"
    file.write_bytes(as_lines(tmp_path) * 2)
    traces = read(file)
    assert len(traces.records) == 2
    assert traces.duplicates == 2
    write_traces(traces, str(file), "jsonl")
    assert len(read(file).records) == 2
    assert read(file).duplicates == 0


def test_enrichment_replaces_the_figures_of_an_earlier_one(tmp_path: Path) -> None:
    """Old agentcost figures go when new ones come; identity (agentcost.tenant) and foreign attributes stay."""
    span = otlp_span(
        **{"agentcost.cost.amount": 9.0, "agentcost.cost.status": "partial", "agentcost.tenant": "t", "x": 1}
    )
    file = tmp_path / "x.json"
    file.write_text(json.dumps(payload(span)))
    traces = read(file)
    traces.enrich({(TRACE, CALL): {"agentcost.cost.amount": 0.0075, "agentcost.session.cost.pico": 7500000000}})
    write_traces(traces, str(file), "json")
    assert read(file).records[0].attributes == {
        "agentcost.tenant": "t",
        "x": 1,
        "agentcost.cost.amount": 0.0075,
        "agentcost.session.cost.pico": 7500000000,
    }
    assert '"intValue":"7500000000"' in file.read_text()
    assert '"doubleValue":0.0075' in file.read_text()


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A missing input stops the command with the name of the file."""
    with pytest.raises(InputError, match=r"absent\.json: no such file"):
        read(tmp_path / "absent.json")
    with pytest.raises(InputError, match="no trace file in this directory"):
        read(tmp_path)


def test_a_device_is_written_to_not_replaced(tmp_path: Path) -> None:
    """--out /dev/null leaves /dev/null a device; a link is followed."""
    traces = Traces()
    traces.add(json.loads(json.dumps(TWO)), file="", where="")
    write_traces(traces, "/dev/null", "json")
    assert not Path("/dev/null").is_file()
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write_traces(traces, str(link), "json")
    assert link.is_symlink()
    assert len(read(target).records) == 2


def test_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """An output directory that is not there is named."""
    with pytest.raises(InputError, match="cannot be written"):
        write_traces(Traces(), str(tmp_path / "no" / "x.json"), "json")


@pytest.mark.parametrize("number", [0.1, 1e-6, 7.5e-3, 123456.000001, 5e-324, 1.7976931348623157e308, -0.0])
def test_doubles_keep_every_bit(number: float) -> None:
    """A double is written with the shortest digits that read back to itself."""
    assert plain_value(json.loads(json.dumps(any_value(number)))) == number


def test_doubles_that_json_does_not_know_are_strings() -> None:
    """NaN and infinities are written as OTLP's strings and read back."""
    assert [any_value(v) for v in (math.nan, math.inf, -math.inf)] == [
        {"doubleValue": "NaN"},
        {"doubleValue": "Infinity"},
        {"doubleValue": "-Infinity"},
    ]
    assert math.isnan(plain_value({"doubleValue": "NaN"}))  # type: ignore[arg-type]
    assert plain_value({"doubleValue": "-Infinity"}) == -math.inf


def test_text_that_is_no_unicode_is_carried_on(tmp_path: Path) -> None:
    """A lone surrogate, which some JavaScript writes, neither stops the reading nor the writing of JSON."""
    file = tmp_path / "x.json"
    file.write_text(json.dumps(payload(otlp_span(name="half \ud83d"))))
    traces = read(file)
    write_traces(traces, str(file), "json")
    assert read(file).records[0].name == "half \ud83d"
    with pytest.raises(InputError, match="cannot be written as protobuf"):
        write_traces(traces, str(tmp_path / "x.pb"), "proto")
