"""Mutated bodies and spans: nothing is raised, nothing hangs, memory stays bounded, and no money is made up.

`python -m tests.test_fuzz --cases 100000` runs the full form; the suite runs a seeded part. A case is one recorded
or hand-written answer, damaged in bytes or in values, and sent through a `Meter` in random chunks; or a span with
damaged attributes through `read_span`, the price book and `account()`.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import gc
import gzip
import json
import random
import time
import tracemalloc
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otel_agentcost.ledger.accounting import SpanRecord, account
from otel_agentcost.pricing.book import PriceBook
from otel_agentcost.usage.dialects import read_http_client, read_labels, read_span, read_stated
from otel_agentcost.usage.exchange import Meter, read_exchange, recognise
from otel_agentcost.usage.reading import Reading
from tests import test_corpus
from tests.test_conformance_ledger import VECTORS, record, spans_of
from tests.test_exchange import VECTORS as EXCHANGES
from tests.test_exchange import answer_of

SEED = 20261123
AT = 1_764_000_000 * 10**9
SLOW = 5.0
"""Seconds in which any single case must be done, however busy the machine."""
HANGS = 120.0
"""Seconds after which a case is said to hang: its stack is printed and the run ends."""
STATUSES = {"usage", "no_usage", "error", "invalid", "not_billed"}
DIALECTS = Path(__file__).parent / "conformance" / "usage" / "dialects"
SPANS: list[dict[str, Any]] = [
    case["given"]
    for path in sorted(DIALECTS.glob("*.json"))
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]
]
TRACES = [list(spans_of(v)) for v in VECTORS.values() if len(v["spans"]) < 20 and "chain" not in str(v["spans"])[:4000]]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, -0.0, 10**9, 2**53, 2**63, 10**40, float("nan"), float("inf"), -float("inf"), "",
    "0", "-3", "1e400", "NaN", "12abc", "\x00", "\ud800", "٣", "null", "{}", "[]", "{'a': ", "x" * 5000, [], {}, [[]],
    [None, {"a": [1]}], {"input_tokens": {"input_tokens": 1}}, {"cost": "a lot"}, b"\xff\x00", (1, 2),
)  # fmt: skip
"""Values nobody expects where a number, a name or an object stands."""


def mutated_value(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """Replace, drop, swap or deepen something in a JSON value."""
    if isinstance(value, dict) and value and (depth < 2 or chance.random() < 0.9):
        key = chance.choice(list(value))
        how = chance.random()
        if how < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if how < 0.2:
            other = chance.choice(list(value))
            return {**value, key: value[other], other: value[key]}
        if how < 0.25:
            return {**value, chance.choice(("usage", "id", "model", "error", "response", "message")): value[key]}
        return {**value, key: mutated_value(chance, value[key], depth + 1)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        how = chance.random()
        if how < 0.1:
            return value[:at] + value[at + 1 :]
        if how < 0.2:
            return value + value
        return [*value[:at], mutated_value(chance, value[at], depth + 1), *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.4:
        return chance.choice((value + 1, -value, value * 10**6, str(value), float(value), value / 3))
    return copy.deepcopy(chance.choice(ODD))


def mutated_bytes(chance: random.Random, data: bytes) -> bytes:
    """Flip, cut, insert, double or repeat bytes."""
    result = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 3, 20))):
        at = chance.randrange(len(result) + 1)
        how = chance.randrange(6)
        if how == 0 and at < len(result):
            result[at] = chance.randrange(256)
        elif how == 1:
            del result[at : at + chance.choice((1, 4, 100))]
        elif how == 2:
            result[at:at] = chance.choice(
                (b"\r", b"\n\n", b"data: ", b"{", b"]", b"\xff\xfe", b"\x00" * 16, b'"', b"e9")
            )
        elif how == 3:
            result[at:at] = result[max(0, at - 200) : at]
        elif how == 4:
            del result[at:]
        else:
            result[at:at] = bytes(chance.randrange(256) for _ in range(12))
    return bytes(result)


def json_able(value: Any) -> bytes:
    return json.dumps(value, default=str).encode("utf-8", "surrogatepass")


def sane(reading: Reading | None) -> None:
    """Whatever was read: a known status, usage only where it is claimed and never contradicting itself, a bill."""
    if reading is None:
        return
    assert reading.status in STATUSES
    if reading.reported_cost is not None:
        assert reading.reported_cost.is_finite()
    bill = PriceBook.bundled().price(reading, at=AT)
    if reading.status == "usage" and reading.usage is not None and reading.usage.contradiction():
        assert bill.total is None or bill.status == "provider_reported", bill
    assert bill.total is None or isinstance(bill.total, int)
    assert sum(item.pico for item in bill.items) == (bill.total or 0) or not bill.items or bill.total is None


def exchange_case(chance: random.Random) -> None:
    """One damaged answer through a meter, in random chunks, perhaps compressed, perhaps cut off."""
    vector = chance.choice(EXCHANGES)
    response = vector["response"]
    if chance.random() < 0.6:
        form = next(f for f in ("events", "lines", "frames", "text", "body") if f in response)
        response = {**response, form: mutated_value(chance, response[form])}
    try:
        body, headers = answer_of(response)
    except (TypeError, ValueError, KeyError, AttributeError):
        body, headers = json_able(response), {"content-type": "application/json"}
    if chance.random() < 0.7:
        body = mutated_bytes(chance, body)
    encoding = chance.choice(("", "", "", "gzip", "deflate", "br", "zstd", "gzip, br", "mystery"))
    if encoding:
        headers["content-encoding"] = encoding
        if encoding == "gzip" and chance.random() < 0.8:
            body = gzip.compress(body, 1)
        elif encoding == "deflate" and chance.random() < 0.8:
            body = zlib.compress(body, 1)
        if chance.random() < 0.5:
            body = mutated_bytes(chance, body)
    if chance.random() < 0.1:
        headers["content-type"] = chance.choice(("", "text/event-stream", "application/json; charset=utf-16", "\x00"))
    request = vector["request"]
    asked = json_able(mutated_value(chance, request.get("body", {})))
    call = recognise(
        request["method"], request["url"], mutated_bytes(chance, asked) if chance.random() < 0.3 else asked
    )
    if call is None:
        return
    meter = Meter(call, chance.choice((response.get("status", 200), 200, 500, 0)), headers)
    at = 0
    while at < len(body):
        step = chance.choice((1, 3, 17, 400, 10_000))
        step = max(step, len(body) // 200)
        meter.feed(body[at : at + step])
        at += step
    sane(meter.close(chance.random() < 0.8))


def recorded_case(chance: random.Random, exchanges: list[dict[str, Any]]) -> None:
    """One damaged recording, its fields included."""
    exchange = dict(chance.choice(exchanges))
    if exchange.get("response_body_enc") != "base64" and isinstance(exchange.get("response_body"), str):
        body = mutated_bytes(chance, exchange["response_body"].encode("utf-8", "replace"))
        exchange["response_body"] = body.decode("utf-8", "replace")
    if chance.random() < 0.3:
        exchange = mutated_value(chance, exchange)
    if isinstance(exchange, Mapping):
        sane(read_exchange(exchange))


def mutated_attributes(
    chance: random.Random, attributes: Mapping[str, Any], others: Mapping[str, Any]
) -> dict[str, Any]:
    result = dict(attributes)
    for _ in range(chance.choice((1, 1, 2, 5))):
        how = chance.random()
        if result and how < 0.5:
            result[chance.choice(list(result))] = copy.deepcopy(chance.choice(ODD))
        elif result and how < 0.7:
            del result[chance.choice(list(result))]
        elif others:
            key = chance.choice(list(others))
            result[key] = others[key] if chance.random() < 0.5 else copy.deepcopy(chance.choice(ODD))
    return result


def span_case(chance: random.Random) -> None:
    """One span of a dialect with damaged attributes, and what a second dialect would have put beside them."""
    given, other = chance.choice(SPANS), chance.choice(SPANS)
    attributes = mutated_attributes(chance, given["attributes"], other["attributes"])
    kind = chance.choice((given.get("kind", "internal"), "client", "server", "odd"))
    resource = mutated_attributes(chance, given.get("resource", {}), {})
    reading = read_span(
        name=given.get("name", "span"),
        kind=kind,
        scope=chance.choice((given.get("scope", ""), other.get("scope", ""))),
        attributes=attributes,
        resource=resource,
        failed=chance.random() < 0.2,
    )
    sane(reading)
    sane(read_http_client(attributes))
    read_labels(attributes, resource)
    stated = read_stated(attributes)
    assert stated is None or stated.pico is None or isinstance(stated.pico, int)


def trace_case(chance: random.Random) -> None:
    """A trace with damaged spans: every root still says what its spans add up to."""
    spans = [record(span) for span in chance.choice(TRACES) if "reading" not in span]
    other = chance.choice(SPANS)["attributes"]
    damaged: list[SpanRecord] = []
    for span in spans:
        if chance.random() < 0.5:
            span.attributes = mutated_attributes(chance, span.attributes, other)
        if chance.random() < 0.1:
            span.parent_id = chance.choice(("", "nobody", span.span_id, spans[0].span_id))
        if chance.random() < 0.1:
            span.end_ns = span.start_ns - 5
        damaged.extend([span] * chance.choice((1, 1, 1, 2)))
    chance.shuffle(damaged)
    accounts = account(damaged, PriceBook.bundled(), full=chance.random() < 0.5)
    assert sum(session.rollup.total for session in accounts.sessions) == accounts.total
    for written in accounts.attributes.values():
        for value in written.values():
            assert isinstance(value, (str, bool, int, float))
            assert not isinstance(value, float) or value == value, "NaN is no amount"


def run(cases: int, seed: int, exchanges: list[dict[str, Any]]) -> float:
    """Run so many cases of each sort in turn; return the seconds of the slowest one."""
    slowest = 0.0
    for number in range(cases):
        chance = random.Random(f"{seed} {number}")
        started = time.perf_counter()
        faulthandler.dump_traceback_later(HANGS, exit=True)
        sort = number % 4
        if sort == 0:
            exchange_case(chance)
        elif sort == 1 and exchanges:
            recorded_case(chance, exchanges)
        elif sort == 2:
            trace_case(chance)
        else:
            span_case(chance)
        slowest = max(slowest, time.perf_counter() - started)
    faulthandler.cancel_dump_traceback_later()
    return slowest


def recordings() -> list[dict[str, Any]]:
    """Recorded exchanges of moderate size, where they are here; the hand-written ones are enough without."""
    if not (test_corpus.EXCHANGES.exists() and test_corpus.EXPECTED.exists()):
        return []
    found = test_corpus.corpus()[0]
    return [found[key] for key in sorted(found) if len(found[key].get("response_body") or "") < 50_000]


def test_damaged_bodies_and_spans_never_raise_and_never_hang() -> None:
    """A seeded part of the full form: known statuses, consistent usage, integer money, in bounded time."""
    assert run(4_000, SEED, recordings()) < SLOW


def test_memory_does_not_grow_with_damaged_input() -> None:
    """What is remembered (names, misses, plans) is bounded: thousands of strange names leave no trace of their own."""
    run(800, SEED + 1, [])
    gc.collect()
    tracemalloc.start()
    try:
        run(800, SEED + 2, [])
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 8 * 2**20, f"{grown / 2**20:.1f} MiB more after 800 cases"


def test_an_endless_stream_is_held_in_bounded_memory() -> None:
    """64 MiB of events, of lines and of one line without an end: at most two of the largest events are kept."""
    call = recognise("POST", "https://api.openai.com/v1/chat/completions", b'{"model":"gpt-4o","stream":true}')
    assert call is not None
    event = b'data: {"id":"c","model":"gpt-4o","choices":[{"delta":{"content":"' + b"x" * 4000 + b'"}}]}\n\n'
    for kind, piece in (
        ("text/event-stream", event),
        ("application/x-ndjson", event[6:-1]),
        ("text/event-stream", b"y" * 4096),
        ("application/vnd.amazon.eventstream", b"\x00\x00\x10\x00" + b"z" * 4092),
        ("application/json", b'{"a":"' + b"w" * 4090),
    ):
        tracemalloc.start()
        try:
            meter = Meter(call, 200, {"content-type": kind})
            for _ in range(16_384):
                meter.feed(bytes(bytearray(piece)))  # a fresh copy, so that keeping a reference costs memory
            held, _ = tracemalloc.get_traced_memory()
            sane(meter.close())
        finally:
            tracemalloc.stop()
        assert held < 40 * 2**20, f"{kind}: {held / 2**20:.1f} MiB held"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=SEED + 100)
    options = parser.parse_args()
    found = recordings()
    started = time.perf_counter()
    slowest = run(options.cases, options.seed, found)
    seconds = time.perf_counter() - started
    print(f"{options.cases} cases ({len(found)} recordings), {seconds:.0f} s, the slowest {slowest:.2f} s: none raised")


if __name__ == "__main__":
    main()
