"""A thread that owns something blocking (a database connection, a journal) and does calls on it one after another.

Results go back to the reactor together, once a drain and not once a call: a thread hop costs more than a small query.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Seconds after which finished calls are reported although more wait.
_REPORT: Final = 0.002

_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], "Deferred[Any]"]
_Done = tuple["Deferred[Any]", Any]


class Caller(Protocol):
    """Something that runs calls elsewhere."""

    def call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]: ...


class Worker:
    """One thread; `call` may be used from the reactor's thread only, results arrive there."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        # A queue in C: a condition of Python costs each side several turns at the interpreter's lock.
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """Run a call in the thread, after those that were asked for before; fires with its result or failure."""
        if self._stopping:
            raise RuntimeError(f"{self._thread.name} is stopped")
        result: Deferred[_T] = Deferred()
        self._calls.put((function, args, kwargs, result))
        return result

    @property
    def waiting(self) -> int:
        """Calls that have not begun."""
        return self._calls.qsize()

    def stop(self) -> None:
        """Let the thread finish what was asked for and end; blocks until it has."""
        if not self._stopping:
            self._stopping = True
            self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            if not self._drain(call):
                return

    def _drain(self, call: _Call | None) -> bool:
        """Do a call and those that wait behind it; False when it met the end."""
        done: list[_Done] = []
        started = perf_counter()
        while call is not None:
            function, args, kwargs, result = call
            try:
                done.append((result, function(*args, **kwargs)))
            except Exception:
                done.append((result, Failure()))
            if perf_counter() - started > _REPORT:
                break
            try:
                call = self._calls.get_nowait()
            except Empty:
                break
        self._reactor.callFromThread(_report, done)
        # A failure leads to this frame, which would lead to the failure: all results would wait for the garbage
        # collector, and most failures are answers, e.g. cut ones.
        done = []
        return call is not None


def _report(done: list[_Done]) -> None:
    for result, outcome in done:
        # A Failure given to callback() goes the error way.
        result.callback(outcome)
