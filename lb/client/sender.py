"""One sender's connection to a receiver of notifications: frames in, a reply to each, in their order.

It knows who the sender is and nothing of notifications; whoever is given a message answers it when it pleases.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final
from typing import Protocol as Interface

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from lb.bound import MEBIBYTE
from lb.security.hostname import host_name_mismatch
from lb.security.identity import end_entity
from lb.service.bounds import Limits
from lb.service.exchange import Exchange
from lb.wire import il

#: What one receiver bears: a few servers, each with a notification or a window of them on the way.
LIMITS: Final = Limits(
    connections=64,
    idle=3600.0,
    message_bytes=32 * MEBIBYTE,
    begun_bytes=64 * MEBIBYTE,
    window_events=256,
    window_bytes=4 * MEBIBYTE,
)
#: Answers about host names that a connection remembers; a sender has one name, or few.
_HOSTS: Final = 16


class Taker(Interface):
    """Who gets the messages of the connections."""

    clock: IReactorTime

    def begun(self, connection: SenderConnection) -> None:
        """The handshake is done."""

    def arrived(self, slot: Slot, body: bytes) -> None:
        """A frame body has come; to be answered at any time, in any order."""

    def left(self, connection: SenderConnection) -> None:
        """The connection is gone; what is not answered will come again."""


class Slot:
    """The place of one message in the answers of its connection."""

    __slots__ = ("connection", "last", "reply")

    def __init__(self, connection: SenderConnection) -> None:
        self.connection = connection
        self.reply: il.Reply | None = None
        #: Fires with the answers not written yet, if the message is the last of those that came together.
        self.last: Deferred[bytes] | None = None

    def answer(self, reply: il.Reply) -> None:
        """Answer the message; only the first answer counts."""
        if self.reply is None:
            self.reply = reply
            self.connection.answered()


class SenderConnection(Exchange):
    """One connection."""

    unreadable = (il.FrameError,)

    def __init__(self, taker: Taker, limits: Limits) -> None:
        super().__init__(limits)
        #: The sender's own certificate, or that of who signed its proxy; None before the handshake is done.
        self.certificate: x509.Certificate | None = None
        self._taker = taker
        self._slots: deque[Slot] = deque()
        self._hosts: dict[str, str | None] = {}
        self._flushing = False
        self._gone = False

    def mismatch(self, host: str) -> str | None:
        """None when the sender's certificate stands for a host, else what it stands for instead."""
        if host not in self._hosts:
            assert self.certificate is not None
            if len(self._hosts) >= _HOSTS:
                self._hosts.clear()
            self._hosts[host] = host_name_mismatch(self.certificate, host)
        return self._hosts[host]

    @property
    def sender(self) -> str:
        """Name and address, for log lines."""
        return f"{self.peer.name} at {self.transport.getPeer()}"

    def make_reader(self, max_message: int) -> il.FrameReader:
        return il.FrameReader(max_message)

    def handshakeCompleted(self) -> None:
        super().handshakeCompleted()
        chain: Any = self.transport.getHandle().get_verified_chain(as_cryptography=True)
        self.certificate = end_entity(chain)
        self._taker.begun(self)

    def handle(self, messages: list[bytes]) -> Deferred[bytes]:
        answered: Deferred[bytes] = Deferred()
        slots = [Slot(self) for _ in messages]
        slots[-1].last = answered
        self._slots += slots
        for slot, body in zip(slots, messages, strict=True):
            self._taker.arrived(slot, body)
        return answered

    def refusal(self, reason: Exception) -> bytes:
        return il.write_reply(reason.reply) if isinstance(reason, il.FrameTooLongError) else b""

    def answered(self) -> None:
        """Some message has its answer: write what can be written, soon and at once for all."""
        if not self._flushing and not self._gone:
            self._flushing = True
            self._taker.clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        slots = self._slots
        ready: list[bytes] = []
        while slots and slots[0].reply is not None:
            slot = slots.popleft()
            assert slot.reply is not None
            ready.append(il.write_reply(slot.reply))
            if slot.last is not None:
                data, ready = b"".join(ready), []
                slot.last.callback(data)
        if ready:
            self.transport.write(b"".join(ready))

    def finish(self) -> None:
        """Write the answers there are and end the connection in peace."""
        self._flush()
        if not self._gone and not self._left:
            self._closing = self._left = True
            self.transport.unregisterProducer()  # a transport does not close while it has a producer
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        self._slots.clear()
        super().connectionLost(reason)
        self._taker.left(self)
