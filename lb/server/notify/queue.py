"""What waits for one destination, as a `lb.service.delivery.Queue`: read from the outbox in small chunks.

Registrations with the same destination take turns; the notifications of each keep their order (P4).
Nothing is held but what is on its way: a receiver that is away or slow costs no memory (P10).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from lb.server.notify.flight import Flight

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Written(NamedTuple):
    """A notice as it is sent, and what travels beside it where there is room for that."""

    payload: bytes
    headers: Mapping[str, str] = NO_HEADERS


class Line(NamedTuple):
    """A notice of the outbox: its number there, when it was made (microseconds since the epoch), and as it is sent."""

    notice: int
    time: int
    written: Written


#: Some notices in their order, and whether there may be more.
Lines = tuple[list[Line], bool]


class Sent(NamedTuple):
    """A notification on its way; its `number` in this queue stays the same when it has to be sent again."""

    number: int
    payload: bytes
    headers: Mapping[str, str]
    time: int  #: of the notice
    registration: int
    notice: int


class _Position:
    """How far a registration has been read, and what of that has been received.

    Brokers confirm in any order, and may refuse one notice and take the next: what is `out` keeps its place.
    """

    __slots__ = ("last", "out", "read")

    def __init__(self, received: int) -> None:
        self.read = received
        self.last = received  # of those that were received
        self.out: dict[int, int] = {}  # notices that were sent and not received, with their numbers in the queue

    @property
    def received(self) -> int:
        """Up to here everything has been received."""
        return min(next(iter(self.out)) - 1, self.last) if self.out else self.last


class OutboxQueue:
    """The registrations of one destination. All calls come from the reactor's thread."""

    def __init__(
        self,
        destination: str,
        fetch: Callable[[int, int, int, int], Deferred[Lines]],
        received: Callable[[int, int], None],
        set_aside: Callable[[bytes, str], Deferred[None]],
        flight: Flight,
    ) -> None:
        """`fetch(registration, after, count, bytes)` reads lines; `received(registration, notice)` is a receipt.

        `set_aside(line, reason)` keeps what a receiver refuses for good.
        """
        self.destination = destination
        self.wake_up: Callable[[], None] | None = None
        self._fetch = fetch
        self._received = received
        self._set_aside = set_aside
        self._flight = flight
        self._held = 0  # bytes on their way
        self._held_up: set[int] = set()  # registrations that wait for others to be read, for the sake of memory
        self._positions: dict[int, _Position] = {}
        self._ready: OrderedDict[int, None] = OrderedDict()  # registrations of which there may be more
        self._on_their_way: OrderedDict[int, Sent] = OrderedDict()  # in the order of sending
        self._last = 0
        self._turn = 0  # grows with each rewind: what was asked for before it counts for nothing

    def __bool__(self) -> bool:
        """Whether any registration has this destination."""
        return bool(self._positions)

    # Registrations

    def join(self, registration: int, received: int) -> None:
        """A registration has this destination, and has received what is numbered up to `received`."""
        if registration not in self._positions:
            self._positions[registration] = _Position(received)

    def leave(self, registration: int) -> int:
        """A registration has it no longer; the result is up to where it has received."""
        position = self._positions.pop(registration, None)
        self._ready.pop(registration, None)
        return 0 if position is None else position.received

    def ready(self, registration: int) -> None:
        """There may be more for a registration."""
        if registration in self._positions:
            self._ready[registration] = None
            if self.wake_up is not None:
                self.wake_up()

    # What a delivery asks for

    @property
    def pending(self) -> int:
        return len(self._on_their_way)

    @property
    def readable(self) -> bool:
        return bool(self._ready)

    def read(self, max_records: int, max_bytes: int) -> Deferred[list[Sent]]:
        if not self._ready:
            return succeed([])
        registration, _ = self._ready.popitem(last=False)
        position = self._positions[registration]
        fetched = self._fetch(registration, position.read, max_records, self._flight.most(self._held, max_bytes))
        return fetched.addCallbacks(
            self._take, self._again, callbackArgs=(registration, position, self._turn), errbackArgs=(registration,)
        )

    def _take(self, found: Lines, registration: int, position: _Position, turn: int) -> list[Sent]:
        lines, more = found
        if self._positions.get(registration) is not position:
            return []
        if turn != self._turn:
            self._ready[registration] = None
            return []
        taken: list[Sent] = []
        for notice, time, (payload, headers) in lines:
            if not self._flight.take(self._held, len(payload)):
                more = bool(taken)
                if not taken:
                    self._held_up.add(registration)
                    self._flight.wait(self._go_on)
                break
            self._held += len(payload)
            sent = Sent(self._number(position, notice), payload, headers, time, registration, notice)
            self._on_their_way[sent.number] = sent
            taken.append(sent)
        if taken:
            position.read = taken[-1].notice
            if more:
                self._ready[registration] = None
        return taken

    def _go_on(self) -> None:
        """There is room in memory."""
        registrations, self._held_up = self._held_up, set()
        for registration in registrations:
            self.ready(registration)

    def _number(self, position: _Position, notice: int) -> int:
        number = position.out.get(notice)
        if number is None:
            self._last += 1
            number = position.out[notice] = self._last
        return number

    def _again(self, failure: Failure, registration: int) -> Failure:
        if registration in self._positions:
            self._ready[registration] = None
        return failure

    def rewind(self) -> None:
        self._turn += 1
        self._on_their_way.clear()
        self._free(self._held)
        for registration, position in self._positions.items():
            if position.read != position.received:
                position.read = position.received
                self._ready[registration] = None

    def _free(self, size: int) -> None:
        self._held -= size
        self._flight.give(size, self._go_on)

    def acknowledge(self, number: int) -> None:
        """All that was sent up to the one with this number has been received."""
        while self._on_their_way:
            first = next(iter(self._on_their_way))
            self.acknowledge_one(first)
            if first == number:
                return

    def acknowledge_one(self, number: int) -> None:
        sent = self._on_their_way.pop(number, None)
        if sent is None:
            return
        self._free(len(sent.payload))
        self._settle(sent)

    def _settle(self, sent: Sent) -> None:
        position = self._positions.get(sent.registration)
        if position is not None:
            position.out.pop(sent.notice, None)
            position.last = max(position.last, sent.notice)
            self._received(sent.registration, sent.notice)

    def quarantine(self, record: Sent, reason: str) -> Deferred[None]:
        """A receiver refused a notification for good: it is kept for a person to look at, and not sent again."""
        kept = self._set_aside(record.payload, f"refused by the receiver at {self.destination}: {reason}")
        return kept.addCallback(self._kept, record)

    def _kept(self, _: object, record: Sent) -> None:
        if record.number in self._on_their_way:
            self.acknowledge_one(record.number)
        else:  # the connection has ended meanwhile
            self._settle(record)
