"""Questions over Perspective Broker: real TLS, the certificate as credential, long answers, strangers."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any
from unittest import mock

from OpenSSL import SSL
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.spread import banana, pb
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lb.client.dialer import TLSDialer
from lb.client.settings import Address, Settings
from lb.model.errors import Code, LBError
from lb.model.jobid import JobId, parse
from lb.model.query import Flag, of_job, own_jobs
from lb.rpc import pages, perspective, port
from lb.rpc.client import PBCarrier
from lb.rpc.errors import error_of
from lb.rpc.plain import OFFSET
from lb.rpc.realm import Offered
from lb.service.bounds import Limits
from lb.wire.lbxml import requests
from tests.rpc.served import USER, Served, reactor
from tests.server.fixture import OTHER
from tests.server.test_ingest import JOB, registration


def long_registration(length: int) -> str:
    """A registration of a job whose JDL has `length` characters."""
    return registration(user=USER.name).replace("[ a = 1 ]", "x" * length)


async def refusal(remote: Any, method: str, *arguments: Any) -> LBError:
    """The error that a call is answered with."""
    try:
        answer = await remote.callRemote(method, *arguments)
    except pb.RemoteError as error:
        return error_of(error)
    raise AssertionError(f"{method} was answered with {answer!r}")


class Asking(Served):
    """Questions of a client."""

    async def test_questions(self) -> None:
        """Status, events, own jobs and ids come as they do over HTTPS; so does what may not be read."""
        self.assertEqual(self.server.send(registration(user=USER.name), USER).major, 0)
        job = parse(JOB)
        status = await self.consumer.status(job)
        self.assertEqual((status.jobId, status.owner), (JOB, USER.name))
        events = await self.consumer.events(job)
        self.assertEqual([event.type.name for event in events], ["RegJob"])
        self.assertEqual(await self.consumer.job_ids(own_jobs()), [JOB])
        error = await self.assertFailure(
            Deferred.fromCoroutine(self.consumer.status(job._replace(unique="x"))), LBError
        )
        self.assertEqual(error.code, errno.ENOENT)
        self.assertIn(str(self.address), str(error))

    async def test_foreign_job(self) -> None:
        """P7: a job of somebody else is refused, whatever the call says."""
        self.assertEqual(self.server.send(registration(user=OTHER.name), OTHER).major, 0)
        error = await self.assertFailure(Deferred.fromCoroutine(self.consumer.status(parse(JOB))), LBError)
        self.assertEqual(error.code, errno.EPERM)

    async def test_long_answer(self) -> None:
        """An answer beyond the protocol's limit for strings comes in pages, whole."""
        self.server.send(long_registration(3 * banana.SIZE_LIMIT), USER)
        answers = await gatherResults([Deferred.fromCoroutine(self.consumer.status(parse(JOB))) for _ in range(4)])
        self.assertEqual([len(status.jdl) for status in answers], [3 * banana.SIZE_LIMIT] * 4)

    async def test_lost_connection(self) -> None:
        """A question whose kept connection has died is asked again on a new one."""
        self.server.send(registration(user=USER.name), USER)
        await self.consumer.status(parse(JOB))
        for connection in tuple(self.factory._connections):
            connection.transport.abortConnection()
        self.assertEqual((await self.consumer.status(parse(JOB))).jobId, JOB)

    async def test_certificate_expires(self) -> None:
        """P7: a connection ends when the certificate that it was made with does; a client comes again on a new one."""
        self.server.send(registration(user=USER.name), USER)
        await self.consumer.status(parse(JOB))
        (connection,) = self.factory._connections
        end = connection._expires
        self.factory._look_at(connection, end)
        self.assertFalse(connection.outlived(end))
        self.factory._look_at(connection, end + 1)
        self.assertEqual((await self.consumer.status(parse(JOB))).jobId, JOB)
        self.assertNotIn(connection, self.factory._connections)

    async def test_nobody_there(self) -> None:
        """A server that is away is named with its port for queries."""
        with mock.patch.object(self.carrier, "_dialer", TLSDialer(reactor, self.credentials)):
            asked = self.carrier.ask(Address("127.0.0.1", 1), "/queryJobs", b"")
            error = await self.assertFailure(Deferred.fromCoroutine(asked), LBError)
        self.assertEqual(error.code, errno.ECONNREFUSED)
        self.assertIn("127.0.0.1:1", str(error))

    async def test_no_answer(self) -> None:
        """A server that does not answer in time is named, and its connection given up."""

        class Waiting:
            async def dial(self, *arguments: Any, **named: Any) -> Any:
                return await Deferred()

        clock: Any = Clock()
        dialer: Any = Waiting()
        carrier = PBCarrier(dialer, clock, Settings(query_timeout=30.0))
        asked = Deferred.fromCoroutine(carrier.ask(self.address, "/queryJobs", b""))
        clock.advance(30)
        error = self.failureResultOf(asked, LBError).value
        self.assertEqual((error.code, error.description), (errno.ETIMEDOUT, f"{self.address}: no answer in time"))

    async def test_anonymous(self) -> None:
        """Without a certificate there is no perspective, and the caller is told why."""
        factory: Any = pb.PBClientFactory()
        factory.noisy = False
        options = CertificateOptions(verify=False)
        wrapped = TLSMemoryBIOFactory(_Unchecked(options.getContext()), True, factory)
        broker = await HostnameEndpoint(reactor, "127.0.0.1", self.address.port + OFFSET).connect(wrapped)
        root = await factory.getRootObject()
        try:
            error = await refusal(root, "login")
        finally:
            broker.transport.loseConnection()
        self.assertIn("certificate", str(error))

    async def test_wrong_calls(self) -> None:
        """Unknown methods and arguments of other kinds are answered with an error that says so; the port goes on."""
        await self._login()
        remote = await self.carrier._perspective(self.address)
        job = requests.write_jobs(of_job(parse(JOB)))
        for method, arguments, code in [
            ("drop_tables", (), errno.ENOSYS),
            ("query_jobs", (), errno.EINVAL),
            ("query_jobs", (1,), errno.EINVAL),
            ("query_jobs", ([job],), errno.EINVAL),
            ("query_jobs", (b"<not a query>",), Code.XML_PARSE),
            ("status", (b"x", 1 << 40), errno.EINVAL),
            ("status", (b"x", -1), errno.EINVAL),
            ("status", (b"x", 0), errno.ENOENT),
            ("own_jobs", (b"x",), errno.EINVAL),
        ]:
            self.assertEqual((await refusal(remote, method, *arguments)).code, code, (method, arguments))
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_half_read(self) -> None:
        """P10: answers that nobody reads to their end are counted; one that is closed makes room."""
        self.server.send(long_registration(2 * pages.PAGE), USER)
        await self._login()
        remote = await self.carrier._perspective(self.address)
        job = requests.write_jobs(of_job(parse(JOB), Flag.CLASSADD))
        rests = [(await remote.callRemote("query_jobs", job))[1] for _ in range(pages.MAX_OPEN)]
        self.assertEqual((await refusal(remote, "query_jobs", job)).code, errno.EAGAIN)
        await rests[0].callRemote("close")
        self.assertEqual(len((await remote.callRemote("query_jobs", job))[0]), pages.PAGE)

    async def _login(self) -> None:
        await Deferred.fromCoroutine(self.consumer.job_ids(own_jobs())).addErrback(
            lambda failure: failure.trap(LBError)
        )


