"""When a record that is refused "for now" is no longer waited for (spec: logger.md §6, the poison rule).

A server in trouble refuses everything, and then nothing may be given up. A record is given up only when it was refused
time after time and once more, and the next thing the server does is to accept one behind it.
"""

from __future__ import annotations

from typing import Final, Generic

from lb.service.deliverable import R
from lb.wire.il import Reply

#: Characters of a reply that tell enough of the reason.
_LONGEST: Final = 1_000


class Refusals(Generic[R]):
    """The first record of a destination, as often as it was refused in a row; true while there is such a one.

    Only replies count: a server that is silent or closes may know nothing of the record. While a record is `suspect`,
    records are to be sent one at a time; it is `passed_over` for those behind it until one of them is answered.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: refusals before a record is suspect, 0 = however many."""
        self._limit = limit
        self._number = 0  # of the record refused last, 0 = none
        self._count = 0
        self._reply: Reply | None = None
        self._record: R | None = None  # while it is passed over
        self._reconnected = False

    def __bool__(self) -> bool:
        return self._number != 0

    @property
    def suspect(self) -> bool:
        """Whether the first record has been refused too often."""
        return 0 < self._limit <= self._count

    @property
    def passing(self) -> bool:
        """Whether a record behind the suspect one is being tried."""
        return self._record is not None

    def refused(self, record: R, reply: Reply) -> bool:
        """Count a refusal; whether a record behind this one is to be tried now, before anything else."""
        if self.passing:
            return False
        if record.number != self._number:
            self._number, self._count = record.number, 0
        if self.suspect:
            self._record = record
        self._reply = reply
        self._count += 1
        self._reconnected = False
        return self.passing

    def passed_over(self, record: R) -> bool:
        """Whether this record, about to be sent, has to stand back."""
        return self.passing and record.number == self._number

    def reconnect(self) -> bool:
        """Whether to connect at once after the server closed, and go on; some do so after a refusal, so: once."""
        again = self.passing and not self._reconnected
        self._reconnected = True
        return again

    def nothing_proven(self) -> None:
        """No record behind the suspect one was accepted: it is the first again."""
        self._record = None

    def settled(self, number: int, accepted: bool) -> tuple[R, Reply, str] | None:
        """A record was accepted or refused for good; a suspect one to give up, what it was refused with, and why."""
        record, reply = self._record, self._reply
        if record is not None and accepted and reply is not None:
            why = f"refused {self._count} times while others are accepted: "
            self._forget()
            return record, reply, why
        if number == self._number:
            self._forget()
        return None

    def _forget(self) -> None:
        self._number = self._count = 0
        self._reply = self._record = None


def words(reply: Reply) -> str:
    """A reply in a log line."""
    return f"{reply.major}/{reply.minor} {reply.text[:_LONGEST]}"
