"""Writing traces as OTLP JSON, OTLP JSON lines or OTLP protobuf; whole or not at all."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from otel_agentcost.cli.console import json_text
from otel_agentcost.cli.traces.collection import Traces
from otel_agentcost.errors import InputError

Format = Literal["json", "jsonl", "proto"]

_SUFFIXES: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".pb": "proto",
    ".binpb": "proto",
    ".bin": "proto",
    ".proto": "proto",
}


def format_of(path: str) -> Format:
    """Choose the form by the suffix (`.gz` aside); stdout and unknown suffixes get JSON lines."""
    name = Path(path)
    if name.suffix == ".gz":
        name = name.with_suffix("")
    return _SUFFIXES.get(name.suffix, "jsonl")


def write_traces(traces: Traces, path: str, form: Format) -> None:
    """Write all payloads to a file (`-` is stdout). A file appears only when it is complete, so `path` may be an input.

    Doubles carry the shortest digits that read back to the same double; 64-bit integers are strings, as OTLP JSON
    demands. Raises InputError when the file cannot be written.
    """
    if path == "-":
        for chunk in _chunks(traces, form):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        _write_through(traces, target, form)
        return
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as raw:
            if target.suffix == ".gz":
                # mtime=0: the same traces give the same bytes.
                with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
                    for chunk in _chunks(traces, form):
                        packed.write(chunk)
            else:
                for chunk in _chunks(traces, form):
                    raw.write(chunk)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write_through(traces: Traces, target: Path, form: Format) -> None:
    """Write to a device or a pipe, which must not be replaced by a file."""
    try:
        with target.open("wb") as stream:
            for chunk in _chunks(traces, form):
                stream.write(chunk)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _chunks(traces: Traces, form: Format) -> Iterator[bytes]:
    if form == "proto":
        from otel_agentcost.cli.traces.wire import encode

        # Concatenated requests are one request: protobuf merges repeated fields.
        for payload in traces.payloads:
            try:
                yield encode(payload, traces.unreadable)
            except ValueError as error:
                raise InputError(f"cannot be written as protobuf, write JSON instead: {error}") from error
        return
    if form == "jsonl":
        for payload in traces.payloads:
            yield (_text(payload) + "\n").encode()
        return
    yield b'{"resourceSpans":['
    separator = "\n"
    for payload in traces.payloads:
        for resource_spans in payload["resourceSpans"]:
            yield (separator + _text(resource_spans)).encode()
            separator = ",\n"
    yield b"\n]}\n"


def _text(value: object) -> str:
    return json_text(value, separators=(",", ":"))
