"""session, step, tool, compute and charge: spans, identity and money, in every shape a Python function has."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from otel_agentcost.errors import BudgetExceeded
from otel_agentcost.otel import evidence, identity, scope
from otel_agentcost.otel.session import charge, compute, current_session, session, step, tool
from otel_agentcost.pricing.money import Money
from otel_agentcost.usage.reading import Reading


class Captured(SpanProcessor):
    """Keeps every ended span with the evidence handed over for it."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.readings: dict[str, tuple[Reading, ...]] = {}
        self.total: Money | None = None
        self.asked: list[tuple[int, str]] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)
        taken = evidence.take(span.context.trace_id, span.context.span_id)
        if taken:
            self.readings[span.name] = taken

    def live_total(self, trace_id: int, session_id: str) -> Money | None:
        self.asked.append((trace_id, session_id))
        return self.total

    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def one(self, name: str) -> ReadableSpan:
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def parent_name(self, name: str) -> str | None:
        parent = self.one(name).parent
        if parent is None:
            return None
        return next(span.name for span in self.spans if span.context.span_id == parent.span_id)


@pytest.fixture
def captured() -> Iterator[Captured]:
    processor = Captured()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    scope.use_provider(provider)
    yield processor
    scope.use_provider(None)
    evidence.EVIDENCE.clear()
    assert trace.get_current_span() is trace.INVALID_SPAN, "a context was left behind"


