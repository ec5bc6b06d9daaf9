"""The tap imports no HTTP library, and follows those the application imports, before or after installation."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.otel.tap_fixtures import MODULES

PRELUDE = """
import sys
from otel_agentcost.otel.http import install, uninstall
from otel_agentcost.otel.http.patching import _patches
def wrapped():
    return sorted((p.owner.__module__.split(".")[0], p.owner.__name__) for p in _patches)
"""


def run(program: str) -> str:
    """Run a program in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_installing_imports_no_http_library() -> None:
    """What the application has not imported, we do not import."""
    printed = run(
        """
        install()
        names = "httpx", "httpx2", "aiohttp", "botocore", "requests", "urllib3", "wrapt"
        print([name for name in names if name in sys.modules])
        """
    )
    assert printed == "[]"


@pytest.mark.parametrize("name", [module.__name__ for module in MODULES])
def test_a_library_imported_later_is_followed(name: str) -> None:
    """The import itself is the moment of patching, and the module looks as if nobody had been there."""
    printed = run(
        f"""
        install()
        import {name}
        from importlib.machinery import SourceFileLoader
        assert type({name}.__loader__) is SourceFileLoader, {name}.__loader__
        assert type({name}.__spec__.loader) is SourceFileLoader
        print(wrapped())
        """
    )
    assert printed == f"[('{name}', 'AsyncClient'), ('{name}', 'Client')]"


def test_a_library_imported_before_is_followed_at_once() -> None:
    """Order does not matter."""
    assert run("import httpx\ninstall()\nprint(wrapped())") == "[('httpx', 'AsyncClient'), ('httpx', 'Client')]"


def test_after_uninstalling_nothing_waits_for_imports() -> None:
    """Uninstall takes the finder out: a library imported later stays as it is."""
    printed = run(
        """
        before = list(sys.meta_path)
        install()
        uninstall()
        assert sys.meta_path == before
        import httpx
        print(wrapped())
        """
    )
    assert printed == "[]"


def test_a_missing_library_is_still_a_module_not_found() -> None:
    """The finder changes nothing about modules that do not exist."""
    printed = run(
        """
        from otel_agentcost.otel.http.imports import when_imported
        when_imported("no_such_module_at_all", print)
        try:
            import no_such_module_at_all
        except ModuleNotFoundError as error:
            print(error.name)
        """
    )
    assert printed == "no_such_module_at_all"


def test_a_library_that_fails_to_import_fails_as_before(tmp_path: object) -> None:
    """An exception in the imported module is the application's, unchanged, and we are not called."""
    printed = run(
        f"""
        from pathlib import Path
        from otel_agentcost.otel.http.imports import when_imported
        Path({str(tmp_path)!r}, "breaks.py").write_text("1 / 0")
        sys.path.insert(0, {str(tmp_path)!r})
        when_imported("breaks", print)
        try:
            import breaks
        except ZeroDivisionError:
            print("breaks" in sys.modules)
        """
    )
    assert printed == "False"


def test_a_submodule_can_be_awaited() -> None:
    """`package.module` is patched when that module is imported, not when its package is."""
    printed = run(
        """
        from otel_agentcost.otel.http.imports import when_imported
        when_imported("json.tool", lambda module: print("now", module.__name__))
        import json
        print("package")
        import json.tool
        """
    )
    assert printed.split("\n") == ["package", "now json.tool"]


def test_a_forked_child_follows_its_own_streams() -> None:
    """After a fork the child ends what it drops itself, and does not wait for the parent's thread."""
    printed = run(
        """
        import os, gc
        from otel_agentcost.otel.http.orphans import ORPHANAGE
        class Left:
            def __init__(self, name): self.name = name
            def end(self, *, complete): print(self.name, os.getpid() == PARENT, flush=True)
        PARENT = os.getpid()
        parent = Left("parent")
        ORPHANAGE.expect(parent)
        pid = os.fork()
        if pid == 0:
            assert len(ORPHANAGE._open) == 0
            child = Left("child")
            ORPHANAGE.expect(child)
            ORPHANAGE.adopt(child)
            ORPHANAGE.settle()
            os._exit(0)
        os.waitpid(pid, 0)
        ORPHANAGE.adopt(parent)
        ORPHANAGE.settle()
        ORPHANAGE._open.discard(parent)
        """
    )
    assert printed.split("\n") == ["child False", "parent True"]
