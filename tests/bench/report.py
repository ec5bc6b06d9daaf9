"""Report: the table of bars, in plain text and in Markdown, and the further comparisons below it."""

from __future__ import annotations

from tests.bench.figures import BY_NAME, Bar, Figure, Findings

_WORDS = {"stretch": "stretch", "must": "must", "slack": "must, within slack", "missed": "MISSED"}


def number(value: float) -> str:
    """Print a figure with three digits that matter."""
    if value and abs(value) < 0.0995:
        return f"{value:.3f}"
    if abs(value) < 9.95:
        return f"{value:.2f}"
    if abs(value) < 99.5:
        return f"{value:.1f}"
    return f"{value:,.0f}".replace(",", " ")


def _cells(bar: Bar, figure: Figure) -> tuple[str, ...]:
    return (
        bar.name,
        bar.what,
        bar.unit,
        number(bar.must),
        number(bar.stretch),
        number(figure.ours),
        figure.peer,
        _WORDS[bar.verdict(figure.ours)],
    )


HEAD = ("bar", "what", "unit", "must", "stretch", "ours", "beside", "verdict")


def table(found: Findings) -> str:
    """The bars, one a line, aligned; below them everything else that was compared."""
    rows = [HEAD, *(_cells(BY_NAME[figure.bar], figure) for figure in found.figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines.append("")
    for name, values in found.rows.items():
        told = ", ".join(f"{key} {number(value)}" for key, value in values.items())
        lines.append(f"{name}: {told}")
    lines += found.notes
    return "\n".join(lines)


def markdown(found: Findings) -> str:
    """The table of bars for the page."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(_cells(BY_NAME[figure.bar], figure)) + " |" for figure in found.figures]
    return "\n".join(lines)