def test_a_session_with_an_agent_is_the_invoke_agent_span_with_its_identity(captured: Captured) -> None:
    """OpenTelemetry's names where they exist, ours for the rest."""
    with session("s-1", agent="triage", tenant="acme", user="u", project="p", cost_center="c", purpose="app",
                 conversation="conv", attributes={"ticket": 7}):  # fmt: skip
        pass

    span = captured.one("invoke_agent triage")
    assert dict(span.attributes or {}) == {
        "ticket": 7,
        "session.id": "s-1",
        "gen_ai.conversation.id": "conv",
        "user.id": "u",
        "gen_ai.agent.name": "triage",
        "agentcost.tenant": "acme",
        "agentcost.project": "p",
        "agentcost.cost_center": "c",
        "agentcost.purpose": "app",
        "agentcost.kind": "session",
        "gen_ai.operation.name": "invoke_agent",
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "otel_agentcost"


def test_identity_holds_inside_the_session_only(captured: Captured) -> None:
    """The processor reads identity.current(); inner values add to outer ones and end with their session."""
    assert identity.current() == {}
    with session("s-1", tenant="acme"):
        assert identity.current() == {"session.id": "s-1", "agentcost.tenant": "acme"}
        with session(agent="inner", tenant="globex"):
            assert identity.current() == {
                "session.id": "s-1",
                "agentcost.tenant": "globex",
                "gen_ai.agent.name": "inner",
            }
        assert identity.current()["agentcost.tenant"] == "acme"
    assert identity.current() == {}


def test_identity_is_read_from_the_context_a_span_starts_in(captured: Captured) -> None:
    """A span started with an explicit context belongs to that context's session."""
    with session("s-1"):
        inside = context.get_current()

    assert identity.current() == {}
    assert identity.current(inside) == {"session.id": "s-1"}


def test_an_inner_session_continues_the_outer_one_as_a_step(captured: Captured) -> None:
    """One session has one root; a sub-agent is a step of it, another id is another session."""
    with session("outer"), session(agent="sub") as inner:
        assert inner.id == "outer"
    with session("outer"), session("other"):
        pass

    kinds = [(span.name, (span.attributes or {})["agentcost.kind"]) for span in captured.spans]
    assert kinds == [
        ("invoke_agent sub", "step"),
        ("session", "session"),
        ("session", "session"),
        ("session", "session"),
    ]


def test_every_run_without_an_id_is_a_session_of_its_own(captured: Captured) -> None:
    """A decorated function makes a new session for each call."""

    @session()
    def run() -> str:
        found = current_session()
        assert found is not None
        return found.id

    assert run() != run()
    assert captured.names() == ["run", "run"]


def test_a_session_asks_the_ledger_of_its_own_provider(captured: Captured) -> None:
    """cost() is the money so far, or None where nobody keeps the ledger."""
    captured.total = Money(42)
    with session("s-1") as running:
        assert running.cost() == Money(42)
        assert current_session() is running

    assert captured.asked == [(captured.one("session").context.trace_id, "s-1")]
    assert current_session() is None


def test_without_an_sdk_nothing_is_recorded_and_nothing_fails() -> None:
    """The API is safe in programs that never set up OpenTelemetry."""
    with session("s-1", tenant="acme") as running, tool("search", fee="0.01"), compute(vcpus="used"):
        assert running.cost() is None
        running.outcome("success", value=3)
        charge(amount="1")
        running.charge(amount="1")

    assert len(evidence.EVIDENCE) == 0


def test_a_tool_fee_is_money_the_application_vouches_for(captured: Captured) -> None:
    """The exact decimal reaches the ledger; a tool without a fee is left to the fee tables."""
    with tool("search", fee="0.005"):
        pass
    with tool("free"):
        pass

    (reading,) = captured.readings["execute_tool search"]
    assert reading.kind == "tool"
    assert reading.tool == "search"
    assert dict(reading.billable) == {"tool_calls": 1}
    assert reading.reported_cost == Decimal("0.005")
    assert reading.reported_by == "user"
    assert "execute_tool free" not in captured.readings
    assert (captured.one("execute_tool free").attributes or {})["gen_ai.tool.name"] == "free"


def test_a_failed_tool_call_still_costs_its_fee_and_tells_no_secret(captured: Captured) -> None:
    """The application's own error passes through unchanged; its text, which may quote a prompt, is not recorded."""
    with pytest.raises(ValueError, match="my prompt"), tool("search", fee=1):
        raise ValueError("my prompt")

    span = captured.one("execute_tool search")
    assert span.status.status_code is trace.StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert "my prompt" not in span.to_json()
    assert len(captured.readings["execute_tool search"]) == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_cancellation_is_not_a_failure(captured: Captured, error: type[BaseException]) -> None:
    """Leaving early is no error of the work."""
    with pytest.raises(error), step("work"):
        raise error

    assert captured.one("work").status.status_code is trace.StatusCode.UNSET


def test_a_budget_that_stops_the_work_passes_through(captured: Captured) -> None:
    """What the user asked to enforce reaches the user."""
    with pytest.raises(BudgetExceeded), step("work"):
        raise BudgetExceeded("used up")


def test_reserved_compute_is_wall_time_times_what_is_reserved(captured: Captured) -> None:
    """Two GPUs and four vCPUs for the same time; the quantities stand on the span for a later replay."""
    with compute("embed", gpus=2, gpu="H100", vcpus=4, memory_gb=Decimal("1.5"), region="eu"):
        pass

    (reading,) = captured.readings["compute embed"]
    usage = dict(reading.billable)
    wall = Decimal(usage["gpu_seconds"]) / 2
    assert usage == {"gpu_seconds": wall * 2, "vcpu_seconds": wall * 4, "memory_gb_seconds": usage["memory_gb_seconds"]}
    assert abs(Decimal(usage["memory_gb_seconds"]) - wall * Decimal("1.5")) < Decimal("1e-8")
    assert 0 < wall < 1
    assert reading.billable.contradiction() is None
    attributes = captured.one("compute embed").attributes or {}
    assert attributes["agentcost.machine"] == "H100"
    assert attributes["agentcost.region"] == "eu"
    assert attributes["agentcost.usage.gpu_seconds"] == float(usage["gpu_seconds"])


def test_a_whole_machine_is_reserved_by_its_name(captured: Captured) -> None:
    """Without parts, the machine itself is what is paid for."""
    with compute(machine="p5.48xlarge"):
        pass

    (reading,) = captured.readings["compute p5.48xlarge"]
    assert list(reading.billable) == ["machine_seconds"]
    assert reading.context == {"machine": "p5.48xlarge"}


def test_a_plain_charge_statement_is_booked_at_once(captured: Captured) -> None:
    """Money that was asked for is never lost because somebody forgot a `with`."""
    with session("s-1"):
        charge(amount="0.02", reason="flight data")
        assert captured.names() == ["charge"]

    (reading,) = captured.readings["charge"]
    assert reading.reported_cost == Decimal("0.02")
    assert captured.parent_name("charge") == "session"


def test_a_charge_kept_in_a_variable_is_booked_once_where_it_was_written(captured: Captured) -> None:
    """Late collection changes neither the parent nor the amount."""
    with session("s-1"):
        kept = charge(amount=3)
    assert captured.names() == ["session"]
    del kept
    gc.collect()

    assert captured.names() == ["session", "charge"]
    assert captured.parent_name("charge") == "session"


def test_an_entered_charge_is_booked_once(captured: Captured) -> None:
    """Around a block it is one charge, not one more when the object goes."""
    with charge(unit="gpu_seconds", quantity=Decimal("1.5"), provider="lambda", model="H100"):
        pass
    gc.collect()

    (reading,) = captured.readings["charge"]
    assert (reading.kind, reading.provider, reading.model, reading.reported_cost) == ("compute", "lambda", "H100", None)
    assert captured.names() == ["charge"]


def test_a_charge_decorator_charges_each_call_and_nothing_else(captured: Captured) -> None:
    """Decorating is free; calling costs."""

    @charge(amount="0.5")
    def paid() -> int:
        return 1

    assert captured.names() == []
    assert paid() + paid() == 2
    del paid
    gc.collect()
    assert captured.names() == ["charge", "charge"]


def test_a_session_charges_itself_from_anywhere_inside(captured: Captured) -> None:
    """current_session().charge() goes to the session, not to the step that happens to be current."""
    with session("s-1") as running, step("deep"):
        running.charge(amount="0.1", reason="late fee")

    assert captured.parent_name("charge") == "session"


def test_outcome_and_value_stand_on_the_session(captured: Captured) -> None:
    """Cost per successful session needs to know which ones succeeded."""
    with session() as running:
        running.outcome("failure", value=2.5)

    attributes = captured.one("session").attributes or {}
    assert (attributes["agentcost.outcome"], attributes["agentcost.value"]) == ("failure", 2.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: session(7), "id must be"),
        (lambda: session(tenant=""), "tenant must be"),
        (lambda: session(user="x" * 300), "at most 256"),
        (lambda: session(purpose="fun"), "app, evaluation, experiment"),
        (lambda: session(attributes=[1]), "attributes must be"),
        (lambda: session(print), "parentheses"),
        (lambda: step(print), "parentheses"),
        (lambda: tool(print), "parentheses"),
        (lambda: tool("t", fee=0.005), r'write fee="0\.005"'),
        (lambda: tool("t", fee="much"), "amount of money"),
        (lambda: tool("t", fee="-1"), "at least 0"),
        (lambda: tool("t", fee="nan"), "amount of money"),
        (lambda: tool("t", fee=True), "bool"),
        (lambda: tool("t", fee=1, currency="usd"), "code such as USD"),
        (lambda: compute(), "needs machine"),
        (lambda: compute(gpus=0), "more than 0"),
        (lambda: compute(gpus=1.5), "whole number or Decimal"),
        (lambda: compute(vcpus="all"), "whole number or Decimal"),
        (lambda: compute(print), "parentheses"),
        (lambda: charge(), "needs an amount"),
        (lambda: charge(unit="gpu_seconds"), "together"),
        (lambda: charge(quantity=1, amount=1), "together"),
        (lambda: charge(unit="wishes", quantity=1), "units.yaml"),
        (lambda: charge(unit="gpu_seconds", quantity=1.5), "not_a_number"),
        (lambda: charge(unit="gpu_seconds", quantity=-1), "negative"),
        (lambda: session()(int), "decorates functions"),
        (lambda: session()(3), "decorates functions"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_where_they_are_given(call: object, message: str) -> None:
    """The only errors this API raises name the argument, at the call."""
    with pytest.raises(TypeError, match=message):
        call()  # type: ignore[operator]


def test_a_decorated_function_keeps_its_name_result_and_kind() -> None:
    """Frameworks look at what kind of function they got."""

    @step()
    def plain(x: int) -> int:
        """Doc."""
        return x + 1

    @step()
    async def coroutine() -> None: ...

    @step()
    def generator() -> Iterator[int]:
        yield 1

    @step()
    async def async_generator() -> AsyncIterator[int]:
        yield 1

    assert (plain(1), plain.__name__, plain.__doc__) == (2, "plain", "Doc.")
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)


async def test_a_decorated_coroutine_is_covered_to_its_end(captured: Captured) -> None:
    """Children started after an await are inside."""

    @step("outer")
    async def run() -> str:
        await asyncio.sleep(0)
        with step("inner"):
            await asyncio.sleep(0)
        return "done"

    assert await run() == "done"
    assert captured.names() == ["inner", "outer"]
    assert captured.parent_name("inner") == "outer"


async def test_concurrent_calls_of_one_decorated_coroutine_do_not_mix(captured: Captured) -> None:
    """Each call has its own span and session."""

    @session()
    async def run(number: int) -> tuple[str, str]:
        first = current_session()
        await asyncio.sleep(0.001 * (3 - number))
        second = current_session()
        assert first is not None
        assert second is not None
        return first.id, second.id

    results = await asyncio.gather(*(run(number) for number in range(3)))
    assert all(first == second for first, second in results)
    assert len({first for first, _ in results}) == 3


async def test_one_scope_object_may_be_open_in_several_tasks(captured: Captured) -> None:
    """`with shared:` in two tasks closes each task's own span."""
    shared = step("shared")
    order: list[str] = []

    async def work(name: str, first: asyncio.Event, second: asyncio.Event) -> None:
        async with shared as opened:
            first.set()
            await second.wait()
        assert not opened.span.is_recording()
        order.append(name)

    a, b = asyncio.Event(), asyncio.Event()
    await asyncio.gather(work("a", a, b), work("b", b, a))
    assert len({span.context.span_id for span in captured.spans}) == 2


def test_a_generator_is_covered_from_first_item_to_end_but_not_its_consumer(captured: Captured) -> None:
    """The consumer's work between two items belongs to the consumer."""

    @step("stream")
    def produce() -> Iterator[int]:
        for number in range(2):
            with step(f"item {number}"):
                yield number

    with step("consumer"):
        for number in produce():
            with step(f"use {number}"):
                pass

    assert captured.parent_name("item 0") == "stream"
    assert captured.parent_name("use 0") == "consumer"
    assert captured.parent_name("use 1") == "consumer"
    assert captured.parent_name("stream") == "consumer"


def test_a_generator_continues_inside_the_span_it_had_open_when_it_yielded(captured: Captured) -> None:
    """Work after a yield has the same parent as before it."""

    @step("stream")
    def produce() -> Iterator[int]:
        with step("open"):
            yield 1
            with step("after"):
                pass

    assert list(produce()) == [1]
    assert captured.parent_name("after") == "open"


def test_a_generator_hands_on_sent_values_thrown_errors_and_its_return_value(captured: Captured) -> None:
    """A decorated generator behaves as the generator it wraps."""

    @step("g")
    def echo() -> Iterator[object]:
        got = yield "ready"
        try:
            yield got
        except KeyError as error:
            yield error.args[0]
        return "returned"

    g = echo()
    assert next(g) == "ready"
    assert g.send("hello") == "hello"  # type: ignore[attr-defined]
    assert g.throw(KeyError("thrown")) == "thrown"  # type: ignore[attr-defined]
    with pytest.raises(StopIteration) as stop:
        next(g)
    assert stop.value.value == "returned"
    assert captured.names() == ["g"]


def test_a_generator_closed_early_ends_its_span_and_runs_its_cleanup(captured: Captured) -> None:
    """A consumer that stops reading leaves no open span."""
    cleaned: list[str] = []

    @step("g")
    def produce() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            with step("cleanup"):
                cleaned.append("yes")

    g = produce()
    assert next(g) == 1
    g.close()  # type: ignore[attr-defined]
    assert cleaned == ["yes"]
    assert captured.names() == ["cleanup", "g"]
    assert captured.parent_name("cleanup") == "g"
    assert captured.one("g").status.status_code is trace.StatusCode.UNSET


def test_an_error_in_a_generator_reaches_its_consumer_and_marks_the_span(captured: Captured) -> None:
    """The application's exception passes through unchanged."""

    @step("g")
    def produce() -> Iterator[int]:
        yield 1
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        list(produce())
    assert (captured.one("g").attributes or {})["error.type"] == "LookupError"


async def test_an_async_generator_is_covered_like_a_generator(captured: Captured) -> None:
    """Item by item inside, the consumer outside, the end at exhaustion."""

    @session("s", name="stream")
    async def produce() -> AsyncIterator[str]:
        for number in range(2):
            await asyncio.sleep(0)
            with step(f"item {number}"):
                found = current_session()
                assert found is not None
                yield found.id

    async for got in produce():
        assert got == "s"
        assert current_session() is None
    assert captured.names() == ["item 0", "item 1", "stream"]
    assert captured.parent_name("item 1") == "stream"


async def test_an_async_generator_closed_early_or_in_another_task_ends_its_span(captured: Captured) -> None:
    """Cleanup runs inside the span, whichever task does it."""

    @step("g")
    async def produce() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            with step("cleanup"):
                pass

    g = produce()
    assert await anext(g) == 1
    await asyncio.create_task(g.aclose())  # type: ignore[attr-defined]
    assert captured.names() == ["cleanup", "g"]
    assert captured.parent_name("cleanup") == "g"


async def test_a_scope_left_in_another_task_ends_its_span(captured: Captured) -> None:
    """Fixtures of async test frameworks enter and leave in different tasks."""
    opened = session("s")
    await asyncio.create_task(opened.__aenter__())
    await opened.__aexit__(None, None, None)

    assert captured.names() == ["session"]


def test_methods_of_every_kind_can_be_decorated(captured: Captured) -> None:
    """The order of decorators does not matter."""

    class Agent:
        @step("method")
        def method(self) -> int:
            return 1

        @step("class")
        @classmethod
        def of_class(cls) -> int:
            return 2

        @staticmethod
        @step("static")
        def static() -> int:
            return 3

    agent = Agent()
    assert (agent.method(), Agent.of_class(), agent.static()) == (1, 2, 3)
    assert captured.names() == ["method", "class", "static"]


def test_recursion_through_a_decorated_function_nests(captured: Captured) -> None:
    """Every call has its own span."""

    @tool(fee="0.1")
    def dig(depth: int) -> int:
        return depth if depth == 0 else dig(depth - 1)

    assert dig(2) == 0
    assert captured.names() == ["execute_tool dig"] * 3


def test_threads_with_a_copied_context_stay_in_the_session(captured: Captured) -> None:
    """The identity travels with the context; a bare thread has none."""
    seen: list[dict[str, str]] = []

    def work() -> None:
        seen.append(dict(identity.current()))

    with session("s-1"):
        import contextvars

        copied = contextvars.copy_context()
        for target in (lambda: copied.run(work), work):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

    assert seen[0] == {"session.id": "s-1"}


def test_an_error_of_ours_never_reaches_the_application(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a broken tracer and a broken ledger the decorated work still runs and returns."""
    monkeypatch.delenv("AGENTCOST_RAISE")

    class Broken:
        def start_span(self, *args: object, **kwargs: object) -> object:
            raise RuntimeError("broken tracer")

    monkeypatch.setattr(scope, "tracer", Broken)

    @session()
    def run() -> int:
        with tool("t", fee="1"), compute(vcpus=1):
            charge(amount=1)
        return 7

    assert run() == 7


def test_contextlib_and_our_scopes_work_together(captured: Captured) -> None:
    """A context manager made from a decorated generator is still one."""

    @contextlib.contextmanager
    @step("resource")
    def resource() -> Iterator[int]:
        yield 5

    with resource() as five:
        assert five == 5
    assert captured.names() == ["resource"]
