"""Metrics from the ledger: complete under sampling and full export queues, because no exported span is needed.

The processor calls `record_charge` for every posting and `record_session` for every session root; everything else is
read when a metric reader asks. Names and units are those of semconv/registry/metrics.yaml.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping

from opentelemetry import metrics as metrics_api
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otel_agentcost import _semconv as names
from otel_agentcost.ledger.rollup import Rollup
from otel_agentcost.ledger.trace import Posting
from otel_agentcost.otel import health
from otel_agentcost.otel.health import guard
from otel_agentcost.otel.totals import OTHER, Names, Totals
from otel_agentcost.pricing.money import PICO
from otel_agentcost.usage.reading import Reading

OWNER = (
    names.GEN_AI_AGENT_NAME,
    names.AGENTCOST_TENANT,
    names.AGENTCOST_PROJECT,
    names.AGENTCOST_COST_CENTER,
    names.AGENTCOST_PURPOSE,
)
"""Labels that say who pays, on every metric about money."""

_WHAT = (names.GEN_AI_PROVIDER_NAME, names.GEN_AI_RESPONSE_MODEL, names.GEN_AI_TOOL_NAME)
_COST = (names.AGENTCOST_COMPONENT, names.AGENTCOST_COST_SOURCE, names.AGENTCOST_COST_CURRENCY, *_WHAT, *OWNER)
_TOKENS = (names.AGENTCOST_TOKEN_TYPE, names.GEN_AI_PROVIDER_NAME, names.GEN_AI_RESPONSE_MODEL, *OWNER)
_CALLS = (names.AGENTCOST_COMPONENT, names.AGENTCOST_COST_STATUS, names.ERROR_TYPE, *_WHAT, *OWNER)
_AGENT, _TENANT, _PROJECT, _COST_CENTER, _PURPOSE = OWNER
_Who = tuple["str | None", ...]
"""Status, source, currency, error, provider, model, tool, and the owner's labels."""
_UNPRICED = (names.AGENTCOST_COST_REASON, names.GEN_AI_PROVIDER_NAME, names.GEN_AI_RESPONSE_MODEL)

COST_BUCKETS = (0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 100.0)
TOKEN_BUCKETS = (100, 1_000, 4_000, 16_000, 64_000, 128_000, 256_000, 512_000, 1_000_000, 4_000_000, 16_000_000)
CALL_BUCKETS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)
DURATION_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)

_HEALTH_LABELS = {
    "reason": names.AGENTCOST_HEALTH_REASON,
    "where": names.AGENTCOST_HEALTH_WHERE,
    "type": names.ERROR_TYPE,
}
_EVICTED = frozenset({"evicted", "folded"})
_UNWRITTEN = "attribute_limit"


