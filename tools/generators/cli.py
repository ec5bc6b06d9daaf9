"""docs/cli.md: the help of every command, between the marks `<!-- help: NAME -->` and `<!-- /help -->`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from otel_agentcost.cli.app import COMMANDS, application

SOURCE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
WIDTH = 100
_BLOCK = re.compile(r"<!-- help: (\S+) -->\n.*?<!-- /help -->", re.DOTALL)


def help_of(name: str) -> str:
    """Return the help text of a command (`agentcost` for the group), at a fixed width."""
    width: dict[str, Any] = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(application, info_name="agentcost", **width, **application.context_settings)
    if name == "agentcost":
        return application.get_help(context)
    command = application.get_command(context, name)
    if command is None:
        raise ValueError(f"{SOURCE}: there is no command {name!r}")
    return command.get_help(click.Context(command, info_name=name, parent=context, **width))


def outputs() -> dict[Path, bytes]:
    """Return the page with the help texts of now; every command must have its place."""
    page = SOURCE.read_text(encoding="utf-8")
    named = _BLOCK.findall(page)
    for name in ("agentcost", *COMMANDS):
        if named.count(name) != 1:
            raise ValueError(f"{SOURCE}: <!-- help: {name} --> stands there {named.count(name)} times, not once")

    def block(match: re.Match[str]) -> str:
        text = "\n".join(line.rstrip() for line in help_of(match[1]).rstrip().splitlines())
        return f"<!-- help: {match[1]} -->\n```text\n{text}\n```\n<!-- /help -->"

    return {SOURCE: _BLOCK.sub(block, page).encode()}
