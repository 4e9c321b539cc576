"""The server's ports, byte by byte and without a network."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from lb.model.jobid import parse
from lb.model.query import of_job
from lb.server.collector import Collector
from lb.server.limits import QueryLimits
from lb.server.query import Questions
from lb.server.queryconnection import QueryFactory
from lb.server.queryport import QueryPort
from lb.server.storeport import StorePort
from lb.service.bounds import Limits
from lb.service.exchange import ExchangeFactory
from lb.store.interface import StoreError
from lb.wire import http, il
from lb.wire.lbxml import requests, results
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_ingest import JOB, registration, running
from tests.service.connected import Transport, connected

LIMITS = Limits(connections=2, message_bytes=100_000, anonymous_bytes=1_000, window_events=3)


class Later:
    """A thread whose calls run when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], Deferred[Any]]] = []

    def call(self, function: Callable[..., Any], /, *arguments: Any, **more: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.calls.append((partial(function, **more), arguments, result))
        return result

    def run(self) -> None:
        while self.calls:
            function, arguments, result = self.calls.pop(0)
            try:
                outcome = function(*arguments)
            except Exception:
                result.errback()
            else:
                result.callback(outcome)


def at_once(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """A thread that is done already."""
    return succeed(function(*arguments))


class Ports(SynchronousTestCase):
    """A server whose connections are strings."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory)
        self.addCleanup(self.server.close)
        self.clock = Clock()
        self.later = Later()
        self.collector = Collector(self.server.ingest, self.later.call)
        self.factory = ExchangeFactory(partial(StorePort, self.collector, LIMITS), self.clock, LIMITS)

    def _connect(self, peer: Any = OWNER) -> tuple[StorePort, Transport]:
        return connected(self.factory, StorePort, peer)

    def test_any_split(self) -> None:
        """Frames cut at every byte are answered, in order."""
        data = il.frame(registration().encode()) + il.frame(b"garbage") + il.frame(running(1).encode())
        port, transport = self._connect()
        for position in range(len(data)):
            port.dataReceived(data[position : position + 1])
        self.later.run()
        replies = [il.read_reply(body) for body in il.FrameReader().feed(transport.value())]
        self.assertEqual([reply.major for reply in replies], [0, 400, 0])

    def test_group_commit(self) -> None:
        """What comes while a batch is written is the next batch, over all connections."""
        first, _ = self._connect()
        second, transport = self._connect()
        first.dataReceived(il.frame(registration().encode()))
        second.dataReceived(il.frame(running(1).encode()))
        second.dataReceived(il.frame(running(2).encode()))
        self.assertEqual([len(arguments[0]) for _, arguments, _ in self.later.calls], [1])
        function, arguments, result = self.later.calls.pop()
        result.callback(function(*arguments))
        self.assertEqual([len(arguments[0]) for _, arguments, _ in self.later.calls], [2])
        self.later.run()
        self.assertEqual(transport.value(), il.write_reply(il.OK) * 2)

    def test_not_a_frame(self) -> None:
        """A header that is none ends the connection without a word, after the good frames were answered."""
        port, transport = self._connect()
        port.dataReceived(il.frame(registration().encode()) + b"GET / HTTP/1.1\r\n\r\n")
        self.assertFalse(transport.disconnecting)
        self.later.run()
        self.assertEqual(transport.value(), il.write_reply(il.OK))
        self.assertTrue(transport.disconnecting)

    def test_not_an_event(self) -> None:
        """A frame with another magic word is answered, then the connection is closed."""
        port, transport = self._connect()
        port.dataReceived(il.frame(b"x").replace(b"michal", b"mishal"))
        expected = il.write_reply(il.Reply(400, 0, "decoding event string failed"))
        self.assertEqual(transport.value(), expected)
        self.assertTrue(transport.disconnecting)

    def test_announced_length(self) -> None:
        """P5, P10: an announced length beyond the bound is refused for good, before a byte of it is kept."""
        refusal = il.Reply(400, errno.E2BIG, "frame of 100001 bytes, at most 100000 are taken")
        for length, answer in ((100_000, b""), (100_001, il.write_reply(refusal))):
            port, transport = self._connect()
            port.dataReceived(b"%16d\n" % length)
            self.assertEqual((transport.value(), transport.disconnecting), (answer, bool(answer)))
            port.dataReceived(il.frame(b"what follows is not looked at"))
            self.assertEqual(transport.value(), answer)
            port.connectionLost()
        self.assertTrue(il.is_permanent(refusal))

    def test_slow_peer(self) -> None:
        """A message that does not get complete in time ends its connection; an idle one may stay longer."""
        slow, slow_transport = self._connect()
        _, idle_transport = self._connect()
        slow.dataReceived(b"   ")
        self.clock.pump([1.0] * (int(LIMITS.message) + 2))
        self.assertTrue(slow_transport.aborted)
        self.assertFalse(idle_transport.aborted)
        self.clock.pump([1.0] * int(LIMITS.idle))
        self.assertTrue(idle_transport.aborted)

    def test_half_closed(self) -> None:
        """A peer that closed its side after its events still gets the answers."""
        port, transport = self._connect()
        port.dataReceived(il.frame(registration().encode()))
        port.readConnectionLost()
        self.assertFalse(transport.disconnecting)
        self.later.run()
        self.assertEqual(transport.value(), il.write_reply(il.OK))
        self.assertTrue(transport.disconnecting)

    def test_window(self) -> None:
        """P6: a peer with too many unanswered events is not read until it has its answers."""
        port, transport = self._connect()
        port.dataReceived(b"".join(il.frame(running(number).encode()) for number in range(3)))
        self.assertEqual(transport.producerState, "paused")
        self.later.run()
        self.assertEqual(transport.producerState, "producing")

    def test_store_fails(self) -> None:
        """P4: what follows an event that could not be stored is refused too, also when the store is well again."""
        port, transport = self._connect()
        other, others = self._connect()
        port.dataReceived(il.frame(registration().encode()))
        self.later.run()
        transport.clear()
        failing = StoreError(errno.ENOSPC, "database: disk full")
        port.dataReceived(il.frame(running(1).encode()))
        port.dataReceived(il.frame(running(2).encode()))  # waits for the next batch
        other.dataReceived(il.frame(running(3).encode()))
        function, arguments, result = self.later.calls.pop()
        with mock.patch.object(self.server.writer, "write", side_effect=failing):
            replies = function(*arguments)
        result.callback(replies)
        self.later.run()
        port.dataReceived(il.frame(running(4).encode()))
        self.later.run()
        refused = il.write_reply(il.Reply(il.Major.DBERR, errno.ENOSPC, "database: disk full"))
        self.assertEqual(transport.value(), refused * 2)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(others.value(), il.write_reply(il.OK))
        events = [event.timestamp % 1_000_000 for event in self.server.lookup.events_of(OWNER, parse(JOB).unique)]
        self.assertEqual(events, [0, 3])

    def test_too_many_connections(self) -> None:
        """P10: connections beyond the bound are closed at once."""
        self._connect()
        self._connect()
        transport = Transport()
        self.factory.buildProtocol(None).makeConnection(transport)
        self.assertTrue(transport.aborted)


class MainPort(SynchronousTestCase):
    """The query protocol, and the way to the pages."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory)
        self.addCleanup(self.server.close)
        self.server.send_all([registration(), running(1)])
        self.later = Later()
        questions = Questions(self.later, self.server.lookup)
        clock = Clock()
        site = Site(Resource(), reactor=clock)
        self.factory = QueryFactory(QueryPort(questions), site, clock, QueryLimits())

    def _ask(self, data: bytes, peer: Any = OWNER) -> list[http.Response]:
        connection = self.factory.buildProtocol(None)
        transport = Transport()
        connection.makeConnection(transport)
        connection._peer = peer
        for position in range(0, len(data), 50):
            connection.dataReceived(data[position : position + 50])
        for _ in range(10):
            while self.later.calls:
                function, arguments, result = self.later.calls.pop(0)
                try:
                    value = function(*arguments)
                except Exception:
                    result.errback()
                else:
                    result.callback(value)
        answered = http.ResponseReader().feed(transport.value())
        connection.connectionLost()
        return answered

    def test_status(self) -> None:
        """The state of a job, asked for as C clients do, several times on one connection."""
        request = http.request("POST", "/queryJobs", requests.write_jobs(of_job(parse(JOB))))
        answers = self._ask(request * 3)
        self.assertEqual([answer.status for answer in answers], [200] * 3)
        (job,) = results.read_jobs(answers[2].body).jobs
        assert job.status is not None
        self.assertEqual(job.status.jobId, JOB)

    def test_refusals(self) -> None:
        """Foreign jobs, unknown jobs, broken documents, other paths, methods and versions get their status."""
        ask = requests.write_jobs(of_job(parse(JOB)))
        self.assertEqual(self._ask(http.request("POST", "/queryJobs", ask), OTHER)[0].status, 401)
        unknown = requests.write_jobs(of_job(parse(JOB + "x")))
        (answer,) = self._ask(http.request("POST", "/queryJobs", unknown))
        error = results.read_jobs(answer.body).error
        assert error is not None
        self.assertEqual((answer.status, error.code), (404, 2))
        self.assertEqual(self._ask(http.request("POST", "/queryJobs", b"<x"))[0].status, 400)
        self.assertEqual(self._ask(http.request("POST", "/nothing", b"<x/>"))[0].status, 400)
        self.assertEqual(self._ask(http.request("PUT", "/x", b""))[0].status, 405)
        self.assertEqual(self._ask(http.request("GET", "/", agent="x/1.0/1.0"))[0].status, 415)

    def test_browser(self) -> None:
        """A request without the protocol's media type goes to the web site, with all its bytes."""
        answers = self._ask(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual([answer.status for answer in answers], [404])
        self.assertIn("text/html", answers[0].headers["content-type"])
