"""Every setting, from four places: code over environment over `agentcost.yaml` over the defaults.

    Config.load()                         # AGENTCOST_CONFIG or ./agentcost.yaml, then AGENTCOST_* variables
    Config.load("costs.yaml", detail="full", identity={"tenant": "acme"})

A wrong setting is a `ConfigError` that names the file and line (or the variable, or the argument), the key, the
value found and what is allowed. The price part of the file (models, discounts, fees, compute, currency) belongs to
`pricing.overrides` and is handed on as it was parsed.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from otel_agentcost.errors import ConfigError
from otel_agentcost.otel import config_file, identity
from otel_agentcost.pricing.overrides import PRICE_KEYS, Overrides

DEFAULT_FILE = "agentcost.yaml"
PREFIX = "AGENTCOST_"
ENABLED_VARIABLE = "AGENTCOST_ENABLED"
FILE_VARIABLE = "AGENTCOST_CONFIG"
MIRRORS = ("gen_ai.usage.cost",)
"""Attributes of other vocabularies a call's own cost may be repeated under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What is looked at."""

    http: bool = True
    """Read usage from the HTTP exchanges of httpx, httpx2, aiohttp and botocore clients."""
    http_spans: bool = False
    """Let opentelemetry-instrumentation-httpx make a span of every HTTP request (`install()` only; under
    `opentelemetry-instrument` it does so anyway)."""
    unsampled: bool = False
    """Count spans, too, that head sampling drops: totals and metrics are complete, exports stay as they were. Each
    such span costs about 10 microseconds."""
    fees: bool = True
    """Price tool spans and HTTP client spans by the fee tables."""
    estimate_streams: bool = True
    """Estimate the usage of a stream that reports none; the figure is labelled `estimated`."""
    include_usage: bool = True
    """Ask hosts known to accept it for usage in the stream, and hide the extra event from the application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the work of this process belongs to, where a session does not say otherwise."""

    tenant: str | None = None
    project: str | None = None
    cost_center: str | None = None
    purpose: str | None = None
    """app, evaluation or experiment."""
    baggage: bool = False
    """Send the identity to `baggage_hosts` and believe what arrives as baggage."""
    baggage_hosts: tuple[str, ...] = ()
    """Exact host names, or suffixes that begin with a dot. Empty: nobody is told."""

    attributes: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """The identity as span attributes; made once, because it is looked at for every span."""

    def __post_init__(self) -> None:
        names = ("tenant", "project", "cost_center", "purpose")
        given = {identity.ATTRIBUTES[name]: getattr(self, name) for name in names if getattr(self, name) is not None}
        object.__setattr__(self, "attributes", MappingProxyType(given))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of memory. What does not fit is folded and counted; money is never dropped."""

    open_sessions: int = 10_000
    """Traces held at once; the one idle longest is folded first."""
    spans_per_session: int = 2_048
    """Charged spans kept one by one in a trace; more are folded into totals."""
    grace_seconds: float = 30.0
    """How long a trace is kept after its root ended, for late spans. 0 frees it at once."""
    max_age_seconds: float = 3_600.0
    """How long a trace may stay without a new span before it is taken for abandoned."""
    names: int = 4_096
    """Distinct model, agent and tool names that become metric labels; later ones count as `other`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set. Build it with `load()`, or from keywords in code; both check every value."""

    enabled: bool = True
    """False turns everything off: nothing is patched, no processor is added."""
    detail: Literal["default", "full"] = "default"
    """`full` adds the cost breakdown to every charged span; each attribute costs about 3 microseconds."""
    mirrors: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    """Names of other vocabularies to repeat a call's own cost under. Only on calls, never on totals."""
    capture: Capture = field(default_factory=Capture)
    identity: Identity = field(default_factory=Identity)
    limits: Limits = field(default_factory=Limits)
    overrides: Overrides = field(default_factory=Overrides)
    """The user's own prices, discounts, fees, compute rates and currency."""
    source: str | None = None
    """The file that was read, or None."""

    def __post_init__(self) -> None:
        """Check what was passed in code, so that a Config that exists is a Config that works."""
        for path, setting in SETTINGS.items():
            target: object = self
            for name in path:
                target = getattr(target, name)
            if target is not None and path[0] != "mirrors":
                _checked(setting, target, key=".".join(path), where="")
        _checked(SETTINGS[("mirrors",)], self.mirrors, key="mirrors", where="")

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, **settings: object) -> Config:
        """Read the file, the environment and `settings`, in rising precedence.

        Without `path`: the file named by `AGENTCOST_CONFIG`, else `./agentcost.yaml` if there is one. Settings have
        the form of the file: `load(detail="full", capture={"http": False})`. ConfigError on anything wrong.
        """
        values: dict[tuple[str, ...], object] = {}
        rest: Mapping[str, object] = {}
        parsed = config_file.read(*_chosen_file(path))
        source: str | None = None
        if parsed is not None:
            source = parsed.path
            own, rest = _split(parsed.content)
            _collect(own, values, where=parsed.where)
        values.update(_environment())
        own, more = _split(settings)
        _collect(own, values, where=lambda key: "")
        overrides = _overrides({**rest, **more}, parsed)
        return _build(values, overrides, source)


