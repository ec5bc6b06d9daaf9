"""Run the test suite on other Pythons and other OpenTelemetry versions, each in a virtual environment of its own.

    python tools/test_matrix.py --oldest     the oldest Python found, with the oldest OpenTelemetry we support
    python tools/test_matrix.py --beside     this Python, the live matrix with other instrumentations beside us
    python tools/test_matrix.py --all        every Python found, with the oldest and the newest OpenTelemetry
    python tools/test_matrix.py --list       only say what would run

Only interpreters that are already on the machine are used (PATH, pyenv, uv); nothing is downloaded but packages.
Environments are kept in `.venv-<python>-<oldest|newest>` and installed anew only when pyproject.toml changed.
Anything behind `--` goes to pytest: `python tools/test_matrix.py --oldest -- tests/cli -x`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 10)
NEWEST_PYTHON = (3, 14)
OLDEST_OTEL = (
    "opentelemetry-api==1.39.*",
    "opentelemetry-sdk==1.39.*",
    "opentelemetry-proto==1.39.*",
    "opentelemetry-exporter-otlp==1.39.*",
    "opentelemetry-exporter-otlp-proto-grpc==1.39.*",
    "opentelemetry-exporter-otlp-proto-http==1.39.*",
    "opentelemetry-semantic-conventions>=0.60b0,<0.61b0",
    "opentelemetry-instrumentation>=0.60b0,<0.61b0",
    "opentelemetry-instrumentation-httpx>=0.60b0,<0.61b0",
    "opentelemetry-distro>=0.60b0,<0.61b0",
    "openai<3",
)
"""The first release line that pyproject.toml admits, contrib packages of the same date, and the SDK on old httpx."""
EXTRAS = "demo,zero-code"


@dataclass(frozen=True, slots=True, order=True)
class Interpreter:
    """A Python on this machine."""

    version: tuple[int, int, int]
    path: str

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.version))} ({self.path})"

    @property
    def minor(self) -> str:
        """`3.10`."""
        return f"{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the suite."""

    interpreter: Interpreter
    otel: str
    """oldest, newest, or beside: the newest with other instrumentations installed."""

    @property
    def environment(self) -> Path:
        """Where its virtual environment lives."""
        return ROOT / f".venv-{self.interpreter.minor}-{self.otel}"

    def __str__(self) -> str:
        if self.otel == "beside":
            return f"{self.interpreter}, live matrix with other instrumentations beside us"
        return f"{self.interpreter}, {self.otel} OpenTelemetry"


