"""Scope: one span of ours around a piece of the application, as `with`, `async with` or decorator.

The same object works for functions, coroutines, generators and async generators. A generator's span covers its whole
life, from the first item to exhaustion, close or error, and is current only while the generator itself runs: what
its consumer does between two items is not part of it.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from otel_agentcost.otel.health import guard

Attributes = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

SCOPE_NAME = "otel_agentcost"
"""Instrumentation scope of every span we start."""

_provider: trace.TracerProvider | None = None
_cached: tuple[trace.TracerProvider, trace.Tracer] | None = None


def use_provider(provider: trace.TracerProvider | None) -> None:
    """Start our spans with this provider; None goes back to the global one."""
    global _provider
    _provider = provider


def tracer() -> trace.Tracer:
    """Return our tracer of the provider in use; asking a provider each time would cost more than the span."""
    global _cached
    provider = _provider if _provider is not None else trace.get_tracer_provider()
    cached = _cached
    if cached is not None and cached[0] is provider:
        return cached[1]
    found = trace.get_tracer(SCOPE_NAME, tracer_provider=provider)
    _cached = (provider, found)
    return found


class Opened:
    """A scope while it is open: its span, and what is recorded on it."""

    def __init__(self, name: str, attributes: Attributes, parent: Context, start_time: int | None = None) -> None:
        self.span: Span = trace.INVALID_SPAN
        self.driven = False
        """The enclosed code is awaited through `drive`."""
        self._context = parent
        self._token: object = None
        with guard("session.open"):
            self.span = tracer().start_span(name, context=parent, attributes=attributes or None, start_time=start_time)
            self._context = trace.set_span_in_context(self.span, parent)

    def enter(self) -> None:
        """Become current."""
        with guard("session.enter"):
            self._token = otel_context.attach(self._context)

    def drive(self, awaitable: Any) -> Any:
        """Return what to await in place of a decorated coroutine or of one step of an async generator."""
        return awaitable

    def suspend(self) -> None:
        """Stop being current because a generator hands over to its consumer; remember what was current inside."""
        with guard("session.suspend"):
            self._context = otel_context.get_current()
            self._detach()

    def close(self, error: BaseException | None = None) -> None:
        """Leave, note the error's type (never its message: it may quote a prompt or a key), end the span."""
        with guard("session.leave"):
            self._detach()
        with guard("session.close"):
            self.settle(error)
        with guard("session.end"):
            if isinstance(error, Exception):
                kind = _qualified_name(type(error))
                self.span.set_attribute("error.type", kind)
                self.span.set_status(Status(StatusCode.ERROR, kind))
            self.span.end()

    def settle(self, error: BaseException | None) -> None:
        """Hand over what the scope measured, just before its span ends."""

    def _detach(self) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        if isinstance(token, contextvars.Token):
            try:
                token.var.reset(token)
            except ValueError:  # left in another task or thread than entered: there is nothing of ours to undo here
                pass
        else:
            otel_context.detach(cast(Any, token))


def _qualified_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


O = TypeVar("O", bound=Opened)  # noqa: E741 - one letter, like every type variable here


class Scope(Generic[O]):
    """What to open, given once; every `with` and every decorated call opens it anew."""

    def __init__(self, what: str, opening: Callable[[str | None], O]) -> None:
        self._what = what
        self._opening = opening
        self._open: list[tuple[int, O]] = []

    def __enter__(self) -> O:
        opened = self._opening(None)
        opened.enter()
        self._open.append((_whereabouts(), opened))
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pop().close(error)

    async def __aenter__(self) -> O:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _pop(self) -> O:
        """Take the scope this task or thread opened last; one object may be in use by several at once."""
        here = _whereabouts()
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == here:
                return self._open.pop(index)[1]
        return self._open.pop()[1]  # left elsewhere than entered, as pytest's async fixtures do

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function, generator function or async generator function."""
        if isinstance(function, (staticmethod, classmethod)):
            return cast(F, type(function)(self(function.__func__)))
        if not callable(function) or inspect.isclass(function):
            raise TypeError(f"{self._what} decorates functions, not {function!r}")
        if inspect.isasyncgenfunction(function):
            wrapped: Callable[..., Any] = self._around_async_generator(function)
        elif inspect.iscoroutinefunction(function):
            wrapped = self._around_coroutine(function)
        elif inspect.isgeneratorfunction(function):
            wrapped = self._around_generator(function)
        else:
            wrapped = self._around_call(function)
        return cast(F, wrapped)

    def _begin(self, function: Callable[..., Any], *, driven: bool = False) -> O:
        opened = self._opening(getattr(function, "__name__", None))
        opened.driven = driven
        opened.enter()
        return opened

    def _around_call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            opened = self._begin(function)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                opened.close(error)
                raise
            opened.close()
            return result

        return call

    def _around_coroutine(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            opened = self._begin(function, driven=True)
            try:
                result = await opened.drive(function(*args, **kwargs))
            except BaseException as error:
                opened.close(error)
                raise
            opened.close()
            return result

        return call

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            opened = self._begin(function)
            sent: Any = None
            thrown: BaseException | None = None
            try:
                inner = function(*args, **kwargs)
                while True:
                    try:
                        item = inner.send(sent) if thrown is None else inner.throw(thrown)
                    except StopIteration as stop:
                        opened.close()
                        return stop.value
                    sent = thrown = None
                    opened.suspend()
                    try:
                        sent = yield item
                    except GeneratorExit:
                        opened.enter()
                        inner.close()
                        raise
                    except BaseException as error:
                        thrown = error
                    opened.enter()
            except BaseException as error:
                opened.close(error)
                raise
            finally:
                thrown = None

        return call

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            opened = self._begin(function, driven=True)
            sent: Any = None
            thrown: BaseException | None = None
            try:
                inner = function(*args, **kwargs)
                while True:
                    step = inner.asend(sent) if thrown is None else inner.athrow(thrown)
                    try:
                        item = await opened.drive(step)
                    except StopAsyncIteration:
                        opened.close()
                        return
                    sent = thrown = None
                    opened.suspend()
                    try:
                        sent = yield item
                    except GeneratorExit:
                        opened.enter()
                        await inner.aclose()
                        raise
                    except BaseException as error:
                        thrown = error
                    opened.enter()
            except BaseException as error:
                opened.close(error)
                raise
            finally:
                thrown = None

        return call


def _whereabouts() -> int:
    """Tell tasks and threads apart, without importing asyncio into programs that do without."""
    import sys

    if "asyncio" in sys.modules:
        import asyncio

        try:
            task = asyncio.current_task()
        except RuntimeError:  # no running loop
            task = None
        if task is not None:
            return id(task)
    return threading.get_ident()
