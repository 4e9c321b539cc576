"""P10 on ports where messages are answered one for one: each bound just below, at and just above."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from functools import partial

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.security.identity import ANONYMOUS, Identity
from lb.service.bounds import Budget, Limits
from lb.service.exchange import Exchange, ExchangeFactory, described
from lb.wire import il
from tests.service.connected import Transport, connected

LIMITS = Limits(message_bytes=4_000_000, anonymous_bytes=1_000)
PEER = Identity("/O=Test/CN=Peer")


class Port(Exchange):
    """Takes frames; answers when the test says so."""

    unreadable = (il.FrameError,)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.taken: list[Deferred[bytes]] = []

    def make_reader(self, max_message: int) -> il.FrameReader:
        return il.FrameReader(max_message)

    def handle(self, messages: list[bytes]) -> Deferred[bytes]:
        self.taken.append(Deferred())
        return self.taken[-1]

    def refusal(self, reason: Exception) -> bytes:
        return b"no"


def frame(length: int) -> bytes:
    """A message of so many bytes behind its header."""
    return b"%16d\n" % length + b"x" * length


class Bounds(SynchronousTestCase):
    """Connections without a network."""

    def _begin(self, limits: Limits) -> None:
        self.clock = Clock()
        self.factory = ExchangeFactory(partial(Port, limits), self.clock, limits)

    def setUp(self) -> None:
        self._begin(LIMITS)

    def _connect(self, peer: Identity = PEER) -> tuple[Port, Transport]:
        return connected(self.factory, Port, peer)

    def _pass(self, seconds: float) -> None:
        self.clock.pump([1.0] * int(seconds))

    def test_message(self) -> None:
        """The longest message is taken, one byte more is refused by its header; without a certificate it is less."""
        for peer, most in ((PEER, LIMITS.message_bytes), (ANONYMOUS, LIMITS.anonymous_bytes)):
            for length, taken in ((most - 1, True), (most, True), (most + 1, False)):
                port, transport = self._connect(peer)
                port.dataReceived(b"%16d\n" % length)
                self.assertEqual(transport.value(), b"" if taken else b"no")
                self.assertEqual(transport.disconnecting, not taken)

    def test_connections(self) -> None:
        """Connections up to the bound are kept, the next is closed at once; one that ends makes room."""
        self._begin(replace(LIMITS, connections=3))
        made = [self._connect() for _ in range(4)]
        self.assertEqual([transport.aborted for _, transport in made], [False, False, False, True])
        made[3][0].connectionLost()
        made[0][0].connectionLost()
        self.assertEqual([self._connect()[1].aborted for _ in range(2)], [False, True])

    def test_window(self) -> None:
        """P6: a peer is not read while the window is full, by number or by size, and read again when it is not."""
        for limits, sizes, paused in (
            (replace(LIMITS, window_events=3), [10] * 2, False),
            (replace(LIMITS, window_events=3), [10] * 3, True),
            (replace(LIMITS, window_events=3), [10] * 4, True),
            (replace(LIMITS, window_bytes=100), [99], False),
            (replace(LIMITS, window_bytes=100), [50, 50], True),
            (replace(LIMITS, window_bytes=100), [101], True),
        ):
            self._begin(limits)
            port, transport = self._connect()
            port.dataReceived(b"".join(map(frame, sizes)))
            self.assertEqual(transport.producerState, "paused" if paused else "producing", sizes)
            port.taken.pop().callback(b"yes")
            self.assertEqual(transport.producerState, "producing")

    def test_begun_messages(self) -> None:
        """Messages that have begun, together, are held up to the bound; one byte more ends its connection alone."""
        for extra, aborted in ((-1, False), (0, False), (1, True)):
            self._begin(replace(LIMITS, begun_bytes=1_000, connections=10))
            first, kept = self._connect()
            second, transport = self._connect()
            for port, size in ((first, 500), (second, 500 + extra)):
                port.dataReceived(b"%16d\n" % 3_000_000)
                port.dataReceived(b"x" * (size - port._held))
            self.assertEqual((transport.aborted, kept.aborted), (aborted, False))
            second.connectionLost()
            first.connectionLost()
            self.assertEqual(self.factory.budget.held, 0)

    def test_described(self) -> None:
        """A peer is named in the log with host and port, in brackets where the host has colons."""
        for address, text in (
            (IPv4Address("TCP", "192.0.2.1", 7), "/O=Test/CN=Peer at 192.0.2.1:7"),
            (IPv6Address("TCP", "::1", 7), "/O=Test/CN=Peer at [::1]:7"),
            ("elsewhere", "/O=Test/CN=Peer at elsewhere"),
        ):
            self.assertEqual(described(PEER, address), text)
        self.assertEqual(described(ANONYMOUS, "x"), "anonymous at x")

    def test_share(self) -> None:
        """An equal share is granted to each connection even when great messages took all that there is."""
        for size, granted in ((99, True), (100, True), (101, False)):
            budget = Budget(replace(LIMITS, begun_bytes=1_000, connections=10))
            self.assertTrue(budget.change(0, 1_000))
            self.assertIs(budget.change(0, size), granted)

    def test_released(self) -> None:
        """What a connection that is closed held is let go of at once, not when garbage is collected."""
        self._begin(replace(LIMITS, begun_bytes=1_000, connections=10))
        gc.disable()
        self.addCleanup(gc.enable)
        port, transport = self._connect()
        port.dataReceived(b"%16d\n" % 3_000_000)
        reader = weakref.ref(port._reader)
        port.dataReceived(b"x" * 1_000)
        self.assertTrue(transport.aborted)
        self.assertIsNone(reader())

    def test_handshake(self) -> None:
        """A peer that does not finish its handshake in time is closed, not before."""
        port = self.factory.buildProtocol(None)
        transport = Transport()
        port.makeConnection(transport)
        port._reader = None
        port._deadline = self.clock.seconds() + LIMITS.handshake
        self._pass(LIMITS.handshake)
        self.assertFalse(transport.aborted)
        self._pass(1)
        self.assertTrue(transport.aborted)

    def test_idle(self) -> None:
        """A peer without a message is closed after its time, never while it waits for an answer."""
        _, idle_transport = self._connect()
        waiting, waiting_transport = self._connect()
        waiting.dataReceived(frame(1))
        self._pass(LIMITS.idle)
        self.assertFalse(idle_transport.aborted)
        self._pass(1)
        self.assertTrue(idle_transport.aborted)
        self._pass(LIMITS.idle)
        self.assertFalse(waiting_transport.aborted)
        waiting.taken.pop().callback(b"yes")
        self._pass(LIMITS.idle + 1)
        self.assertTrue(waiting_transport.aborted)

    def test_certificate_expires(self) -> None:
        """P7: who a peer is was proven until its certificates expire: what it sent is answered, then it has to go."""
        port, transport = self._connect(replace(PEER, expires=100))
        _, others = self._connect(replace(PEER, expires=200))
        self._pass(100)
        port.dataReceived(frame(1))
        self._pass(1)
        port.dataReceived(frame(1))
        self.assertEqual((len(port.taken), transport.disconnecting), (1, False))
        port.taken.pop().callback(b"yes")
        self.assertEqual((transport.value(), transport.disconnecting), (b"yes", True))
        self.assertFalse(others.disconnecting)

    def test_trickle(self) -> None:
        """A message has its time from its first byte; only each further megabyte earns it again."""
        port, transport = self._connect()
        port.dataReceived(b"%16d\n" % 3_000_000)
        for _ in range(int(LIMITS.message)):
            port.dataReceived(b"x")
            self._pass(1)
        self.assertFalse(transport.aborted)
        port.dataReceived(b"x" * (1 << 20))
        for _ in range(int(LIMITS.message)):
            port.dataReceived(b"x")
            self._pass(1)
        self.assertFalse(transport.aborted)
        self._pass(1)
        self.assertTrue(transport.aborted)
