"""What a delivery works with: records in a queue, bounds, and who wants to hear of replies. Interfaces only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Interface
from typing import TypeVar

from twisted.internet.defer import Deferred

from lb.wire import il


class Record(Interface):
    """One thing to be delivered."""

    @property
    def number(self) -> int:
        """Its place in the queue, from 1."""

    @property
    def payload(self) -> bytes:
        """The line that travels."""


R = TypeVar("R", bound=Record)


class Queue(Interface[R]):
    """A destination's records, numbered in their order; `lb.spool.queue.Queue` is one."""

    #: To be called when more can be read.
    wake_up: Callable[[], None] | None

    @property
    def destination(self) -> str: ...

    @property
    def pending(self) -> int:
        """How many are not acknowledged, as far as it is known."""

    @property
    def readable(self) -> bool:
        """Whether `read` may find more."""

    def read(self, max_records: int, max_bytes: int) -> Deferred[list[R]]:
        """The next records: no more than so many, and bytes unless the first has more."""

    def rewind(self) -> None:
        """Read again from the first record that is not acknowledged."""

    def acknowledge(self, number: int) -> None:
        """All records up to a number have been delivered."""

    def acknowledge_one(self, number: int) -> None:
        """A record has been delivered."""

    def quarantine(self, record: R, reason: str) -> Deferred[None]:
        """Set aside a record that was refused for good; acknowledges it."""


class Limits(Interface):
    """Bounds of a delivery; `lb.logger.limits.DeliveryLimits` says what each means."""

    @property
    def window_records(self) -> int: ...

    @property
    def window_bytes(self) -> int: ...

    @property
    def patience(self) -> float: ...

    @property
    def slowest(self) -> int: ...

    @property
    def reply_bytes(self) -> int: ...

    @property
    def first_pause(self) -> float: ...

    @property
    def longest_pause(self) -> float: ...

    @property
    def refusals(self) -> int: ...


class Gate(Interface):
    """Who says when a connection may be made; `lb.service.turns.Turns` is one, for an owner."""

    def __call__(self, make_way: Callable[[], None], /) -> Deferred[Callable[[], None]]:
        """Fires when it may, with what is to be called when the connection is gone.

        `make_way` is called when others wait for one.
        """


class Listener(Interface):
    """Who wants to hear of final replies; false when nobody waits."""

    def __bool__(self) -> bool: ...

    def tell(self, destination: str, number: int, reply: il.Reply) -> None: ...
