"""Read agentcost.yaml so that every later complaint can name the line.

Safe loading only, no duplicate keys, decimals stay decimals (a price that became a binary float would no longer be
the price that was written), dates stay the text that was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_agentcost.errors import ConfigError

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 4 * 1024 * 1024
"""A larger file is not a configuration somebody wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A parsed file and the line of every key in it."""

    path: str
    content: Mapping[str, object]
    lines: Mapping[str, int]
    """Dotted key (`prices.models[0].input`) -> line, counted from 1."""

    def where(self, key: str) -> str:
        """Return `file:line` of a key, or of the nearest key around it."""
        while key:
            line = self.lines.get(key)
            if line is not None:
                return f"{self.path}:{line}"
            key = re.sub(r"(^|\.?)[^.\[\]]*$|\[[^\]]*\]$", "", key)
        return self.path


def read(path: Path | None, shown: str = "") -> Parsed | None:
    """Parse the file; None without a path. ConfigError if it cannot be read or is not a YAML map.

    `shown` is how the user named the file: a path, or the variable that held it.
    """
    if path is None:
        return None
    shown = shown or str(path)
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(shown, "there is no such file") from None
    except OSError as error:
        raise ConfigError(shown, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(shown, f"is not UTF-8 text (byte {error.start})") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(shown, f"has {len(raw)} bytes; allowed are {MAX_BYTES}")
    return parse(text, str(path))


def parse(text: str, path: str) -> Parsed:
    """Parse the text of a file; `path` only names it in errors."""
    import yaml

    loader = _loader()(text)
    try:
        node = loader.get_single_node()
        lines: dict[str, int] = {}
        if node is not None:
            _index(node, "", lines, path, frozenset(), set())
        content = loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else path
        raise ConfigError(where, f"is not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(path, f"is not YAML: {error}") from None
    finally:
        loader.dispose()
    if not isinstance(content, dict):
        raise ConfigError(path, f"is a {type(content).__name__}; allowed is a map of settings")
    return Parsed(path=path, content=content, lines=lines)


@lru_cache(maxsize=1)
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader, except that money and dates keep the form they were written in."""

    def decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
        text = node.value.replace("_", "")
        try:
            return Decimal(text)
        except InvalidOperation:  # .inf, .nan and base 60: no price is written so; the key's own check complains
            return node.value

    def as_written(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
        return node.value

    Loader.add_constructor("tag:yaml.org,2002:float", decimal)
    Loader.add_constructor("tag:yaml.org,2002:timestamp", as_written)
    return Loader


def _index(
    node: yaml.Node, prefix: str, lines: dict[str, int], path: str, above: frozenset[int], seen_nodes: set[int]
) -> None:
    """Note the line of every key; refuse a key written twice and an anchor inside itself."""
    import yaml

    line = node.start_mark.line + 1
    if id(node) in above:
        raise ConfigError(prefix, "refers to itself by an anchor", where=f"{path}:{line}")
    if prefix:
        lines.setdefault(prefix, line)
    if id(node) in seen_nodes:  # an alias: walking it again for every use could take for ever
        return
    seen_nodes.add(id(node))
    inside = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            name = key_node.value
            dotted = f"{prefix}.{name}" if prefix else str(name)
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(prefix or path, "a key must be a plain text", where=f"{path}:{line}")
            if name in seen:
                raise ConfigError(dotted, "is set twice", where=f"{path}:{line}")
            seen.add(name)
            lines[dotted] = line
            _index(value_node, dotted, lines, path, inside, seen_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _index(item, f"{prefix}[{number}]", lines, path, inside, seen_nodes)
