"""Say in code what telemetry cannot see: where a session begins, what a tool costs, what a machine was used for.

    with session(tenant="acme", agent="triage") as s:
        with tool("search", fee="0.005"):
            ...
        with compute(gpus=1, gpu="H100"):
            ...
        charge(amount="0.02", reason="flight data")
        print(s.cost())

All of them are context managers and decorators, for functions, coroutines, generators and async generators, and do
nothing noticeable where no OpenTelemetry SDK is set up. Money is text, int or Decimal, never a float. The only
errors they raise are about their own arguments, where they are called.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from opentelemetry import context as otel_context
from opentelemetry.context import Context, create_key, get_value, set_value

from otel_agentcost import _semconv
from otel_agentcost.otel import evidence, identity
from otel_agentcost.otel.arguments import (
    Amount,
    checked_attributes,
    money,
    nine_decimals,
    optional_text,
    positive,
)
from otel_agentcost.otel.compute import CpuMeter, Stepped, WallMeter, metered, seconds
from otel_agentcost.otel.health import guard
from otel_agentcost.otel.live import live_total
from otel_agentcost.otel.scope import Attributes, Opened, Scope
from otel_agentcost.pricing.money import Money
from otel_agentcost.usage.reading import EMPTY, Kind, Quantity, Reading, Usage
from otel_agentcost.usage.units import UNITS

_SESSION_KEY = create_key("agentcost-session")
_KIND_OF_COMPONENT: Mapping[str, Kind] = {"llm": "call", "tool": "tool", "api": "api", "compute": "compute"}


class Session(Opened):
    """A session while it runs."""

    def __init__(self, id: str, name: str, attributes: Attributes, parent: Context) -> None:  # noqa: A002
        super().__init__(name, attributes, set_value(_SESSION_KEY, self, parent))
        self.id = id
        """The session id, `session.id` on every span of the session."""

    def cost(self) -> Money | None:
        """Return what the session cost so far; None where no agentcost processor is installed.

        Spans that have not ended yet are not in it.
        """
        with guard("session.cost"):
            return live_total(self.span, self.id)
        return None

    def charge(self, **what: Any) -> None:
        """Charge this session now; takes the arguments of `charge()`, whatever span is current."""
        _check_charge(what)
        _Charge(what, self._context).close()

    def outcome(self, outcome: Literal["success", "failure"], *, value: float | None = None) -> None:
        """Note whether the session reached its goal, and what that was worth."""
        if outcome not in ("success", "failure"):
            raise TypeError(f"outcome must be success or failure, not {outcome!r}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, Decimal))):
            raise TypeError(f"value must be a number, not {value!r}")
        with guard("session.outcome"):
            self.span.set_attribute(_semconv.AGENTCOST_OUTCOME, outcome)
            if value is not None:
                self.span.set_attribute(_semconv.AGENTCOST_VALUE, float(value))


def current_session() -> Session | None:
    """Return the innermost session that is running here, or None."""
    found = get_value(_SESSION_KEY)
    return found if isinstance(found, Session) else None


def session(
    id: str | None = None,  # noqa: A002 - the noun users know
    *,
    name: str | None = None,
    agent: str | None = None,
    tenant: str | None = None,
    user: str | None = None,
    project: str | None = None,
    cost_center: str | None = None,
    purpose: str | None = None,
    conversation: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Scope[Session]:
    """Open a session: everything inside is its cost, in whatever task or thread the context reaches.

    Without `id`, a session inside another continues it, and an outer one gets a new id for every run. With `agent`
    the span is the `invoke_agent` span of the GenAI conventions. TypeError for wrong arguments.
    """
    if callable(id):
        raise TypeError("write @session() with parentheses; the first argument is the session id")
    given = identity.attributes_of(
        id=id, conversation=conversation, user=user, agent=agent, tenant=tenant, project=project,
        cost_center=cost_center, purpose=purpose,
    )  # fmt: skip
    extra = checked_attributes(attributes)
    optional_text("name", name)

    def opening(function: str | None) -> Session:
        parent = otel_context.get_current()
        enclosing = identity.current(parent).get("session.id")
        its_id = id or enclosing or uuid.uuid4().hex
        own = {**given, "session.id": its_id}
        marks: Attributes = {_semconv.AGENTCOST_KIND: "session" if its_id != enclosing else "step"}
        if agent:
            marks[_semconv.GEN_AI_OPERATION_NAME] = "invoke_agent"
        title = name or (f"invoke_agent {agent}" if agent else function or "session")
        if its_id == enclosing:
            marks[_semconv.AGENTCOST_STEP_NAME] = name or agent or function or "session"
        return Session(its_id, title, {**extra, **own, **marks}, identity.extended(own, parent))

    return Scope("session()", opening)


def step(name: str | None = None, *, attributes: Mapping[str, Any] | None = None) -> Scope[Opened]:
    """Open a part of a session whose cost is of interest by itself; a decorated function gives it its name."""
    if callable(name):
        raise TypeError("write @step() with parentheses; the first argument is the name")
    optional_text("name", name)
    extra = checked_attributes(attributes)

    def opening(function: str | None) -> Opened:
        title = name or function or "step"
        marks = {_semconv.AGENTCOST_KIND: "step", _semconv.AGENTCOST_STEP_NAME: title}
        return Opened(title, {**extra, **marks}, otel_context.get_current())

    return Scope("step()", opening)


class _Measured(Opened):
    """A scope that hands one reading to the ledger when it closes."""

    def reading(self, error: BaseException | None) -> Reading | None:
        """Return what was consumed, or None when there is nothing to charge."""
        raise NotImplementedError

    def settle(self, error: BaseException | None) -> None:
        reading = self.reading(error)
        if reading is not None and self.span.is_recording():
            for unit, quantity in reading.billable.items():
                if unit != "tool_calls":
                    number = quantity if isinstance(quantity, int) else float(quantity)
                    self.span.set_attribute(_semconv.AGENTCOST_USAGE_PREFIX + unit, number)
            evidence.attach(self.span, reading)


class _Tool(_Measured):
    def __init__(self, name: str, fee: Money | None, attributes: Attributes) -> None:
        self._name = name
        self._fee = fee
        super().__init__(f"execute_tool {name}", attributes, otel_context.get_current())

    def reading(self, error: BaseException | None) -> Reading | None:
        if self._fee is None:  # the fee tables may know the tool by its name, from the span alone
            return None
        return _stated(
            Reading(kind="tool", usage=Usage(tool_calls=1), operation="execute_tool", tool=self._name), self._fee
        )


def tool(
    name: str | None = None,
    *,
    fee: Amount | None = None,
    currency: str = "USD",
    attributes: Mapping[str, Any] | None = None,
) -> Scope[Opened]:
    """Open one call of a tool, an `execute_tool` span; `fee` is what each call costs, also when it fails.

    Without a fee the tool is priced by `fees` of agentcost.yaml, if it is there. TypeError for a float: write "0.005".
    """
    if callable(name):
        raise TypeError("write @tool() with parentheses; the first argument is the name")
    optional_text("name", name)
    price = None if fee is None else money("fee", fee, currency)
    extra = checked_attributes(attributes)

    def opening(function: str | None) -> Opened:
        title = name or function or "tool"
        marks = {
            _semconv.AGENTCOST_KIND: "tool",
            _semconv.GEN_AI_OPERATION_NAME: "execute_tool",
            _semconv.GEN_AI_TOOL_NAME: title,
        }
        return _Tool(title, price, {**extra, **marks})

    return Scope("tool()", opening)


class _Compute(_Measured):
    def __init__(self, name: str, reserved: Mapping[str, Quantity], used: bool, context: Mapping[str, str]) -> None:
        self._reserved = reserved
        self._context_of_price = context
        marks: Attributes = {_semconv.AGENTCOST_KIND: "compute"}
        if machine := context.get("machine") or context.get("gpu"):
            marks[_semconv.AGENTCOST_MACHINE] = machine
        if "region" in context:
            marks[_semconv.AGENTCOST_REGION] = context["region"]
        self._wall = WallMeter()
        self._cpu = CpuMeter() if used else None
        super().__init__(f"compute {name}", marks, otel_context.get_current())

    def enter(self) -> None:
        super().enter()
        if self._cpu is not None and not self.driven:
            self._cpu.start()

    def drive(self, awaitable: Any) -> Any:
        return awaitable if self._cpu is None else Stepped(metered(self._cpu, awaitable))

    def suspend(self) -> None:
        self._pause()
        super().suspend()

    def close(self, error: BaseException | None = None) -> None:
        self._pause()
        super().close(error)

    def _pause(self) -> None:
        if self._cpu is not None and not self.driven:
            with guard("compute.pause"):
                self._cpu.stop()

    def reading(self, error: BaseException | None) -> Reading | None:
        wall = seconds(self._wall.stop())
        usage: dict[str, Quantity] = {unit: nine_decimals(wall * n) for unit, n in self._reserved.items()}
        if self._cpu is not None:
            usage["vcpu_seconds"] = seconds(self._cpu.used_ns)
        return Reading(
            kind="compute",
            usage=Usage(usage),
            operation="compute",
            provider=self._context_of_price.get("provider"),
            model=self._context_of_price.get("gpu") or self._context_of_price.get("machine"),
            context=self._context_of_price or EMPTY,
            estimated=self._cpu is not None and not self._cpu.exact,
        )


def compute(
    name: str | None = None,
    *,
    machine: str | None = None,
    gpus: int | Decimal | None = None,
    gpu: str | None = None,
    vcpus: int | Decimal | Literal["used"] | None = None,
    memory_gb: int | Decimal | None = None,
    provider: str | None = None,
    region: str | None = None,
) -> Scope[Opened]:
    """Charge machine time: wall seconds x what is reserved, priced by `compute` of the price book.

    `gpus=2, gpu="H100"`, `vcpus=4`, `memory_gb=16` or a whole `machine="p5.48xlarge"`; several at once add up.
    `vcpus="used"` charges exact processor time instead of reserved time: always for functions and decorated
    coroutines; for `async with` only in tasks made after `compute.meter_tasks()`, else it is labelled `estimated`.
    """
    if callable(name):
        raise TypeError("write @compute(...) with parentheses; the first argument is the name")
    for argument, text in (
        ("name", name),
        ("machine", machine),
        ("gpu", gpu),
        ("region", region),
        ("provider", provider),
    ):
        optional_text(argument, text)
    used = vcpus == "used"
    reserved: dict[str, Quantity] = {}
    for unit, number in (
        ("gpu_seconds", gpus),
        ("vcpu_seconds", None if used else vcpus),
        ("memory_gb_seconds", memory_gb),
    ):
        if number is not None:
            reserved[unit] = positive(unit.removesuffix("_seconds"), number)
    if gpu is not None and gpus is None:
        reserved["gpu_seconds"] = 1
    if not reserved and not used:
        if machine is None:
            raise TypeError("compute() needs machine, gpus, vcpus or memory_gb")
        reserved["machine_seconds"] = 1
    parts = {"machine": machine, "gpu": gpu, "provider": provider, "region": region}
    context = {key: text for key, text in parts.items() if text is not None}

    def opening(function: str | None) -> Opened:
        title = name or function or machine or gpu or "machine"
        return _Compute(title, reserved, used, context)

    return Scope("compute()", opening)


class _Charge(_Measured):
    def __init__(self, what: Mapping[str, Any], parent: Context, start_time: int | None = None) -> None:
        self._reading = _charged(what)
        marks: Attributes = {_semconv.AGENTCOST_KIND: self._reading.kind}
        if what.get("reason"):
            marks[_semconv.AGENTCOST_STEP_NAME] = what["reason"]
        if what.get("model"):
            metered_by_time = self._reading.kind == "compute"
            marks[_semconv.AGENTCOST_MACHINE if metered_by_time else _semconv.GEN_AI_REQUEST_MODEL] = what["model"]
        if what.get("provider"):
            marks[_semconv.GEN_AI_PROVIDER_NAME] = what["provider"]
        super().__init__("charge", marks, parent, start_time)

    def reading(self, error: BaseException | None) -> Reading | None:
        return self._reading


class Charging(Scope[Opened]):
    """A charge. Where it is neither entered nor used as a decorator, it is booked when it goes out of use.

    So the plain statement `charge(amount="0.02")` does what it says; on CPython at once, else at collection, at
    the time and place it was written (docs/adr/0001).
    """

    def __init__(self, what: Mapping[str, Any]) -> None:
        self._details = what
        self._pending: tuple[Context, int] | None = (otel_context.get_current(), time.time_ns())
        # the closure must not refer to self: a cycle would keep a plain statement's charge until collection
        super().__init__("charge()", lambda function: _Charge(what, otel_context.get_current()))

    def __enter__(self) -> Opened:
        self._pending = None
        return super().__enter__()

    def __call__(self, function: Any) -> Any:
        wrapped = super().__call__(function)
        self._pending = None
        return wrapped

    def __del__(self) -> None:
        pending = getattr(self, "_pending", None)
        if pending is not None:
            self._pending = None
            with guard("session.charge"):
                _Charge(self._details, *pending).close()


def charge(
    *,
    amount: Amount | None = None,
    currency: str = "USD",
    unit: str | None = None,
    quantity: Quantity | None = None,
    provider: str | None = None,
    model: str | None = None,
    reason: str | None = None,
) -> Charging:
    """Charge something nobody else can see: an `amount` of money, or a `quantity` of a `unit` the price book prices.

    As a statement, around a block, or as a decorator (each call is charged). `reason` is for people and stands on the
    span. TypeError for a float amount, an unknown unit, a negative or missing quantity.
    """
    what = {
        "amount": amount, "currency": currency, "unit": unit, "quantity": quantity, "provider": provider,
        "model": model, "reason": reason,
    }  # fmt: skip
    _check_charge(what)
    return Charging(what)


_CHARGE_ARGUMENTS = frozenset({"amount", "currency", "unit", "quantity", "provider", "model", "reason"})


def _check_charge(what: Mapping[str, Any]) -> None:
    for name in what.keys() - _CHARGE_ARGUMENTS:
        raise TypeError(f"charge() has no argument {name!r}")
    for name in ("provider", "model", "reason"):
        optional_text(name, what.get(name))
    unit, quantity = what.get("unit"), what.get("quantity")
    if what.get("amount") is None and unit is None:
        raise TypeError("charge() needs an amount, or a unit and a quantity")
    if (unit is None) != (quantity is None):
        raise TypeError("charge() needs unit and quantity together")
    if unit is not None and unit not in UNITS:
        raise TypeError(f"unit must be one of semconv/units.yaml, not {unit!r}")
    if what.get("amount") is not None:
        money("amount", what["amount"], what.get("currency", "USD"))
    if unit is not None and quantity is not None and (problem := Usage({unit: quantity}).contradiction()):
        raise TypeError(f"quantity must be a whole number or Decimal of at least 0: {problem}")


def _charged(what: Mapping[str, Any]) -> Reading:
    unit, amount = what.get("unit"), what.get("amount")
    if unit is not None:
        kind, usage = _KIND_OF_COMPONENT[UNITS[unit].component], Usage({unit: what["quantity"]})
    else:
        kind, usage = "api", Usage(api_requests=1)
    reading = Reading(
        kind=kind,
        usage=usage,
        operation="charge",
        provider=what.get("provider"),
        model=what.get("model"),
        tool=_payee(kind, what),
    )
    return reading if amount is None else _stated(reading, money("amount", amount, what.get("currency", "USD")))


def _payee(kind: Kind, what: Mapping[str, Any]) -> str | None:
    """Name what a tool or API charge was for, as totals and metrics will list it."""
    if kind not in ("tool", "api"):
        return None
    order = ("reason", "provider") if kind == "tool" else ("provider", "reason")
    return next((what[key] for key in order if what.get(key)), None)


def _stated(reading: Reading, money: Money) -> Reading:
    """Return the reading with money the application vouches for."""
    return replace(
        reading,
        reported_cost=Decimal(money.pico).scaleb(-12),
        reported_currency=money.currency,
        reported_by="user",
    )
