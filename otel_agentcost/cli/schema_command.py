"""`agentcost schema`: the JSON Schema of agentcost.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from otel_agentcost._data import load
from otel_agentcost.cli.app import OK, shared_options
from otel_agentcost.cli.console import Console
from otel_agentcost.cli.settings import load_config


@click.command("schema")
@click.option("--check", "checked", type=click.Path(path_type=Path), help="Check a settings file instead.")
@shared_options
def command(console: Console, checked: Path | None) -> int:
    """Print the JSON Schema of agentcost.yaml, or check a settings file.

    A line `# yaml-language-server: $schema=agentcost.schema.json` at the top of agentcost.yaml lets editors complete
    and check it. A file with a mistake is an error (2) that names file, line and key.

    \b
    Examples:
      $ agentcost schema > agentcost.schema.json
      $ agentcost schema --check agentcost.yaml
    """
    if checked is None:
        console.document(load("agentcost.schema"))
        return OK
    config = load_config(Console(as_json=console.as_json, config_file=checked))
    if console.as_json:
        console.document({"file": config.source, "ok": True})
    else:
        console.line(f"{config.source}: ok")
    return OK
