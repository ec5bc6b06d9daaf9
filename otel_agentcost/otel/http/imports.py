"""Imports: run a function as soon as the application imports a module, and never import that module ourselves.

    when_imported("httpx", patch)   # now, if it is there already; otherwise right after its import

One finder in `sys.meta_path` stands aside for every name it was not asked about, and leaves no trace on the modules
it saw: loader and spec are the original ones again before their code runs.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from otel_agentcost.otel.health import guard

Patch = Callable[[ModuleType], None]


class _Finder(MetaPathFinder):
    """Find the awaited modules where everybody else finds them, and ask to be told when they are loaded."""

    def __init__(self) -> None:
        self.awaited: dict[str, Patch] = {}
        self._searching = threading.local()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.awaited or getattr(self._searching, "name", None) == name:
            return None
        self._searching.name = name
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
        finally:
            self._searching.name = None
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader(Loader):
    """Load a module with its own loader, then call who waited for it."""

    def __init__(self, original: Loader, finder: _Finder) -> None:
        self._original = original
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        original = self._original
        if module.__spec__ is not None:
            module.__spec__.loader = original
        module.__loader__ = original
        original.exec_module(module)
        patch = self._finder.awaited.get(module.__name__)
        if patch is not None:
            with guard("tap.patch"):
                patch(module)


_finder = _Finder()


def when_imported(name: str, patch: Patch) -> None:
    """Call `patch(module)` for a module that is imported already, or as soon as it has been imported.

    One function waits for a module; a second one takes its place.
    """
    module = sys.modules.get(name)
    if module is not None:
        with guard("tap.patch"):
            patch(module)
    _finder.awaited[name] = patch
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def stop_waiting() -> None:
    """Forget every module that was waited for."""
    _finder.awaited.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
