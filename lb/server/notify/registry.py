"""All registrations and what waits for them, as the writing thread knows them.

Lives in the thread that writes the store and calls it directly; the notices of a batch of events go through an
`Announcement`. A full queue never holds up anybody: beyond its bounds only the latest state of each job is kept (P6).
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final
from typing import Protocol as Interface

from twisted.logger import Logger

from lb.model.errors import LBError, exists
from lb.model.registration import Registration
from lb.model.subject import comparable
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.access import Access, access
from lb.server.notify import content
from lb.server.notify.limits import NotifyLimits
from lb.server.notify.matcher import Matcher
from lb.server.notify.registration import from_store, to_store
from lb.store.interface import NewNotice, Outgoing, Renewal, StoredEvent, StoredJob, Writer

#: Jobs of which a registration missed something that are told in one transaction.
_CATCH_UP: Final = 500
#: Rows of dropped registrations deleted at once: some milliseconds.
_CLEAR: Final = 2_000
#: Seconds that an expired registration is still known, so that its owner is told what became of it.
_GRACE: Final = 3_600

Receipt = tuple[int, int]


class Follower(Interface):
    """Who is told, in the writing thread, what came of a transaction; by the numbers of registrations."""

    def wake(self, numbers: Collection[int]) -> None:
        """There is something new for these."""

    def gone(self, numbers: Collection[int]) -> None:
        """These were dropped."""


class Registry:
    """Registrations by number and by unique part, in a `Matcher`."""

    log = Logger()

    def __init__(
        self,
        writer: Writer,
        policy: Callable[[], Policy],
        now: Callable[[], float],
        salt: str,
        follower: Follower,
        limits: NotifyLimits = NotifyLimits(),  # noqa: B008  # immutable
        *,
        renewal: Renewal | None = None,
    ) -> None:
        """`now`: seconds since the epoch. `renewal` makes states anew that older rules have made."""
        self._renewal = renewal
        self._writer = writer
        self._outbox = writer.outbox
        self._policy = policy
        self._now = now
        self._salt = salt
        self._follower = follower
        self._limits = limits
        self._matcher = Matcher(policy(), self._load())
        self._numbers = {one.id.notification: one.number for one in self._matcher}
        self._owned = Counter(comparable(one.owner) for one in self._matcher)
        self._queued: dict[int, tuple[int, int]] = {}
        self._missing = self._outbox.missing()

    def _load(self) -> Iterable[Registration]:
        for stored in self._outbox.registrations():
            try:
                yield from_store(stored)
            except LBError as error:
                self.log.error("registration {id} cannot be read: {error}", id=stored.id, error=str(error))

    # Registrations

    @property
    def matcher(self) -> Matcher:
        """The index, made for the policy that holds now."""
        policy = self._policy()
        if policy is not self._matcher.policy:
            self._matcher = Matcher(policy, list(self._matcher))
        return self._matcher

    def find(self, unique: str) -> Registration | None:
        """The registration of an id's unique part."""
        number = self._numbers.get(unique)
        return None if number is None else self._matcher.get(number)

    def all(self) -> list[Registration]:
        return list(self._matcher)

    def add(self, registration: Registration) -> Registration:
        """Store a new registration, which gets its number; EEXIST: its id is taken, ENOSPC: there are too many."""
        if registration.id.notification in self._numbers:
            raise exists(f"notification ID {registration.id} is already registered")
        if len(self._numbers) >= self._limits.registrations:
            raise LBError(errno.ENOSPC, f"{len(self._numbers)} registrations for notifications, more are not taken")
        owner = comparable(registration.owner)
        if self._owned[owner] >= self._limits.own_registrations:
            raise LBError(errno.ENOSPC, f"{self._owned[owner]} registrations of yours, more are not taken: drop some")
        registration = from_store(self._outbox.add(to_store(registration)))
        self._owned[owner] += 1
        self._numbers[registration.id.notification] = registration.number
        self.matcher.add(registration)
        return registration

    def change(self, registration: Registration) -> None:
        """Store what changed of a registration."""
        self._outbox.change(to_store(registration))
        self.matcher.add(registration)

    def drop(self, registrations: Collection[Registration]) -> None:
        """Forget registrations and discard what waits for them."""
        numbers = [registration.number for registration in registrations]
        self._outbox.drop(numbers)
        for registration in registrations:
            if self._numbers.pop(registration.id.notification, None) is not None:
                owner = comparable(registration.owner)
                self._owned[owner] -= 1
                if not self._owned[owner]:
                    del self._owned[owner]
            self.matcher.remove(registration.number)
            self._queued.pop(registration.number, None)
            self._missing.discard(registration.number)
        self._follower.gone(numbers)

    # What waits for them

    def room(self, number: int, count: int, size: int) -> bool:
        """Whether so many notices of so many bytes may be added to what waits for a registration."""
        if number in self._missing:
            return False
        waiting, waiting_bytes = self._waiting(number)
        return waiting + count <= self._limits.waiting and waiting_bytes + size <= self._limits.waiting_bytes

    def _waiting(self, number: int) -> tuple[int, int]:
        held = self._queued.get(number)
        if held is None:
            held = self._queued[number] = self._outbox.queued(number)
        return held

    def new_notice(self) -> int:
        return self._outbox.new_notice()

    def stored(self, outgoing: Outgoing) -> None:
        """Note what a transaction added, and have it sent."""
        woken: set[int] = set()
        for notice in outgoing.notices:
            size = len(notice.content)
            for number in notice.registrations:
                if number in self._queued:
                    count, waiting = self._queued[number]
                    self._queued[number] = count + 1, waiting + size
            woken.update(notice.registrations)
        for number, _ in outgoing.missed:
            if number not in self._missing:
                self._missing.add(number)
                registration = self._matcher.get(number)
                self.log.warn(
                    "too much waits for {id} at {destination}: it is told the latest state of each job only",
                    id=registration and registration.id,
                    destination=registration and registration.destination,
                )
        if woken:
            self._follower.wake(woken)

    def tell(self, number: int, uniques: Collection[str]) -> None:
        """Tell a registration the present states of jobs, as far as its owner may read them, in this order.

        Beyond what may wait for it, it is told them later.
        """
        known = self._writer.load(uniques)
        notices: list[NewNotice] = []
        missed: list[tuple[int, int]] = []
        size = 0
        for job, notice in self._notices(number, [known[unique] for unique in uniques if unique in known]):
            if self.room(number, len(notices) + 1, size + len(notice.content)):
                size += len(notice.content)
                notices.append(notice)
            else:
                missed.append((number, job))
        self._write(Outgoing(notices, missed))

    def _notices(self, number: int, jobs: Iterable[StoredJob]) -> Iterator[tuple[int, NewNotice]]:
        """What there is to tell a registration of jobs, with their keys."""
        registration = self._matcher.get(number)
        if registration is None:
            return
        for job in jobs:
            made = self._content(registration, job)
            if made is not None:
                yield job.key, NewNotice(self.new_notice(), int(self._now() * 1_000_000), made, (number,))

    def _write(self, outgoing: Outgoing, told: Collection[tuple[int, int]] = ()) -> None:
        self._outbox.write(outgoing, told)
        self.stored(outgoing)

    def _content(self, registration: Registration, job: StoredJob) -> bytes | None:
        if job.grey:
            return None
        state = job.state
        if self._renewal is not None:
            state = self._renewal(state, job.jobid, job.owner, lambda: (one.line for one in self._events(job)))
        status = state.status
        allowed = access(self._policy(), Identity(registration.owner), job.owner, status.payload_owner, job.acl)
        if allowed is Access.NONE:
            return None
        return content.write(state, content.variant(allowed, registration.flags), lambda: self._events(job), self._salt)

    def _events(self, job: StoredJob) -> list[StoredEvent]:
        return list(self._writer.events(job.key))

    def received(self, receipts: Collection[Receipt]) -> None:
        """Remove what was delivered, and go on with those that missed something once half of their queue is gone."""
        for number, removed in self._outbox.received(receipts):
            if number in self._queued:
                count, size = self._queued[number]
                self._queued[number] = count - 1, size - removed
        for number in self._missing.intersection(number for number, _ in receipts):
            self._catch_up(number)

    def _catch_up(self, number: int) -> None:
        waiting, size = self._waiting(number)
        if waiting > self._limits.waiting // 2 or size > self._limits.waiting_bytes // 2:
            return
        missed = self._outbox.missed(number, min(_CATCH_UP, self._limits.waiting - waiting))
        known = self._writer.load([unique for _, unique in missed])
        jobs = [known[unique] for _, unique in missed if unique in known]
        notices = [notice for _, notice in self._notices(number, jobs)]
        self._write(Outgoing(notices), [(number, job) for job, _ in missed])
        if not self._outbox.missed(number, 1):
            self._missing.discard(number)

    # House-keeping

    def sweep(self) -> bool:
        """Forget what expired long ago, and delete a part of what waits for nobody; whether there may be more."""
        limit = self._now() - _GRACE
        expired = [registration for registration in self._matcher if registration.valid < limit]
        if expired:
            self.drop(expired)
        for number in list(self._missing):
            self._catch_up(number)
        return self._outbox.clear(_CLEAR)
