"""`agentcost completion`: the lines a shell needs to complete our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from otel_agentcost.cli.app import OK, application, shared_options
from otel_agentcost.cli.console import Console


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@shared_options
def command(console: Console, shell: str) -> int:
    """Print a completion script for a shell.

    \b
    Examples:
      $ agentcost completion bash > agentcost-completion.bash
      $ agentcost completion zsh
      $ agentcost completion fish
    """
    complete = get_completion_class(shell)
    assert complete is not None
    script = complete(application, {}, "agentcost", "_AGENTCOST_COMPLETE")
    source = script.source_template % script.source_vars()
    if console.as_json:
        console.document({"shell": shell, "script": source})
    else:
        console.line(source.rstrip())
    return OK
