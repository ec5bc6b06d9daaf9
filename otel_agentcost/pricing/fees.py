"""Fees of tools and HTTP APIs, and rates of machines: rules found by what a span shows, never by its content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from otel_agentcost.pricing.bill import Bill, LineItem, Rate
from otel_agentcost.pricing.calendar import FIRST_DAY, LAST_DAY, day_of
from otel_agentcost.pricing.clauses import glob_matches
from otel_agentcost.pricing.money import MAX_PICO, PICO, TOO_LARGE, divide_half_even
from otel_agentcost.pricing.plan import reading_order
from otel_agentcost.pricing.tariff import UnitRate
from otel_agentcost.usage.providers import canonical_provider
from otel_agentcost.usage.quantities import quantity
from otel_agentcost.usage.reading import Quantity, Reading, Usage

NO_CHARGE = Bill(status="not_billed", total=0, reasons=("no_fee",), component="tool")
"""Nobody has a fee for this tool or host: no charge at all, which is not the same as an unknown price.

Compare by identity (`bill is NO_CHARGE`)."""

_HEADER = "http.response.header."
Exchange = Callable[[str, int], Fraction]
"""How much of the book's currency one unit of another is worth on a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of fees.yaml, compute.yaml or the user's file. Empty conditions hold for everything."""

    id: str
    tool: str = ""
    host: str = ""
    method: str = ""
    path: str = ""
    provider: str = ""
    machine: str = ""
    gpu: str = ""
    region: str = ""
    first: int = FIRST_DAY
    last: int = LAST_DAY
    rates: Mapping[str, UnitRate]
    counted_by: str = ""
    """Attribute that tells the number of `api_units`; a header is `http.response.header.<name>`."""
    default_units: Quantity | None = None
    free: bool = False
    bill_errors: bool = False
    estimated: bool = False
    by_user: bool = False
    currency: str = "USD"

    def on(self, day: int) -> bool:
        """Tell whether the rule holds on a day."""
        return self.first <= day <= self.last


def host_matches(pattern: str, host: str) -> bool:
    """Match a host exactly, or anything below `*.example.com`; never in the middle of a name."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern


def path_matches(template: str, path: str) -> bool:
    """Match a path with a template: `{x}` is one segment, a final `**` any rest (also none)."""
    wanted = _segments(template)
    given = _segments(path.partition("?")[0])
    if wanted and wanted[-1] == "**":
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(
        w == g or (w[:1] == "{" and w[-1:] == "}") for w, g in zip(wanted, given, strict=True)
    )


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


class _Members:
    """A bounded, cached `in`: does any rule look at this name? False as a whole when there are no rules."""

    __slots__ = ("_any", "_test")

    def __init__(self, test: Callable[[str], bool], *, any_rule: bool) -> None:
        self._test = lru_cache(maxsize=4096)(test)
        self._any = any_rule

    def __bool__(self) -> bool:
        return self._any

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._test(name)


