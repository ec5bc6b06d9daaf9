"""The data both languages share, as JSON written by `make generate` from semconv/ and prices/.

Python loads these files, the Go component embeds the very same bytes. Never edit them by hand.
"""

from __future__ import annotations

import json
from functools import cache
from pkgutil import get_data  # importlib.resources would add 7 ms to the import of every application
from typing import Any


@cache
def load(name: str) -> Any:
    """Return the parsed content of `<name>.json`; parsed once, so treat it as read-only."""
    content = get_data(__name__, f"{name}.json")
    if content is None:
        raise FileNotFoundError(f"{__name__}/{name}.json is not part of this installation")
    return json.loads(content)