class Metrics:
    """The instruments of one processor."""

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        max_names: int = 4096,
        open_sessions: Callable[[], int] | None = None,
    ) -> None:
        """Create the instruments. `open_sessions` tells how many sessions the ledger holds now."""
        self._open_sessions = open_sessions
        self._model, self._tool, self._owner = Names(max_names), Names(max_names), Names(max_names)
        self._provider_name = Names(256)
        self._lock = lock = threading.Lock()  # protects _series and the totals below
        self._series: dict[tuple[str | None, ...], dict[str, list[int]]] = {}
        """By everything that makes a label: the sums such a charge adds to, as far as they were needed."""
        self._max_series = max_names
        self.cost = Totals(_COST, fixed=3, divisor=PICO, limit=max_names, lock=lock)
        self.tokens = Totals(_TOKENS, limit=max_names, lock=lock)
        self.calls = Totals(_CALLS, fixed=2, limit=max_names, lock=lock)
        self.charged = Totals((names.AGENTCOST_COST_STATUS,), lock=lock)
        self.unpriced = Totals(_UNPRICED, limit=max_names)
        self.late = Totals(("",))
        with guard("metrics.create"):
            self._create(metrics_api.get_meter("otel_agentcost", meter_provider=meter_provider))
        _living.add(self)

    def record_charge(self, posting: Posting, reading: Reading | None, labels: Mapping[str, str]) -> None:
        """Count what one posting changed. `labels` are the span's identity attributes, and `error.type` if it failed.

        A posting may lower what earlier ones counted (law 8); the sums are exact after every one of them.
        """
        charge, delta = posting.charge, posting.delta
        if reading is None and delta is None:
            return
        label = labels.get
        provider = model = tool = None
        if reading is not None:
            provider, model, tool = reading.provider, reading.model or reading.request_model, reading.tool
        who: _Who = (
            charge.status, charge.source, charge.currency, label(names.ERROR_TYPE), provider, model, tool,
            label(_AGENT), label(_TENANT), label(_PROJECT), label(_COST_CENTER), label(_PURPOSE),
        )  # fmt: skip
        with self._lock:
            cells = self._series.get(who)
            if cells is None:
                cells = {}
                if len(self._series) < self._max_series:
                    self._series[who] = cells
            if reading is not None:
                (cells.get("charged") or self._cell(cells, "charged", who))[0] += 1
            if delta is not None:
                cached = delta.cache_read_tokens + delta.cache_write_tokens
                if delta.llm:
                    (cells.get("cost llm") or self._cell(cells, "cost llm", who))[0] += delta.llm
                if delta.llm_calls:
                    (cells.get("calls llm") or self._cell(cells, "calls llm", who))[0] += delta.llm_calls
                if delta.tool_calls:
                    (cells.get("calls tool") or self._cell(cells, "calls tool", who))[0] += delta.tool_calls
                if delta.input_tokens or delta.output_tokens or cached or delta.reasoning_tokens:
                    for name, number in (
                        ("tokens input", delta.input_tokens - cached),
                        ("tokens cache_read", delta.cache_read_tokens),
                        ("tokens cache_write", delta.cache_write_tokens),
                        ("tokens output", delta.output_tokens - delta.reasoning_tokens),
                        ("tokens reasoning", delta.reasoning_tokens),
                    ):
                        if number:
                            (cells.get(name) or self._cell(cells, name, who))[0] += number
                if delta.tool or delta.api or delta.compute or delta.api_calls:
                    for name, number in (
                        ("cost tool", delta.tool),
                        ("cost api", delta.api),
                        ("cost compute", delta.compute),
                        ("calls api", delta.api_calls),
                    ):
                        if number:
                            (cells.get(name) or self._cell(cells, name, who))[0] += number
        if reading is not None and charge.status in ("unpriced", "invalid"):
            self.unpriced.add(
                (_reason(charge.reason), self._provider_name(provider or ""), self._model(model or "")), 1
            )
        if posting.late and delta is not None:
            self.late.add(("",), 1)

    def _cell(self, cells: dict[str, list[int]], name: str, who: _Who) -> list[int]:
        """Find the sum a kind of number of such a charge belongs to, and remember it."""
        status, source, currency, error, provider, model, tool, *labels = who
        what = (self._provider_name(provider or ""), self._model(model or ""))
        owner = tuple(self._owner(label or "") for label in labels)
        series, _, kind = name.partition(" ")
        if series == "cost":
            paid_in = currency if currency and currency != "USD" else ""
            cell = self.cost.cell((kind, source or "", paid_in, *what, self._tool(tool or ""), *owner))
        elif series == "calls":
            cell = self.calls.cell((kind, status or "", error or "", *what, self._tool(tool or ""), *owner))
        elif series == "tokens":
            cell = self.tokens.cell((kind, *what, *owner))
        else:
            cell = self.charged.cell((status or "",))
        cells[name] = cell
        return cell

    def record_session(
        self,
        rollup: Rollup,
        labels: Mapping[str, str],
        *,
        complete: bool = True,
        duration_seconds: float | None = None,
        currency: str = "USD",
    ) -> None:
        """Count one session when its root ended. `labels` may hold `agentcost.outcome`."""
        owner = {key: self._owner(labels[key]) for key in OWNER if labels.get(key)}
        outcome = (
            {names.AGENTCOST_OUTCOME: labels[names.AGENTCOST_OUTCOME]} if labels.get(names.AGENTCOST_OUTCOME) else {}
        )
        in_currency = {names.AGENTCOST_COST_CURRENCY: currency} if currency != "USD" else {}
        self._session_cost.record(
            rollup.total / PICO,
            {**owner, **outcome, **in_currency, names.AGENTCOST_SESSION_COMPLETE: complete},
        )
        self._session_tokens.record(rollup.input_tokens + rollup.output_tokens, owner)
        self._session_calls.record(rollup.llm_calls, owner)
        if duration_seconds is not None:
            self._session_duration.record(duration_seconds, {**owner, **outcome})

    def forget(self) -> None:
        """Start from nothing, in a forked child: its parent reports what was before."""
        self._lock = threading.Lock()
        self._series = {}
        for totals in (self.cost, self.tokens, self.calls, self.charged):
            totals.clear(self._lock)
        for totals in (self.unpriced, self.late):
            totals.clear()

    def _create(self, meter: metrics_api.Meter) -> None:
        counter = meter.create_observable_counter
        counter(names.METRIC_AGENTCOST_CLIENT_COST, [self.cost.observe], "{currency}", "Money spent, each charge once.")
        counter(
            names.METRIC_AGENTCOST_CLIENT_TOKENS, [self.tokens.observe], "{token}", "Billed tokens by disjoint type."
        )
        counter(names.METRIC_AGENTCOST_CLIENT_CALLS, [self.calls.observe], "{call}", "Billed calls, each once.")
        counter(names.METRIC_AGENTCOST_SPANS_CHARGED, [self.charged.observe], "{span}", "Spans read as consumption.")
        counter(names.METRIC_AGENTCOST_SPANS_UNPRICED, [self.unpriced.observe], "{span}", "Calls of unknown cost.")
        counter(names.METRIC_AGENTCOST_SPANS_LATE, [self.late.observe], "{span}", "Charged after the root was written.")
        counter(names.METRIC_AGENTCOST_SPANS_EVICTED, [_evicted], "{span}", "Folded into totals at a limit.")
        counter(names.METRIC_AGENTCOST_SPANS_UNWRITTEN, [_unwritten], "{span}", "Without room for our attributes.")
        counter(names.METRIC_AGENTCOST_HEALTH_EVENTS, [_health_events], "{event}", "What went wrong or was given up.")
        meter.create_observable_up_down_counter(
            names.METRIC_AGENTCOST_SESSION_ACTIVE, [self._active], "{session}", "Sessions held in memory."
        )

        def histogram(name: str, unit: str, text: str, buckets: tuple[float, ...]) -> metrics_api.Histogram:
            return meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=buckets)

        self._session_cost = histogram(
            names.METRIC_AGENTCOST_SESSION_COST, "{currency}", "Cost of a session when its root ended.", COST_BUCKETS
        )
        self._session_tokens = histogram(
            names.METRIC_AGENTCOST_SESSION_TOKENS, "{token}", "Tokens of a session.", TOKEN_BUCKETS
        )
        self._session_calls = histogram(
            names.METRIC_AGENTCOST_SESSION_CALLS, "{call}", "Billed model calls of a session.", CALL_BUCKETS
        )
        self._session_duration = histogram(
            names.METRIC_AGENTCOST_SESSION_DURATION, "s", "Duration of a session.", DURATION_BUCKETS
        )

    def _active(self, options: CallbackOptions) -> Iterable[Observation]:
        with guard("metrics.active"):
            if self._open_sessions is not None:
                return [Observation(self._open_sessions())]
        return []


