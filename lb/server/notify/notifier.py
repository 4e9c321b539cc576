"""Brings what waits in the outbox to its receivers: a queue and a delivery for each destination, receipts in groups.

Reads the store through a thread of its own and holds nothing but what is on its way; destinations share nothing, so
that one that is away or frozen delays no other (P5). What was not received is sent again after a restart (P2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple
from typing import Protocol as Interface

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.model.registration import Registration
from lb.model.subject import comparable
from lb.server.notify.address import kind_of
from lb.server.notify.flight import Flight
from lb.server.notify.queue import Line, Lines, OutboxQueue, Written
from lb.server.notify.registry import Receipt
from lb.service.worker import Caller
from lb.store.interface import Notice, OutboxReader

#: Receipts that are stored without waiting for more.
_MANY_RECEIPTS: Final = 2_000
#: Seconds after which receipts that could not be stored are tried again.
_RETRY: Final = 1.0


class Deliverer(Interface):
    """Sends what is in a queue; `lb.service.delivery.Delivery` is one."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def hasten(self) -> None:
        """Try now instead of after a pause."""

    @property
    def trouble(self) -> str | None:
        """Why nothing is delivered, as far as it is known; None when all is well."""


def _as_it_is(destination: str) -> str:
    return destination


class Kind(NamedTuple):
    """A kind of destination: how a notice is written for it, in the reading thread, and who delivers it.

    `accept` gives the destination to be stored for one that is asked for, or raises EINVAL.
    """

    write: Callable[[Registration, Notice], Written]
    deliver: Callable[[OutboxQueue, Registration], Deliverer]
    accept: Callable[[str], str] = _as_it_is


class _Destination(NamedTuple):
    queue: OutboxQueue
    deliverer: Deliverer


#: Destination and comparable owner: who must be there belongs to where it is.
_Place = tuple[str, str]


