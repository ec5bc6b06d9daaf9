"""Paid HTTP APIs and tools that are no models: a fee for each request, or for each unit they count.

Served on any host name, at the paths of the list below. They answer the same to the same request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_agentcost.testing.emulator.billing import Row, Till
from otel_agentcost.testing.emulator.prices import pico_each
from otel_agentcost.testing.emulator.prompt import JSON
from otel_agentcost.testing.emulator.reply import HEADER, from_mapping
from otel_agentcost.testing.emulator.wire import Request

UNITS_HEADER = "x-billed-units"
"""Response header in which an API that bills by unit tells how many it counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """What one endpoint charges, in US dollars as decimal text."""

    method: str
    path: str
    """A literal path, in which `*` stands for one segment."""
    per_request: str = "0"
    per_unit: str = "0"
    """Units are the `units` of the JSON request body or of the query, else the number of `items` sent."""
    api: str = "http"
    """What the bill calls it."""

    def matches(self, request: Request) -> bool:
        """Tell whether a request is for this endpoint."""
        pattern = re.escape(self.path).replace(r"\*", "[^/]+")
        return request.method == self.method and re.fullmatch(pattern, request.path) is not None


LIST = (
    Fee(method="GET", path="/v1/search", per_request="0.005"),
    Fee(method="POST", path="/v1/extract", per_unit="0.001"),
    Fee(method="POST", path="/tools/geocode", per_request="0.002", api="tool"),
    Fee(method="POST", path="/tools/*", api="tool"),
)
"""Five dollars for a thousand searches, a tenth of a cent for each extracted page, a paid and many free tools."""


@dataclass(frozen=True, slots=True)
class FeeDesk:
    """Serves the endpoints of its list and puts their fees on the bill; first match wins."""

    fees: tuple[Fee, ...] = field(default=LIST)

    def serve(self, request: Request, till: Till) -> tuple[int, JSON, list[tuple[str, str]]] | None:
        """Answer a request to a paid endpoint, or return None when it is none."""
        fee = next((f for f in self.fees if f.matches(request)), None)
        if fee is None:
            return None
        name = request.path.rsplit("/", 1)[-1]
        row = Row(provider=request.host.rsplit(":", 1)[0], api=fee.api, model=name)
        steer = request.headers.get(HEADER)
        status = from_mapping(json.loads(steer)).status if steer else 200
        if status != 200:
            row.status = status
            till.open(row)
            return status, {"error": {"code": status, "message": f"the emulator was asked for a {status}"}}, []
        asked = _asked(request)
        row.units = _units(asked)
        row.fee_pico = pico_each(fee.per_request, 1) + row.units * pico_each(fee.per_unit, 1)
        till.open(row)
        headers = [(UNITS_HEADER, str(row.units))] if fee.per_unit != "0" else []
        return 200, _result(name, asked), headers


def _asked(request: Request) -> JSON:
    asked: JSON = dict(request.query)
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        return asked
    return {**asked, **body} if isinstance(body, Mapping) else asked


def _units(asked: JSON) -> int:
    if "units" in asked:
        return int(asked["units"])
    items = asked.get("items")
    return len(items) if isinstance(items, list) else 1


def _result(name: str, asked: JSON) -> JSON:
    """Answer with three made-up results about what was asked."""
    about = str(asked.get("q") or asked.get("query") or name)
    results = [
        {"title": f"{about} ({n})", "url": f"https://example.com/{name}/{n}", "snippet": f"About {about}, part {n}."}
        for n in (1, 2, 3)
    ]
    return {"query": about, "results": results}
