"""The command group: which commands there are, the options all share, and how a run ends.

A command is a module with `command`, imported only when somebody asks for it. Its function returns an exit code.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from otel_agentcost.cli.console import Console
from otel_agentcost.errors import AgentCostError

OK = 0
FINDINGS = 1
USAGE = 2
INTERRUPTED = 130
CLOSED_PIPE = 141
"""What a shell reports for a program that SIGPIPE ended: the reader (`| head`) has seen enough."""

COMMANDS = ("demo", "run", "price", "read", "replay", "explain", "prices", "schema", "doctor", "completion")
"""Module `otel_agentcost.cli.<name>_command` holds each; the order is the order of the help."""


class ClosedPipeError(Exception):
    """Whoever reads our output has seen enough."""


class Application(click.Group):
    """A group that imports its commands late and ends with our exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"otel_agentcost.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " See `agentcost --help`."
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away is told from other errors before click calls it a failure."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise ClosedPipeError from error
            raise

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and leave with its exit code; an error of ours becomes one line on stderr."""
        try:
            code = super().main(
                args=args, prog_name=prog_name, complete_var=complete_var, standalone_mode=False, **extra
            )
            sys.stdout.flush()
        except (ClosedPipeError, BrokenPipeError):
            # The interpreter flushes stdout once more at exit; that must not complain about the same pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = CLOSED_PIPE
        except click.ClickException as error:
            error.show()
            code = USAGE
        except AgentCostError as error:
            click.echo(f"agentcost: {error}", err=True)
            code = USAGE
        except (KeyboardInterrupt, click.Abort):
            click.echo("agentcost: interrupted", err=True)
            code = INTERRUPTED
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else OK)


def _version() -> str:
    try:
        return version("otel-agentcost")
    except PackageNotFoundError:
        return "unknown (not installed as a package)"


@click.group(
    cls=Application,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 findings, 2 usage. Settings: ./agentcost.yaml, $AGENTCOST_CONFIG or --config.",
)
@click.version_option(_version(), "--version", prog_name="agentcost", message="%(prog)s %(version)s")
def application() -> None:
    """What one run of an AI agent cost, exactly, from its OpenTelemetry trace.

    \b
    Examples:
      $ agentcost demo
      $ agentcost price --model gpt-4o --usage '{"input_tokens": 1000, "output_tokens": 500}'
      $ agentcost replay trace.json
    """


def shared_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command `--json` and `--config`, and hand it a Console as first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    @click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="Settings (default: $AGENTCOST_CONFIG, or ./agentcost.yaml where there is one).",
    )
    @functools.wraps(function)
    def with_console(as_json: bool, config_file: Path | None, **options: Any) -> int:
        return function(Console(as_json=as_json, config_file=config_file), **options)

    return with_console
