"""Orphans: exchanges whose body was dropped without being closed are ended somewhere safe.

A finaliser runs wherever the garbage collector happens to strike, perhaps while that very thread holds a lock of a
span processor. Ending a span there could lock the program up, so a finaliser only queues, which is reentrant, and
one small thread ends what was queued. The thread starts with the first stream that needs it.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from queue import SimpleQueue
from typing import Protocol

from otel_agentcost.otel.health import guard


class Abandoned(Protocol):
    """What can be left behind: something that has to be ended exactly once."""

    def end(self, *, complete: bool) -> None:
        """End it now; doing so twice changes nothing."""


class Orphanage:
    """Know every exchange whose body is still open, and end those that nobody will ever close."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects _thread
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[Abandoned | threading.Event] = SimpleQueue()
        self._open: weakref.WeakSet[Abandoned] = weakref.WeakSet()

    def expect(self, exchange: Abandoned) -> None:
        """Remember an exchange whose body is handed to the application now."""
        if self._thread is None:
            self._start()
        self._open.add(exchange)

    def forget(self, exchange: Abandoned) -> None:
        """The exchange ended as it should."""
        self._open.discard(exchange)

    def adopt(self, exchange: Abandoned) -> None:
        """Take over a dropped exchange; the only thing a finaliser may call."""
        self._queue.put(exchange)

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until everything adopted so far has been ended (for a flush, and for tests)."""
        if self._thread is None:
            return
        done = threading.Event()
        self._queue.put(done)
        done.wait(timeout)

    def close_all(self) -> None:
        """End every exchange that is still open, as at the end of the program: what was seen is charged."""
        self.settle()
        for exchange in list(self._open):
            with guard("tap.exit"):
                exchange.end(complete=False)

    def after_fork(self) -> None:
        """Begin anew in a forked child: the exchanges belong to the parent, the thread did not come along."""
        self.__init__()  # type: ignore[misc]

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="agentcost-orphans", daemon=True)
                self._thread.start()
                # Registered now and not at import, so that it runs before the exit of the tracer provider.
                atexit.register(self.close_all)

    def _run(self) -> None:
        queue = self._queue
        while True:
            found = queue.get()
            if isinstance(found, threading.Event):
                found.set()
            else:
                with guard("tap.orphan"):
                    found.end(complete=False)
            del found


ORPHANAGE = Orphanage()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ORPHANAGE.after_fork)
