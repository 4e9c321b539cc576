"""Logging events: through a logger, which stores and forwards them, or directly to a job's server.

Registrations go directly, since a server takes them from nobody else than the owner (spec: wire-logging.md §8.1).
What is sent twice after a broken connection is stored once.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from lb.client.connection import WINDOW_BYTES, DGLogConnection, ILConnection
from lb.client.dialer import Dialer
from lb.client.outgoing import tunnelling_error
from lb.client.pool import Pool
from lb.client.settings import MAX_TIMEOUT, Address, Settings
from lb.model.catalogue import BY_NAME, EventType, Priority, Source
from lb.model.errors import LBError, invalid
from lb.model.event import Event, Value
from lb.model.jobid import JobId
from lb.model.seqcode import Flavour, Sequence
from lb.wire import dglog, il, tunnel, ulm
from lb.wire.tunnel import Message

_ASYNCHRONOUS: Final = int(Priority.LOCAL)
_SYNCHRONOUS: Final = int(Priority.LOCAL | Priority.SYNC)
_DIRECT: Final = int(Priority.DIRECT)
_EXCLUSIVE: Final = int(Priority.DIRECT | Priority.EXCL)

REGISTRATION: Final = BY_NAME["RegJob"]
#: Kinds of sequence codes of job types whose events have codes of their own (model.md §7.2).
_FLAVOURS: Final = {"PBS": Flavour.PBS, "CONDOR": Flavour.CONDOR, "CREAM": Flavour.CREAM}

#: Told of a line that was not taken, and why.
Refused = Callable[[bytes, LBError], None]


def flavour_of_job(jobtype: str) -> Flavour:
    """The kind of sequence code that jobs of a type use, e.g. PBS for ``PBS``."""
    return _FLAVOURS.get(jobtype.upper(), Flavour.NORMAL)


def line_of(event: Event, priority: int, *, user: bool) -> bytes:
    """The line of an event with that DG.PRIORITY; `user`: with DG.USER."""
    kept = event.priority
    event.priority = priority
    try:
        return ulm.write(event, user=user)
    finally:
        event.priority = kept


class Producer:
    """Logs events of one identity."""

    def __init__(
        self,
        dialer: Dialer,
        clock: IReactorTime,
        settings: Settings,
        identity: str,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`identity`: the own name in slash form, normalised; `now`: seconds since the epoch, for new events."""
        self.settings = settings
        self.identity = identity
        self._now = now
        self._loggers: Pool[DGLogConnection] = Pool(
            lambda address: DGLogConnection(address, dialer, clock), connections=settings.connections
        )
        self._stores: Pool[ILConnection] = Pool(
            lambda address: ILConnection(address, dialer, clock), connections=settings.connections
        )

    def new_event(
        self,
        type_: EventType,
        jobid: JobId,
        source: int,
        seqcode: str,
        attributes: Mapping[str, Value] | None = None,
        *,
        src_instance: str = "",
        timestamp: int | None = None,
    ) -> Event:
        """An event of this moment and this machine. `timestamp`: microseconds since the epoch."""
        return Event(
            type_,
            jobid,
            timestamp=int(self._now() * 1_000_000) if timestamp is None else timestamp,
            host=self.settings.host,
            source=source,
            seqcode=seqcode,
            user=self.identity,
            attributes=attributes,
            src_instance=src_instance,
        )

    # Through the logger.

    async def log(self, event: Event | bytes, *, synchronous: bool = False) -> None:
        """Hand one event (or its line, which must not name a user) to the logger.

        Returns when the logger has stored it, with `synchronous` when the server has. Raises `LBError`: EINVAL when
        the event is wrong, EAGAIN when the logger has it but the server has not confirmed it, and why it was not sent.
        """
        line = self._line(event, synchronous)
        timeout = self.settings.log_sync_timeout if synchronous else self.settings.log_timeout
        code = await self._loggers.channel(self.settings.logger).send(dglog.message(line), timeout)
        error = dglog.error_of(code)
        if error is not None:
            raise LBError(error.code, f"{self.settings.logger}: {error.description}")

    async def send(self, message: Message) -> None:
        """Hand a message for a broker to the logger; `lb.client.outgoing.new_message` makes them.

        Returns when the logger has stored it, for a synchronous one when the broker has it. Raises `LBError`:
        EOPNOTSUPP from a logger that does not tunnel, ENOENT for a broker that it does not know, EACCES when we
        may not send there, EAGAIN when it is stored but not confirmed in time.
        """
        line = bounded(tunnel.write(message))
        synchronous = bool(message.flags & Priority.SYNC)
        timeout = self.settings.log_sync_timeout if synchronous else self.settings.log_timeout
        code = await self._loggers.channel(self.settings.logger).send(dglog.message(line), timeout)
        error = tunnelling_error(code, message.destination)
        if error is not None:
            raise LBError(error.code, f"{self.settings.logger}: {error.description}")

    async def log_many(
        self, events: Iterable[Event | bytes], *, synchronous: bool = False, refused: Refused | None = None
    ) -> int:
        """Hand many events, or lines of events or messages, to the logger, in their order; returns how many it took.

        `events` is drawn upon no faster than the logger answers. What the logger refuses is told to `refused` and does
        not stop the others; without `refused`, and when the logger cannot be reached, the first error ends it.
        """
        timeout = self.settings.log_sync_timeout if synchronous else self.settings.log_timeout
        channel = self._loggers.channel(self.settings.logger)
        flow = _Flow(channel, refused)
        for event in events:
            if flow.full:
                await flow.room()
            if flow.error is not None:
                break
            line = self._line(event, synchronous)
            flow.start(line)
            channel.submit(dglog.message(line), timeout, partial(flow.done, line))
        await flow.drained()
        if flow.error is not None:
            raise flow.error
        return flow.taken

    async def flush(self, jobid: JobId | None = None, seconds: float | None = None) -> None:
        """Wait until the logger has delivered its events, of one job or all; raises 1419 when some still wait.

        It waits at most `seconds`, else the time-out of synchronous logging. C loggers flush single jobs only.
        """
        seconds = self.settings.log_sync_timeout if seconds is None else seconds
        line = (
            f'DATE={ulm.write_date(int(self._now() * 1_000_000))} HOST="{ulm.escape(self.settings.host)}" '
            f"PROG=internal LVL=system DG.PRIORITY={int(Priority.SYNC_COMPAT)} "
            f'DG.TYPE="command" DG.COMMAND="flush" DG.TIMEOUT="{seconds:.6f}"'
        )
        if jobid is not None:
            line += f' DG.JOBID="{jobid}"'
        # The logger waits as long as it is told; its answer needs a little more.
        message = dglog.message(ulm.encode(line))
        code = await self._loggers.channel(self.settings.logger).send(message, seconds + 1)
        error = dglog.error_of(code)
        if error is not None:
            raise LBError(code if code > 1400 else error.code, f"{self.settings.logger}: {error.description}")

    def _line(self, event: Event | bytes, synchronous: bool) -> bytes:
        if isinstance(event, bytes):
            line = event
        else:
            line = line_of(event, _SYNCHRONOUS if synchronous else _ASYNCHRONOUS, user=False)
        return bounded(line)

    # Directly to the server.

    async def register(
        self,
        jobid: JobId,
        jobtype: str = "SIMPLE",
        *,
        jdl: str = "",
        ns: str | None = None,
        parent: JobId | None = None,
        nsubjobs: int = 0,
        seed: str | None = None,
        wms_dn: Iterable[str] = (),
        exclusive: bool = False,
        source: int = Source.UserInterface,
        src_instance: str = "",
    ) -> str:
        """Register a job with its server; returns the sequence code for its next event.

        `jobtype`: a name of model.md §6.5. `ns`: network server, by default the job's server. `nsubjobs`: how many
        subjobs the server makes, with ids of `lb.model.jobid.subjobs` from `seed`. `wms_dn`: names that may read too.
        Registering again changes nothing; with `exclusive` it raises EEXIST, and nothing is repeated when the
        connection breaks. Raises EPERM when the server does not let us, EINVAL for an unknown type.
        """
        code = REGISTRATION.by_name["jobtype"].codes.get(jobtype.upper())
        if code is None:
            raise invalid(f"unknown job type {jobtype!r}")
        sequence = Sequence(source, flavour_of_job(jobtype))
        sequence.increment()
        given: dict[str, Value | None] = {
            "jdl": jdl or None,
            "ns": ns or jobid.server,
            "parent": str(parent) if parent else None,
            "jobtype": code,
            "nsubjobs": nsubjobs or None,
            "seed": seed or None,
            "wms_dn": "".join(f"{dn}\n" for dn in wms_dn) or None,
        }
        attributes = {name: value for name, value in given.items() if value is not None}
        event = self.new_event(REGISTRATION, jobid, source, sequence.text, attributes, src_instance=src_instance)
        await self.store(event, exclusive=exclusive)
        sequence.increment()
        return sequence.text

    async def store(self, event: Event, *, exclusive: bool = False) -> None:
        """Send an event directly to the store port of its job's server, as the own identity's; raises `LBError`."""
        kept, event.user = event.user, self.identity
        try:
            line = bounded(line_of(event, _EXCLUSIVE if exclusive else _DIRECT, user=True))
        finally:
            event.user = kept
        # Subjobs take the server some time (wire-logging.md §11).
        subjobs = max(0, event.number("nsubjobs")) if event.type is REGISTRATION else 0
        timeout = min(self.settings.log_sync_timeout + subjobs, MAX_TIMEOUT)
        address = Address(event.jobid.host, event.jobid.port).store
        # An exclusive registration that is repeated would meet itself.
        reply = await self._stores.channel(address).send(il.frame(line), timeout, repeatable=not exclusive)
        error = il.error_of(reply)
        if error is not None:
            raise LBError(error.code, f"{address}: {error.description}")

    async def close(self) -> None:
        """End all connections; what is outstanding fails."""
        await self._loggers.close()
        await self._stores.close()


