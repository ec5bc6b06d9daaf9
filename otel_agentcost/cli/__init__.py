"""The command `agentcost`. Only `main` is public; everything else is loaded when a command needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Exit codes: 0 ok, 1 findings, 2 usage or set-up. Without the `cli` extra: one line that says what to install.
    """
    try:
        from otel_agentcost.cli.app import application
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        print(
            f"agentcost: the package {missing!r} is not installed; the command line needs the extra `cli`: "
            "pip install 'otel-agentcost[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    application.main(args=None if argv is None else list(argv), prog_name="agentcost")