class Notifier(Service):
    """Follows the registrations, which `Registry` keeps. Everything is called from the reactor's thread."""

    log = Logger()

    def __init__(
        self,
        registrations: Iterable[Registration],
        reader: OutboxReader,
        reading: Caller,
        store_receipts: Callable[[list[Receipt]], Deferred[None]],
        kinds: Mapping[str, Kind],
        clock: IReactorTime,
        receipt_delay: float,
        set_aside: Callable[[bytes, str], Deferred[None]],
        flight: Flight,
    ) -> None:
        """`kinds`: by `address.kind_of`. `receipt_delay`: seconds in which receipts are collected.

        `set_aside(line, reason)` keeps what a receiver refuses for good; `flight`: memory of all destinations.
        """
        self._registrations = {registration.number: registration for registration in registrations}
        self._reader = reader
        self._reading = reading
        self._store_receipts = store_receipts
        self._kinds = kinds
        self._clock = clock
        self._receipt_delay = receipt_delay
        self._keep = set_aside
        self._flight = flight
        self._destinations: dict[_Place, _Destination] = {}
        self._places: dict[int, _Place] = {}
        self._received: dict[int, int] = {}  # last notice received, of those that have no destination now
        self._receipts: list[Receipt] = []
        self._storing: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        #: Notifications that their receivers took, and that they refused for good, for the metrics.
        self.sent = self.refused = 0

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._reading.call(self._reader.waiting).addCallbacks(self.wake, self._unread)

    def stopService(self) -> Deferred[Any]:
        """Stop sending; fires when all receipts are stored."""
        super().stopService()  # type: ignore[no-untyped-call]
        for destination in self._destinations.values():
            destination.deliverer.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # The writing thread takes them in their order, and may be told to end right after this.
        under_way = self._storing if self._storing is not None else succeed(None)
        return DeferredList([under_way, self._store_now()])

    def _unread(self, failure: Failure) -> None:
        self.log.failure("what waits in the outbox cannot be read", failure=failure)

    # Registrations

    @property
    def registrations(self) -> Collection[Registration]:
        return self._registrations.values()

    @property
    def in_trouble(self) -> int:
        """How many destinations cannot be delivered to now."""
        return sum(destination.deliverer.trouble is not None for destination in self._destinations.values())

    def trouble(self, number: int) -> str | None:
        """Why what waits for a registration is not delivered, as far as it is known."""
        place = self._places.get(number)
        return None if place is None else self._destinations[place].deliverer.trouble

    def update(self, registration: Registration) -> None:
        """A registration is new or has changed: what waits for it goes where it points now."""
        number = registration.number
        self._registrations[number] = registration
        place = self._places.get(number)
        if place is not None and place != _place(registration):
            self._received[number] = self._leave(number)
            place = None
        if place is not None:
            # Whoever asks for notifications is there now.
            self._destinations[place].deliverer.hasten()
        self._look(number)

    def _look(self, number: int) -> None:
        """Wake a registration if anything waits for it: nobody is connected to for nothing."""
        asked = self._reading.call(self._reader.waits, number, self._received.get(number, 0))
        asked.addCallbacks(lambda waits: self.wake([number] if waits else ()), self._unread)

    def remove(self, number: int) -> None:
        """A registration is gone."""
        self._registrations.pop(number, None)
        self._leave(number)
        self._received.pop(number, None)

    def wake(self, numbers: Iterable[int]) -> None:
        """There may be something new for these registrations."""
        if not self.running:
            return
        for number in numbers:
            registration = self._registrations.get(number)
            if registration is not None:
                self._queue_of(registration).ready(number)

    def _queue_of(self, registration: Registration) -> OutboxQueue:
        number = registration.number
        place = self._places.get(number)
        if place is None:
            place = self._places[number] = _place(registration)
            if place not in self._destinations:
                self._destinations[place] = self._open(registration)
            self._destinations[place].queue.join(number, self._received.pop(number, 0))
        return self._destinations[place].queue

    def _open(self, registration: Registration) -> _Destination:
        queue = OutboxQueue(registration.destination, self._fetch, self._receive, self._set_aside, self._flight)
        deliverer = self._kinds[kind_of(registration.destination)].deliver(queue, registration)
        deliverer.start()
        return _Destination(queue, deliverer)

    def _leave(self, number: int) -> int:
        place = self._places.pop(number, None)
        if place is None:
            return self._received.get(number, 0)
        destination = self._destinations[place]
        received = destination.queue.leave(number)
        if not destination.queue:
            destination.deliverer.stop()
            destination.queue.rewind()
            del self._destinations[place]
        return received

    # Reading

    def _fetch(self, number: int, after: int, most: int, most_bytes: int) -> Deferred[Lines]:
        registration = self._registrations.get(number)
        if registration is None or registration.valid < self._clock.seconds():
            return succeed(([], False))
        return self._reading.call(self._lines, registration, after, most, most_bytes)

    def _lines(self, registration: Registration, after: int, most: int, most_bytes: int) -> Lines:
        write = self._kinds[kind_of(registration.destination)].write
        found = self._reader.notices(registration.number, after, most, most_bytes)
        lines = [Line(notice.number, notice.written, write(registration, notice)) for notice in found]
        return lines, bool(found) and self._reader.waits(registration.number, found[-1].number)

    # Receipts

    def _set_aside(self, line: bytes, reason: str) -> Deferred[None]:
        self.refused += 1
        return self._keep(line, reason)

    def _receive(self, registration: int, notice: int) -> None:
        self.sent += 1
        self._receipts.append((registration, notice))
        if self._storing is None:
            if len(self._receipts) >= _MANY_RECEIPTS:
                self._due()
            elif self._timer is None:
                self._timer = self._clock.callLater(self._receipt_delay, self._due)

    def _due(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._store_now()

    def _store_now(self) -> Deferred[Any]:
        if not self._receipts:
            return succeed(None)
        receipts, self._receipts = self._receipts, []
        self._storing = self._store_receipts(receipts)
        return self._storing.addCallbacks(self._stored, self._not_stored, errbackArgs=(receipts,))

    def _stored(self, _: object) -> None:
        self._storing = None
        self._again(self._receipt_delay)

    def _not_stored(self, failure: Failure, receipts: list[Receipt]) -> None:
        self._storing = None
        self._receipts = receipts + self._receipts
        self.log.error(
            "{count} receipts cannot be stored now: {error}",
            count=len(self._receipts),
            error=failure.getErrorMessage(),
        )
        self._again(_RETRY)

    def _again(self, seconds: float) -> None:
        if self._receipts and self.running and self._timer is None:
            self._timer = self._clock.callLater(seconds, self._due)


def _place(registration: Registration) -> _Place:
    return registration.destination, comparable(registration.owner)
