"""Environments: one virtual environment per set of peers, pinned, beside the repository's own.

`.venv-bench-<name>` is made with uv from `peers/<name>.txt` and made anew when that file changes. The peers' packages
never meet those we develop with; our own code is taken from the working tree.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = Path(__file__).resolve().parent / "peers"


def names() -> list[str]:
    """Every set of peers there is a list for."""
    return sorted(path.stem for path in PEERS.glob("*.txt"))


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise SystemExit("bench: uv is needed to install the peers (pip install uv)")
    return found


def python_of(name: str) -> Path:
    """Return the interpreter of an environment, made ready when it is not."""
    wanted = PEERS / f"{name}.txt"
    folder = ROOT / f".venv-bench-{name}"
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    state = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == state and python.exists():
        return python
    print(f"bench: installing {wanted.name} into {folder.name}", file=sys.stderr)
    subprocess.run([_uv(), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([_uv(), "pip", "install", "--quiet", "--python", str(python), "-r", str(wanted)], check=True)
    stamp.write_text(state)
    return python


def surroundings() -> dict[str, str]:
    """Return the environment variables of a probe: our code from the tree, nothing configured, hashes repeatable."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "AGENTCOST_", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "OPENAI_API_KEY": "sk-bench"}
