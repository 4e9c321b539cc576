"""A port on which notifications arrive, and the iterator over them (spec: wire-notification.md §3.4, §3.5).

A notification is acknowledged when its consumer comes for the next one or says so, never before it has been handed
out; its sender must show the certificate of the server in its id. What waits to be taken is bounded.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from lb.bound import MEBIBYTE
from lb.client.sender import LIMITS, SenderConnection, Slot
from lb.model import notifid
from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.model.status import JobStatus
from lb.model.subject import same_person
from lb.security.tls import EndpointCredentials
from lb.service.bounds import Limits
from lb.service.exchange import ExchangeFactory
from lb.wire import il, notification
from lb.wire.notification import Notification

#: Bytes of lines that may wait to be taken before their senders are paused; each may add what it sent at once.
INBOX_BYTES: Final = 16 * MEBIBYTE
#: Acknowledged notifications that are known again; more than the window of any sender.
_REMEMBERED: Final = 4_096
#: Seconds that senders get to close their side when we close ours.
_GOODBYE: Final = 1.0

#: Addresses to listen on when none is given: the first that can be had.
_EVERYWHERE: Final = ("::", "0.0.0.0")

_UNREADABLE: Final = il.Reply(il.Major.PROTO, 0, "notification cannot be read")


class Received:
    """A notification in its consumer's hands."""

    __slots__ = ("_recent", "_slot", "notification", "notifid", "status")

    def __init__(self, slot: Slot, identity: JobId, found: Notification, status: JobStatus, recent: _Recent) -> None:
        self.notifid = identity
        self.notification = found
        self.status = status
        self._slot = slot
        self._recent = recent

    def acknowledge(self) -> None:
        """Tell the sender that it need not come again; done by the receiver when the next one is asked for."""
        self._recent.add(self.notification, self._slot.connection)
        self._slot.answer(il.OK)


class _Recent:
    """What was acknowledged lately: by another connection it comes again, if its sender was gone before it knew.

    Without this a consumer that needs longer than its sender waits would get one notification for ever.
    """

    def __init__(self) -> None:
        self._known: dict[int, SenderConnection] = {}

    def add(self, found: Notification, connection: SenderConnection) -> None:
        self._known[self._key(found)] = connection
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def again(self, found: Notification, connection: SenderConnection) -> bool:
        """Whether it is one of those. The same by the same connection is another one that says the same."""
        return self._known.get(self._key(found), connection) is not connection

    @staticmethod
    def _key(found: Notification) -> int:
        # Destination and expiry may have changed in between.
        return hash((found.notifid, found.timestamp, found.jobstat))


class _Waiting:
    """A notification that nobody has taken."""

    __slots__ = ("found", "identity", "size", "slot")

    def __init__(self, slot: Slot, identity: JobId, found: Notification, size: int) -> None:
        self.slot = slot
        self.identity = identity
        self.found = found
        self.size = size