@implementer(IOpenSSLClientConnectionCreator)
class _Unchecked:
    """A client that shows nothing and believes everything."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class _Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Strangers(SynchronousTestCase):
    """Bytes that no client of ours sends."""

    def setUp(self) -> None:
        self.clock = Clock()
        nothing: Any = None
        offered = Offered(nothing, nothing, self.clock, 1)
        self.factory = port.PBFactory(offered, Limits(connections=2, handshake=5, idle=60, message=10))

    def connect(self) -> tuple[port.Connection, _Transport]:
        connection: Any = self.factory.buildProtocol(None)
        transport = _Transport()
        connection.makeConnection(transport)
        return connection, transport

    def test_bounds(self) -> None:
        """P10: a message beyond the bounds ends its connection before it is whole: bytes, depth, announced lengths."""
        deep = b"\x02\x80" * (port.MAX_DEPTH + 1)
        long = b"\x7f\x80" + (b"\x00\x00\x20\x82" + b"x" * (32 << 14)) * 3
        for name, data in [("deep", deep), ("long", long), ("announced", b"\x00\x00\x00\x7f\x82"), ("type", b"\xff")]:
            connection, transport = self.connect()
            connection.dataReceived(b"\x02\x82pb")
            for start in range(0, len(data), 65536):
                if not transport.aborted:
                    connection.dataReceived(data[start : start + 65536])
            self.assertTrue(transport.aborted, name)
            connection.connectionLost()

    def test_objects_refused(self) -> None:
        """An instance of a class is not made, whatever its name, and the call is answered with an error."""
        connection, transport = self.connect()
        connection.dataReceived(b"\x02\x82pb")
        transport.clear()
        hostile = [b"instance", [b"class", b"os.system"], [b"dictionary"]]
        message = [b"message", 1, b"root", b"login", 1, [b"tuple", hostile], [b"dictionary"]]
        with mock.patch("os.system") as system:
            connection.dataReceived(_encoded(message))
        system.assert_not_called()
        self.assertIn(b"InsecureJelly", transport.value())
        self.assertIn(b"RefusedError", transport.value())
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_time(self) -> None:
        """A peer that begins nothing, or does not end what it began, is let go."""
        _, silent = self.connect()
        slow, transport = self.connect()
        slow.handshakeCompleted()
        slow.dataReceived(b"\x02\x82pb")
        slow.dataReceived(b"\x03\x80")
        self.clock.pump([1.0] * 7)
        self.assertTrue(silent.aborted)
        self.assertFalse(transport.aborted)
        self.clock.pump([1.0] * 5)
        self.assertTrue(transport.aborted)
        slow.connectionLost()

    def test_answers_not_read(self) -> None:
        """P10: answers wait for a peer that does not read up to a bound, whatever it has read before."""
        self.patch(port, "MAX_UNREAD", 1000)
        answer = [b"x" * 400]
        for reads, cut in ((True, False), (False, True)):
            connection, transport = self.connect()
            connection.dataReceived(b"\x02\x82pb")
            for _ in range(2):
                transport.producer.pauseProducing()
                connection.sendEncoded(answer)
                connection.sendEncoded(answer)
                self.assertFalse(transport.aborted)
                if reads:
                    transport.producer.resumeProducing()
                else:
                    break
            connection.sendEncoded(answer)
            self.assertEqual(transport.aborted, cut)
            connection.connectionLost()

    def test_expired(self) -> None:
        """P7: whoever's certificate has expired is heard no more, and cut when it does not close its side."""
        connection, transport = self.connect()
        identity = replace(USER, expires=3)
        self.patch(port, "peer_of", lambda transport: identity)
        connection.handshakeCompleted()
        self.clock.pump([1.0] * 4)
        self.assertTrue(transport.disconnecting)
        said = len(transport.value())
        connection.dataReceived(b"\x02\x82pb")
        self.assertEqual(len(transport.value()), said)
        self.clock.pump([1.0] * 6)
        self.assertTrue(transport.aborted)
        connection.connectionLost()

    def test_connections(self) -> None:
        """P10: connections are counted at n-1, n and n+1; one that ends makes room."""
        made = [self.connect() for _ in range(3)]
        self.assertEqual([transport.aborted for _, transport in made], [False, False, True])
        for connection, _ in made:
            connection.connectionLost()
        _, transport = self.connect()
        self.assertFalse(transport.aborted)


def _encoded(message: Any) -> bytes:
    sender = banana.Banana()
    transport = StringTransport()
    sender.makeConnection(transport)
    sender.currentDialect = b"none"
    transport.clear()
    sender.sendEncoded(message)
    return transport.value()


class Constants(SynchronousTestCase):
    """What the two sides agree upon."""

    def test_methods(self) -> None:
        """Every method of the perspective says what it takes; nothing else can be called."""
        methods = {name for name in dir(perspective.Perspective) if name.startswith("perspective_")}
        self.assertEqual(methods, set(perspective._ARGUMENTS))

    def test_job_id(self) -> None:
        """The job of these tests is one that servers know by its unique part."""
        self.assertIsInstance(parse(JOB), JobId)
