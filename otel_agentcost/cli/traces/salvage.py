"""Saving the whole spans of a JSON document that ends, or breaks, in the middle."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:]', re.DOTALL)
_CLOSER = {"{": "}", "[": "]"}


def whole_spans(text: str) -> tuple[str, int] | None:
    """Cut a broken document after its last whole span and close it: (the shorter document, spans kept) or None.

    A span is an object directly inside an array called `spans`, in OTLP, Jaeger and Tempo JSON alike. Half a span is
    left out: with some of its attributes missing it would be priced wrongly instead of not at all.
    """
    opened: list[tuple[str, str]] = []  # bracket and the key it stands under
    key = last_string = ""
    cut: tuple[int, str] | None = None
    kept = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == ":":
            key = last_string
        elif token in _CLOSER:
            opened.append((token, key))
            key = ""
        elif token in "}]":
            if not opened or _CLOSER[opened[-1][0]] != token:
                break
            opened.pop()
            if token == "}" and opened and opened[-1] == ("[", "spans"):
                kept += 1
                cut = (match.end(), "".join(_CLOSER[bracket] for bracket, _ in reversed(opened)))
        else:
            last_string = token[1:-1]
    if cut is None:
        return None
    position, closers = cut
    return text[:position] + closers, kept
