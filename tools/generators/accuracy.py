"""docs/accuracy.md: written by the tests that prove it (tests/accuracy.py)."""

from __future__ import annotations

import importlib
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"


def outputs() -> dict[Path, bytes]:
    """Return the page; figures about recordings that are not here are kept from the committed page."""
    accuracy = importlib.import_module("tests.accuracy")
    return {TARGET: accuracy.page().encode()}