def candidates() -> list[str]:
    """List paths that may be Pythons: this one, PATH, pyenv, uv's own."""
    paths = [sys.executable, *(shutil.which(f"python3.{m}") or "" for m in range(OLDEST_PYTHON[1], 20))]
    roots = [Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"]
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    roots.append(Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python"))
    for root in roots:
        paths += [str(p / "bin" / "python3") for p in sorted(root.glob("*"))] if root.is_dir() else []
    return [p for p in paths if p and Path(p).exists()]


def interpreters() -> list[Interpreter]:
    """Find one interpreter for each minor version we support, oldest first; ask each for its version."""
    found: dict[tuple[int, int], Interpreter] = {}
    for path in candidates():
        ask = "import sys; print(sys.implementation.name, *sys.version_info[:3])"
        try:
            answer = subprocess.run([path, "-c", ask], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        words = answer.stdout.split()
        # pyenv's shims exist for versions that are not selected, and then fail.
        if answer.returncode != 0 or len(words) != 4 or words[0] != "cpython":
            continue
        version = (int(words[1]), int(words[2]), int(words[3]))
        if OLDEST_PYTHON <= version[:2] <= NEWEST_PYTHON:
            found.setdefault(version[:2], Interpreter(version, path))
    return sorted(found.values())


def run(command: list[str], **extra: object) -> int:
    """Run a command in the repository and return its exit code."""
    return subprocess.run(command, cwd=ROOT, check=False, **extra).returncode  # type: ignore[call-overload, no-any-return]


def prepare(job: Job, uv: str) -> bool:
    """Create the environment, unless it is there and pyproject.toml did not change."""
    constraints = list(OLDEST_OTEL) if job.otel == "oldest" else []
    wanted = hashlib.sha256(
        "\n".join([(ROOT / "pyproject.toml").read_text(), str(job.interpreter), *constraints]).encode()
    ).hexdigest()
    marker = job.environment / ".installed"
    if marker.is_file() and marker.read_text() == wanted:
        return True
    offline = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    if run([uv, "venv", "--quiet", "--clear", "--python", job.interpreter.path, str(job.environment)], env=offline):
        return False
    install = [uv, "pip", "install", "--quiet", "--python", str(job.environment / "bin" / "python")]
    install += ["-e", f".[{EXTRAS}]", "--group", "test", "--group", "sdks", *constraints]
    if job.otel == "newest":
        install += ["--group", "file-config"]  # pinned to one SDK release each; none for the oldest
    if job.otel == "beside":
        install += ["--group", "beside"]  # kept apart: zero-code start-up would load them in every other test
    if run(install, env=offline):
        return False
    marker.write_text(wanted)
    return True


def versions(job: Job) -> str:
    """Name the versions that matter, as installed."""
    ask = (
        "from importlib.metadata import version, PackageNotFoundError\n"
        "for name in ('opentelemetry-sdk', 'openai', 'anthropic', 'google-genai', 'httpx'):\n"
        "    try: print(name, version(name), end='  ')\n"
        "    except PackageNotFoundError: print(name, 'not installed', end='  ')\n"
    )
    python = str(job.environment / "bin" / "python")
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False).stdout.strip()


def main(argv: list[str] | None = None) -> int:
    """Run the jobs one after the other; exit code 1 when any of them failed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for_pytest: list[str] = []
    if "--" in arguments:
        split = arguments.index("--")
        arguments, for_pytest = arguments[:split], arguments[split + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--oldest", action="store_true", help="oldest Python found, oldest OpenTelemetry")
    which.add_argument("--beside", action="store_true", help="the live matrix, other instrumentations beside us")
    which.add_argument("--all", action="store_true", help="every Python found, oldest and newest OpenTelemetry")
    which.add_argument("--list", action="store_true", help="list the runs of --all and stop")
    options = parser.parse_args(arguments)

    found = interpreters()
    running = sys.version_info[:2]
    if not found:
        print(f"no CPython from 3.{OLDEST_PYTHON[1]} to 3.{NEWEST_PYTHON[1]} found", file=sys.stderr)
        return 1
    print("Pythons found: " + ", ".join(map(str, found)))
    missing = [
        f"3.{m}" for m in range(OLDEST_PYTHON[1], NEWEST_PYTHON[1] + 1) if (3, m) not in {i.version[:2] for i in found}
    ]
    if missing:
        print(f"not on this machine, so not tested here: {', '.join(missing)}")
    if len(found) == 1:
        print("only one Python found: it is the oldest and the newest")
    if options.beside:
        default = next((i for i in found if i.version[:2] == running), found[-1])
        jobs = [Job(default, "beside")]
        for_pytest = for_pytest or ["tests/live"]
    elif options.oldest:
        jobs = [Job(found[0], "oldest")]
        if found[0].version[:2] == running:
            print(
                f"the oldest Python found is the default one, {found[0].minor}; it runs with the oldest OpenTelemetry"
            )
    else:
        jobs = [Job(interpreter, otel) for interpreter in found for otel in ("oldest", "newest")]
    if options.list:
        print("\n".join(map(str, jobs)))
        return 0

    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        print("uv is not installed; `make test` installs it, or: pip install uv", file=sys.stderr)
        return 1
    results: list[tuple[Job, str]] = []
    for job in jobs:
        print(f"\n=== {job}", flush=True)
        begin = time.monotonic()
        if not prepare(job, uv):
            results.append((job, "cannot be installed"))
            continue
        print(versions(job), flush=True)
        code = run([str(job.environment / "bin" / "python"), "-m", "pytest", "-q", *for_pytest])
        took = f"{time.monotonic() - begin:.0f} s"
        results.append((job, f"passed in {took}" if code == 0 else f"FAILED (pytest exit code {code}) in {took}"))
    print("\n" + "\n".join(f"{job}: {result}" for job, result in results))
    return 0 if all(result.startswith("passed") for _, result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
