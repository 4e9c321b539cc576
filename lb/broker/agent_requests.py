"""What the registration agent does about requests: whose registrations it makes, extends and forgets.

It never believes a request about who asks: the owner is given by whoever knows (P7).
"""

from __future__ import annotations

import errno
import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lb.bound import KIBIBYTE, Unit, bound
from lb.broker import agent_messages as messages
from lb.broker.agent_book import Book, Entry
from lb.broker.destination import SCHEME, Destination, Kind, read_destination, read_reply
from lb.model import notifid
from lb.model.errors import LBError, forbidden, invalid, missing
from lb.model.jobid import JobId
from lb.model.query import Flag, Group
from lb.model.subject import same_person
from lb.security.identity import Identity

#: Begins the unique parts of the registrations that agents make.
_PREFIX: Final = "agent-"
_UNIQUE_BYTES: Final = 15  # twenty characters


@dataclass(frozen=True)
class AgentLimits:
    """Bounds of the registration agent; sizes in bytes, times in seconds."""

    requests: int = bound(
        "agent-requests", 20, Unit.COUNT, "requests that the registration agent has before it at once"
    )
    request_bytes: int = bound("agent-max-request", 64 * KIBIBYTE, Unit.BYTES, "longest request to it", least=256)
    registrations: int = bound("agent-max-registrations", 2_000, Unit.COUNT, "registrations that it looks after")
    interval: float = bound(
        "agent-interval", 30.0, Unit.SECONDS, "time between its looks at who listens to registrations", least=0.1
    )


class Registrar(Protocol):
    """Where registrations are made in the names of others; every method raises `LBError`."""

    server: str  #: ``HOST:PORT``, for the ids

    async def new(
        self, owner: Identity, id_: JobId, address: str, groups: tuple[Group, ...], flags: Flag, valid: int | None
    ) -> int:
        """Make a registration, or find that it is there; until when it is valid, in seconds since the epoch."""

    async def refresh(self, owner: Identity, id_: JobId, valid: int | None) -> int:
        """Extend the validity; until when it lasts."""

    async def change(self, owner: Identity, id_: JobId, groups: tuple[Group, ...]) -> None:
        """Replace the conditions."""

    async def drop(self, owner: Identity, id_: JobId) -> None:
        """End it."""


class Asker(NamedTuple):
    """Who asks: whom the broker vouches for, under which message id, and where he waits for the answer."""

    owner: Identity
    message: str
    reply_to: str | None


