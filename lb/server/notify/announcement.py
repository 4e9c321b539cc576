"""What a batch of events has to tell: each step is matched at once, the notices go into the batch's transaction.

Used in the writing thread, one for a batch; a batch that is not stored leaves nothing behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from twisted.logger import Logger

from lb.model.registration import Registration
from lb.model.status import State
from lb.server.notify import content
from lb.server.notify.change import NEW, Before, Change
from lb.server.notify.registry import Registry
from lb.store.interface import NOTHING_OUTGOING, NewNotice, Outgoing, StoredEvent, StoredJob, StoreError


class Announcement:
    """The notices of one batch. With no registrations at all nothing is kept and nothing is compared."""

    log = Logger()

    def __init__(self, registry: Registry, now: float, salt: str) -> None:
        """`now`: seconds since the epoch."""
        self._registry = registry
        self._matcher = registry.matcher or None
        self._now = now
        self._salt = salt
        self._notices: list[NewNotice] = []
        self._missed: list[tuple[int, int]] = []
        self._added: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self._expired: dict[int, Registration] = {}

    def before(self, job: StoredJob) -> Before:
        """Remember a job before its step."""
        if self._matcher is None or job.grey or job.state.status.state == State.Undefined:
            return NEW
        return self._matcher.before(job.state)

    def after(self, job: StoredJob, before: Before, events: Callable[[StoredJob], list[StoredEvent]]) -> None:
        """Match a step that was made; `events` gives what is collected of a job, in the order of arrival."""
        if self._matcher is None or job.grey:
            return
        met = self._matcher.matching(Change(job, before))
        if not met:
            return
        receivers: dict[content.Variant, list[Registration]] = {}
        for registration, allowed in met:
            if registration.valid < self._now:
                self._expired[registration.number] = registration
            else:
                receivers.setdefault(content.variant(allowed, registration.flags), []).append(registration)
        for wanted, registrations in receivers.items():
            self._tell(job, content.write(job.state, wanted, lambda: events(job), self._salt), registrations)

    def _tell(self, job: StoredJob, made: bytes, registrations: list[Registration]) -> None:
        size = len(made)
        told = []
        for registration in registrations:
            number = registration.number
            count, waiting = self._added[number]
            if self._registry.room(number, count + 1, waiting + size):
                self._added[number] = count + 1, waiting + size
                told.append(number)
            else:
                self._missed.append((number, job.key))
        if told:
            written = int(self._now * 1_000_000)
            self._notices.append(NewNotice(self._registry.new_notice(), written, made, tuple(told)))

    @property
    def outgoing(self) -> Outgoing:
        """What the batch's transaction has to add."""
        return Outgoing(self._notices, self._missed) if self._notices or self._missed else NOTHING_OUTGOING

    def stored(self) -> None:
        """The transaction is done: have the notices sent, and drop registrations that turned out to have expired."""
        self._registry.stored(self.outgoing)
        if self._expired:
            try:
                self._registry.drop(list(self._expired.values()))
            except StoreError as error:  # the next match tries again; the batch is stored
                self.log.warn("expired registrations are still there: {error}", error=str(error))
