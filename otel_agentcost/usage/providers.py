"""Who bills: canonical provider ids from the many names in use, and what a host name tells.

The facts are in semconv/providers.yaml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from otel_agentcost._data import load

ProviderKind = Literal["vendor", "cloud", "gateway", "framework", "local", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What an API host tells about the calls it answers."""

    provider: str
    """Canonical provider id."""
    region: str | None = None
    """Price region the host stands for: `eu`, `us-east-1`, `global` ...; None when the host does not say."""
    kind: ProviderKind = "vendor"
    """Kind of the provider; a `gateway` may pass the call on to somebody else."""


@dataclass(frozen=True, slots=True)
class _HostRule:
    provider: str
    under: re.Pattern[str] | None
    region: str | None
    path: str


_TABLE: dict[str, Any] = load("providers")
_KINDS: dict[str, ProviderKind] = _TABLE["providers"]
_ALIASES: dict[str, str] = _TABLE["aliases"]
_LOCAL_PORTS: dict[str, str] = _TABLE["local_ports"]
_HOSTS: dict[str, tuple[_HostRule, ...]] = {
    host: tuple(
        _HostRule(
            rule["provider"],
            re.compile(rule["under"]) if "under" in rule else None,
            rule.get("region"),
            rule.get("path", ""),
        )
        for rule in rules
    )
    for host, rules in _TABLE["hosts"].items()
}
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "host.docker.internal"})
_SEPARATORS = str.maketrans("_ /", "---")


def canonical_provider(name: str | None) -> str | None:
    """Return the canonical id of a provider; an unknown name comes back lower-cased, nothing comes back as None.

    `gcp.vertex_ai` is `google`, `openai.chat` is `openai`. Ids are those of genai-prices where it has the provider.
    """
    if not name:
        return None
    return _canonical(name)


@lru_cache(maxsize=1024)
def _canonical(name: str) -> str | None:
    plain = name.strip().lower()
    if not plain:
        return None
    key = plain.translate(_SEPARATORS)
    while key:
        known = _ALIASES.get(key)
        if known is not None:
            return known
        key = key.rpartition(".")[0]
    return plain


def provider_kind(provider: str | None) -> ProviderKind:
    """Return whether a canonical id is a vendor, cloud, gateway, framework or local; empty when unknown."""
    return _KINDS.get(provider, "") if provider else ""


@lru_cache(maxsize=4096)
def host_facts(host: str, path: str = "") -> HostFacts | None:
    """Return what the host of an API tells, or None for a host nobody knows.

    The host may carry a port. It matches a known host exactly or below a dot, never in the middle of a name:
    `api.anthropic.com.evil.com` and `notapi.anthropic.com` are unknown. `path` decides for the few hosts that
    answer for several providers.
    """
    name, port = _split_port(host)
    if name in _THIS_MACHINE:
        local = _LOCAL_PORTS.get(port)
        return HostFacts(provider=local, kind=provider_kind(local)) if local else None
    labels = name.split(".")
    for start in range(len(labels) - 1):
        rules = _HOSTS.get(".".join(labels[start:]))
        if rules is None:
            continue
        before = ".".join(labels[:start])
        for rule in rules:
            facts = _match(rule, before, path)
            if facts is not None:
                return facts
    return None


def _match(rule: _HostRule, before: str, path: str) -> HostFacts | None:
    if not path.startswith(rule.path):
        return None
    region = rule.region
    if rule.under is None:
        if before:
            return None
    else:
        found = rule.under.fullmatch(before)
        if found is None:
            return None
        region = found.groupdict().get("region") or region
    return HostFacts(provider=rule.provider, region=region, kind=provider_kind(rule.provider))


def _split_port(host: str) -> tuple[str, str]:
    """Split `host:port`, also in the `[::1]:8080` form; the host is lower-case and has no final dot."""
    host = host.strip().lower()
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name, rest.lstrip(":")
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name, port = host, ""
    return name.rstrip("."), port