class Requests:
    """Carries out requests, and keeps what it made for as long as somebody listens."""

    log = Logger()

    def __init__(
        self,
        broker: str,
        registrar: Registrar,
        book: Book,
        save: Callable[[Callable[[bytes], None], bytes], Deferred[None]],
        listeners: Callable[[Destination], Deferred[int | None]],
        clock: IReactorTime,
        limits: AgentLimits,
        *,
        named: str | None,
    ) -> None:
        """`save(function, content)` calls the function in a thread that may wait for the disk.

        `listeners`: as of a session. `named`: what the server calls this broker, None when it is its default one.
        """
        self._broker = broker
        self._registrar = registrar
        self._book = book
        self._save = save
        self._listeners = listeners
        self._clock = clock
        self._limits = limits
        self._named = named

    async def perform(self, asker: Asker, request: messages.Request) -> messages.Told | list[messages.Told]:
        """Carry out a request; raises LBError."""
        told: messages.Told | list[messages.Told] = await _REQUESTS[type(request)](self, asker, request)
        return told

    async def _new(self, asker: Asker, request: messages.New) -> messages.Told:
        now = self._clock.seconds()
        address = self._address(request.destination)
        listener = request.listener or _temporary(asker.reply_to)
        entry = Entry(
            str(self._id(asker, request)),
            str(asker.owner.name),
            address,
            0,
            0,
            self._place(request.destination),
            listener,
        )
        if self._book.get(entry.notifid) is None and len(self._book) >= self._limits.registrations:
            raise LBError(errno.ENOSPC, f"the agent looks after {len(self._book)} registrations, more are not taken")
        listening = await self._listening(entry)
        if listening is False:
            raise LBError(errno.ENOTCONN, f"nobody listens at {request.destination}: subscribe first, then register")
        valid = await self._registrar.new(
            asker.owner,
            notifid.parse(entry.notifid),
            address,
            request.groups(int(now)),
            request.flag_set(),
            _until(now, request.validity),
        )
        lifetime = max(1, round(request.validity if request.validity is not None else valid - now))
        await self._keep(msgspec.structs.replace(entry, valid=valid, lifetime=lifetime))
        return messages.told(entry.notifid, valid, address, listening)

    async def _refresh(self, asker: Asker, request: messages.Refresh) -> messages.Told:
        entry, now = self._own(asker.owner, request.id), self._clock.seconds()
        valid = await self._registrar.refresh(asker.owner, request.id, _until(now, request.validity))
        lifetime = entry.lifetime if request.validity is None else max(1, round(request.validity))
        listener = _temporary(asker.reply_to) or entry.listener
        entry = msgspec.structs.replace(entry, valid=valid, lifetime=lifetime, listener=listener)
        await self._keep(entry)
        return messages.told(entry.notifid, valid, entry.destination, await self._listening(entry))

    async def _change(self, asker: Asker, request: messages.Change) -> messages.Told:
        entry = self._own(asker.owner, request.id)
        await self._registrar.change(asker.owner, request.id, request.groups(int(self._clock.seconds())))
        return messages.told(entry.notifid, entry.valid, entry.destination)

    async def _drop(self, asker: Asker, request: messages.Drop) -> messages.Told:
        entry = self._own(asker.owner, request.id)
        try:
            await self._registrar.drop(asker.owner, request.id)
        except LBError as error:
            if error.code != errno.ENOENT:  # it has expired: that is what was wanted
                raise
        self._book.remove(entry.notifid)
        await self._saved()
        return messages.told(entry.notifid)

    async def _list(self, asker: Asker, _: messages.List) -> list[messages.Told]:
        found = [entry for entry in self._book if same_person(entry.owner, asker.owner.name)]
        return [
            messages.told(entry.notifid, entry.valid, entry.destination, await self._listening(entry))
            for entry in found
        ]

    def _own(self, owner: Identity, id_: JobId) -> Entry:
        entry = self._book.get(str(id_))
        if entry is None:
            raise missing("Unknown notification ID")
        if not same_person(entry.owner, owner.name):
            raise forbidden("Only owner could access the notification")
        return entry

    def _id(self, asker: Asker, request: messages.New) -> JobId:
        """An id that the same request gets whenever it comes; the sender's name makes it nobody else's.

        Not of the message's id alone: there are clients that give all their messages one.
        """
        if not asker.message:
            return notifid.of_unique(self._registrar.server, _PREFIX + notifid.create("h").notification[:20])
        said = "\0".join((self._broker, str(asker.owner.name), asker.message)).encode("utf-8", "surrogateescape")
        said += b"\0" + msgspec.json.encode(request)
        digest = hashlib.blake2b(said, digest_size=_UNIQUE_BYTES).digest()
        return notifid.of_unique(self._registrar.server, _PREFIX + urlsafe_b64encode(digest).decode("ascii"))

    def _address(self, destination: str) -> str:
        """The address of a destination at this broker, as the server calls it; an address is taken as it is."""
        if destination.startswith(SCHEME):
            return destination
        if self._named is not None:
            return f"{SCHEME}{self._named}/{destination.removeprefix('/')}"
        read = read_destination(destination.partition("?")[0])
        if read.kind is not Kind.TOPIC:
            raise invalid(f"{destination[:255]!r}: the server is asked for topics only")
        return SCHEME + destination.removeprefix("/topic/")

    def _place(self, destination: str) -> str | None:
        """A destination as this broker knows it; None when it may be at another one."""
        if destination.startswith(SCHEME):
            name, slash, rest = destination.removeprefix(SCHEME).partition("/")
            if self._named is None or not slash or name != self._named:
                return None
            destination = rest
        return str(read_destination(destination.partition("?")[0]))

    # --- who listens ------------------------------------------------------------------------------------------

    async def _listening(self, entry: Entry) -> bool | None:
        """Whether somebody listens, None when the broker does not tell."""
        for text in (entry.place, entry.listener):
            if text is None:
                continue
            try:
                count = await self._listeners(read_reply(text))
            except LBError:
                continue
            if count is not None:
                return count > 0
        return None

    async def look(self) -> None:
        """Extend what somebody listens to, forget what has expired."""
        now = self._clock.seconds()
        changed = False
        for entry in self._book:
            if entry.valid < now:
                self.log.info("registration {id} has lapsed: nobody extended it", id=entry.notifid)
                self._book.remove(entry.notifid)
                changed = True
            elif entry.valid - now < entry.lifetime / 2 and await self._listening(entry):
                changed |= await self._extend(entry)
        if changed:
            await self._saved()

    async def _extend(self, entry: Entry) -> bool:
        owner, id_ = Identity(entry.owner), notifid.parse(entry.notifid)
        try:
            valid = await self._registrar.refresh(owner, id_, round(self._clock.seconds() + entry.lifetime))
        except LBError as error:
            self.log.warn("registration {id} cannot be extended: {error}", id=entry.notifid, error=str(error))
            if error.code not in (errno.ENOENT, errno.EPERM):
                return False  # for now
            self._book.remove(entry.notifid)
            return True
        # What its owner did meanwhile counts, too.
        if (known := self._book.get(entry.notifid)) is not None:
            self._book.put(msgspec.structs.replace(known, valid=valid))
        return True

    async def _keep(self, entry: Entry) -> None:
        self._book.put(entry)
        await self._saved()

    async def _saved(self) -> None:
        try:
            await self._save(self._book.save, self._book.content())
        except OSError as error:
            raise LBError(error.errno or errno.EIO, f"the agent's book cannot be written: {error.strerror}") from None


def _until(now: float, validity: float | None) -> int | None:
    return None if validity is None else round(now + validity)


def _temporary(reply_to: str | None) -> str | None:
    """A reply address that lasts as long as whoever made it."""
    if reply_to is None:
        return None
    try:
        return reply_to if read_reply(reply_to).kind is Kind.REPLY else None
    except LBError:
        return None


_REQUESTS: Final[dict[type, Callable[..., Any]]] = {
    messages.New: Requests._new,
    messages.Refresh: Requests._refresh,
    messages.Change: Requests._change,
    messages.Drop: Requests._drop,
    messages.List: Requests._list,
}
