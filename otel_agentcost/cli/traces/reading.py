"""Reading trace files of any known form, told by their content, line by line where the form allows it."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from otel_agentcost.cli.console import Console, plural
from otel_agentcost.cli.traces import jaeger
from otel_agentcost.cli.traces.collection import Object, Problem, Traces
from otel_agentcost.cli.traces.salvage import whole_spans
from otel_agentcost.errors import InputError

_KNOWN = "OTLP JSON, OTLP JSON lines, OTLP protobuf, Jaeger JSON or Tempo JSON"
_OTHER_SIGNALS = ("resourceMetrics", "resourceLogs", "resourceProfiles", "resource_metrics", "resource_logs")


class UnknownFormError(ValueError):
    """Valid JSON that is no trace."""


def read_traces(inputs: Iterable[str], console: Console) -> Traces:
    """Read every file (`-` is stdin, a directory means the trace files in it) into one collection.

    What cannot be read becomes a Problem that names file and line or byte; whatever else the file holds is kept.
    Raises InputError for a file that is not there.
    """
    paths = list(_files(inputs))
    total = sum(Path(p).stat().st_size for p in paths if p != "-")
    traces = Traces()
    with console.progress("reading", total if "-" not in paths else None) as advance:
        done = 0
        for path in paths:
            with _opened(path) as (stream, raw):
                for _ in _read(traces, stream, "stdin" if path == "-" else path):
                    advance(done + _position(raw))
            done += Path(path).stat().st_size if path != "-" else 0
    return traces


_SUFFIXES = (".json", ".jsonl", ".ndjson", ".pb", ".binpb", ".otlp", ".json.gz", ".jsonl.gz", ".pb.gz")


def _files(inputs: Iterable[str]) -> Iterator[str]:
    for name in inputs:
        path = Path(name)
        if name == "-" or path.is_file():
            yield name
        elif path.is_dir():
            found = sorted(str(p) for p in path.iterdir() if p.is_file() and p.name.endswith(_SUFFIXES))
            if not found:
                raise InputError(f"{name}: no trace file in this directory ({', '.join(_SUFFIXES)})")
            yield from found
        elif path.exists():
            # A pipe, such as bash's <(command).
            yield name
        else:
            raise InputError(f"{name}: no such file; give trace files ({_KNOWN}), a directory of them, or - for stdin")


@contextmanager
def _opened(path: str) -> Iterator[tuple[io.BufferedReader, BinaryIO]]:
    """Open a file, unpacking gzip: (the stream to read, the raw one whose position tells the progress)."""
    try:
        # A standard input is never sought in: it may be a pipe.
        raw = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        buffered = raw if hasattr(raw, "peek") else io.BufferedReader(cast(io.RawIOBase, raw))
        if buffered.peek(2)[:2] == b"\x1f\x8b":
            with gzip.open(buffered) as unpacked:
                yield cast(io.BufferedReader, unpacked), raw
        else:
            yield cast(io.BufferedReader, buffered), raw
    finally:
        if path != "-":
            raw.close()


def _position(raw: BinaryIO) -> int:
    """Return how many bytes of the file were read; 0 for a pipe."""
    try:
        return raw.tell()
    except OSError:
        return 0


def _read(traces: Traces, stream: io.BufferedReader, file: str) -> Iterator[None]:
    """Read one file, yielding now and then so that the caller can show progress."""
    try:
        head = stream.peek(4096)[:4096]
        if not head:
            traces.problems.append(Problem(file=file, where="", what="the file is empty"))
        elif head.startswith(b"\x28\xb5\x2f\xfd"):
            problem = "compressed with zstd; unpack it first: zstd -d FILE"
            traces.problems.append(Problem(file=file, where="", what=problem))
        elif _is_text(head):
            yield from _json(traces, stream, file)
        else:
            _protobuf(traces, stream.read(), file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        traces.problems.append(Problem(file=file, where="", what=f"truncated or damaged gzip ({error})"))
    yield


def _is_text(head: bytes) -> bool:
    """Tell JSON from protobuf, whose tags and ids hold control characters, and which may begin with a newline too."""
    return not any(b < 0x20 and b not in b"\t\r\n" for b in head)


def _protobuf(traces: Traces, data: bytes, file: str) -> None:
    from otel_agentcost.cli.traces import wire

    try:
        for offset, payload in wire.requests(data):
            traces.add(payload, file=file, where=f"byte {offset}")
    except wire.CutError as cut:
        before = len(traces.spans)
        if cut.rest is not None:
            traces.add(cut.rest, file=file, where=f"byte {cut.offset}")
        saved = len(traces.spans) - before
        what = str(cut) if traces.spans else f"{cut}; expected {_KNOWN}"
        note = f"; kept {plural(saved, 'whole span')} before it" if saved else ""
        traces.problems.append(Problem(file=file, where=f"byte {cut.offset}", what=what + note))


def _json(traces: Traces, stream: io.BufferedReader, file: str) -> Iterator[None]:
    """Read JSON lines when the first line is a document of its own, else one or several documents."""
    number = 1
    first = stream.readline()
    while first and not first.strip():
        first = stream.readline()
        number += 1
    if _is_trace(first):
        _line(traces, first, file, number)
        for line in iter(stream.readline, b""):
            number += 1
            _line(traces, line, file, number)
            yield
        return
    rest = stream.read()
    if _is_trace(rest.lstrip().partition(b"\n")[0]) and not _begins_with_a_document(first + rest):
        # Lines after all, with a broken first one.
        for line in (first, *rest.splitlines(keepends=True)):
            _line(traces, line, file, number)
            number += 1
            yield
    else:
        _documents(traces, first + rest, file, skipped=number - 1)


def _is_trace(line: bytes) -> bool:
    """Tell whether a line alone is a JSON object that can hold spans."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
        return isinstance(value, dict) and payloads_of(value) is not None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False


