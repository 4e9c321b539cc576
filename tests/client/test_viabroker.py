"""Events to a broker: sent when they are confirmed, clear errors when they are not."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.destination import read_destination
from lb.broker.errors import BrokerError, LoginError, LostError, RefusedError
from lb.broker.url import read_url
from lb.client.cli import USAGE
from lb.client.viabroker import BrokerProducer
from lb.model.errors import LBError
from lb.wire import ulm
from tests.broker.collecting import Openers
from tests.client.test_cli import lb
from tests.server.test_ingest import running

URLS = tuple(map(read_url, ("amqp://first", "amqp://second")))


class ProducerTests(SynchronousTestCase):
    """A producer with fake sessions and a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.openers = Openers()
        queue = read_destination("/queue/q")
        self.producer = BrokerProducer(URLS, queue, self.openers, self.clock, 30.0, delay=lambda rounds: 1.0)

    def log(self, event: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(self.producer.log(event))

    def error(self, logged: Deferred[Any]) -> LBError:
        """The error with which it ended."""
        return self.failureResultOf(logged, LBError).value

    def unreachable(self, reason: BrokerError) -> None:
        """Each URL is tried once."""
        for _ in URLS:
            self.openers.fail(reason)
            self.clock.advance(1)

    def test_sent(self) -> None:
        """An event is a message of its own with its line and its user, and sent when the broker has it (P1)."""
        event = ulm.parse(running(1).encode())
        logged = self.log(event)
        session = self.openers.succeed()
        ((_, message),) = session.published
        self.assertEqual((str(message.destination), message.content_type), ("/queue/q", "application/x-ulm"))
        self.assertEqual((ulm.parse(message.body), message.persistent), (event, True))
        self.assertNoResult(logged)
        session.confirm(1)
        self.successResultOf(logged)

    def test_session_ends(self) -> None:
        """What a session left unconfirmed goes again over the next one, with the id that it had (P3)."""
        logged = self.log(b"line")
        first = self.openers.succeed()
        ((_, sent),) = first.published
        first.end(LostError("gone"))
        self.clock.advance(1)
        second = self.openers.succeed()
        self.assertEqual([message.id for _, message in second.published], [sent.id])
        second.confirm(1)
        self.successResultOf(logged)

    def test_unreachable(self) -> None:
        """When no URL leads to the broker the producer is told why; the next event may find it there."""
        for reason, code in ((LostError("nobody there"), errno.ECONNREFUSED), (LoginError("no"), errno.EACCES)):
            logged = self.log(b"line")
            self.unreachable(reason)
            error = self.error(logged)
            self.assertEqual((error.code, error.description), (code, str(reason)))
        logged = self.log(b"line")
        self.openers.succeed().confirm(1)
        self.successResultOf(logged)

    def test_refused(self) -> None:
        """What the broker refuses is an error in its words."""
        logged = self.log(b"line")
        session = self.openers.succeed()
        ((tag, _),) = session.published
        session.owner.refused(session, tag, RefusedError("no such queue"))
        error = self.error(logged)
        self.assertEqual((error.code, error.description), (errno.EREMOTEIO, "no such queue"))

    def test_not_confirmed(self) -> None:
        """A broker that says nothing is waited for as long as the time-out says."""
        logged = self.log(b"line")
        session = self.openers.succeed()
        self.clock.advance(29)
        self.assertNoResult(logged)
        self.clock.advance(1)
        error = self.error(logged)
        self.assertEqual(error.code, errno.ETIMEDOUT)
        self.assertEqual(error.description, "/queue/q: not confirmed in 30 s: the broker says nothing")
        session.confirm(1)  # too late for anybody to hear

    def test_many(self) -> None:
        """Many events are drawn as the broker confirms, in order, and counted (P10)."""
        drawn = 0

        def lines() -> Iterator[bytes]:
            nonlocal drawn
            for number in range(5_000):
                drawn += 1
                yield b"%d" % number

        logged = Deferred.fromCoroutine(self.producer.log_many(lines()))
        self.assertLessEqual(drawn, 2_001)
        session = self.openers.succeed()
        bodies = []
        while session.published:
            self.assertLessEqual(len(session.published), 2_001)
            bodies += session.bodies[:500]
            session.confirm(500)
        self.assertEqual(self.successResultOf(logged), 5_000)
        self.assertEqual(bodies, [b"%d" % number for number in range(5_000)])

    def test_many_large(self) -> None:
        """Large events are drawn as there is memory for them, and none fails for want of it (P6, P10)."""
        logged = Deferred.fromCoroutine(self.producer.log_many(bytes(1 << 20) for _ in range(200)))
        session = self.openers.succeed()
        taken = 0
        while session.published:
            taken += len(session.published)
            session.confirm(len(session.published))
        self.assertEqual((self.successResultOf(logged), taken), (200, 200))

    def test_full(self) -> None:
        """One more event than memory has room for waits for it, and for no longer than any other."""
        line = bytes(32 << 20)
        logged = [self.log(line) for _ in range(3)]
        self.clock.advance(30)
        self.assertEqual([self.error(each).code for each in logged], [errno.ETIMEDOUT] * 3)

    def test_many_refused(self) -> None:
        """The first error ends it, when all that was on its way has its answer."""
        logged = Deferred.fromCoroutine(self.producer.log_many([b"1", b"2"]))
        session = self.openers.succeed()
        (tag, _) = session.published.pop(0)
        session.owner.refused(session, tag, RefusedError("bad", everything=False))
        self.assertNoResult(logged)
        session.confirm(1)
        self.assertEqual(self.error(logged).code, errno.EREMOTEIO)

    def test_closed(self) -> None:
        """What is not confirmed when the producer is closed fails, and nothing runs on."""
        logged = self.log(b"line")
        session = self.openers.succeed()
        self.successResultOf(Deferred.fromCoroutine(self.producer.close()))
        self.assertEqual(self.error(logged).code, errno.ENOTCONN)
        self.assertEqual((self.openers.sessions, self.clock.getDelayedCalls()), ([session], []))

    def test_too_long(self) -> None:
        """A line that no server takes is not sent."""
        self.assertEqual(self.error(self.log(bytes(ulm.MAX_LINE + 1))).code, errno.ENOSPC)


class CommandTests(SynchronousTestCase):
    """``lb log --via``, as far as it needs no broker."""

    def mistake(self, *arguments: str) -> str:
        """What is said of a wrong call."""
        outcome = lb("log", "Running", "--jobid", "https://h:9000/x", "--node", "wn1", *arguments)
        self.assertEqual((outcome.code, outcome.stdout, outcome.stderr.count("\n")), (USAGE, "", 1))
        return outcome.stderr

    def test_mistakes(self) -> None:
        """What cannot be meant is refused in one line, before anything is sent; passwords are not repeated."""
        for arguments, words in (
            (("--via", "http://h", "/queue/q"), "its scheme is none of stomp, "),
            (("--via", "", "/queue/q"), "its scheme is none of"),
            (("--via", "amqp://u:secret@h/?x=1", "/queue/q"), "unknown option x"),
            (("--via", "amqp://h", "/queue/a/b"), "destination '/queue/a/b' is none of"),
            (("--via", "amqp://h"), "expected 2 arguments"),
            (("--via", "amqp://h", "q", "--sync"), "--sync is for the way through a logger"),
            (("--via", "amqp://h", "q", "--logger", "h:1"), "--logger is for the way through a logger"),
        ):
            said = self.mistake(*arguments)
            self.assertIn(words, said)
            self.assertNotIn("secret", said)
