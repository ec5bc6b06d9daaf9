"""Who a piece of work belongs to: session, tenant, user, project ... carried by the OpenTelemetry context.

The context follows asyncio tasks and `asyncio.to_thread`, and threads where
opentelemetry-instrumentation-threading is used. Nothing leaves the process unless the application turns
`identity.baggage` on, and then only to the hosts it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from opentelemetry import baggage
from opentelemetry.context import Context, create_key, get_value, set_value

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "id": "session.id",
        "conversation": "gen_ai.conversation.id",
        "user": "user.id",
        "agent": "gen_ai.agent.name",
        "tenant": "agentcost.tenant",
        "project": "agentcost.project",
        "cost_center": "agentcost.cost_center",
        "purpose": "agentcost.purpose",
    }
)
"""Argument of `session()` -> the attribute that carries it."""

BAGGAGE_KEYS = frozenset(ATTRIBUTES.values()) - {"gen_ai.agent.name"}
"""What may travel to another process; an agent's name is true only inside the agent."""

PURPOSES = ("app", "evaluation", "experiment")
MAX_LENGTH = 256
"""Longest identity value in characters; the same bound holds for values that arrive as baggage."""

NOBODY: Mapping[str, str] = MappingProxyType({})
_IDENTITY_KEY = create_key("agentcost-identity")


def current(context: Context | None = None) -> Mapping[str, str]:
    """Return the identity attributes in force, by attribute name; empty outside any session.

    `context` is the one a span is started in (a processor's `parent_context`); without it, the current one.
    """
    held = get_value(_IDENTITY_KEY, context)
    return held if isinstance(held, MappingProxyType) else NOBODY


def extended(more: Mapping[str, str], context: Context | None = None) -> Context:
    """Return a context in which `more` holds on top of the identity already in force."""
    return set_value(_IDENTITY_KEY, MappingProxyType({**current(context), **more}), context)


def attributes_of(
    *,
    id: str | None = None,  # noqa: A002 - the public name of the argument
    conversation: str | None = None,
    user: str | None = None,
    agent: str | None = None,
    tenant: str | None = None,
    project: str | None = None,
    cost_center: str | None = None,
    purpose: str | None = None,
) -> dict[str, str]:
    """Check identity arguments and name them as attributes.

    TypeError for anything that is not a text of at most `MAX_LENGTH` characters: an identity is a label, and a
    wrong one would quietly put money on the wrong account.
    """
    given = {
        "id": id,
        "conversation": conversation,
        "user": user,
        "agent": agent,
        "tenant": tenant,
        "project": project,
        "cost_center": cost_center,
        "purpose": purpose,
    }
    result: dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, str) or not value:
            raise TypeError(f"{name} must be a non-empty text, not {value!r}")
        if len(value) > MAX_LENGTH:
            raise TypeError(f"{name} must have at most {MAX_LENGTH} characters, not {len(value)}")
        result[ATTRIBUTES[name]] = value
    if purpose is not None and purpose not in PURPOSES:
        raise TypeError(f"purpose must be one of {', '.join(PURPOSES)}, not {purpose!r}")
    return result


def received(context: Context | None = None) -> dict[str, str]:
    """Return the identity a caller sent as baggage: our keys only, bounded; anything else is not for us."""
    entries = baggage.get_all(context)
    return {
        key: value
        for key, value in entries.items()
        if key in BAGGAGE_KEYS and isinstance(value, str) and 0 < len(value) <= MAX_LENGTH
    }


def outgoing(host: str, allowed_hosts: Iterable[str], context: Context | None = None) -> dict[str, str]:
    """Return the identity a host may be told; empty where it may not.

    A host is allowed by its exact name, or by a suffix that starts with a dot: `.internal.example` allows
    `a.internal.example`, never `evil-internal.example`.
    """
    held = current(context)
    if not held:
        return {}
    host = host.lower().rstrip(".")
    for pattern in allowed_hosts:
        wanted = pattern.lower()
        if host == wanted or (wanted.startswith(".") and host.endswith(wanted) and len(host) > len(wanted)):
            return {key: value for key, value in held.items() if key in BAGGAGE_KEYS}
    return {}
