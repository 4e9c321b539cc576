"""P10 on the main port: what a peer of it may take of memory and time, each bound just below, at and just above."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from lb.security.identity import ANONYMOUS, Identity
from lb.server import queryconnection
from lb.server.limits import QueryLimits
from lb.server.queryconnection import QueryConnection, QueryFactory
from lb.web.site import site
from lb.wire import http
from tests.server.fixture import OWNER
from tests.service.connected import Transport
from tests.web.fixture import GivenJobs

LIMITS = QueryLimits(request_bytes=1_000_000, window_requests=3)
ANSWER = http.response(200, b"<answer/>")


class Answers:
    """A query port whose answers come when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[bytes]] = []

    def answer(self, request: http.Request, peer: Identity, address: str = "") -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def give(self) -> None:
        self.asked.pop(0).callback(ANSWER)


def request(length: int) -> bytes:
    """A query with so many bytes of body."""
    return http.request("POST", "/queryJobs", b"x" * length)


class Bounds(SynchronousTestCase):
    """Connections of the main port without a network."""

    def _begin(self, limits: QueryLimits = LIMITS) -> None:
        self.clock = Clock()
        self.answers = Answers()
        port: Any = self.answers
        site = Site(Resource(), reactor=self.clock)
        self.factory = QueryFactory(port, site, self.clock, limits)

    def setUp(self) -> None:
        self._begin()

    def _connect(self, peer: Identity = OWNER) -> tuple[QueryConnection, Transport]:
        connection = self.factory.buildProtocol(None)
        transport = Transport()
        self.patch(queryconnection, "ANONYMOUS", peer)  # who a connection without TLS is of
        connection.makeConnection(transport)
        return connection, transport

    def _pass(self, seconds: float) -> None:
        self.clock.pump([1.0] * int(seconds))

    def test_body(self) -> None:
        """A body of the greatest length is taken, one byte more is refused as soon as it is announced."""
        for length, taken in ((LIMITS.request_bytes - 1, True), (LIMITS.request_bytes, True)):
            connection, _ = self._connect()
            connection.dataReceived(request(length))
            self.assertEqual(len(self.answers.asked), 1 if taken else 0)
            self.answers.asked.clear()
        connection, transport = self._connect()
        connection.dataReceived(request(LIMITS.request_bytes + 1)[:300])
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "))
        self.assertTrue(transport.disconnecting)

    def test_anonymous_body(self) -> None:
        """A peer without a certificate is allowed less."""
        for length, taken in ((-1, True), (0, True), (1, False)):
            connection, transport = self._connect(ANONYMOUS)
            connection.dataReceived(request(LIMITS.anonymous_bytes + length))
            self.assertEqual(transport.value().startswith(b"HTTP/1.1 413 "), not taken)

    def test_begun_requests(self) -> None:
        """Requests that have begun, together, are held up to the bound; one byte more ends its connection."""
        for extra, aborted in ((-1, False), (0, False), (1, True)):
            self._begin(replace(LIMITS, begun_bytes=1_000, connections=10))
            first, _ = self._connect()
            second, transport = self._connect()
            head = request(900_000).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            first.dataReceived(head)
            first.dataReceived(b"x" * 500)
            second.dataReceived(head)
            second.dataReceived(b"x" * (500 + extra))
            self.assertEqual(transport.aborted, aborted)
            second.connectionLost()
            self.assertEqual(self.factory.budget.held, 500)
            first.connectionLost()
            self.assertEqual(self.factory.budget.held, 0)

    def test_many_requests(self) -> None:
        """P6: a peer with too many requests that wait is not read until some are answered."""
        for waiting, state in ((2, "producing"), (3, "paused"), (4, "paused")):
            connection, transport = self._connect()
            connection.dataReceived(request(1) * (waiting + 1))  # one is being answered
            self.assertEqual(transport.producerState, state)
            while self.answers.asked:
                self.answers.give()
            self.assertEqual(transport.producerState, "producing")
            self.assertEqual(transport.value(), ANSWER * (waiting + 1))

    def test_great_requests(self) -> None:
        """P6: the same by the size of the requests that wait."""
        for size, state in ((99, "producing"), (100, "paused"), (101, "paused")):
            self._begin(replace(LIMITS, window_bytes=100))
            connection, transport = self._connect()
            connection.dataReceived(request(1_000) + request(size))
            self.assertEqual(transport.producerState, state)

    def test_answers_not_read(self) -> None:
        """P6: while a peer does not read its answers, nothing more is answered; then it goes on."""
        connection, transport = self._connect()
        connection.dataReceived(request(1) * 3)
        connection.pauseProducing()
        self.answers.give()
        self.assertEqual((len(self.answers.asked), transport.producerState), (0, "paused"))
        connection.resumeProducing()
        self.assertEqual((len(self.answers.asked), transport.producerState), (1, "producing"))
        connection.pauseProducing()
        self.answers.give()
        self._pass(LIMITS.idle + 2)
        self.assertTrue(transport.aborted)

    def test_trickle(self) -> None:
        """A request that comes byte by byte has the time of one request, however often a byte comes."""
        connection, transport = self._connect()
        data = request(10_000)
        for second in range(int(LIMITS.message)):
            connection.dataReceived(data[second : second + 1])
            self._pass(1)
        self.assertFalse(transport.aborted)
        self._pass(1)
        self.assertTrue(transport.aborted)

    def test_time(self) -> None:
        """A silent peer has the idle time; whoever waits for our answer has all the time that it takes."""
        _, idle = self._connect()
        connection, waiting = self._connect()
        connection.dataReceived(request(1))
        self._pass(LIMITS.idle)
        self.assertFalse(idle.aborted)
        self._pass(2)
        self.assertTrue(idle.aborted)
        self._pass(LIMITS.idle)
        self.assertFalse(waiting.aborted)
        self.answers.give()
        self._pass(LIMITS.idle + 2)
        self.assertTrue(waiting.aborted)

    def test_certificate_expires(self) -> None:
        """P7: who a peer is was proven until its certificates expire: what it sent is answered, then it has to go."""
        expiring = replace(OWNER, expires=100)
        waiting, busy = self._connect(expiring)
        _, idle = self._connect(expiring)
        _, others = self._connect(replace(OWNER, expires=200))
        waiting.dataReceived(request(1) * 2)
        self._pass(100)
        self.assertFalse(idle.disconnecting)
        self._pass(1)
        waiting.dataReceived(request(1))
        self.assertEqual((idle.disconnecting, busy.disconnecting, others.disconnecting), (True, False, False))
        self.answers.give()
        self.answers.give()
        self.assertEqual((busy.value(), busy.disconnecting, self.answers.asked), (ANSWER * 2, True, []))

    def test_certificate_of_a_browser_expires(self) -> None:
        """P7: a browser's connection ends as well, and one that does not close its side is cut."""
        self.factory._site = site(GivenJobs(), self.clock, lambda transport: replace(OWNER, expires=100))
        connection, transport = self._connect(replace(OWNER, expires=30))
        connection.dataReceived(b"GET /?version HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n")
        self.assertIn(b"200 OK", transport.value())
        self._pass(30)
        self.assertFalse(transport.disconnecting)
        self._pass(1)
        self.assertTrue(transport.disconnecting)
        self._pass(LIMITS.idle + 2)
        self.assertTrue(transport.aborted)
        connection.connectionLost(Failure(ConnectionDone()))

    def test_connections(self) -> None:
        """Connections up to the bound are kept, the next is closed at once."""
        self._begin(replace(LIMITS, connections=2))
        self.assertEqual([self._connect()[1].aborted for _ in range(3)], [False, False, True])

    def test_browser(self) -> None:
        """A browser's connection is no longer bounded here: its time and its pauses are those of the web site."""
        connection, transport = self._connect()
        connection.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"404", transport.value())
        self.assertIsNone(connection.deadline)
        self.assertEqual(self.factory.budget.held, 0)
        self.assertIsNot(transport.producer, connection)