def bounded(line: bytes) -> bytes:
    """The line, unless it is longer than anybody takes: ENOSPC."""
    if len(line) > ulm.MAX_LINE:
        raise LBError(errno.ENOSPC, f"an event of {len(line)} bytes, at most {ulm.MAX_LINE} are taken")
    return line


class _Flow:
    """Events on their way to the logger, and what became of them."""

    def __init__(self, channel: DGLogConnection, refused: Refused | None) -> None:
        self.taken = 0
        self.error: LBError | None = None
        self._channel = channel
        self._refused = refused
        self._count = 0
        self._bytes = 0
        self._waiting: Deferred[None] | None = None
        self._draining = False

    def start(self, line: bytes) -> None:
        self._count += 1
        self._bytes += len(line)

    def done(self, line: bytes, code: int | None, failure: LBError | None) -> None:
        """The logger's answer to a line, or why there is none."""
        self._count -= 1
        self._bytes -= len(line)
        error = failure if code is None else dglog.error_of(code)
        if error is None:
            self.taken += 1
        elif failure is None and self._refused is not None:
            self._refused(line, error)
        elif self.error is None:
            self.error = LBError(error.code, error.description)
        if self._waiting is not None and (self._count == 0 if self._draining else not self.full):
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    @property
    def full(self) -> bool:
        """Whether as much is on its way as the peer takes at once, and as much again waits for it."""
        return self._count >= 2 * self._channel.window or self._bytes >= 2 * WINDOW_BYTES

    def room(self) -> Deferred[None]:
        """Fires when there is room for another event."""
        self._waiting = Deferred()
        return self._waiting

    def drained(self) -> Deferred[None]:
        """Fires when everything is answered."""
        self._draining = True
        waiting: Deferred[None] = Deferred()
        if self._count:
            self._waiting = waiting
        else:
            waiting.callback(None)
        return waiting
