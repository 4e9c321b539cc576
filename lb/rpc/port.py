"""The port of Perspective Broker: its connections and what they may cost.

A message is bounded before it is kept, types that are not plain data are refused, and a peer that does not follow the
protocol is disconnected without a word.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, ClassVar, Final

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb
from zope.interface import implementer

from lb.rpc.plain import plain_data
from lb.rpc.realm import Offered, Root, peer_of
from lb.service.bounds import Limits
from lb.service.counted import Counted
from lb.service.exchange import Answers

#: Bytes of one message: a query document with room around it. Longer queries go over HTTPS.
MAX_MESSAGE: Final = 1 << 20
#: Lists within lists of one message; calls of ours need less than ten.
MAX_DEPTH: Final = 32
#: Bytes of answers that wait for a peer to read what was sent before them: 25 of the longest ones.
MAX_UNREAD: Final = 16 << 20


@implementer(IHandshakeListener)
class Connection(pb.Broker):
    """One connection to the port."""

    log: ClassVar[Logger] = Logger()
    #: TCP, or TLS over it.
    transport: Any
    factory: Any  # a PBFactory; Twisted declares it None

    def connectionMade(self) -> None:
        """Count it in."""
        self.deadline: float | None = None
        self._begun = 0
        self._expires: int | None = None
        self._dismissed = False
        self.unread: int | None = None  # bytes, None while the peer reads
        super().connectionMade()
        if not self.factory.add(self):
            self.transport.abortConnection()
            return
        self.transport.registerProducer(Answers(self.answers_full), True)
        self.deadline = self.factory.clock.seconds() + self.factory.limits.handshake

    def handshakeCompleted(self) -> None:
        """From here on the peer has time, until its certificate expires."""
        self._expires = peer_of(self.transport).expires
        self._rest()

    def _rest(self) -> None:
        self.deadline = self.factory.clock.seconds() + self.factory.limits.idle

    def dataReceived(self, chunk: bytes) -> None:
        """Bound what has begun, then read it."""
        if self._dismissed:
            return
        if self._begun == 0:
            self.deadline = self.factory.clock.seconds() + self.factory.limits.message
        self._begun += len(chunk)
        try:
            super().dataReceived(chunk)
        except Exception as error:
            self._broken(f"{type(error).__name__}: {error}")
            return
        if not self.listStack and not self.buffer:
            self._begun = 0
            self._rest()
        elif self._begun > MAX_MESSAGE or len(self.listStack) > MAX_DEPTH:
            self._broken("a message beyond the bounds")

    def answers_full(self, full: bool) -> None:
        """The peer stopped or began to read its answers."""
        self.unread = (self.unread or 0) if full else None

    def sendEncoded(self, obj: object) -> None:
        """Send a message; one too many for who does not read ends the connection."""
        encoded = BytesIO()
        self._encode(obj, encoded.write)
        self.transport.write(encoded.getvalue())
        if self.unread is not None:
            self.unread += encoded.tell()
            if self.unread > MAX_UNREAD:
                self._broken(f"{self.unread} bytes of answers are not read")

    def callExpressionReceived(self, obj: object) -> None:
        """A whole message."""
        self._begun = 0
        super().callExpressionReceived(obj)

    def _broken(self, reason: str) -> None:
        self.log.warn("{peer} does not speak the protocol: {reason}", peer=self.transport.getPeer(), reason=reason)
        self.listStack, self.buffer = [], b""
        self.transport.abortConnection()

    def outlived(self, now: float) -> bool:
        """Whether the connection lasts longer than the certificates that say who the peer is."""
        return self._expires is not None and now > self._expires and not self._dismissed

    def dismiss(self) -> None:
        """Take no more calls and tell nothing more; a client makes what was not answered again, as who it is then."""
        self.log.info("{peer}: closed, its certificate has expired", peer=self.transport.getPeer())
        self._dismissed = True
        self.deadline = self.factory.clock.seconds() + self.factory.limits.handshake
        self.transport.unregisterProducer()  # a transport does not close while it has one
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count it out."""
        self.factory.remove(self)
        super().connectionLost(reason)


class PBFactory(Counted[Connection], pb.PBServerFactory):
    """The port's connections."""

    noisy = False
    protocol = Connection

    def __init__(self, offered: Offered, limits: Limits) -> None:
        Counted.__init__(self, offered.clock, limits.connections)
        pb.PBServerFactory.__init__(self, Root(offered), security=plain_data())
        self.limits = limits

    def _look_at(self, connection: Connection, now: float) -> None:
        if connection.deadline is not None and now > connection.deadline:
            connection.transport.abortConnection()
        elif connection.outlived(now):
            connection.dismiss()
