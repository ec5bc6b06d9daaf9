"""`agentcost read`: recorded HTTP exchanges into what they consumed, one line each."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import click

from otel_agentcost.cli.app import FINDINGS, OK, shared_options
from otel_agentcost.cli.console import Console, count_text, plural
from otel_agentcost.errors import InputError
from otel_agentcost.usage.exchange import read_exchange
from otel_agentcost.usage.reading import Part, Reading

SHOWN_PROBLEMS = 20
"""Bad lines told one by one; more are only counted, so that a wrong file does not flood the terminal."""


@click.command("read")
@click.argument("file", metavar="FILE.jsonl[.gz]")
@shared_options
def command(console: Console, file: str) -> int:
    """Read recorded HTTP exchanges: one line each with what was consumed.

    A line of the input is one exchange: `id`, `method`, `url`, `status`, `response_headers`, `request_body` and
    `response_body` (text, or base64 where `..._body_enc` says so). A line of the output: `id`; `status` (usage,
    no_usage, error, not_billed, invalid) with its `reason`; `model`; `usage` (inclusive: input_tokens holds cached
    ones); `items` (per model, its exclusive `units`: what is multiplied by a rate). Unknown is null, never 0.

    A bad line is named on stderr and skipped; then the exit code is 1.

    \b
    Examples:
      $ agentcost read exchanges.jsonl
      $ agentcost read exchanges.jsonl.gz > readings.jsonl
      $ cat exchanges.jsonl | agentcost read -
    """
    counts: Counter[str] = Counter()
    total = Path(file).stat().st_size if file != "-" and Path(file).is_file() else None
    with _opened(file) as (stream, raw), console.progress("reading", total) as advance:
        for number, line in _lines(console, counts, file, stream):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError(f"an exchange is a JSON object, not {type(record).__name__}")
                reading = read_exchange(record)
            except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
                _problem(console, counts, f"{file}: line {number}: {_why(error)}")
                continue
            counts[reading.status] += 1
            console.record(describe(record.get("id", number), reading))
            if raw is not None:
                advance(raw.tell())
    _summary(console, counts)
    return FINDINGS if counts[_BAD] else OK


_BAD = "bad lines"


def describe(identity: object, reading: Reading) -> Mapping[str, object]:
    """Describe a reading: inclusive totals as `usage`, exclusive quantities by model as `items`."""
    parts = reading.parts
    if not parts and reading.usage is not None and reading.status == "usage":
        parts = (Part(model=reading.model or reading.request_model, usage=reading.usage),)
    return {
        "id": identity,
        "status": reading.status,
        "reason": reading.reason,
        "provider": reading.provider,
        "model": reading.model,
        "usage": reading.usage,
        "items": [{"model": part.model, "units": part.usage.leaves()} for part in parts],
    }


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON at column {error.colno} ({error.msg})"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start} of the line"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"not an exchange ({error})"


def _problem(console: Console, counts: Counter[str], text: str) -> None:
    counts[_BAD] += 1
    if counts[_BAD] <= SHOWN_PROBLEMS:
        console.note(f"agentcost: {text}")


def _summary(console: Console, counts: Counter[str]) -> None:
    if counts[_BAD] > SHOWN_PROBLEMS:
        console.note(f"agentcost: {count_text(counts[_BAD] - SHOWN_PROBLEMS)} more bad lines")
    read = sum(n for status, n in counts.items() if status != _BAD)
    by_status = ", ".join(f"{count_text(n)} {status}" for status, n in counts.most_common() if status != _BAD)
    told = f": {by_status}" if read else ""
    console.note(f"{plural(read, 'exchange')}{told}; {plural(counts[_BAD], 'bad line')}")


@contextmanager
def _opened(file: str) -> Iterator[tuple[Iterable[bytes], IO[bytes] | None]]:
    """Open a file, unpacking gzip: (the stream, the raw file whose position tells the progress)."""
    if file == "-":
        stdin = sys.stdin.buffer
        buffered = stdin if isinstance(stdin, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stdin))
        if buffered.peek(2)[:2] == b"\x1f\x8b":
            with gzip.open(buffered) as unpacked:
                yield unpacked, None
        else:
            yield buffered, None
        return
    try:
        raw = Path(file).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{file}: cannot be opened ({error.strerror}); give a file of JSON lines") from error
    with raw:
        if raw.peek(2)[:2] == b"\x1f\x8b":
            with gzip.open(raw) as unpacked:
                yield unpacked, raw if raw.seekable() else None
        else:
            yield raw, raw if raw.seekable() else None


def _lines(console: Console, counts: Counter[str], file: str, stream: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Number the lines; a damaged gzip file ends with a message instead of a traceback."""
    number = 0
    try:
        for line in stream:
            number += 1
            yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        _problem(console, counts, f"{file}: after line {number}: truncated or damaged gzip ({error})")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
