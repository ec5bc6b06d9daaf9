"""What the command line says and where: figures to stdout, everything else to stderr, the same for people and pipes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import click

from otel_agentcost.pricing.money import decimal_text


class Progress(Protocol):
    """Something that is told how far the work is."""

    def __call__(self, done: int) -> None:
        """Say how much is done in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Where one command writes. stdout carries figures only, so that it can be piped; notes go to stderr."""

    as_json: bool = False
    config_file: Path | None = None

    def line(self, text: str = "") -> None:
        """Write one line for people to stdout; styles vanish when stdout is no terminal or NO_COLOR is set."""
        click.echo(_encodable(text), color=_colour(sys.stdout))

    def document(self, value: object) -> None:
        """Write one JSON document to stdout."""
        click.echo(json_text(_plain(value), sys.stdout.encoding, indent=2))

    def record(self, value: object) -> None:
        """Write one JSON line to stdout."""
        click.echo(json_text(_plain(value), sys.stdout.encoding))

    def note(self, text: str) -> None:
        """Write one line to stderr."""
        click.echo(text, err=True, color=_colour(sys.stderr))

    @contextmanager
    def progress(self, label: str, total: int | None, *, unit: str = "bytes") -> Iterator[Progress]:
        """Show a bar on stderr while something long goes on; only on a terminal."""
        if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield _silent
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
        with Bar(*columns, console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total)

            def advance(done: int) -> None:
                bar.update(task, completed=done)

            yield advance


def json_text(value: object, encoding: str | None = "utf-8", **layout: Any) -> str:
    """Write JSON as readable text; what the encoding cannot carry (also lone surrogates) becomes a \\u escape."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, **layout)
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, allow_nan=False, **layout)
    return text


def _silent(done: int) -> None:
    """Tell nobody."""


def _colour(stream: object) -> bool | None:
    """Say no to colour under NO_COLOR (no-color.org); otherwise let click look whether it is a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def _encodable(text: str) -> str:
    """Replace what the terminal's encoding cannot show, so that a span name never stops a report."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.translate(_ASCII)
        return plain.encode(encoding, errors="replace").decode(encoding)
    return text


_ASCII = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "…": "~", "×": "x", "·": "-", "≠": "!="})


def _plain(value: object) -> object:
    """Turn what our nouns hold into what JSON knows: decimals become numbers, mappings dicts, tuples lists."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(v) for v in value)  # type: ignore[type-var]
    if isinstance(value, Path):
        return str(value)
    return value


def money_text(pico: int | None, currency: str = "USD") -> str:
    """Write an amount exactly, for people: `$0.0021`, `0.0021 EUR`, `-` when no cost is claimed."""
    if pico is None:
        return "-"
    if currency != "USD":
        return f"{decimal_text(pico)} {currency}"
    text = decimal_text(abs(pico))
    return f"-${text}" if pico < 0 else f"${text}"


def count_text(number: int | Decimal) -> str:
    """Write a quantity with thousands separators: `12,345` or `0.25`."""
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number.normalize():,f}"


def plural(number: int, noun: str) -> str:
    """Write a number with its noun: `1 span`, `2,000 spans`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def table(
    rows: Sequence[Sequence[str]], *, head: Sequence[str] = (), right: Sequence[int] = (), gap: str = "  "
) -> list[str]:
    """Lay out columns as text lines without trailing blanks; `right` names the columns that end flush."""
    every = ([list(head)] if head else []) + [list(row) for row in rows]
    if not every:
        return []
    width = [max(len(click.unstyle(row[i])) for row in every) for i in range(len(every[0]))]
    lines = []
    for row in every:
        cells = []
        for i, cell in enumerate(row):
            pad = " " * (width[i] - len(click.unstyle(cell)))
            cells.append(pad + cell if i in right else cell + pad)
        lines.append(gap.join(cells).rstrip())
    if head:
        lines[0] = click.style(lines[0], bold=True)
    return lines
