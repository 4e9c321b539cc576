"""The producer port: event lines in DGLOG messages, an error number for each (spec: wire-logging.md §4).

The user of a line is the peer of the TLS connection and nothing that the line says (P7).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lb.logger.intake import Intake
from lb.service.bounds import Limits
from lb.service.exchange import Exchange
from lb.wire import dglog

_INVALID: Final = dglog.answer(22)


class ProducerPort(Exchange):
    """One connection of the producer port."""

    unreadable = (dglog.MessageError,)

    def __init__(self, intake: Intake, limits: Limits) -> None:
        super().__init__(limits)
        self._intake = intake
        self._turns: deque[_Turn] = deque()

    def make_reader(self, max_message: int) -> dglog.MessageReader:
        return dglog.MessageReader(max_message)

    def handle(self, messages: list[bytes]) -> Deferred[bytes]:
        turn = _Turn()
        self._turns.append(turn)
        taken = self._intake.take(messages, self.peer)
        taken.addCallback(_written).addBoth(self._ready, turn)
        return turn.answered

    def refusal(self, reason: Exception) -> bytes:
        return _INVALID

    def _ready(self, result: bytes | Failure, turn: _Turn) -> None:
        """Answers go out in the order of the messages: those of a chunk wait for the chunks before it."""
        turn.result = result
        while self._turns and self._turns[0].result is not None:
            first = self._turns.popleft()
            # A Failure given to callback() goes the error way.
            first.answered.callback(first.result)


class _Turn:
    """A chunk of messages: its answers, once they are known, and who is told."""

    __slots__ = ("answered", "result")

    def __init__(self) -> None:
        self.answered: Deferred[bytes] = Deferred()
        self.result: Any = None  # bytes or Failure


def _written(codes: list[int]) -> bytes:
    return b"".join(map(dglog.answer, codes))