Check = Callable[[object], object]
"""Return the value in its final type, or raise ValueError saying what is allowed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: how it is checked and which variable sets it."""

    check: Check
    variable: str = ""


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "1", "yes", "on"):
        return True
    if isinstance(value, str) and value.strip().lower() in ("false", "0", "no", "off"):
        return False
    raise ValueError("true or false")


def _choice(allowed: tuple[str, ...], value: object) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise ValueError("one of " + ", ".join(allowed))


def _text(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= identity.MAX_LENGTH:
        return value
    raise ValueError(f"a text of 1 to {identity.MAX_LENGTH} characters (put digits in quotes)")


def _hosts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):  # the form of a variable
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, (list, tuple)) and all(
        isinstance(host, str) and host.strip(".") and not set("*/:@ ") & set(host) for host in value
    ):
        return tuple(value)
    raise ValueError("a list of host names; a leading dot allows all hosts below, e.g. .internal.example")


def _whole(minimum: int, value: object) -> int:
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
        return value
    raise ValueError(f"a whole number of at least {minimum}")


def _seconds(value: object) -> float:
    try:
        number = float(cast("str", value)) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if 0 <= number < float("inf"):
        return number
    raise ValueError("a number of seconds, 0 or more")


def _mirrors(value: object) -> Mapping[str, bool]:
    if not isinstance(value, Mapping):
        raise ValueError(f"a map such as {{{MIRRORS[0]}: true}}")
    result: dict[str, bool] = {}
    for name, flag in value.items():
        if name not in MIRRORS:
            raise ValueError(f"a map with the keys {', '.join(MIRRORS)}, and no {name!r}")
        if not isinstance(flag, bool):
            raise ValueError(f"true or false for {name}")
        result[name] = flag
    return MappingProxyType(result)


SETTINGS: Mapping[tuple[str, ...], Setting] = MappingProxyType(
    {
        ("enabled",): Setting(_flag, ENABLED_VARIABLE),
        ("detail",): Setting(partial(_choice, ("default", "full")), "AGENTCOST_DETAIL"),
        ("mirrors",): Setting(_mirrors),
        ("capture", "http"): Setting(_flag, "AGENTCOST_CAPTURE_HTTP"),
        ("capture", "http_spans"): Setting(_flag, "AGENTCOST_CAPTURE_HTTP_SPANS"),
        ("capture", "unsampled"): Setting(_flag, "AGENTCOST_CAPTURE_UNSAMPLED"),
        ("capture", "fees"): Setting(_flag, "AGENTCOST_CAPTURE_FEES"),
        ("capture", "estimate_streams"): Setting(_flag, "AGENTCOST_CAPTURE_ESTIMATE_STREAMS"),
        ("capture", "include_usage"): Setting(_flag, "AGENTCOST_CAPTURE_INCLUDE_USAGE"),
        ("identity", "tenant"): Setting(_text, "AGENTCOST_TENANT"),
        ("identity", "project"): Setting(_text, "AGENTCOST_PROJECT"),
        ("identity", "cost_center"): Setting(_text, "AGENTCOST_COST_CENTER"),
        ("identity", "purpose"): Setting(partial(_choice, identity.PURPOSES), "AGENTCOST_PURPOSE"),
        ("identity", "baggage"): Setting(_flag, "AGENTCOST_BAGGAGE"),
        ("identity", "baggage_hosts"): Setting(_hosts, "AGENTCOST_BAGGAGE_HOSTS"),
        ("limits", "open_sessions"): Setting(partial(_whole, 1), "AGENTCOST_LIMITS_OPEN_SESSIONS"),
        ("limits", "spans_per_session"): Setting(partial(_whole, 1), "AGENTCOST_LIMITS_SPANS_PER_SESSION"),
        ("limits", "grace_seconds"): Setting(_seconds, "AGENTCOST_LIMITS_GRACE_SECONDS"),
        ("limits", "max_age_seconds"): Setting(_seconds, "AGENTCOST_LIMITS_MAX_AGE_SECONDS"),
        ("limits", "names"): Setting(partial(_whole, 1), "AGENTCOST_LIMITS_NAMES"),
    }
)
"""Every key of ours, by its path in the file."""