class Receiver:
    """Listens, and hands out what arrives, to one consumer at a time."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        credentials: EndpointCredentials,
        *,
        host: str | None = None,
        port: int = 0,
        listening: socket.socket | None = None,
        known: Iterable[JobId] | None = None,
        believed: Collection[str] = (),
        limits: Limits = LIMITS,
        inbox_bytes: int = INBOX_BYTES,
    ) -> None:
        """Listen at once; raises EADDRINUSE and the like as `LBError`.

        `host` None: on all addresses, `port` 0: on any port; or on an existing socket, which stays the caller's.
        `known`: ids to take notifications of, None = any. `believed`: names (slash form) of senders to be believed
        besides the servers themselves.
        """
        self.clock = reactor
        self._known = None if known is None else set(known)
        self._believed = tuple(believed)
        self._inbox: deque[_Waiting] = deque()
        self._inbox_bytes = 0
        self._inbox_limit = inbox_bytes
        self._paused: list[Callable[[], None]] = []
        self._handed: Received | None = None
        self._recent = _Recent()
        self._waiter: Deferred[None] | None = None
        self._closed = False
        self._failure: LBError | None = None
        self._connections: set[SenderConnection] = set()
        self._all_gone: Deferred[None] | None = None
        self._factory = ExchangeFactory(
            lambda: SenderConnection(self, limits),
            reactor,
            limits,
            congested=lambda: self._inbox_bytes >= inbox_bytes,
            when_ready=self._paused.append,
        )
        creator = credentials.server(certificate_required=True, alpn=[il.ALPN])
        tls = TLSMemoryBIOFactory(creator, False, self._factory, reactor)
        tls.noisy = False
        self._port = _listen(reactor, tls, host, port, listening)
        at: Any = self._port.getHost()
        #: What to register with: the host that was asked for, else what the socket says (§1.5).
        self.address = f"{at.host if host is None else host}:{at.port}"

    # For the consumer.

    @property
    def waiting(self) -> int:
        """Notifications that wait to be taken."""
        return len(self._inbox)

    @property
    def waiting_bytes(self) -> int:
        """Their lines, bytes."""
        return self._inbox_bytes

    def expect(self, identity: JobId) -> None:
        """Take notifications of one more registration."""
        if self._known is not None:
            self._known.add(identity)

    async def receive(self, patience: float | None = None) -> Received | None:
        """The next notification; None when there are no more. What was handed out before is acknowledged.

        Raises ETIMEDOUT after `patience` seconds without one, and the error that `close` was given.
        """
        handed, self._handed = self._handed, None
        if handed is not None:
            handed.acknowledge()
        while True:
            while self._inbox:
                self._handed = self._take()
                if self._handed is not None:
                    return self._handed
            if self._closed:
                if self._failure is not None:
                    raise self._failure
                return None
            await self._arrival(patience)

    def __aiter__(self) -> Receiver:
        return self

    async def __anext__(self) -> Received:
        found = await self.receive()
        if found is None:
            raise StopAsyncIteration
        return found

    async def close(self, error: LBError | None = None, *, taken: bool = True) -> None:
        """Listen no more and end the connections; what was not taken comes again to whoever binds next.

        `error` is raised at whoever waits; `taken` acknowledges what was handed out last.
        """
        if self._closed:
            return
        self._closed = True
        self._failure = error
        handed, self._handed = self._handed, None
        if taken and handed is not None:
            handed.acknowledge()
        self._inbox.clear()
        self._wake()
        stopping = self._port.stopListening()
        if stopping is not None:
            await stopping
        await self._part()

    async def _part(self) -> None:
        connections = list(self._connections)
        if connections:
            self._all_gone = Deferred()
            force = self.clock.callLater(_GOODBYE, self._factory.close)
            for connection in connections:
                connection.finish()
            await self._all_gone
            if force.active():
                force.cancel()
        self._factory.close()  # what has not come to its first message

    # For the connections.

    def begun(self, connection: SenderConnection) -> None:
        """A sender is there."""
        self._connections.add(connection)

    def arrived(self, slot: Slot, body: bytes) -> None:
        """Judge a message; what is believed waits for the consumer."""
        connection = slot.connection
        try:
            found = notification.read(il.read_line(body))
            identity = notifid.parse(found.notifid)
        except (il.FrameError, LBError) as error:
            self.log.warn("notification of {sender} refused: {reason}", sender=connection.sender, reason=str(error))
            slot.answer(_UNREADABLE)
            return
        objection = self._objection(connection, identity)
        if objection is not None:
            self.log.warn(
                "notification {id} of {sender} refused: {reason}",
                id=str(identity),
                sender=connection.sender,
                reason=objection,
            )
            slot.answer(il.Reply(il.Major.PERM, errno.EPERM, objection))
        elif not found.jobstat:
            slot.answer(il.OK)  # news for interloggers
        elif not self._closed:
            self._inbox.append(_Waiting(slot, identity, found, len(body)))
            self._inbox_bytes += len(body)
            self._wake()

    def left(self, connection: SenderConnection) -> None:
        """A sender is gone: what nobody has taken of it will come again."""
        self._connections.discard(connection)
        stay = [waiting for waiting in self._inbox if waiting.slot.connection is not connection]
        if len(stay) != len(self._inbox):
            self._inbox = deque(stay)
            self._inbox_bytes = sum(waiting.size for waiting in stay)
            self._read_on()
        gone, self._all_gone = (None, self._all_gone) if self._connections else (self._all_gone, None)
        if gone is not None:
            gone.callback(None)

    def _objection(self, connection: SenderConnection, identity: JobId) -> str | None:
        """Why a notification is not believed: any certified peer can connect (security.md §6)."""
        if self._known is not None and identity not in self._known:
            return "nobody here registered for it"
        if any(same_person(connection.peer.name, name) for name in self._believed):
            return None
        mismatch = connection.mismatch(identity.host)
        return None if mismatch is None else f"the sender is not the server {identity.host}: {mismatch}"

    def _take(self) -> Received | None:
        waiting = self._inbox.popleft()
        self._inbox_bytes -= waiting.size
        self._read_on()
        if self._recent.again(waiting.found, waiting.slot.connection):
            waiting.slot.answer(il.OK)
            return None
        try:
            status = waiting.found.status()
        except LBError as error:
            self.log.warn("state in notification {id} unreadable: {error}", id=str(waiting.identity), error=error)
            waiting.slot.answer(_UNREADABLE)
            return None
        return Received(waiting.slot, waiting.identity, waiting.found, status, self._recent)

    def _read_on(self) -> None:
        if self._paused and self._inbox_bytes <= self._inbox_limit // 2:
            paused, self._paused[:] = list(self._paused), []
            for resume in paused:
                resume()

    # Waiting.

    async def _arrival(self, patience: float | None) -> None:
        if self._waiter is not None:
            raise RuntimeError("somebody waits for notifications of this receiver already")
        self._waiter = waiter = Deferred[None]()
        late = LBError(errno.ETIMEDOUT, "no notification came in time")
        timer = None if patience is None else self.clock.callLater(patience, waiter.errback, late)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None and timer.active():
                timer.cancel()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.called:
            waiter.callback(None)


def _listen(
    reactor: Any, factory: TLSMemoryBIOFactory, host: str | None, port: int, listening: socket.socket | None
) -> IListeningPort:
    if listening is not None:
        listening.listen()
        listening.setblocking(False)  # the reactor accepts until there is nobody left
        adopted: IListeningPort = reactor.adoptStreamPort(listening.fileno(), listening.family, factory)
        return adopted
    failed: CannotListenError | None = None
    # One socket for both kinds of addresses, as C clients have it, where the machine knows both.
    for interface in _EVERYWHERE if host is None else (host.removeprefix("[").removesuffix("]"),):
        try:
            bound: IListeningPort = reactor.listenTCP(port, factory, interface=interface)
        except CannotListenError as error:
            failed = error
        else:
            return bound
    assert failed is not None
    reason = failed.socketError
    code = reason.errno if isinstance(reason, OSError) and reason.errno else errno.EIO
    raise LBError(code, f"{host or '*'}:{port}: no notifications can be received there")
