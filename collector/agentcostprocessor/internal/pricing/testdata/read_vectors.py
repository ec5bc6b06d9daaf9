"""Read the usage of pricing vectors with the Python readers: one JSON vector a line in, its reading out.

The Go side has no readers of HTTP bodies, because the Collector never sees one; it prices what these tell.
"""

from __future__ import annotations

import json
import sys

from otel_agentcost.pricing.vectors import read_vector

for line in sys.stdin:
    reading, note = read_vector(json.loads(line))
    answer = {
        "kind": reading.kind,
        "status": reading.status,
        "reason": reading.reason,
        "provider": reading.provider or "",
        "model": reading.model or "",
        "request_model": reading.request_model or "",
        "context": dict(reading.context),
        "usage": None if reading.usage is None else {unit: str(q) for unit, q in reading.usage.items()},
        "estimated": reading.estimated,
        "reported_by": reading.reported_by if reading.reported_cost is not None else "",
        "reported_cost": "" if reading.reported_cost is None else format(reading.reported_cost, "f"),
        "reported_currency": reading.reported_currency,
    }
    print(json.dumps(answer))
