"""Events from brokers: their messages become submissions to the collector, and what it replies their fate.

Who logs is whom the broker vouches for, as the site maps it; only sources that the site declares to be loggers are
believed what their events say (P7).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from lb.broker.collect import Outcome, Take, Trouble
from lb.broker.deadletter import Refusal
from lb.broker.message import Delivery
from lb.broker.source import Source
from lb.broker.vouching import Vouching
from lb.model.errors import LBError
from lb.security.identity import Identity
from lb.security.policy import Action
from lb.server.submission import Stream, Submission, Unstored
from lb.wire.eventmessage import read_lines
from lb.wire.il import OK, Reply, error_of

#: What a logger is authorised to hand in; the server's own name stands for sources that count as loggers.
LOGGER_ACTIONS: Final = (
    Action.LOG_WMS_EVENTS,
    Action.LOG_CE_EVENTS,
    Action.LOG_GENERAL_EVENTS,
    Action.GRANT_OWNERSHIP,
)


class Collecting(Protocol):
    """Stores lines; `lb.server.collector.Collector` does."""

    @property
    def congested(self) -> bool: ...

    def when_ready(self, resume: Callable[[], None]) -> None: ...

    def submit(self, submissions: list[Submission], stream: Stream | None = None) -> Deferred[list[Reply]]: ...


class Sender(NamedTuple):
    """Who handed a message in, and who logs the events in it, None: they tell."""

    peer: Identity
    user: str | None


#: Who sent a message; raises EPERM.
Identify = Callable[[Delivery], Sender]


def identify(source: Source, vouching: Vouching, own_name: str) -> Identify:
    """How senders of a source are known; `own_name`: the server's, which stands for loggers."""
    if source.as_logger:
        logger = Sender(Identity(own_name), None)
        return lambda delivery: logger

    def vouched(delivery: Delivery) -> Sender:
        peer = vouching.identity(source.broker, delivery.user)
        return Sender(peer, peer.name)

    return vouched


class EventStore:
    """The collector as a store of messages."""

    log = Logger()

    def __init__(self, collector: Collecting, identify: Identify, most: int) -> None:
        """`most`: events in one message."""
        self._collector = collector
        self._identify = identify
        self._most = most

    @property
    def congested(self) -> bool:
        """Whether more waits than should."""
        return self._collector.congested

    def when_ready(self, resume: Callable[[], None]) -> None:
        """Call `resume` once when that is over."""
        self._collector.when_ready(resume)

    def begin(self) -> Take:
        """Begin a stream of messages whose order counts."""
        return partial(self._take, Stream())

    def _take(self, stream: Stream, deliveries: list[Delivery]) -> Deferred[list[Outcome]]:
        submissions: list[Submission] = []
        errors = [self._read(delivery, submissions) for delivery in deliveries]
        stored = self._collector.submit(submissions, stream) if submissions else succeed([])
        return stored.addCallback(partial(_outcomes, errors))

    def _read(self, delivery: Delivery, submissions: list[Submission]) -> list[LBError | None]:
        """Add a message's events; for each part of it an error, or None where an event was added."""
        try:
            peer, user = self._identify(delivery)
            lines = read_lines(delivery.body, user, self._most)
        except LBError as error:
            return [error]
        except Exception:  # a mistake of ours: raised, it would end each session that brings the message (P5)
            self.log.failure(
                "message {id} cannot be read, it is refused: {body!r}", id=delivery.id, body=delivery.body[:2000]
            )
            return [LBError(errno.EINVAL, "internal error of the server while reading this message")]
        submissions += [Submission(line, peer) for line in lines if not isinstance(line, LBError)]
        return [line if isinstance(line, LBError) else None for line in lines]


def _outcomes(messages: list[list[LBError | None]], replies: list[Reply]) -> list[Outcome]:
    """What became of each message: those that have no error for a part take the next reply for it."""
    remaining = iter(replies)
    return [_outcome(parts, remaining) for parts in messages]


def _outcome(parts: list[LBError | None], replies: Iterator[Reply]) -> Outcome:
    errors: list[LBError] = []
    trouble: Trouble | None = None
    for part in parts:
        if part is not None:
            errors.append(part)
            continue
        reply = next(replies)
        if reply is OK:
            continue
        if isinstance(reply, Unstored):
            trouble = trouble or Trouble(reply.text)
        elif (error := error_of(reply)) is not None:
            errors.append(error)
    if trouble is not None or not errors:
        return trouble
    return Refusal(errors[0].code, errors[0].description, len(errors), len(parts))
