"""Read fee and machine rules: the bundled files and the user's have one form and one reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_agentcost.errors import ConfigError
from otel_agentcost.pricing import fields
from otel_agentcost.pricing.calendar import FIRST_DAY, LAST_DAY, day_number
from otel_agentcost.pricing.fees import Rule
from otel_agentcost.pricing.tariff import UnitRate
from otel_agentcost.usage.providers import canonical_provider
from otel_agentcost.usage.units import UNITS

Entries = Iterable[tuple[int, Mapping[str, object]]]
_FEE_KEYS = (
    *("id", "tool", "host", "method", "path", "per_call", "per_unit", "per_megabyte"),
    *("free", "errors", "from", "to", "note"),
)
_MACHINE_KEYS = ("id", "provider", "machine", "gpu", "region", "rates", "estimated", "from", "to", "note")
_MACHINE_UNITS = tuple(key for key, unit in UNITS.items() if unit.component == "compute")


def read_fees(entries: Entries, *, currency: str = "USD", by_user: bool = False) -> tuple[Rule, ...]:
    """Read `fees:` entries.

    Raises:
        ConfigError: names the dotted key.
    """
    return tuple(_fee(f"fees[{i}]", entry, currency, by_user) for i, entry in entries)


def read_machines(entries: Entries, *, currency: str = "USD", by_user: bool = False) -> tuple[Rule, ...]:
    """Read `compute:` entries.

    Raises:
        ConfigError: names the dotted key.
    """
    return tuple(_machine(f"compute[{i}]", entry, currency, by_user) for i, entry in entries)


def _days(key: str, entry: Mapping[str, object]) -> tuple[int, int]:
    when = fields.when(entry, key)
    first = day_number(str(when["from"])) if "from" in when else FIRST_DAY
    return first, day_number(str(when["to"])) if "to" in when else LAST_DAY


def _fee(key: str, entry: Mapping[str, object], currency: str, by_user: bool) -> Rule:
    fields.known_keys(key, entry, _FEE_KEYS)
    if ("tool" in entry) == ("host" in entry):
        raise ConfigError(
            key, "needs either `tool` or `host`", hint='e.g. tool: "web_search*" or host: api.example.com'
        )
    call_unit = "tool_calls" if "tool" in entry else "api_requests"
    free = fields.flag(f"{key}.free", entry.get("free", False))
    rates: dict[str, UnitRate] = {}
    if free:
        rates[call_unit] = UnitRate("0", 1)
    if "per_call" in entry:
        rates[call_unit] = UnitRate(fields.amount(f"{key}.per_call", entry["per_call"]), 1)
    if "per_megabyte" in entry:
        rates["response_megabytes"] = UnitRate(fields.amount(f"{key}.per_megabyte", entry["per_megabyte"]), 1)
    counted_by, default = "", None
    if "per_unit" in entry:
        unit = fields.mapping(f"{key}.per_unit", entry["per_unit"])
        fields.known_keys(f"{key}.per_unit", unit, ("price", "per", "attribute", "header", "default"))
        per = fields.positive_integer(f"{key}.per_unit.per", unit.get("per", 1))
        rates["api_units"] = UnitRate(fields.amount(f"{key}.per_unit.price", unit.get("price")), per)
        if "attribute" in unit:
            counted_by = fields.text(f"{key}.per_unit.attribute", unit["attribute"])
        elif "header" in unit:
            header = fields.text(f"{key}.per_unit.header", unit["header"]).lower()
            counted_by = f"http.response.header.{header}"
        if "default" in unit:
            default = fields.positive_integer(f"{key}.per_unit.default", unit["default"])
    if not rates:
        raise ConfigError(key, "has no price", hint="per_call, per_unit, per_megabyte or free: true")
    errors = entry.get("errors", "")
    if errors not in ("", "billed"):
        raise ConfigError(f"{key}.errors", f"{fields.shown(errors)} is unknown", hint="`billed`, or leave it out")
    first, last = _days(key, entry)
    return Rule(
        id=fields.text(f"{key}.id", entry.get("id", key)),
        tool=fields.text(f"{key}.tool", entry["tool"]) if "tool" in entry else "",
        host=fields.text(f"{key}.host", entry["host"]).lower() if "host" in entry else "",
        method=fields.text(f"{key}.method", entry["method"]).upper() if "method" in entry else "",
        path=fields.text(f"{key}.path", entry["path"]) if "path" in entry else "",
        first=first,
        last=last,
        rates=rates,
        counted_by=counted_by,
        default_units=default,
        free=free,
        bill_errors=errors == "billed",
        by_user=by_user,
        currency=currency,
    )


def _machine(key: str, entry: Mapping[str, object], currency: str, by_user: bool) -> Rule:
    fields.known_keys(key, entry, _MACHINE_KEYS)
    raw = fields.mapping(f"{key}.rates", entry.get("rates"))
    if not raw:
        raise ConfigError(f"{key}.rates", "is empty", hint=f"one of {', '.join(_MACHINE_UNITS)}")
    fields.known_keys(f"{key}.rates", raw, _MACHINE_UNITS)
    rates: dict[str, UnitRate] = {}
    for unit, value in raw.items():
        where = f"{key}.rates.{unit}"
        if isinstance(value, Mapping):
            fields.known_keys(where, value, ("price", "per"))
            per = fields.positive_integer(f"{where}.per", value.get("per", UNITS[unit].per))
            rates[unit] = UnitRate(fields.amount(f"{where}.price", value.get("price")), per)
        else:
            rates[unit] = UnitRate(fields.amount(where, value), UNITS[unit].per)
    first, last = _days(key, entry)
    texts = {
        name: fields.text(f"{key}.{name}", entry[name])
        for name in ("provider", "machine", "gpu", "region")
        if name in entry
    }
    return Rule(
        id=fields.text(f"{key}.id", entry.get("id", key)),
        provider=canonical_provider(texts.get("provider")) or "",
        machine=texts.get("machine", ""),
        gpu=texts.get("gpu", ""),
        region=texts.get("region", ""),
        first=first,
        last=last,
        rates=rates,
        estimated=fields.flag(f"{key}.estimated", entry.get("estimated", False)),
        by_user=by_user,
        currency=currency,
    )
