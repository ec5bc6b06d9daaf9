"""Processor time is attributed exactly to the work that used it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from otel_agentcost.otel import compute as meters
from otel_agentcost.otel import evidence, scope
from otel_agentcost.otel.compute import CpuMeter, Stepped, WallMeter, meter_tasks, metered, seconds
from otel_agentcost.otel.session import compute

MS = 1_000_000


def burn(milliseconds: float) -> None:
    """Use this much processor time of this thread."""
    end = time.thread_time_ns() + int(milliseconds * MS)
    while time.thread_time_ns() < end:
        pass


def close_to(used_ns: int, milliseconds: float) -> bool:
    """Tell whether the figure is the burnt time plus little more."""
    return milliseconds * MS <= used_ns < (milliseconds + 6) * MS


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    yield
    assert meters._thread.mark is None
    assert meters._thread.stepping is False
    assert meters._innermost.get() is None


def test_seconds_are_exact() -> None:
    """A nanosecond count is a decimal, never a float."""
    assert seconds(1_000_000_001) == Decimal("1.000000001")
    assert str(seconds(3)) == "3E-9"


def test_wall_time_counts_waiting() -> None:
    """Reserved is reserved."""
    wall = WallMeter()
    time.sleep(0.01)

    assert wall.stop() >= 10 * MS


def test_used_time_does_not_count_waiting() -> None:
    """Sleeping uses no processor."""
    with CpuMeter() as cpu:
        time.sleep(0.02)
        burn(5)

    assert close_to(cpu.used_ns, 5)
    assert cpu.exact


def test_an_inner_meter_takes_its_time_from_the_outer_one() -> None:
    """No second is counted twice."""
    with CpuMeter() as outer:
        burn(4)
        with CpuMeter() as inner:
            burn(8)
        burn(4)

    assert close_to(inner.used_ns, 8)
    assert close_to(outer.used_ns, 8)


def test_a_meter_can_be_continued() -> None:
    """A generator's meter stops while its consumer works."""
    meter = CpuMeter()
    for _ in range(3):
        meter.start()
        burn(2)
        meter.stop()
        burn(5)

    assert close_to(meter.used_ns, 6)


async def test_interleaved_coroutines_get_their_own_time_each() -> None:
    """Two tasks on one thread: 5 and 15 milliseconds, in turns."""

    async def work(milliseconds: float) -> CpuMeter:
        meter = CpuMeter()

        async def body() -> None:
            for _ in range(5):
                burn(milliseconds / 5)
                await asyncio.sleep(0)

        await Stepped(metered(meter, body()))
        return meter

    first, second = await asyncio.gather(work(5), work(15))
    assert close_to(first.used_ns, 5)
    assert close_to(second.used_ns, 15)
    assert first.exact
    assert second.exact


async def test_with_metered_tasks_a_block_is_exact_across_awaits() -> None:
    """After meter_tasks() any `with` in a new task is split rightly, and its child tasks count for it."""
    meter_tasks()

    async def child() -> None:
        burn(3)
        await asyncio.sleep(0)
        burn(3)

    async def work(milliseconds: float, children: int) -> CpuMeter:
        with CpuMeter() as meter:
            for _ in range(4):
                burn(milliseconds / 4)
                await asyncio.sleep(0)
            await asyncio.gather(*(child() for _ in range(children)))
        return meter

    first, second = await asyncio.gather(work(8, 0), work(4, 2))
    assert close_to(first.used_ns, 8)
    assert close_to(second.used_ns, 4 + 12)
    assert first.exact
    assert second.exact


async def test_without_them_a_block_that_awaits_says_it_is_not_exact() -> None:
    """A figure that may hold other tasks' time is not passed off as exact; one without an await is."""
    with CpuMeter() as waited:
        burn(1)
        await asyncio.sleep(0)
    with CpuMeter() as straight:
        burn(2)

    assert not waited.exact
    assert straight.exact
    assert close_to(straight.used_ns, 2)


async def test_metered_tasks_behave_as_tasks() -> None:
    """Results, errors, cancellation, names and an earlier task factory survive."""
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: object, **options: object) -> asyncio.Task[object]:
        made.append("task")
        return asyncio.Task(coro, loop=loop, **options)  # type: ignore[arg-type]

    loop.set_task_factory(factory)  # type: ignore[arg-type]
    meter_tasks()
    meter_tasks()

    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise LookupError("x")

    async def wait() -> None:
        await asyncio.sleep(30)

    assert await asyncio.create_task(answer(), name="named") == 42
    with pytest.raises(LookupError):
        await asyncio.create_task(fail())
    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5) if hasattr(asyncio, "timeout") else _Nothing():
        assert await asyncio.wait_for(answer(), 5) == 42
    assert "answer" in repr(asyncio.create_task(answer()).get_coro().__qualname__)  # type: ignore[union-attr]
    await asyncio.sleep(0)
    assert len(made) >= 4


class _Nothing:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *args: object) -> None: ...


def test_threads_pay_into_their_own_meters() -> None:
    """Processor time is the thread's own."""
    used: dict[str, int] = {}

    def work(name: str, milliseconds: float) -> None:
        with CpuMeter() as meter:
            burn(milliseconds)
        used[name] = meter.used_ns

    threads = [threading.Thread(target=work, args=(name, ms)) for name, ms in (("a", 4), ("b", 12))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert close_to(used["a"], 4)
    assert close_to(used["b"], 12)


async def test_used_vcpu_seconds_reach_the_ledger_from_every_kind_of_function() -> None:
    """`compute(vcpus="used")` decorates functions, coroutines and generators exactly."""
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

    found: dict[str, tuple[Decimal, bool]] = {}

    class Take(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            (reading,) = evidence.take(span.context.trace_id, span.context.span_id)
            found[span.name] = (Decimal(reading.billable["vcpu_seconds"]), reading.estimated)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Take())
    scope.use_provider(provider)

    @compute(vcpus="used")
    def plain() -> None:
        burn(3)

    @compute(vcpus="used")
    async def coroutine() -> None:
        burn(3)
        await asyncio.sleep(0)
        burn(3)

    @compute(vcpus="used")
    def generator() -> Iterator[int]:
        burn(3)
        yield 1
        burn(3)

    @compute(vcpus="used")
    async def agenerator():  # type: ignore[no-untyped-def]
        burn(3)
        await asyncio.sleep(0)
        yield 1
        burn(3)

    async def other() -> None:
        for _ in range(6):
            burn(10)
            await asyncio.sleep(0)

    try:
        neighbour = asyncio.create_task(other())
        plain()
        await coroutine()
        for _ in generator():
            burn(20)
        async for _ in agenerator():
            burn(20)
        with compute("block", vcpus="used"):
            burn(1)
            await asyncio.sleep(0)
        await neighbour
    finally:
        scope.use_provider(None)

    def within(name: str, milliseconds: float) -> bool:
        used, estimated = found[f"compute {name}"]
        return not estimated and close_to(int(used * 10**9), milliseconds)

    assert within("plain", 3)
    assert within("coroutine", 6)
    assert within("generator", 6)
    assert within("agenerator", 6)
    assert found["compute block"][1] is True
