"""Taking in a batch of events: checks, duplicates, fold, one transaction; the answers come back in order.

Runs in the one thread that owns the store's writing side and never touches sockets.
What it answers with success is on stable storage (P1); one bad event never harms its neighbours (P5).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Final, NamedTuple

from twisted.logger import Logger

from lb.model.catalogue import Priority
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.jobid import JobId, parse_cached
from lb.model.status import PARENT_TYPES
from lb.model.subject import comparable, normalise
from lb.security.acl import Permission
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server import rules
from lb.server.batch import Batch
from lb.server.connections import Connections
from lb.server.duplicate import digest
from lb.server.jobcache import JobCache
from lb.server.notify.announcement import Announcement
from lb.server.parents import Parents
from lb.server.submission import Submission, Unstored
from lb.server.tally import Tally
from lb.state import fold
from lb.state.generic.fold import Families
from lb.store.interface import RepeatedError, StoredJob, StoreError, Writer
from lb.wire import il, ulm

#: Most subjobs that one registration may make, by default; the C clients' collections have some thousands.
MAX_SUBJOBS: Final = 100_000
#: Subjobs that one transaction makes, some 4 kB each; a registration of more has one for itself. No option: how much
#: one registration may make is one (`--max-subjobs`), and no fewer would be held for it here.
_SUBJOBS_AT_ONCE: Final = 10_000


class _Entry(NamedTuple):
    """A line that could be read, and its place in the batch."""

    place: int
    event: Event
    digest: bytes
    submission: Submission


class Ingest:
    """The writing side of the server."""

    log = Logger()

    def __init__(
        self,
        writer: Writer,
        policy: Callable[[], Policy],
        now: Callable[[], float],
        *,
        grey_jobs: bool = False,
        max_subjobs: int = MAX_SUBJOBS,
        cache: JobCache | None = None,
        host: str = "localhost",
        user: str = "LBServer",
        families: Families | None = None,
        announce: Callable[[], Announcement] | None = None,
        tally: Tally | None = None,
        reuse_purged: bool = False,
        statistics: bool = True,
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        """`now`: seconds since the epoch; `policy` is asked for once a batch.

        `host` and `user` sign the events that the server itself logs; `families` are the job families that the site
        describes, None stands for the shipped ones. `announce` begins what a batch has to tell. `reuse_purged`: ids of
        purged jobs may be given again to who asks for a new one; `statistics`: rates and durations are counted.
        `stored` is called when a batch is.
        """
        self._writer = writer
        self._policy = policy
        self._now = now
        self._grey_jobs = grey_jobs
        self._max_subjobs = max_subjobs
        self._cache = cache if cache is not None else JobCache()
        self._host = host
        self._user = user
        self._families = families
        self._announce = announce
        self._reuse_purged = reuse_purged
        self._statistics = statistics
        self._stored = stored
        self._tally = tally if tally is not None else Tally()
        self._last_internal = 0
        self._hopeful = True  # no event of the last batch had come before or was refused

    def __call__(self, submissions: Sequence[Submission]) -> list[il.Reply]:
        """Store what may be stored; one reply a submission, in their order."""
        replies = [il.OK] * len(submissions)
        entries = []
        for index, submission in enumerate(submissions):
            try:
                event = ulm.parse(submission.line)
                entries.append(_Entry(index, event, digest(event), submission))
            except LBError as error:
                self._refused(submission, error)
                replies[index] = il.reply_for(error, direct=True)
            except MemoryError:
                raise  # nobody's mistake: all come again
            except Exception:
                replies[index] = self._mistaken(submission, direct=False)  # a logger would repeat it for ever
        self._store_all(self._portions(entries), replies)
        return replies

    def _portions(self, entries: list[_Entry]) -> Iterator[list[_Entry]]:
        """What is stored in one transaction each: registrations may make many more jobs than there are events."""
        portion: list[_Entry] = []
        made = 0
        for entry in entries:
            event = entry.event
            subjobs = event.number("nsubjobs") if event.type is rules.REGISTRATION else 0
            if subjobs > self._max_subjobs:
                subjobs = 0  # it will be refused
            if portion and made + subjobs > _SUBJOBS_AT_ONCE:
                yield portion
                portion, made = [], 0
            portion.append(entry)
            made += max(subjobs, 0)
        yield portion

    def _store_all(self, portions: Iterable[list[_Entry]], replies: list[il.Reply]) -> None:
        """Store one portion after another; behind one that the store did not take, the others are not tried (P4)."""
        trouble: Unstored | None = None
        for portion in portions:
            if trouble is not None:
                for entry in portion:
                    replies[entry.place] = trouble
                continue
            self._store(portion, replies)
            trouble = next((r for e in portion if isinstance(r := replies[e.place], Unstored)), None)

    def _store(self, entries: list[_Entry], replies: list[il.Reply]) -> None:
        if not entries:
            return
        try:
            hopeful = self._hopeful and not any(map(_makes_subjobs, entries))
            self._hopeful = (hopeful and self._in_hope(entries)) or self._with_care(entries, replies)
        except StoreError as error:
            self._unstored(entries, replies, error)
        except Exception as error:
            if len(entries) > 1:
                self._store_singly(entries, replies)
            elif isinstance(error, MemoryError):  # nobody's mistake
                self._unstored(entries, replies, StoreError(errno.ENOMEM, "not enough memory"))
            else:
                (entry,) = entries
                direct = bool(entry.event.priority & Priority.DIRECT)
                replies[entry.place] = self._mistaken(entry.submission, direct=direct)

    def _unstored(self, entries: list[_Entry], replies: list[il.Reply], error: StoreError) -> None:
        """Nothing was stored: everybody has to come again."""
        self.log.error("cannot store a batch of {count} events: {error}", count=len(entries), error=str(error))
        for entry in entries:
            replies[entry.place] = Unstored(il.Major.DBERR, error.code, str(error))

    def _in_hope(self, entries: list[_Entry]) -> bool:
        """Store events without asking whether they have come before: the store objects to those that have.

        False when something is amiss; nothing was stored then, and the careful way finds out.
        """
        last_internal = self._last_internal
        try:
            with self.transaction() as batch:
                self._apply(entries, batch)
        except (RepeatedError, LBError):
            self._last_internal = last_internal
            return False
        return True

    def _with_care(self, entries: list[_Entry], replies: list[il.Reply]) -> bool:
        """Store those events that are new and not refused; whether all were."""
        with self.transaction() as batch:
            return self._apply(entries, batch, replies)

    @contextmanager
    def transaction(self) -> Iterator[Batch]:
        """What is put into the batch is written in the end, all of it or, with `StoreError`, nothing."""
        announcement = None if self._announce is None else self._announce()
        batch = Batch(
            self._writer,
            self._cache,
            int(self._now() * 1_000_000),
            self._families,
            announcement,
            statistics=self._statistics,
        )
        try:
            yield batch
            began = perf_counter()
            self._writer.write(
                batch.changed.values(),
                batch.events,
                outgoing=batch.outgoing,
                connections=batch.connections,
                counts=batch.counts.all() if batch.counts is not None else (),
            )
            self._tally.committed(len(batch.events), batch.repeated, perf_counter() - began)
            if batch.registered:
                self._tally.registered(batch.registered)
        except BaseException:
            self._cache.forget(batch.known)
            raise
        batch.stored()
        self._stored()

    def parents(self, batch: Batch) -> Parents:
        """Who keeps the parents of a batch in step with their subjobs."""
        return Parents(batch, self._writer.children, self._internal_time, host=self._host, user=self._user)

    def connections(self, batch: Batch) -> Connections:
        """Who keeps what the jobs of a batch are connected to."""
        return Connections(batch, self._internal_time, user=self._user)

    def _store_singly(self, entries: list[_Entry], replies: list[il.Reply]) -> None:
        """One of `entries` meets a mistake of ours: find it, refuse it, store the others."""
        for entry in entries:
            replies[entry.place] = il.OK
        self._store_all(([entry] for entry in entries), replies)

    def _mistaken(self, submission: Submission, *, direct: bool) -> il.Reply:
        """The refusal of an event that meets a mistake of ours; called where that is handled."""
        self.log.failure("event cannot be processed, it is refused: {line!r}", line=submission.line[:2000])
        error = LBError(errno.EINVAL, "internal error of the server while processing this event")
        return il.reply_for(error, direct=direct)

    def _apply(self, entries: list[_Entry], batch: Batch, replies: list[il.Reply] | None = None) -> bool:
        """Put events into the batch; whether all are new and none is refused.

        Without `replies` none is asked for in the store, and the first that is to be refused raises its `LBError`.
        """
        policy = self._policy()
        parents = self.parents(batch)
        connections = self.connections(batch)
        batch.load(entry.event.jobid.unique for entry in entries)
        batch.load(_relatives(entries, batch.known.values()))
        repeated = self._repeated(entries, batch) if replies is not None else set()
        refused = False
        for position, entry in enumerate(entries):
            try:
                self._one(entry, position in repeated, batch, parents, connections, policy)
            except LBError as error:
                if replies is None:
                    raise
                refused = True
                self._refused(entry.submission, error)
                direct = bool(entry.event.priority & Priority.DIRECT)
                replies[entry.place] = il.reply_for(error, direct=direct)
        return not repeated and not refused

    def _repeated(self, entries: list[_Entry], batch: Batch) -> set[int]:
        """Positions of the events that are stored already."""
        checked = [
            (position, entry)
            for position, entry in enumerate(entries)
            if (job := batch.known.get(entry.event.jobid.unique)) is not None and not job.fresh
        ]
        found = self._writer.duplicates(
            [(batch.known[entry.event.jobid.unique].key, entry.digest) for _, entry in checked]
        )
        return {checked[number][0] for number in found}

    def _internal_time(self) -> int:
        """The time of an event of our own, in microseconds: no two have the same."""
        self._last_internal = max(int(self._now() * 1_000_000), self._last_internal + 1)
        return self._last_internal

    def _one(
        self,
        entry: _Entry,
        duplicate: bool,
        batch: Batch,
        parents: Parents,
        connections: Connections,
        policy: Policy,
    ) -> None:
        """Check one event and put what it changes into the batch; raises `LBError` before anything has changed."""
        event, peer = entry.event, entry.submission.peer
        if entry.submission.arrived is not None:
            batch.arrived = entry.submission.arrived
        known = batch.known.get(event.jobid.unique)
        job = known if known is not None else self._new_job(event)
        self._check(event, peer, job, policy, new=known is None)
        if duplicate or batch.has(job, entry.digest):
            batch.repeated += 1
            return
        connections.check(event)
        subjobs = self._subjobs(event)
        acl = job.acl if known is not None else self._first_readers(event)
        if event.type is rules.CHANGE_ACL:
            acl = rules.changed_acl(event, acl)
        appears = event.type is rules.REGISTRATION and (known is None or known.grey)
        before, line = job.state.status.state, entry.submission.line.rstrip(b"\n\0")
        watched = batch.watch(job)
        if event.type is rules.REGISTRATION and job.grey:
            self._claim(job, event, batch)
            batch.add(job, entry.digest, line)
        else:
            batch.step(job, event, entry.digest, line)
            if known is None and not job.grey:
                # Of who brings the registration; no event tells them, so they are kept (S9).
                job.state.status.user_fqans = list(peer.fqans) or None
        if event.type in (rules.GRANT, rules.TAKE) and job.state.status.payload_owner:
            acl = rules.with_permission(acl, job.state.status.payload_owner, Permission.TAG)
        job.acl = acl
        parents.follow(job, event)
        connections.follow(job, before, event)
        batch.entered(job, before)
        if appears:
            batch.registered[job.state.status.jobtype] += 1
            if job.state.status.jobtype in PARENT_TYPES:
                parents.adopt(job, event)
        if subjobs:
            self._embryos(event, subjobs, job, batch, parents)
        if event.type is not rules.CHANGE_ACL:
            batch.announce(job, watched)

    def _check(self, event: Event, peer: Identity, job: StoredJob, policy: Policy, *, new: bool) -> None:
        """Refuse what may not be stored; `new`: the job is made for this event."""
        rules.check_peer(event, peer, policy)
        if new:
            rules.check_new(event, peer, policy, grey_jobs=self._grey_jobs)
            if event.priority & Priority.EXCL and not self._reuse_purged:
                rules.check_unused(event, self._writer.purge.purged((event.jobid.unique,)))
        else:
            rules.check_known(event, peer, policy, job, grey_jobs=self._grey_jobs)
        rules.check_author(event, job, peer, policy)

    def _new_job(self, event: Event) -> StoredJob:
        grey = event.type is not rules.REGISTRATION
        owner = rules.GREY_OWNER if grey else normalise(event.user or "")
        state = fold.blank(event.jobid, owner)
        return StoredJob(self._writer.new_key(), event.jobid, owner, comparable(owner), state, grey=grey)

    def _claim(self, job: StoredJob, event: Event, batch: Batch) -> None:
        """A grey job gets its owner: its state is made anew of all that was collected."""
        arrived = [*(ulm.parse(line) for line in batch.lines_of(job)), event]
        owner = normalise(event.user or "")
        state = fold.recompute(arrived, jobid=event.jobid, owner=owner, families=batch.families)
        state.hidden.collected = len(arrived)
        job.state = state
        self._own(job, event.jobid, owner)

    @staticmethod
    def _own(job: StoredJob, jobid: JobId, owner: str) -> None:
        job.owner = owner
        job.owner_key = comparable(owner)
        job.grey = False
        job.jobid = jobid

    def _subjobs(self, event: Event) -> list[JobId]:
        if event.type is rules.REGISTRATION and event.number("nsubjobs") > self._max_subjobs:
            raise LBError(errno.E2BIG, f"{event.number('nsubjobs')} subjobs, at most {self._max_subjobs} are taken")
        return list(fold.subjobs_of(event))

    @staticmethod
    def _first_readers(event: Event) -> str | None:
        acl = None
        for name in (event.text("wms_dn") or "").split("\n"):
            if name:
                acl = rules.with_permission(acl, name, Permission.READ)
        return acl

    def _embryos(self, event: Event, subjobs: list[JobId], parent: StoredJob, batch: Batch, parents: Parents) -> None:
        """Make the subjobs of a registration that are not here yet, take over those that are grey (§14.1, S26)."""
        batch.load(subjob.unique for subjob in subjobs)
        for subjob in subjobs:
            known = batch.known.get(subjob.unique)
            if known is None:
                state = fold.embryo(event, subjob, parent.owner)
                batch.change(
                    StoredJob(
                        self._writer.new_key(),
                        subjob,
                        parent.owner,
                        parent.owner_key,
                        state,
                        parent=parent.jobid.unique,
                    )
                )
            elif known.grey:
                collected = [ulm.parse(line) for line in batch.lines_of(known)]
                state = fold.embryo(event, subjob, parent.owner)
                known.state = fold.recompute(
                    collected, jobid=subjob, owner=parent.owner, embryo=state, families=batch.families
                )
                known.state.hidden.collected = len(collected)
                self._own(known, subjob, parent.owner)
                batch.change(known)
                parents.follow(known, event)

    def _refused(self, submission: Submission, error: LBError) -> None:
        self.log.info(
            "event from {peer} refused: {error}: {line!r}",
            peer=submission.peer.name or "anonymous",
            error=str(error),
            line=submission.line[:1000],
        )


def _makes_subjobs(entry: _Entry) -> bool:
    """Whether an event is too dear to be taken in hope: all its subjobs are looked up, had it come before or not."""
    return entry.event.type is rules.REGISTRATION and entry.event.number("nsubjobs") > 0


def _relatives(entries: Iterable[_Entry], jobs: Iterable[StoredJob]) -> Iterator[str]:
    """Unique parts of the parents that `jobs` have, and of those that registrations name."""
    for job in jobs:
        if job.parent is not None:
            yield job.parent
    for entry in entries:
        if entry.event.type is rules.REGISTRATION:
            named = entry.event.text("parent")
            if named is not None:
                yield parse_cached(named).unique
