"""Queries: the documents of the C programs, what becomes of answers, and queries over real TLS."""

from __future__ import annotations

import errno
from collections.abc import Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.consumer import Consumer, CutAnswerError, HTTPCarrier
from lb.client.dialer import TLSDialer
from lb.client.settings import Address, Settings
from lb.model import jobid, query
from lb.model.errors import Code, LBError
from lb.model.query import Attribute, Condition, Operator, Query, Results
from lb.model.status import State
from lb.security.tls import EndpointCredentials
from lb.wire import http
from tests.client import peers
from tests.client.fakes import FakeDialer
from tests.client.recorded import received, sent

JOB = jobid.parse("https://localhost:9000/msw8BK0qi8up4XWiw6utvA")
OTHER = jobid.parse("https://localhost:9000/7Sa4r2IS-QhYp-leSxbvyA")
USER = "/C=CZ/O=LB Reference Test/CN=Test User"


class DocumentTests(SynchronousTestCase):
    """Requests as C clients send them, answers as C servers give them."""

    def setUp(self) -> None:
        self.dialer = FakeDialer()
        self.clock = Clock()
        self.consumer = self.make()

    def make(self, **settings: Any) -> Consumer:
        chosen = Settings(**settings)
        return Consumer(HTTPCarrier(self.dialer, self.clock, chosen), chosen)

    def ask(self, coroutine: Coroutine[Deferred[Any], Any, Any], answer: bytes) -> tuple[bytes, Deferred[Any]]:
        """Send one question and its answer; returns what was sent and the outcome."""
        asking = Deferred.fromCoroutine(coroutine)
        protocol = self.dialer.connect()
        protocol.dataReceived(answer)
        return b"".join(protocol.transport.written), asking

    def test_status(self) -> None:
        """A status query is the C client's, and its answer the job's state."""
        question, asking = self.ask(self.consumer.status(JOB), received("03-job_status"))
        self.assertEqual(question, sent("03-job_status"))
        status = self.successResultOf(asking)
        self.assertEqual((status.state, status.jobId, status.owner), (State.Waiting, str(JOB), USER))

    def test_own_jobs(self) -> None:
        """Own jobs with and without states are the C client's queries."""
        question, asking = self.ask(self.consumer.own_jobs(), received("04-user_jobs"))
        self.assertEqual(question, sent("04-user_jobs"))
        (status,) = self.successResultOf(asking)
        self.setUp()
        question, asking = self.ask(self.consumer.job_ids(query.own_jobs()), received("04b-user_jobs-nostates"))
        self.assertEqual(question, sent("04b-user_jobs-nostates"))
        self.assertEqual(self.successResultOf(asking), [status.jobId])

    def test_events(self) -> None:
        """A job's events are asked for as the C client does."""
        question, asking = self.ask(self.consumer.events(JOB), received("05-job_log"))
        self.assertEqual(question, sent("05-job_log"))
        self.assertEqual([event.type.name for event in self.successResultOf(asking)], ["RegJob", "Accepted"])

    def test_limits(self) -> None:
        """Limits of the settings reach the server; a cut answer is an error that keeps what came."""
        self.consumer = self.make(events_limit=2, results=Results.LIMITED)
        asked = Query(
            jobs=((Condition(Attribute.JOBID, Operator.EQUAL, OTHER),),),
            events=((Condition(Attribute.LEVEL, Operator.LESS, 100),),),
        )
        question, asking = self.ask(self.consumer.events(asked), received("31c-queryevents-limit"))
        self.assertEqual(question, sent("31c-queryevents-limit"))
        error = self.failureResultOf(asking, CutAnswerError).value
        self.assertEqual((error.code, len(error.results)), (errno.E2BIG, 2))

    def test_limits_of_jobs(self) -> None:
        """The limit for jobs, likewise; without results the error stands alone."""
        self.consumer = self.make(jobs_limit=2, results=Results.LIMITED)
        asked = Query(jobs=((Condition(Attribute.OWNER, Operator.EQUAL, USER),),))
        question, asking = self.ask(self.consumer.job_ids(asked), received("30c-queryjobs-limit"))
        self.assertEqual(question, sent("30c-queryjobs-limit"))
        self.assertEqual(self.failureResultOf(asking, LBError).value.code, errno.E2BIG)

    def test_errors(self) -> None:
        """Errors inside answers and those of bare statuses are raised with their numbers."""
        for answer, code in (
            (received("12-job_status-nonexistent"), errno.ENOENT),
            (received("41c-job_status-purged"), errno.EIDRM),
            (http.response(415), errno.ENOTSUP),
            (http.response(500), Code.SERVER_RESPONSE),
            (http.response(200, b"<html>"), Code.XML_PARSE),
            (http.response(200, b"<edg_wll_QueryJobsResult></edg_wll_QueryJobsResult>"), errno.ENOENT),
            (b"nonsense\r\n\r\n", Code.SERVER_RESPONSE),
        ):
            self.setUp()
            _, asking = self.ask(self.consumer.status(JOB), answer)
            self.assertEqual(self.failureResultOf(asking, LBError).value.code, code)

    def test_servers(self) -> None:
        """A job is asked for at the server in its id, unless the settings override that."""
        elsewhere = Address("lb.example.org", 9100)
        for settings, address in (
            ({}, Address("localhost", 9000)),
            ({"query_server": elsewhere}, Address("localhost", 9000)),
            ({"query_server": elsewhere, "query_server_override": True}, elsewhere),
        ):
            self.setUp()
            consumer = self.make(**settings)
            self.ask(consumer.status(JOB), received("03-job_status"))
            asking = Deferred.fromCoroutine(consumer.events(JOB))
            self.dialer.protocols[0].dataReceived(received("05-job_log"))
            self.successResultOf(asking)
            self.assertEqual(self.dialer.addresses, [address])
        self.setUp()
        self.ask(self.make(query_server=elsewhere).own_jobs(), received("04-user_jobs"))
        self.assertEqual(self.dialer.addresses, [elsewhere])

    def test_time_out(self) -> None:
        """An answer that does not come is ETIMEDOUT after the time-out for queries."""
        asking = Deferred.fromCoroutine(self.make(query_timeout=30.0).status(JOB))
        self.dialer.connect()
        self.clock.advance(29)
        self.assertNoResult(asking)
        self.clock.advance(1)
        self.assertEqual(self.failureResultOf(asking, LBError).value.code, errno.ETIMEDOUT)


class NetworkTests(TestCase):
    """Over TLS on loopback."""

    async def test_parallel(self) -> None:
        """Queries run side by side on kept connections, of which there is a bounded number."""
        found = peers.trust()
        body = received("03-job_status").partition(b"\r\n\r\n")[2]
        peer = peers.query_peer(reactor, lambda request: http.response(200, body))
        credentials = EndpointCredentials(found.credential, found.authorities, reactor)
        consumer = Consumer(HTTPCarrier(TLSDialer(reactor, credentials), reactor, Settings()), Settings())
        job = jobid.create(str(peer.address))
        try:
            for _ in range(3):
                await gatherResults([Deferred.fromCoroutine(consumer.status(job)) for _ in range(20)])
            self.assertEqual(len(peer.messages), 60)
            self.assertEqual(len(peer.connections), 8)
            self.assertEqual(peer.early, 0)
            peer.hang_up()
            self.assertEqual((await consumer.status(job)).state, State.Waiting)
        finally:
            await consumer.close()
            await peer.close()
