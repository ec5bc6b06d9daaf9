"""Draw what a command printed as an SVG for the docs: `python tools/picture.py docs/img/demo.svg -- agentcost demo`."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def draw(command: list[str], target: Path) -> int:
    """Run the command, write its output as a picture, return its exit code."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.rstrip().splitlines()
    width = max(len(line) for line in lines) + 2
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(Text(f"$ {' '.join(command)}", style="bold"))
    for line in lines:
        console.print(Text(line, style="bold green" if "last pico-dollar" in line else ""))
    svg = console.export_svg(title="otel-agentcost")
    # No font from the network: whoever views the file has a monospaced one.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")
    return done.returncode


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit("usage: python tools/picture.py FILE.svg -- COMMAND ...")
    sys.exit(draw(sys.argv[3:], Path(sys.argv[1])))
