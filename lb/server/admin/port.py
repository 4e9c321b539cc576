"""What administrators ask on the main port: purge, dump, load, statistics, indices (spec: wire-query.md §8).

Who may what: PURGE purges, GET_STATISTICS reads statistics, ADMIN_ACCESS dumps, loads, indexes and may what those
may; the server's own certificate may all of it. What has begun goes on when its asker leaves.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lb.model.errors import Code, LBError, forbidden
from lb.model.subject import same_person
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.admin.dumpfile import DumpFile
from lb.server.admin.dumping import dump
from lb.server.admin.housekeeping import Housekeeping
from lb.server.admin.loading import Load
from lb.server.admin.purging import Purging
from lb.server.draft import Draft, Stream
from lb.server.statistics import figures
from lb.service.worker import Caller
from lb.store.interface import Reader, StoreError, Writer
from lb.wire import http, indexing
from lb.wire.http_status import Operation, status_of
from lb.wire.lbxml import dump as dump_document
from lb.wire.lbxml import purge as purge_document
from lb.wire.lbxml import statistics as statistics_document
from lb.wire.lbxml.purge import PurgeFlag

_MICROSECONDS: Final = 1_000_000
#: Marks of the store: when the last dump began and ended, microseconds.
DUMP_STARTED, DUMP_ENDED = "dump start", "dump end"
#: Seconds of rest of what the server purges by itself: a look at a slice takes some 3 ms.
_REST: Final = 0.01
_RESULT: Final = purge_document.write_result()


class Places(NamedTuple):
    """Directories for files."""

    purges: Path
    dumps: Path
    archives: Path


class Stopping:
    """Whether it is time to end."""

    stopping = False

    def check(self) -> None:
        """Raises when it is."""
        if self.stopping:
            raise LBError(errno.ECANCELED, "the server is stopping; ask again when it is back")


class Administration:
    """Answers the requests of administrators; one purge, dump or load at a time."""

    log = Logger()

    def __init__(
        self,
        writer: Writer,
        writing: Caller,
        reader: Reader,
        thread: Caller,
        purging: Purging,
        load: Load,
        housekeeping: Housekeeping,
        policy: Callable[[], Policy],
        clock: IReactorTime,
        places: Places,
        *,
        own_name: str,
        statistics: int = 1,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        """`reader` belongs to `thread`, `writer` to `writing`; `go_on` raises when it is time to end.

        `statistics`: who may ask for them: 0 nobody, 1 administrators and GET_STATISTICS, 2 everybody.
        """
        self._writer = writer
        self._writing = writing
        self._reader = reader
        self._thread = thread
        self._purging = purging
        self._load = load
        self._housekeeping = housekeeping
        self._policy = policy
        self._clock = clock
        self._places = places
        self._own_name = own_name
        self._statistics = statistics
        self._go_on = go_on
        self._one = DeferredLock()

    @property
    def answers(self) -> dict[str, Callable[[http.Request, Identity, str], Deferred[Any]]]:
        """What answers which path."""
        return {
            "/purgeRequest": self._answering(Operation.PURGE, self._purge, purge_document.write_result),
            "/dumpRequest": self._answering(Operation.DUMP, self._dump, dump_document.write_dump_result),
            "/loadRequest": self._answering(Operation.LOAD, self._loaded, dump_document.write_load_result),
            "/statsRequest": self._answering(Operation.STATS, self._figures, None),
            indexing.PATH: self._answering(Operation.LOAD, self._indices, None),
        }

    def _answering(
        self, operation: Operation, work: Callable[[http.Request, Identity], Any], failed: Callable[..., bytes] | None
    ) -> Callable[[http.Request, Identity, str], Deferred[Any]]:
        async def answer(request: http.Request, peer: Identity) -> bytes | Stream:
            try:
                answered: bytes | Stream = await work(request, peer)
                return answered
            except (LBError, StoreError, OSError) as trouble:
                error = _as_error(trouble)
                self.log.info("{what} of {peer}: {error}", what=operation.value, peer=peer.name, error=str(error))
                status = status_of(operation, error.code)
                if status == 400 or failed is None:
                    return http.response(status, b"" if status == 400 else _told(request, error))
                return http.response(status, failed(error=error))

        return lambda request, peer, address: Deferred.fromCoroutine(answer(request, peer))

    def archive(self, asked: purge_document.Request, file: DumpFile) -> Deferred[int]:
        """Purge into an archive, when it is its turn; the number of jobs."""
        return self._one.run(lambda: Deferred.fromCoroutine(self._purging(asked, file, rest=_REST)))

    def idle(self) -> Deferred[None]:
        """Fires when nothing is done any more of what has been asked by now."""
        return self._one.run(lambda: None)

    def _administrator(self, peer: Identity, what: str) -> None:
        if not self._allowed(peer, Action.ADMIN_ACCESS):
            raise forbidden(f"only superusers may {what}")

    def _allowed(self, peer: Identity, action: Action) -> bool:
        policy = self._policy()
        own = same_person(peer.name, self._own_name)
        return own or policy.allows(Action.ADMIN_ACCESS, peer) or policy.allows(action, peer)

    # Purge.

    async def _purge(self, request: http.Request, peer: Identity) -> bytes | Stream:
        if not self._allowed(peer, Action.PURGE):
            raise forbidden("only superusers may purge")
        asked = purge_document.read_request(request.body)
        if PurgeFlag.CLIENT_DUMP in asked.flags:
            raise LBError(errno.ENOSYS, "dumps are written at the server only (server_dump)")
        if PurgeFlag.BACKGROUND in asked.flags:
            background = Deferred.fromCoroutine(self._purged(asked, None, peer))
            background.addErrback(lambda failure: self.log.failure("purge in the background failed", failure=failure))
            return http.response(status_of(Operation.PURGE, Code.ACCEPTED_OK))
        listed = Draft(0) if PurgeFlag.LIST_JOBS in asked.flags else None
        return self._purge_answer(listed, await self._purged(asked, listed, peer))

    async def _purged(self, asked: purge_document.Request, listed: Draft | None, peer: Identity) -> str | None:
        """Purge; the path of the dump, None without one."""

        def found(jobid: str) -> None:
            if listed is not None:
                listed.write(purge_document.write_job(jobid))

        async with self._one:
            self._go_on()
            wanted = PurgeFlag.SERVER_DUMP in asked.flags and PurgeFlag.REALLY_PURGE in asked.flags
            file = DumpFile(self._places.purges, "purge", self._now()) if wanted else None
            try:
                count = await self._purging(asked, file, found=found)
            finally:
                if file is not None:
                    file.close()
        self.log.info("{count} jobs purged by {peer}: {flags}", count=count, peer=peer.name, flags=str(asked.flags))
        return None if file is None or not file.path.exists() else str(file.path)

    @staticmethod
    def _purge_answer(listed: Draft | None, path: str | None) -> bytes | Stream:
        opening, closing = _RESULT.split(b"\n", 1)
        last = b"".join(purge_document.result_lines(purge_document.Result(None, path))) + closing
        first = opening + b"\n"
        if listed is None:
            return http.response(200, first + last)
        (before, after) = purge_document.write_jobs(())
        first, last = first + before, after + last
        head = http.response_head(200, len(first) + listed.size + len(last))
        return Stream(head + first, listed, last)

    # Dump and load.

    async def _dump(self, request: http.Request, peer: Identity) -> bytes:
        self._administrator(peer, "dump")
        asked = dump_document.read_dump_request(request.body)
        async with self._one:
            self._go_on()
            # Told by the writing thread: what came before is stored by then, what comes later is stamped later.
            now, marks = await self._writing.call(lambda: (self._now(), self._dumped()))
            since, until = (_moment(each, now, *marks) for each in (asked.since, asked.until))
            if since > until:
                raise LBError(errno.EINVAL, "the time asked for ends before it begins")
            file = DumpFile(self._places.dumps, "dump", now, spaced=True)
            try:
                slices = dump(self._reader, file, since, until)
                while await self._thread.call(lambda: next(slices, _END)) is not _END:
                    self._go_on()
            finally:
                await self._thread.call(file.close)
            await self._writing.call(self._writer.marks.put, {DUMP_STARTED: since, DUMP_ENDED: until})
        path = str(file.path) if file.path.exists() else None
        result = dump_document.Result(path, since // _MICROSECONDS, until // _MICROSECONDS)
        return http.response(200, dump_document.write_dump_result(result))

    def _dumped(self) -> tuple[int, int]:
        marks = self._writer.marks
        return marks.get(DUMP_STARTED), marks.get(DUMP_ENDED)

    async def _loaded(self, request: http.Request, peer: Identity) -> bytes:
        self._administrator(peer, "load")
        name = dump_document.read_load_request(request.body)
        async with self._one:
            self._go_on()
            result = await self._load(name)
        self.log.info("{name} loaded by {peer}", name=name, peer=peer.name)
        return http.response(200, dump_document.write_load_result(result))

    # Statistics and indices.

    async def _figures(self, request: http.Request, peer: Identity) -> bytes:
        asked = statistics_document.read_request(request.body)
        if not self._statistics:
            raise LBError(errno.ENOSYS, "this server does not count statistics")
        if self._statistics == 1 and not self._allowed(peer, Action.GET_STATISTICS):
            raise forbidden("only superusers may read statistics")
        found = await self._thread.call(figures, self._reader.statistics, asked, int(self._clock.seconds()))
        return http.response(200, statistics_document.write_result(found))

    async def _indices(self, request: http.Request, peer: Identity) -> bytes:
        self._administrator(peer, "configure indices")
        wanted = indexing.read_request(request.body)
        index = self._writer.index
        if wanted is not None:
            await self._writing.call(index.configure, wanted)
            self.log.info("indices configured by {peer}", peer=peer.name)
            self._housekeeping.work()
        configured = await self._writing.call(lambda: index.indices)
        ready = set(await self._thread.call(self._reader.finder.indices))
        answer = indexing.Answer(indexing.named(configured), not ready.issuperset(configured))
        return http.response(200, indexing.write(answer), content_type=indexing.CONTENT_TYPE)

    def _now(self) -> int:
        return int(self._clock.seconds() * _MICROSECONDS)


_END: Final = object()


def _moment(asked: int, now: int, started: int, ended: int) -> int:
    """A time of a request in microseconds: seconds stand for their end."""
    known = {dump_document.NOW: now, dump_document.LAST_START: started, dump_document.LAST_END: ended}
    moment = known.get(asked)
    if moment is None:
        moment = asked * _MICROSECONDS + (_MICROSECONDS - 1 if asked else 0)
    return min(moment, now)


def _as_error(trouble: LBError | StoreError | OSError) -> LBError:
    if isinstance(trouble, LBError):
        return trouble
    if isinstance(trouble, StoreError):
        return LBError(trouble.code, str(trouble))
    return LBError(trouble.errno or errno.EIO, f"{trouble.filename or 'file'}: {trouble.strerror or trouble}")


def _told(request: http.Request, error: LBError) -> bytes:
    """The error in the document of a request whose own values are repeated in it."""
    if request.path == indexing.PATH:
        return indexing.write(indexing.Answer(error=(error.code, error.description)))
    asked = statistics_document.read_request(request.body) if error.code != errno.EINVAL else None
    since, until = (asked.since, asked.until) if asked is not None else (0, 0)
    return statistics_document.write_result(statistics_document.Result(since, until), error)
