"""Channels without a network: what is sent when, and what callers hear whatever happens to the connection."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lb.client import connection
from lb.client.connection import Channel, DGLogConnection, HTTPConnection, ILConnection
from lb.client.settings import Address
from lb.model.errors import Code, LBError
from lb.wire import dglog, http, il
from tests.client.fakes import FakeDialer

SOMEWHERE = Address("peer.example.org", 9002)
LOST = Failure(error.ConnectionLost())


class ChannelTest(SynchronousTestCase):
    """A channel, its fake connections and its clock."""

    kind: Callable[..., Channel[Any]] = DGLogConnection

    def setUp(self) -> None:
        self.clock = Clock()
        self.dialer = FakeDialer()
        self.channel = type(self).kind(SOMEWHERE, self.dialer, self.clock)
        self.outcomes: list[tuple[str, Any]] = []

    def submit(self, name: str, timeout: float = 10, *, repeatable: bool = True) -> None:
        def done(answer: Any, error: LBError | None) -> None:
            self.outcomes.append((name, answer if error is None else error.code))

        self.channel.submit(name.encode(), timeout, done, repeatable=repeatable)

    def written(self, index: int = -1) -> list[bytes]:
        written: list[bytes] = self.dialer.protocols[index].transport.written
        return written


class SendingTests(ChannelTest):
    """When messages leave."""

    def test_one_at_a_time(self) -> None:
        """A C peer never gets a second message before it has answered the first, which would stall it."""
        for name in ("a", "b", "c"):
            self.submit(name)
        protocol = self.dialer.connect()
        self.assertEqual(self.written(), [b"a"])
        protocol.dataReceived(dglog.answer(0))
        self.assertEqual(self.written(), [b"a", b"b"])
        protocol.dataReceived(dglog.answer(22) + b"\0\0")
        protocol.dataReceived(b"\0\0")
        self.assertEqual(self.outcomes, [("a", 0), ("b", 22), ("c", 0)])
        self.assertEqual(len(self.dialer.dials), 1)

    def test_pipelined(self) -> None:
        """A peer that shows our ALPN gets messages up to the window, and more as it answers."""
        for number in range(connection.WINDOW + 3):
            self.submit(str(number))
        protocol = self.dialer.connect(dglog.ALPN)
        self.assertEqual(len(self.written()), connection.WINDOW)
        protocol.dataReceived(dglog.answer(0) * 2)
        self.assertEqual(len(self.written()), connection.WINDOW + 2)

    def test_window_in_bytes(self) -> None:
        """Great messages fill the window by their size, and one that is greater goes alone."""
        big = "x" * (connection.WINDOW_BYTES + 1)
        for name in ("a", big, "c"):
            self.submit(name)
        protocol = self.dialer.connect(dglog.ALPN)
        self.assertEqual(self.written(), [b"a"])
        protocol.dataReceived(dglog.answer(0))
        self.assertEqual(self.written(), [b"a", big.encode()])
        protocol.dataReceived(dglog.answer(0))
        self.assertEqual(self.written()[2:], [b"c"])

    def test_other_alpn(self) -> None:
        """A protocol of another name does not count as ours."""
        self.submit("a")
        self.submit("b")
        self.dialer.connect(il.ALPN)
        self.assertEqual(self.written(), [b"a"])

    def test_nothing_before_the_handshake(self) -> None:
        """Nothing is sent to a peer that has not proved who it is."""
        self.submit("a")
        protocol = self.dialer.connect(ready=False)
        self.assertEqual(self.written(), [])
        self.assertTrue(protocol.transport.no_delay)
        protocol.handshakeCompleted()
        self.assertEqual(self.written(), [b"a"])

    def test_tls_versions(self) -> None:
        """TLS stays at 1.2 until the peer has shown that it is ours; TLS 1.3 stalls C servers."""
        self.submit("a")
        self.dialer.connect(dglog.ALPN).connectionLost(LOST)
        self.assertEqual([version for _, _, version in self.dialer.dials], [SSL.TLS1_2_VERSION, 0])
        self.dialer.connect().dataReceived(dglog.answer(0))
        self.dialer.protocols[-1].connectionLost(LOST)
        self.submit("b")
        self.assertEqual(self.dialer.dials[-1][2], SSL.TLS1_2_VERSION)
        self.channel.close()

    def test_kept(self) -> None:
        """The connection is kept for the next message; when it closed meanwhile, a new one is made."""
        self.submit("a")
        protocol = self.dialer.connect()
        protocol.dataReceived(dglog.answer(0))
        self.submit("b")
        protocol.dataReceived(dglog.answer(0))
        self.assertEqual(len(self.dialer.dials), 1)
        protocol.connectionLost(LOST)
        self.assertEqual(len(self.dialer.dials), 1)
        self.submit("c")
        self.dialer.connect().dataReceived(dglog.answer(0))
        self.assertEqual([name for name, _ in self.outcomes], ["a", "b", "c"])


class LossTests(ChannelTest):
    """Broken connections."""

    def test_repeated_once(self) -> None:
        """P3: what a dying connection left unanswered is sent again, in order; a second death is an error."""
        for name in ("a", "b", "c"):
            self.submit(name)
        protocol = self.dialer.connect(dglog.ALPN)
        protocol.dataReceived(dglog.answer(0))
        protocol.connectionLost(LOST)
        second = self.dialer.connect(dglog.ALPN)
        self.assertEqual(self.written(), [b"b", b"c"])
        second.connectionLost(LOST)
        self.assertEqual(self.outcomes, [("a", 0), ("b", errno.ENOTCONN), ("c", errno.ENOTCONN)])
        self.assertEqual(len(self.dialer.dials), 2)

    def test_cannot_connect(self) -> None:
        """A refused connection, an unknown name, an untrusted certificate: each has its number, and no second try."""
        for reason, code in (
            (error.ConnectionRefusedError(), errno.ECONNREFUSED),
            (error.DNSLookupError(), Code.DNS),
            (error.TCPTimedOutError(), errno.ETIMEDOUT),
            (error.NoRouteError(errno.ENETUNREACH), errno.ENETUNREACH),
            (SSL.Error([("SSL routines", "", "certificate unknown")]), Code.GSS),
        ):
            self.outcomes.clear()
            self.submit("a")
            self.submit("b")
            self.dialer.fail(reason)
            self.assertEqual(self.outcomes, [("a", code), ("b", code)])
        self.assertEqual(len(self.dialer.dials), 5)

    def test_handshake_fails(self) -> None:
        """A handshake that fails ends all requests, with what TLS says."""
        told: list[LBError] = []
        self.channel.submit(b"a", 10, lambda answer, error: told.append(error) if error else None)
        protocol = self.dialer.connect(ready=False)
        protocol.connectionLost(Failure(SSL.Error([("SSL routines", "", "sslv3 alert bad certificate")])))
        self.assertEqual([each.code for each in told], [Code.GSS])
        self.assertIn("sslv3 alert bad certificate", told[0].description)
        self.assertIn("peer.example.org:9002", told[0].description)

    def test_refused_after_handshake(self) -> None:
        """In TLS 1.3 a server refuses our certificate after our side of the handshake: that is not tried again."""
        self.submit("a")
        self.dialer.connect().connectionLost(Failure(SSL.Error([("SSL routines", "", "tlsv13 alert")])))
        self.assertEqual(self.outcomes, [("a", Code.GSS)])
        self.assertEqual(len(self.dialer.dials), 1)

    def test_not_repeatable(self) -> None:
        """What must not be sent twice gets a connection of its own and is never repeated."""
        self.submit("a")
        first = self.dialer.connect(dglog.ALPN)
        self.submit("x", repeatable=False)
        self.submit("b")
        self.assertEqual(self.written(), [b"a"])
        first.dataReceived(dglog.answer(0))
        self.assertTrue(first.transport.aborted)
        second = self.dialer.connect(dglog.ALPN)
        self.assertEqual(self.written(), [b"x", b"b"])
        second.connectionLost(LOST)
        self.assertEqual(self.outcomes, [("a", 0), ("x", errno.ENOTCONN)])
        self.dialer.connect().dataReceived(dglog.answer(0))
        self.assertEqual(self.outcomes[2:], [("b", 0)])

    def test_answer_to_nothing(self) -> None:
        """A peer that answers what was not asked is dropped."""
        self.submit("a")
        protocol = self.dialer.connect()
        protocol.dataReceived(dglog.answer(0) + dglog.answer(5))
        self.assertTrue(protocol.transport.aborted)
        self.assertEqual(self.outcomes, [("a", 0)])

    @given(
        st.lists(st.sampled_from(["submit", "answer", "lose", "connect", "wait"]), max_size=40),
        st.booleans(),
    )
    def test_every_request_has_one_outcome(self, steps: list[str], ours: bool) -> None:
        """P3: whatever connections do, each request is answered exactly once, and successes keep their order."""
        self.setUp()
        names: list[str] = []
        for step in steps:
            pending = [dial for dial in self.dialer.dials if not dial[1].called]
            live = [p for p in self.dialer.protocols if p.channel is not None and p.connected]
            if step == "submit":
                names.append(f"{len(names):03d}")
                self.submit(names[-1], 5)
            elif step == "connect" and pending:
                self.dialer.connect(dglog.ALPN if ours else None)
            elif step == "answer" and live and self.channel._asked:
                live[-1].dataReceived(dglog.answer(0))
            elif step == "lose" and live:
                live[-1].connectionLost(LOST)
            elif step == "wait":
                self.clock.advance(2)
        self.channel.close()
        self.assertEqual(sorted(name for name, _ in self.outcomes), names)
        succeeded = [name for name, outcome in self.outcomes if outcome == 0]
        self.assertEqual(succeeded, sorted(succeeded))


class TimeTests(ChannelTest):
    """Time-outs, by a clock that the test winds."""

    def test_no_connection(self) -> None:
        """Connecting counts: after its time-out a request fails, not earlier, and the dialling is given up."""
        self.submit("a", 10)
        self.clock.advance(9.9)
        self.assertEqual(self.outcomes, [])
        self.clock.advance(0.2)
        self.assertEqual(self.outcomes, [("a", errno.ETIMEDOUT)])
        self.assertTrue(self.dialer.dials[0][1].called)

    def test_no_handshake(self) -> None:
        """A peer that accepts and says nothing is dropped when nobody waits for it any more."""
        self.submit("a", 10)
        protocol = self.dialer.connect(ready=False)
        self.clock.advance(10)
        self.assertEqual(self.outcomes, [("a", errno.ETIMEDOUT)])
        self.assertTrue(protocol.transport.aborted)

    def test_no_answer(self) -> None:
        """P5: a request without an answer fails in time; those behind it get their answers elsewhere."""
        self.submit("a", 5)
        self.submit("b", 20)
        protocol = self.dialer.connect(dglog.ALPN)
        self.clock.advance(5)
        self.assertEqual(self.outcomes, [("a", errno.ETIMEDOUT)])
        self.assertTrue(protocol.transport.aborted)
        self.dialer.connect(dglog.ALPN).dataReceived(dglog.answer(0))
        self.assertEqual(self.outcomes[1:], [("b", 0)])

    def test_shorter_one_behind(self) -> None:
        """A shorter time-out counts although an earlier request has a longer one."""
        self.submit("a", 100)
        self.submit("b", 3)
        self.dialer.connect()
        self.clock.advance(3)
        self.assertEqual(self.outcomes, [("b", errno.ETIMEDOUT)])
        self.dialer.protocols[0].dataReceived(dglog.answer(0))
        self.assertEqual(self.outcomes[1:], [("a", 0)])

    def test_close(self) -> None:
        """Closing fails what is outstanding, says goodbye, and does not wait for a dead peer."""
        self.submit("a")
        protocol = self.dialer.connect()
        closing = self.channel.close()
        self.assertEqual(self.outcomes, [("a", errno.ENOTCONN)])
        self.assertTrue(protocol.transport.closed)
        self.assertNoResult(closing)
        self.clock.advance(1)
        self.assertTrue(protocol.transport.aborted)
        protocol.connectionLost(LOST)
        self.successResultOf(closing)
        self.submit("b")
        self.assertEqual(self.outcomes[1:], [("b", errno.ENOTCONN)])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StoreTests(ChannelTest):
    """The store port's answers."""

    kind = ILConnection

    def test_replies(self) -> None:
        """Replies are read wherever they are cut; what is none fails the request it should have answered."""
        told: list[Any] = []
        for _ in range(3):
            self.channel.submit(b"x", 10, lambda answer, error: told.append(answer or error))
        protocol = self.dialer.connect()
        data = il.write_reply(il.OK)
        protocol.dataReceived(data[:20])
        protocol.dataReceived(data[20:])
        protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\n")
        self.assertEqual(told[0], il.OK)
        self.assertEqual(told[1].code, Code.IL_PROTO)
        self.dialer.connect().dataReceived(data)
        self.assertEqual(told[2], il.OK)


class QueryTests(ChannelTest):
    """The query port's answers."""

    kind = HTTPConnection

    def test_never_pipelined(self) -> None:
        """Requests go one after another, whoever the peer is."""
        self.submit("a")
        self.submit("b")
        protocol = self.dialer.connect(il.ALPN)
        self.assertEqual(self.written(), [b"a"])
        protocol.dataReceived(http.response(200, b"<x/>"))
        self.assertEqual(self.written(), [b"a", b"b"])
        self.assertEqual(self.outcomes[0][1].body, b"<x/>")

    def test_no_http(self) -> None:
        """What is no HTTP is an error of the server's answer."""
        self.submit("a")
        self.dialer.connect().dataReceived(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.assertEqual(self.outcomes, [("a", Code.SERVER_RESPONSE)])