def _begins_with_a_document(data: bytes) -> bool:
    try:
        _DECODER.raw_decode(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


def _line(traces: Traces, line: bytes, file: str, number: int) -> None:
    if not line.strip():
        return
    where = f"line {number}"
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        traces.problems.append(Problem(file=file, where=where, what=f"not UTF-8 at byte {error.start} of the line"))
        return
    try:
        value = _parse(text)
    except ValueError as error:
        _broken(traces, text, error, file, where)
        return
    _take(traces, value, file, where)


def _documents(traces: Traces, data: bytes, file: str, *, skipped: int) -> None:
    """Read one JSON document that spans lines, or several behind each other."""
    data = b"\n" * skipped + data  # so that line numbers are those of the file
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        traces.problems.append(Problem(file=file, where=f"byte {error.start}", what="not UTF-8"))
        text = data[: error.start].decode("utf-8-sig", errors="ignore")
    position = 0
    while True:
        position = _skip_blank(text, position)
        if position >= len(text):
            return
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            _broken(traces, text, error, file, "", begin=position)
            return
        _take(traces, value, file, "")


def _skip_blank(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


_DECODER = json.JSONDecoder(parse_constant=str)
"""NaN and Infinity, which JSON does not know but some writers produce, become the strings OTLP uses for them."""


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _broken(traces: Traces, text: str, error: Exception, file: str, where: str, *, begin: int = 0) -> None:
    """Report JSON that cannot be parsed and keep the whole spans before the place where it breaks."""
    what = "nested too deeply"
    stop = len(text)
    if isinstance(error, json.JSONDecodeError):
        stop = error.pos
        cut_off = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        what = f"{'the JSON is cut off' if cut_off else 'invalid JSON'} ({error.msg})"
        where = where or f"line {error.lineno}"
        where += f", column {error.colno} (byte {len(text[: error.pos].encode())})"
    saved = whole_spans(text[begin:stop])
    if saved is not None:
        document, count = saved
        try:
            _take(traces, _parse(document), file, where)
            what += f"; kept {plural(count, 'whole span')} before it"
        except ValueError:
            pass
    traces.problems.append(Problem(file=file, where=where, what=what))


def _take(traces: Traces, value: object, file: str, where: str) -> None:
    try:
        for payload in payloads_of(value):
            traces.add(payload, file=file, where=where)
    except (ValueError, TypeError, AttributeError) as error:
        what = str(error) if isinstance(error, ValueError) else f"malformed trace ({error})"
        traces.problems.append(Problem(file=file, where=where, what=what))


def payloads_of(value: Any) -> list[Object]:
    """Recognise a parsed JSON value and return it as OTLP JSON objects. Raises UnknownFormError when it is no trace."""
    if isinstance(value, list):
        return [payload for item in value for payload in payloads_of(item)]
    if not isinstance(value, dict):
        raise UnknownFormError(f"a {type(value).__name__} is no trace; expected {_KNOWN}")
    if "resource_spans" in value:
        value = _camel(value)
    if "resourceSpans" in value:
        return [{"resourceSpans": value["resourceSpans"] or []}]
    if "batches" in value:  # Tempo /api/traces/{id}
        return [{"resourceSpans": value["batches"] or []}]
    for wrapper in ("trace", "result"):  # Tempo /api/v2/traces/{id}, Jaeger /api/v3/traces/{id}
        inner = value.get(wrapper)
        if isinstance(inner, dict) and {"resourceSpans", "resource_spans", "batches"} & inner.keys():
            return payloads_of(inner)
    if isinstance(value.get("data"), list):
        return [payload for trace in value["data"] for payload in payloads_of(trace)]
    if "traceID" in value and isinstance(value.get("spans"), list):
        return [jaeger.payload_of(value)]
    if "traceId" in value and "spanId" in value:
        return [{"resourceSpans": [{"scopeSpans": [{"spans": [value]}]}]}]
    if not value or any(signal in value for signal in _OTHER_SIGNALS):
        return []
    keys = ", ".join(list(value)[:6])
    raise UnknownFormError(f"no trace in it (its keys: {keys}); expected {_KNOWN}")


def _camel(value: object) -> Any:
    """Rename keys of protobuf's original names (`trace_id`) to OTLP JSON's (`traceId`); attribute keys are values."""
    if isinstance(value, dict):
        renamed = {}
        for key, item in value.items():
            head, *tail = key.split("_")
            renamed[head + "".join(word.capitalize() for word in tail)] = _camel(item)
        return renamed
    if isinstance(value, list):
        return [_camel(item) for item in value]
    return value
