"""The errors a user can meet; nothing else of ours is ever raised.

    AgentCostError
    ├── ConfigError        a key of agentcost.yaml, an option or a variable is wrong (names the key)
    ├── PriceBookError     a price book or fee file cannot be used (names the file and the entry)
    ├── UsageError         evidence of consumption contradicts itself (names both numbers)
    ├── InputError         a file given to the command line cannot be read (names the file and the line)
    └── BudgetExceeded     a budget the user asked to enforce is used up

Errors are for configuration and the command line. In the telemetry path nothing is raised: a counter counts,
a status and a reason stand on the span.
"""

from __future__ import annotations


class AgentCostError(Exception):
    """Everything raised by otel-agentcost on purpose."""


class ConfigError(AgentCostError):
    """A setting is wrong; `key` is its dotted path in agentcost.yaml or the variable's name.

    `where` is the file and line it was found at, when it came from a file: `agentcost.yaml:12`.
    """

    def __init__(self, key: str, problem: str, *, hint: str = "", where: str = "") -> None:
        self.key = key
        self.problem = problem
        self.hint = hint
        self.where = where
        place = f"{where}: " if where else ""
        super().__init__(f"{place}{key}: {problem}" + (f" ({hint})" if hint else ""))


class PriceBookError(AgentCostError):
    """A price book, fee or compute file is unusable."""


class UsageError(AgentCostError):
    """Usage that contradicts itself, e.g. more cached than input tokens."""


class InputError(AgentCostError):
    """A file handed to the command line is missing, truncated or of an unknown form."""


class BudgetExceeded(AgentCostError):  # noqa: N818 - the field's name for it
    """An enforced budget has no room for the next call."""
