"""Patching: wrap methods of somebody else's class once, and take the wrapper out again where nobody has built on it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from otel_agentcost.otel.health import count

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Patch:
    """One wrapped method."""

    owner: Any
    name: str
    original: Function
    wrapper: Function


_patches: list[Patch] = []
"""What is in place now. Changed under the lock of `install` and `uninstall`, or by the import of a module."""


def wrap(owner: Any, name: str, make: Callable[[Function], Function]) -> bool:
    """Replace `owner.name` by `make(original)`; a second time nothing happens. Tell whether it could be done."""
    original = getattr(owner, name, None)
    if original is None:
        count("unpatched", owner=getattr(owner, "__name__", "?"), method=name)
        return False
    if not any(patch.owner is owner and patch.name == name for patch in _patches):
        wrapper = functools.wraps(original)(make(original))
        setattr(owner, name, wrapper)
        _patches.append(Patch(owner, name, original, wrapper))
    return True


def unwrap_all() -> None:
    """Put every original back; where somebody has wrapped our wrapper since, it stays and passes through."""
    for patch in list(_patches):
        if vars(patch.owner).get(patch.name) is patch.wrapper:
            setattr(patch.owner, patch.name, patch.original)
            _patches.remove(patch)