_living: weakref.WeakSet[Metrics] = weakref.WeakSet()


def _forget_all() -> None:
    for metrics in list(_living):
        metrics.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _reason(reason: str) -> str:
    """Name the first reason without its detail, which may be a span id or a model: a label must stay bounded."""
    return reason.split(",", 1)[0].split(":", 1)[0] or OTHER


def _total(wanted: Iterable[str]) -> int:
    return sum(value for name, _, value in health.counts() if name in wanted)


def _evicted(options: CallbackOptions) -> Iterable[Observation]:
    return [Observation(_total(_EVICTED))]


def _unwritten(options: CallbackOptions) -> Iterable[Observation]:
    return [Observation(_total((_UNWRITTEN,)))]


def _health_events(options: CallbackOptions) -> Iterable[Observation]:
    result = []
    for name, labels, value in health.counts():
        attributes = {names.AGENTCOST_HEALTH_EVENT: name}
        rest = [f"{key}={text}" for key, text in sorted(labels.items()) if key not in _HEALTH_LABELS]
        if rest:
            attributes[names.AGENTCOST_HEALTH_REASON] = ",".join(rest)
        attributes.update({_HEALTH_LABELS[key]: text for key, text in labels.items() if key in _HEALTH_LABELS})
        result.append(Observation(value, attributes))
    return result