_GROUPS: Mapping[str, type] = MappingProxyType({"capture": Capture, "identity": Identity, "limits": Limits})
_OTHER_VARIABLES = frozenset({FILE_VARIABLE, "AGENTCOST_RAISE", "AGENTCOST_CORPUS", "AGENTCOST_RECORD_DIR"})


def misspelt_variables() -> dict[str, str]:
    """Return AGENTCOST_* variables nobody reads although a known name is close: variable -> the name meant."""
    known = [setting.variable for setting in SETTINGS.values() if setting.variable]
    result: dict[str, str] = {}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known and name not in _OTHER_VARIABLES:
            meant = difflib.get_close_matches(name, [*known, FILE_VARIABLE], n=1, cutoff=0.8)
            if meant:
                result[name] = meant[0]
    return result


def _chosen_file(path: str | os.PathLike[str] | None) -> tuple[Path | None, str]:
    if path is not None:
        return Path(path), str(path)
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named), f"{FILE_VARIABLE}={named}"
    default = Path(DEFAULT_FILE)
    return (default, DEFAULT_FILE) if default.exists() else (None, "")


def _split(content: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Part our keys from those of the price book."""
    ours = {path[0] for path in SETTINGS}
    own = {key: value for key, value in content.items() if key in ours}
    return own, {key: value for key, value in content.items() if key not in ours}


def _collect(
    content: Mapping[str, object], into: dict[tuple[str, ...], object], *, where: Callable[[str], str]
) -> None:
    for key, value in content.items():
        if key not in _GROUPS:
            into[(key,)] = _checked(SETTINGS[(key,)], value, key=key, where=where(key))
            continue
        if isinstance(value, _GROUPS[key]):
            value = {part.name: getattr(value, part.name) for part in fields(_GROUPS[key]) if part.init}
        if not isinstance(value, Mapping):
            raise ConfigError(key, f"is {value!r}; allowed is a map of settings", where=where(key))
        for name, inner in value.items():
            dotted = f"{key}.{name}"
            setting = SETTINGS.get((key, name))
            if setting is None:
                names = [path[1] for path in SETTINGS if path[0] == key]
                raise unknown_key(dotted, name, names, where=where(dotted))
            if inner is not None:  # `tenant:` without a value, and a field left at None, say nothing
                into[(key, name)] = _checked(setting, inner, key=dotted, where=where(dotted))


def _checked(setting: Setting, value: object, *, key: str, where: str) -> object:
    try:
        return setting.check(value)
    except ValueError as error:
        raise ConfigError(key, f"is {value!r}; allowed is {error}", where=where) from None


def unknown_key(dotted: str, name: object, allowed: list[str], *, where: str) -> ConfigError:
    """Build the error for a key nobody knows, with the key that was probably meant."""
    close = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f"did you mean {close[0]}?" if close else ""
    return ConfigError(dotted, f"is not a setting; allowed are {', '.join(sorted(allowed))}", hint=hint, where=where)


def _environment() -> dict[tuple[str, ...], object]:
    found: dict[tuple[str, ...], object] = {}
    for path, setting in SETTINGS.items():
        text = os.environ.get(setting.variable, "") if setting.variable else ""
        if text:  # an empty variable is an unset one, as OpenTelemetry has it
            found[path] = _checked(setting, text, key=setting.variable, where="")
    return found


def _overrides(content: dict[str, object], parsed: config_file.Parsed | None) -> Overrides:
    if isinstance(given := content.get("overrides"), Overrides) and len(content) == 1:
        return given
    known = sorted({*PRICE_KEYS, *(path[0] for path in SETTINGS)})
    for key in content:
        if key not in PRICE_KEYS:
            raise unknown_key(key, key, known, where=parsed.where(key) if parsed else "")
    try:
        return Overrides.from_mapping(content)
    except ConfigError as error:
        if parsed is None or error.where:
            raise
        raise ConfigError(error.key, error.problem, hint=error.hint, where=parsed.where(error.key)) from None


def _build(values: Mapping[tuple[str, ...], object], overrides: Overrides, source: str | None) -> Config:
    top = {path[0]: value for path, value in values.items() if len(path) == 1}
    for key, group in _GROUPS.items():
        inside = {path[1]: value for path, value in values.items() if path[0] == key}
        top[key] = group(**inside)
    return Config(overrides=overrides, source=source, **top)  # type: ignore[arg-type]  # checked key by key