class FeeBook:
    """All rules, the user's first."""

    def __init__(
        self, fees: Iterable[Rule], machines: Iterable[Rule], *, version: str, currency: str, exchange: Exchange
    ) -> None:
        rules = tuple(fees)
        self._tools = tuple(rule for rule in rules if rule.tool)
        self._apis = tuple(rule for rule in rules if rule.host)
        self._machines = tuple(machines)
        self._version = version
        self._currency = currency
        self._exchange = exchange
        self.priced_tools = _Members(
            lambda name: any(glob_matches(r.tool, name) for r in self._tools), any_rule=bool(self._tools)
        )
        self.priced_hosts = _Members(
            lambda host: any(host_matches(r.host, host.lower()) for r in self._apis), any_rule=bool(self._apis)
        )
        self.attributes = frozenset(rule.counted_by for rule in rules if rule.counted_by)

    def tool(self, reading: Reading, at: int) -> Bill:
        """Price a tool call; the first rule whose pattern matches the tool's name wins."""
        name, day = reading.tool or "", day_of(at)
        for rule in self._tools:
            if rule.on(day) and glob_matches(rule.tool, name):
                return self._fee(rule, reading, day, "tool")
        return NO_CHARGE

    def api(self, reading: Reading, at: int) -> Bill:
        """Price an HTTP request by host, method and path."""
        context, day = reading.context, day_of(at)
        host = (context.get("host") or reading.tool or "").lower()
        host = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if host not in self.priced_hosts:
            return NO_CHARGE
        method, path = context.get("method", "").upper(), context.get("path", "")
        for rule in self._apis:
            if (
                rule.on(day)
                and host_matches(rule.host, host)
                and (not rule.method or rule.method == method)
                and (not rule.path or path_matches(rule.path, path))
            ):
                return self._fee(rule, reading, day, "api")
        return NO_CHARGE

    def _fee(self, rule: Rule, reading: Reading, day: int, component: str) -> Bill:
        if reading.status in ("error", "not_billed") and not rule.bill_errors and component == "api":
            reasons = (reading.reason or "request_failed",)
            return Bill(status="not_billed", total=0, reasons=reasons, component=component)
        usage = dict(reading.billable) or {("tool_calls" if component == "tool" else "api_requests"): 1}
        if "api_units" in rule.rates and "api_units" not in usage:
            counted = _count(reading.context.get(rule.counted_by)) if rule.counted_by else None
            units = counted if counted is not None else rule.default_units
            if units is not None:
                usage["api_units"] = units
        if "tool_calls" in usage and "api_requests" in rule.rates:
            usage["api_requests"] = usage.pop("tool_calls")
        problem = Usage(usage).contradiction()
        if problem is not None:
            return Bill(status="invalid", total=None, reasons=(problem,), component=component)
        found = {unit: (rule, rate) for unit, rate in rule.rates.items()}
        missing = [f"no_quantity:{unit}" for unit in rule.rates if unit not in usage]
        return self._bill(found, usage, day, missing, component)

    def machine(self, reading: Reading, at: int) -> Bill:
        """Price machine time: for each unit the first rule that matches the machine and prices the unit."""
        context, day = reading.context, day_of(at)
        machine = context.get("machine") or reading.model or ""
        provider = canonical_provider(context.get("cloud") or reading.provider) or ""
        usage = dict(reading.billable)
        problem = Usage(usage).contradiction()
        if problem is not None:
            return Bill(status="invalid", total=None, reasons=(problem,), component="compute")
        found: dict[str, tuple[Rule, UnitRate]] = {}
        for rule in self._machines:
            if (
                rule.on(day)
                and (not rule.provider or not provider or rule.provider == provider)
                and _holds(rule.machine, machine)
                and _holds(rule.gpu, context.get("gpu", ""))
                and _holds(rule.region, context.get("region", ""))
            ):
                for unit, rate in rule.rates.items():
                    found.setdefault(unit, (rule, rate))
        if "machine_seconds" in found and "machine_seconds" in usage:
            # The whole machine is paid for: what ran inside it is detail, not a second price.
            found = {"machine_seconds": found["machine_seconds"]}
            missing: list[str] = []
        else:
            missing = [f"no_rate:{u}" for u in sorted(usage, key=reading_order) if usage[u] and u not in found]
        bill = self._bill(found, usage, day, missing, "compute")
        return _guessed(bill, reading.reason or "estimated_usage") if reading.estimated else bill

    def _bill(
        self,
        found: Mapping[str, tuple[Rule, UnitRate]],
        usage: Mapping[str, Quantity],
        day: int,
        missing: list[str],
        component: str,
    ) -> Bill:
        items: list[LineItem] = []
        reasons = list(missing)
        used: list[Rule] = []
        for unit, (rule, rate) in sorted(found.items()):
            quantity = usage.get(unit)
            if quantity is None:
                continue
            used.append(rule)
            worth = rate.factor * self._exchange(rule.currency, day)
            exact = Fraction(quantity) * Fraction(rate.price) * worth * PICO / rate.per
            pico = divide_half_even(exact.numerator, exact.denominator)
            shown = Rate(rate.price, rate.per, worth.numerator, worth.denominator, rule.id)
            items.append(LineItem(unit, quantity, shown, pico))
            if rule.estimated:
                reasons.append(f"market_rate:{rule.id}")
        total = sum(item.pico for item in items)
        if total > MAX_PICO:
            return Bill(status="invalid", total=None, reasons=(TOO_LARGE,), component=component)
        if not items:
            return Bill(status="unpriced", total=None, reasons=tuple(reasons) or ("no_usage",), component=component)
        first = used[0]
        status = "partial" if missing else "estimated" if reasons else "priced"
        if status == "priced" and all(rule.free for rule in used):
            status = "free"
        return Bill(
            status=status,  # type: ignore[arg-type]
            total=total,
            items=tuple(items),
            reasons=tuple(reasons),
            source="user" if any(rule.by_user for rule in used) else "book",
            price_id=f"{'agentcost.yaml' if first.by_user else self._version}/{component}/{first.id}",
            currency=self._currency,
            component=component,
        )


def _guessed(bill: Bill, why: str) -> Bill:
    """Return the bill as an estimate, because the measured quantity was one."""
    if bill.status not in ("priced", "estimated"):
        return bill
    return replace(bill, status="estimated", reasons=(*bill.reasons, why), source="estimated")


def _holds(pattern: str, value: str) -> bool:
    return not pattern or (bool(value) and glob_matches(pattern, value))


def _count(text: str | None) -> Quantity | None:
    """Read a number of units from an attribute or a header; None when it is not one, or beyond belief."""
    number = None if text is None else quantity("api_units", text.strip())
    return None if isinstance(number, str) else number
