"""What happens to producers' lines, of events or messages: read, stored by destination, answered with a number each.

A line that is wrong or cannot be stored costs its own answer only; success is never answered before it is stored.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, DeferredList, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.logger.admission import Admission
from lb.logger.confirmations import Confirmations
from lb.logger.destinations import Destinations
from lb.logger.limits import AnswerLimits
from lb.model.errors import Code, LBError
from lb.security.identity import Identity
from lb.service.exchange import NotTakenError
from lb.spool.errors import (
    FULL,
    BadDestinationError,
    JournalUnusableError,
    RecordTooLargeError,
    SpoolClosedError,
    SpoolError,
    SpoolFullError,
)
from lb.spool.queue import Queue
from lb.spool.spool import Spool
from lb.wire import tunnel, ulm

#: The user of lines that come over a connection without a client certificate.
ANONYMOUS_USER: Final = "anonymous"
#: Flags of events whose producer waits until the server has them (wire-logging.md §2.1).
PRIORITY: Final = 3

#: Answers for what the spool refuses.
_REFUSALS: Final[dict[type[BaseException], int]] = {
    SpoolFullError: errno.ENOSPC,
    RecordTooLargeError: errno.EINVAL,
    BadDestinationError: errno.EINVAL,
    JournalUnusableError: errno.EIO,
}

_log = Logger()


class Intake:
    """Stores lines and runs commands. `receipt` marks stored lines as this logger's (DG.LLLID)."""

    def __init__(
        self,
        spool: Spool,
        confirmations: Confirmations,
        clock: IReactorTime,
        *,
        receipt: int,
        forward: str | None = None,
        hasten: Callable[[str], None] = lambda destination: None,
        admission: Admission = Admission(()),  # noqa: B008  # of no broker
        destinations: Destinations | None = None,
        limits: AnswerLimits = AnswerLimits(),  # noqa: B008  # immutable
        answered: Callable[[list[int]], None] = lambda codes: None,
    ) -> None:
        """`forward` (HOST:PORT) replaces the servers of all job ids; `hasten` ends the pause of a destination.

        `admission` decides on messages to brokers, `destinations` on servers of events; `answered` is told the answers
        of each chunk of lines.
        """
        self._spool = spool
        self._confirmations = confirmations
        self._clock = clock
        self._receipt = receipt
        self._forward = forward
        self._hasten = hasten
        self._admission = admission
        self._destinations = destinations or Destinations(present=spool.__contains__)
        self._limits = limits
        self._answered = answered
        self._flushing = 0  # destinations that flushes wait for

    def take(self, lines: list[bytes], peer: Identity) -> Deferred[list[int]]:
        """Take lines of the peer of a connection; fires with their answers, in order."""
        user = peer.name or ANONYMOUS_USER
        answers = [0] * len(lines)
        records: list[tuple[str, bytes]] = []
        places: list[int] = []  # of the records among the lines
        urgent: set[int] = set()
        commands: list[tuple[int, ulm.Command]] = []
        for place, line in enumerate(lines):
            try:
                if ulm.COMMAND_MARK in line:
                    commands.append((place, ulm.parse_command(line)))
                    continue
                if tunnel.MESSAGE_MARK in line:
                    message, stored = tunnel.receive(line, user, self._receipt)
                    destination, flags = self._admission.admit(message.destination, peer), message.flags
                else:
                    event, stored = ulm.receive(line, user, self._receipt)
                    destination, flags = self._forward or event.jobid.server, event.priority
                    self._destinations.admit(destination, user)
            except LBError as error:
                _log.info("line of {user} refused: {error}", user=user, error=str(error))
                answers[place] = error.code
                continue
            if flags & PRIORITY:
                urgent.add(len(records))
            records.append((destination, stored))
            places.append(place)

        def settled(outcomes: list[int | tuple[Queue, int]]) -> list[int] | Deferred[list[int]]:
            waiting: list[Deferred[None]] = []
            for index, outcome in enumerate(outcomes):
                place = places[index]
                if isinstance(outcome, int):
                    answers[place] = outcome
                elif index in urgent:
                    queue, number = outcome
                    waiting.append(self._confirmations.expect(queue.destination, number).addCallback(note, place))
            # Only now, so that a flush covers what came before it.
            waiting.extend(self._command(command).addCallback(note, place) for place, command in commands)
            return gatherResults(waiting).addCallback(lambda _: answers) if waiting else answers

        def note(code: int, place: int) -> None:
            answers[place] = code

        def told(answers: list[int]) -> list[int]:
            self._answered(answers)
            return answers

        storing = self._store(records)
        self._destinations.settled()
        answered: Deferred[list[int]] = storing.addCallback(settled)
        return answered.addCallback(told)

    # Storing

    def _store(self, records: list[tuple[str, bytes]]) -> Deferred[list[int | tuple[Queue, int]]]:
        if not records:
            return succeed([])
        return self._spool.append(records).addCallbacks(list, self._not_stored, errbackArgs=(records,))

    def _not_stored(
        self, failure: Failure, records: list[tuple[str, bytes]]
    ) -> list[int | tuple[Queue, int]] | Deferred[list[int | tuple[Queue, int]]]:
        if failure.check(SpoolClosedError):
            raise NotTakenError("the logger is stopping")
        if not failure.check(OSError, SpoolError):
            failure.raiseException()  # no answer: the producer keeps its events and comes again
        error = failure.value
        assert error is not None
        apart = _apart(error, records)
        if len(apart) > 1:
            return self._store_apart(apart, records)
        _log.warn("{count} events not stored: {reason}", count=len(records), reason=str(error))
        return [_refused(error)] * len(records)

    def _store_apart(
        self, groups: list[list[int]], records: list[tuple[str, bytes]]
    ) -> Deferred[list[int | tuple[Queue, int]]]:
        """Store groups of records, given by their places, each for itself."""
        stored = gatherResults(
            [self._store([records[place] for place in group]) for group in groups], consumeErrors=True
        )

        def in_order(results: list[list[int | tuple[Queue, int]]]) -> list[int | tuple[Queue, int]]:
            outcomes: list[int | tuple[Queue, int]] = [0] * len(records)
            for group, result in zip(groups, results, strict=True):
                for place, outcome in zip(group, result, strict=True):
                    outcomes[place] = outcome
            return outcomes

        return stored.addCallback(in_order)

    # Commands

    def _command(self, command: ulm.Command) -> Deferred[int]:
        if command.name != "flush":
            return succeed(errno.EINVAL)
        destination = None if command.jobid is None else self._forward or command.jobid.server
        queues = [
            queue for queue in self._spool.queues() if destination in (None, queue.destination) and not queue.drained
        ]
        if self._flushing + len(queues) > self._limits.waiting:
            return succeed(Code.IL_EVENTS_WAITING)
        waits = [queue.when_acknowledged_through(queue.last_number) for queue in queues]
        for queue in queues:
            self._hasten(queue.destination)
        return self._flushed(waits, self._bounded(command.timeout))

    def _bounded(self, timeout: float | None) -> float:
        if timeout is None or math.isnan(timeout):
            return self._limits.flush
        return min(max(timeout, 0.0), self._limits.longest_flush)

    def _flushed(self, waits: list[Deferred[None]], timeout: float) -> Deferred[int]:
        done: Deferred[int] = Deferred()

        def give_up() -> None:
            done.callback(Code.IL_EVENTS_WAITING)
            for wait in waits:
                wait.cancel()  # or the queue of a dead server would remember every flush

        def finish(outcomes: list[tuple[bool, None]]) -> None:
            self._flushing -= len(waits)
            if not done.called:
                late.cancel()
                done.callback(0 if all(success for success, _ in outcomes) else Code.IL_SYS)

        self._flushing += len(waits)
        late = self._clock.callLater(timeout, give_up)
        DeferredList(waits, consumeErrors=True).addCallback(finish)
        return done


def _apart(error: BaseException, records: list[tuple[str, bytes]]) -> list[list[int]]:
    """The places of records that may fare differently than their chunk, in groups."""
    if isinstance(error, SpoolError):  # for one of the records
        return [[place] for place in range(len(records))]
    groups: dict[str, list[int]] = {}
    if isinstance(error, OSError) and error.errno not in FULL:  # with the files of one of the destinations
        for place, (destination, _) in enumerate(records):
            groups.setdefault(destination, []).append(place)
    return list(groups.values())


def _refused(error: BaseException) -> int:
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    return _REFUSALS.get(type(error), errno.EIO)
