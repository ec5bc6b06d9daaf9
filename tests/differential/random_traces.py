"""Random traces of agents: every dialect, wrappers, twins, aggregates, attempts, fees, sessions, and what goes wrong.

A trace is grown as a tree of what happened (`Facts`), each thing told by one or several spans; then the telling is
spoiled: parents get lost, clocks are off, exports repeat, links lead in circles. Everything comes from one seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.differential.spellings import Attributes, Facts
from tests.differential.telling import Draft, Teller

SECOND = 10**9
VECTORS = Path(__file__).parent.parent / "conformance" / "usage"

PAID_HOSTS = (
    "api.tavily.com/search",
    "api.exa.ai/search",
    "api.firecrawl.dev/v1/scrape",
    "maps.googleapis.com/maps/api/geocode/json",
)
FREE_HOSTS = ("example.com/", "api.openai.com/v1/chat/completions", "10.0.0.1:8080/x")


@dataclass(slots=True, kw_only=True)
class Trace:
    """One trace to be exported."""

    trace_id: str
    spans: list[Draft]


@lru_cache(maxsize=1)
def seeds() -> tuple[dict[str, Any], ...]:
    """The spans of all usage vectors: odd forms that no table would make up."""
    found: list[dict[str, Any]] = []
    for path in sorted(VECTORS.glob("dialects/*.json")):
        found.extend(case["given"] for case in json.loads(path.read_text())["cases"])
    for name in ("http_spans", "stated", "labels"):
        for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"]:
            found.append({"kind": "client", "name": name, **case["given"]})
    return tuple(found)


class Grower(Teller):
    """Grows the traces of one seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.lifetimes: dict[str, dict[str, int]] = {}

    def traces(self) -> list[Trace]:
        """One trace, or the several of one session."""
        rng = self.rng
        session = f"session-{rng.getrandbits(32):08x}" if rng.random() < 0.25 else ""
        many = rng.randint(2, 3) if session and rng.random() < 0.5 else 1
        origin = rng.choice((1_735_689_600, 1_751_328_000, 1_763_596_800, 1_790_000_000)) * SECOND + rng.getrandbits(45)
        return [self._trace(origin + i * 300 * SECOND, session, explicit=i == 0) for i in range(many)]

    def _trace(self, origin: int, session: str, *, explicit: bool) -> Trace:
        rng = self.rng
        self.spans = []
        self.resource = {"service.name": rng.choice(("app", "gateway"))}
        if rng.random() < 0.1:
            self.resource["telemetry.sdk.name"] = "openlit"
        start = origin if explicit or rng.random() < 0.5 else origin - 299 * SECOND
        length = rng.randint(1, 400) * SECOND
        root = self._plain("", start, start + length)
        if session:
            key = rng.choice(("session.id", "gen_ai.conversation.id", "langfuse.session.id"))
            (root.attributes if rng.random() < 0.8 else self.resource)[key] = session
            if explicit and rng.random() < 0.4:
                root.attributes["agentcost.kind"] = "session"
        if rng.random() < 0.3:
            self._grow_into(root)
        for _ in range(rng.randint(1, 4)):
            self._grow(root, 0)
        if rng.random() < 0.005:
            self._wide(root)
        self._spoil()
        return Trace(trace_id=f"{rng.getrandbits(128) | 1:032x}", spans=self.spans)

    # -- what happens -------------------------------------------------------------------------------------------

    def _grow(self, parent: Draft, depth: int) -> None:
        pick = self.rng.random()
        steps: tuple[tuple[float, Callable[[Draft, int], None]], ...] = (
            (0.30, self._call),
            (0.42, self._agent),
            (0.50, self._tool),
            (0.57, self._twins),
            (0.64, self._attempts),
            (0.72, self._work),
            (0.78, self._request),
            (0.82, self._seed),
            (0.86, self._compute),
            (0.90, self._fetched),
            (0.94, self._stated),
            (0.97, self._router),
            (1.00, self._server),
        )
        for limit, step in steps:
            if pick < limit:
                step(parent, depth)
                return

    def _grow_into(self, parent: Draft) -> None:
        """Let the parent itself tell an aggregate."""
        spelling = self._spelling("aggregate")
        parent.attributes.update(spelling.write(self._totals(self._facts(), 2.0)))
        parent.scope, parent.name = spelling.scope, spelling.name
        parent.resource = {**parent.resource, **dict(spelling.resource)}

    def _call(self, parent: Draft, depth: int) -> None:
        """One call, told by one to three layers."""
        rng = self.rng
        facts = self._facts()
        layers = rng.choice((1, 1, 1, 2, 2, 3))
        here = parent
        for layer in range(layers):
            told = facts if layer == layers - 1 else self._retold(facts)
            here = self._tell("call", told, here)
            if rng.random() < 0.15:
                here = self._plain(here.span_id, *self._inside(here))
        if rng.random() < 0.06 and depth < 4:
            self._grow(here, depth + 1)

    def _twins(self, parent: Draft, depth: int) -> None:
        """Calls told side by side by two or three instrumentations."""
        rng = self.rng
        scopes = rng.sample(("scope-a", "scope-b", "scope-c"), rng.randint(2, 3))
        for _ in range(rng.randint(1, 3)):
            facts = self._facts()
            start, end = self._inside(parent)
            for scope in scopes:
                if rng.random() < 0.15:
                    continue
                span = self._tell("call", self._retold(facts) if rng.random() < 0.5 else facts, parent)
                span.scope = scope if rng.random() < 0.8 else span.scope
                jitter = rng.randint(0, 3)
                span.start, span.end = start + jitter, end + jitter

    def _attempts(self, parent: Draft, depth: int) -> None:
        """A call that was tried several times below one span of a framework or gateway."""
        rng = self.rng
        facts = self._facts()
        outer = self._tell("call", self._retold(facts), parent)
        for i in range(rng.randint(1, 3)):
            last = i and rng.random() < 0.6
            told = facts if last else replace(facts, response_id=f"try_{rng.getrandbits(32):x}")
            if rng.random() < 0.3:
                told = replace(told, usage={})
            span = self._tell("call", told, outer)
            if not last and rng.random() < 0.7:
                span.failed = True
                span.attributes["error.type"] = rng.choice(("429", "timeout", "RateLimitError"))

    def _agent(self, parent: Draft, depth: int) -> None:
        """An agent that sums up what is below, knows more, or reports lifetime totals."""
        rng = self.rng
        facts = self._facts()
        span = self._tell("aggregate", facts, parent)
        before = len(self.spans)
        if depth < 4:
            for _ in range(rng.randint(0, 3)):
                self._grow(span, depth + 1)
        if rng.random() < 0.5:
            below = [s for s in self.spans[before:] if "gen_ai.usage.input_tokens" in s.attributes]
            tokens = sum(_whole(s.attributes["gen_ai.usage.input_tokens"]) for s in below)
            facts = replace(
                facts, usage={"input_tokens": tokens + rng.choice((0, 0, 0, 500)), "output_tokens": 100 * len(below)}
            )
        if rng.random() < 0.15:
            total = self.lifetimes.setdefault(facts.agent, {"input_tokens": 0, "output_tokens": 0})
            for unit in total:
                total[unit] = total[unit] + facts.usage.get(unit, 0) if rng.random() < 0.9 else 10
            facts = replace(facts, usage=dict(total))
        if rng.random() < 0.15:
            facts = replace(facts, model="", request_model="")
        self._retell(span, "aggregate", facts)

    def _tool(self, parent: Draft, depth: int) -> None:
        """A tool, perhaps told twice, perhaps with work inside."""
        rng = self.rng
        facts = replace(self._facts(), usage={})
        span = self._tell("tool", facts, parent)
        if rng.random() < 0.3:
            span = self._tell("tool", facts, span)
        if depth < 4:
            for _ in range(rng.randint(0, 2)):
                self._grow(span, depth + 1)

    def _work(self, parent: Draft, depth: int) -> None:
        span = self._plain(parent.span_id, *self._inside(parent))
        if self.rng.random() < 0.2:
            span.attributes["agentcost.kind"] = "step"
        if depth < 5:
            for _ in range(self.rng.randint(0, 3)):
                self._grow(span, depth + 1)

    def _request(self, parent: Draft, depth: int) -> None:
        """An HTTP request, perhaps told by two instrumentations."""
        rng = self.rng
        address = rng.choice(PAID_HOSTS if rng.random() < 0.7 else FREE_HOSTS)
        host, _, path = address.partition("/")
        attributes: Attributes = {
            "http.request.method": rng.choice(("POST", "GET")),
            "url.full": f"https://{address}?key=secret",
        }
        if rng.random() < 0.3:
            attributes = {"http.method": "POST", "http.host": host, "http.target": f"/{path}", "http.status_code": 200}
        if rng.random() < 0.2:
            attributes["http.response.status_code"] = rng.choice((200, 429, 500, "503"))
        if rng.random() < 0.3:
            attributes["http.response.body.size"] = rng.choice((12_345, 1_234_567, "99"))
        if rng.random() < 0.2:
            attributes["http.response.header.x-credits-used"] = rng.choice((["4"], "2.5", 7, 1.25, True, [], ["x"], -1))
        span = self._span("POST", "client", "opentelemetry.instrumentation.httpx", parent, attributes)
        if rng.random() < 0.4:
            span = self._span("POST", "client", "opentelemetry.instrumentation.urllib3", span, dict(attributes))
        if rng.random() < 0.2:
            self._call(span, depth)

    def _compute(self, parent: Draft, depth: int) -> None:
        rng = self.rng
        unit = rng.choice(("gpu_seconds", "vcpu_seconds", "machine_seconds", "memory_gb_seconds"))
        attributes: Attributes = {
            "agentcost.kind": "compute",
            "agentcost.machine": rng.choice(("H100", "t3.medium", "lambda", "unknown-box")),
            f"agentcost.usage.{unit}": rng.choice((12.5, 3600, 0.123456789, 1e-07, "2.25")),
        }
        if rng.random() < 0.5:
            attributes["gen_ai.provider.name"] = rng.choice(("aws", "gcp", "azure"))
        self._span("compute", "internal", "otel_agentcost", parent, attributes)

    def _fetched(self, parent: Draft, depth: int) -> None:
        """A stored response, created with or without usage, then read again."""
        rng = self.rng
        facts = replace(self._facts(), response_id=f"resp_{rng.getrandbits(40):x}")
        if rng.random() < 0.7:
            self._tell("call", facts if rng.random() < 0.5 else replace(facts, usage={}), parent)
        for _ in range(rng.randint(1, 2)):
            told = self._otel(facts if rng.random() < 0.8 else replace(facts, usage={}))
            self._span("fetch", "client", "openai", parent, {**told, "gen_ai.operation.name": "fetch_response"})

    def _stated(self, parent: Draft, depth: int) -> None:
        """A span that carries a cost already."""
        rng = self.rng
        span = self._tell(rng.choice(("call", "aggregate", "tool")), self._facts(), parent)
        if rng.random() < 0.3:
            span.attributes = {"agentcost.kind": rng.choice(("compute", "api", "tool", "call"))}
        span.attributes["agentcost.cost.amount"] = rng.choice((0.0035, 1.25, 0.0, 2, 1e-12, 0.1 + 0.2, "0.5", -0.25))
        span.attributes["agentcost.cost.source"] = rng.choice(("book", "provider", "user", "estimated", "", "somebody"))
        if rng.random() < 0.4:
            span.attributes["agentcost.cost.status"] = rng.choice(
                ("mirror", "aggregate", "remainder", "correction", "partial", "free", "estimated", "unpriced", "odd")
            )
            span.attributes["agentcost.cost.reason"] = rng.choice(("mirror_of:1", "a,b,,c", ""))
        if rng.random() < 0.3:
            span.attributes["agentcost.price.id"] = "old/book"
        if rng.random() < 0.1:
            span.attributes["agentcost.cost.currency"] = "EUR"
        if rng.random() < 0.1:
            span.attributes["agentcost.session.cost.total"] = 12.5

    def _router(self, parent: Draft, depth: int) -> None:
        """A router's name over the models it chose."""
        rng = self.rng
        chosen = [self._facts() for _ in range(rng.randint(1, 2))]
        usage = {u: sum(f.usage.get(u, 0) for f in chosen) for u in ("input_tokens", "output_tokens")}
        outer = self._tell("call", Facts(model="router/auto", usage=usage), parent)
        for facts in chosen:
            self._tell("call", facts, outer)

    def _server(self, parent: Draft, depth: int) -> None:
        """A call and the model server's own span, nested or apart."""
        rng = self.rng
        facts = self._facts()
        client = self._tell("call", facts, parent)
        http = self._plain(client.span_id, *self._inside(client)) if rng.random() < 0.5 else client
        inner = self._tell("call", self._retold(facts), http)
        inner.kind = "server"

    def _wide(self, parent: Draft) -> None:
        """More models than a rollup tells apart, each with a cost of its emitter's."""
        for i in range(self.rng.randint(60, 120)):
            told = {**self._otel(self._facts()), "gen_ai.response.model": f"m-{i}", "gen_ai.usage.cost": 0.01 * i}
            self._span("chat", "client", "lib.otel-genai", parent, told)

    def _seed(self, parent: Draft, depth: int) -> None:
        """A span of a usage vector, perhaps with a value that cannot be."""
        rng = self.rng
        given = rng.choice(seeds())
        attributes = dict(given.get("attributes", {}))
        if attributes and rng.random() < 0.3:
            key = rng.choice(sorted(attributes))
            attributes[key] = rng.choice(
                (
                    -1,
                    0,
                    2**53,
                    1.5,
                    1e300,
                    "",
                    "12",
                    "1e3",
                    "NaN",
                    True,
                    [1, 2],
                    ["7"],
                    {"a": 1},
                    None,
                    "  gpt-4o ",
                    7.0,
                )
            )
        span = self._span(
            given.get("name", "span"), given.get("kind", "internal"), given.get("scope", ""), parent, attributes
        )
        span.resource = {**span.resource, **given.get("resource", {})}

    # -- what goes wrong ----------------------------------------------------------------------------------------

    def _spoil(self) -> None:
        rng = self.rng
        spans = self.spans
        if rng.random() < 0.15 and len(spans) > 2:  # some were never exported
            for _ in range(rng.randint(1, 2)):
                spans.remove(rng.choice(spans))
        for span in spans:
            if rng.random() < 0.01:
                span.parent_id = rng.choice(spans).span_id  # a wrong link, perhaps a circle, perhaps to itself
            if rng.random() < 0.01:
                span.start, span.end = span.end, span.start  # a clock that went back
            if rng.random() < 0.02:
                span.end = span.start
            if rng.random() < 0.01:
                span.start -= rng.choice((0, 5 * SECOND, 100 * SECOND))
        if rng.random() < 0.1:
            twin = rng.choice(spans)
            spans.append(replace(twin, attributes=dict(twin.attributes)))  # an export that came twice
        if rng.random() < 0.05:
            twin = rng.choice(spans)
            half = dict(list(twin.attributes.items())[: len(twin.attributes) // 2])
            spans.append(replace(twin, attributes=half))
        rng.shuffle(spans)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
