"""The same client for programs without a reactor: every call waits for its result.

A reactor of our own runs in one thread of the process, started at the first use; the reactor of Twisted that a program
may import is left alone. Calls may come from any thread but that one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.threads import blockingCallFromThread

from lb.client.consumer import FULL
from lb.client.producer import Refused
from lb.client.receiver import Received
from lb.client.session import Session, open_session
from lb.client.settings import Address
from lb.client.watch import Watch
from lb.model import query
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.query import Flag, Group, Query
from lb.model.status import JobStatus
from lb.wire.tunnel import Message

if TYPE_CHECKING:
    from lb.broker.destination import Destination
    from lb.broker.url import BrokerURL

_T = TypeVar("_T")


class _Loop:
    """The thread and its reactor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reactor: Any = None

    def reactor(self) -> Any:
        """The reactor, running."""
        with self._lock:
            if self._reactor is None:
                started = threading.Event()
                reactor: Any = EPollReactor()
                reactor.callWhenRunning(started.set)
                # Neither the thread nor its pool of resolvers keeps a program from ending.
                threading.Thread(target=reactor.run, args=(False,), name="lb.client", daemon=True).start()
                started.wait()
                self._reactor = reactor
        return self._reactor


_LOOP = _Loop()


def call(function: Callable[[Any], Coroutine[Deferred[Any], Any, _T]]) -> _T:
    """Run `function(reactor)` in the reactor's thread and wait for what its coroutine returns or raises."""
    reactor = _LOOP.reactor()

    def begin() -> Any:
        return Deferred.fromCoroutine(function(reactor))

    result: _T = blockingCallFromThread(reactor, begin)
    return result


class Client:
    """A producer and a consumer whose calls block; also a context manager. Arguments as `open_session` takes them."""

    def __init__(self, **arguments: Any) -> None:
        async def begin(reactor: Any) -> Session:
            return open_session(reactor, **arguments)

        self.session = call(begin)

    def run(self, function: Callable[[Session], Coroutine[Deferred[Any], Any, _T]]) -> _T:
        """Run a coroutine function of the session to its end: for everything that has no method here."""
        return call(lambda reactor: function(self.session))

    def log(self, event: Event | bytes, *, synchronous: bool = False) -> None:
        self.run(lambda session: session.producer.log(event, synchronous=synchronous))

    def log_many(self, events: Iterable[Event | bytes], *, refused: Refused | None = None) -> int:
        """As `Producer.log_many`; `events` is drawn upon, and `refused` called, in the reactor's thread."""
        return self.run(lambda session: session.producer.log_many(events, refused=refused))

    def log_via(self, urls: Sequence[BrokerURL], destination: Destination, events: Iterable[Event | bytes]) -> int:
        """As `BrokerProducer.log_many` of `Session.via`, over a session with the broker for this call."""

        async def send(session: Session) -> int:
            producer = session.via(urls, destination)
            try:
                return await producer.log_many(events)
            finally:
                await producer.close()

        return self.run(send)

    def send(self, message: Message) -> None:
        self.run(lambda session: session.producer.send(message))

    def register(self, jobid: JobId, jobtype: str = "SIMPLE", **details: Any) -> str:
        return self.run(lambda session: session.producer.register(jobid, jobtype, **details))

    def status(self, jobid: JobId, flags: Flag = FULL) -> JobStatus:
        return self.run(lambda session: session.consumer.status(jobid, flags))

    def events(self, asked: JobId | Query) -> list[Event]:
        return self.run(lambda session: session.consumer.events(asked))

    def jobs(self, asked: Query) -> list[JobStatus]:
        return self.run(lambda session: session.consumer.jobs(asked))

    def own_jobs(self, flags: Flag = query.NO_FLAGS) -> list[JobStatus]:
        return self.run(lambda session: session.consumer.own_jobs(flags))

    @contextmanager
    def watch(
        self,
        groups: tuple[Group, ...],
        *,
        server: Address | None = None,
        flags: Flag = query.NO_FLAGS,
        **listening: Any,
    ) -> Iterator[Iterator[Received]]:
        """Follow jobs: an iterator over notifications that lasts as long as the context.

        `listening`: where, as `Receiver` takes it. A notification is acknowledged when the next one is asked for.
        """

        async def listen(session: Session) -> Watch:
            return session.watch(session.receiver(known=(), **listening))

        def each() -> Iterator[Received]:
            while (received := self.run(lambda session: watch.receive())) is not None:
                yield received

        watch = self.run(listen)
        try:
            self.run(lambda session: watch.add(groups, server=server, flags=flags))
            yield each()
        finally:
            self.run(lambda session: watch.close())

    def close(self) -> None:
        self.run(lambda session: session.close())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
