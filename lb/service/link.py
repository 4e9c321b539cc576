"""A connection to a store port or a notification receiver: frames out, replies in (spec: wire-logging.md §7).

It decides nothing; whoever opened it is told when it may be used, what came, and when it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as Interface

from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lb.security.identity import identity_of
from lb.wire import il

#: Seconds in which a peer may answer our goodbye; one that does not would keep the connection for ever.
FAREWELL: Final = 5.0


class Owner(Interface):
    """Who uses a link."""

    def usable(self, link: Link) -> None:
        """The handshake is done, `link.pipelining` is known."""

    def replied(self, link: Link, replies: list[il.Reply]) -> None:
        """Replies, in the order of the frames."""

    def lost(self, link: Link, reason: str) -> None:
        """The link ended, or must end because what came is no reply."""


@implementer(IHandshakeListener)
class Link(Protocol):
    """One connection. `pipelining` tells whether the server reads on before its reply is taken.

    `expires`: when its certificates do, seconds since the epoch.
    """

    transport: Any

    def __init__(self, owner: Owner, max_reply: int, gone: Callable[[], None]) -> None:
        """`max_reply`: longest reply taken, bytes; `gone` is called when the connection is no more."""
        self.pipelining = False
        self.expires: int | None = None
        self._owner = owner
        self._gone = gone
        self._farewell: IDelayedCall | None = None
        self._frames = il.FrameReader(max_reply)
        self._begun = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        if not isinstance(self.transport, TLSMemoryBIOProtocol):
            self._begin()

    def handshakeCompleted(self) -> None:
        self.pipelining = self.transport.negotiatedProtocol == il.ALPN
        self.expires = identity_of(self.transport.getHandle()).expires
        self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._owner.usable(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            replies = [il.read_reply(body) for body in self._frames.feed(data)]
        except il.FrameError as error:
            self._owner.lost(self, str(error))
            return
        if replies:
            self._owner.replied(self, replies)

    def end(self, clock: IReactorTime) -> None:
        """Say goodbye, and wait for no answer for ever."""
        self.transport.loseConnection()
        self._farewell = clock.callLater(FAREWELL, self._abort)

    def _abort(self) -> None:
        self._farewell = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
        self._gone()
        self._owner.lost(self, reason.getErrorMessage())


class LinkFactory(Factory):
    """Makes the links of one owner."""

    noisy = False

    def __init__(self, owner: Owner, max_reply: int, gone: Callable[[], None] = lambda: None) -> None:
        self._owner = owner
        self._max_reply = max_reply
        self._gone = gone

    def buildProtocol(self, addr: object) -> Link:
        return Link(self._owner, self._max_reply, self._gone)
