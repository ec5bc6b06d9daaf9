"""The data both languages share, as JSON written by `make generate` from semconv/ and prices/.

Python loads these files, the Go component embeds the very same bytes. Never edit them by hand.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any


@lru_cache(maxsize=None)
def load(name: str) -> Any:
    """Return the parsed content of `<name>.json`; parsed once, so treat it as read-only."""
    return json.loads(files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
