"""Logging: the bytes of the C programs, what callers hear, and many events over real TLS."""

from __future__ import annotations

import errno
from collections.abc import Coroutine, Iterator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.dialer import TLSDialer
from lb.client.producer import Producer
from lb.client.settings import Address, Settings
from lb.model import jobid
from lb.model.catalogue import BY_NAME, Source
from lb.model.errors import Code, LBError
from lb.model.event import Event
from lb.security.tls import EndpointCredentials
from lb.wire import dglog, il, ulm
from tests.client import peers
from tests.client.fakes import FakeDialer
from tests.client.recorded import sent

USER = "/C=CZ/O=LB Reference Test/CN=Test User"
JOB = jobid.parse("https://localhost:9000/msw8BK0qi8up4XWiw6utvA")


class BytesTests(SynchronousTestCase):
    """What leaves, byte for byte."""

    def setUp(self) -> None:
        self.dialer = FakeDialer()
        self.seconds = 0.0
        self.clock = Clock()
        settings = Settings(host="vm", logger=Address("localhost", 9002))
        self.producer = Producer(self.dialer, self.clock, settings, USER, now=lambda: self.seconds)

    def start(self, coroutine: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(coroutine)

    def written(self) -> bytes:
        return b"".join(self.dialer.connect().transport.written)

    def answer(self, data: bytes) -> None:
        self.dialer.protocols[-1].dataReceived(data)

    def recorded_event(self, name: str) -> Event:
        (line,) = dglog.MessageReader().feed(sent(name))
        return ulm.parse(line, USER)

    def test_registration(self) -> None:
        """A registration is the message of the C client, and returns the code for the next event."""
        self.seconds = ulm.read_date("20261123071101.774501") / 1_000_000  # type: ignore[operator]
        registering = self.start(self.producer.register(JOB, "simple", jdl="blabla", ns="NS"))
        self.assertEqual(self.written(), sent("01-job_reg"))
        self.answer(il.write_reply(il.OK))
        self.assertEqual(
            self.successResultOf(registering),
            "UI=000002:NS=0000000000:WM=000000:BH=0000000000:JSS=000000:LM=000000:LRMS=000000:APP=000000:LBS=000000",
        )
        self.assertEqual(self.dialer.addresses, [Address("localhost", 9001)])

    def test_exclusive_registration(self) -> None:
        """An exclusive registration is the C client's; EEXIST reaches the caller."""
        self.seconds = ulm.read_date("20261123071109.880729") / 1_000_000  # type: ignore[operator]
        registering = self.start(self.producer.register(JOB, jdl="blabla", ns="NS", exclusive=True))
        self.assertEqual(self.written(), sent("15b-job_reg-again-exclusive"))
        self.answer(il.write_reply(il.Reply(700, 17, "Job with given jobid already exists. Rejecting event.")))
        failure = self.failureResultOf(registering, LBError).value
        self.assertEqual(failure.code, errno.EEXIST)
        self.assertIn("already exists", failure.description)

    def test_events(self) -> None:
        """Events through the logger are the messages of the C client: no user, priority 4."""
        for name in ("02-logevent-accepted", "07b-logevent-enqueued", "25-logevent-ChangeACL", "26-usertag"):
            self.setUp()
            event = self.recorded_event(name)
            event.priority = 77
            logging = self.start(self.producer.log(event))
            self.assertEqual(self.written(), sent(name))
            self.answer(dglog.answer(0))
            self.successResultOf(logging)
            self.assertEqual((event.priority, event.user), (77, USER))

    def test_synchronous(self) -> None:
        """A synchronous event carries priority 6 and waits as long as that is set for."""
        logging = self.start(self.producer.log(self.recorded_event("26-usertag"), synchronous=True))
        self.assertIn(b"DG.PRIORITY=6 ", self.written())
        self.clock.advance(119)
        self.assertNoResult(logging)
        self.clock.advance(2)
        self.assertEqual(self.failureResultOf(logging, LBError).value.code, errno.ETIMEDOUT)

    def test_line(self) -> None:
        """A line is sent as it is."""
        (line,) = dglog.MessageReader().feed(sent("02-logevent-accepted"))
        self.start(self.producer.log(line))
        self.assertEqual(self.written(), sent("02-logevent-accepted"))

    def test_flavours(self) -> None:
        """PBS jobs begin with a PBS code, others with a normal one."""
        self.start(self.producer.register(JOB, "PBS", source=Source.PBSServer))
        self.assertIn(
            b'DG.SEQCODE="CLIENT=000000:SERVER=0000000001:SCHED=000000:SMOM=000000:MOM=000000"', self.written()
        )

    def test_time_for_subjobs(self) -> None:
        """Each subjob gives the server another second."""
        registering = self.start(self.producer.register(JOB, "COLLECTION", nsubjobs=100))
        self.clock.advance(219)
        self.assertNoResult(registering)
        self.clock.advance(2)
        self.failureResultOf(registering, LBError)

    def test_unknown_type(self) -> None:
        """A job type that nobody knows is refused before anything is sent."""
        self.assertEqual(
            self.failureResultOf(self.start(self.producer.register(JOB, "BAG")), LBError).value.code, errno.EINVAL
        )
        self.assertEqual(self.dialer.dials, [])

    def test_flush(self) -> None:
        """Flush is the command of the spec; 1419 tells that events still wait."""
        flushing = self.start(self.producer.flush(JOB, 7))
        (line,) = dglog.MessageReader().feed(self.written())
        command = ulm.parse_command(line)
        self.assertIn(ulm.COMMAND_MARK, line)
        self.assertEqual(command, ulm.Command("flush", JOB, 7.0))
        self.answer(dglog.answer(Code.IL_EVENTS_WAITING))
        self.assertEqual(self.failureResultOf(flushing, LBError).value.code, Code.IL_EVENTS_WAITING)

    def test_too_long(self) -> None:
        """P10: a line longer than any logger takes is refused with ENOSPC; one of just that length is sent."""
        self.patch(ulm, "MAX_LINE", 1000)
        failing = self.start(self.producer.log(b"x" * 1001))
        self.assertEqual(self.failureResultOf(failing, LBError).value.code, errno.ENOSPC)
        self.start(self.producer.log(b"x" * 1000))
        self.assertIn(b"x" * 1000, self.written())

    def test_answers_of_the_logger(self) -> None:
        """Errors of the line are EINVAL, so that nobody repeats them; the rest is as the C library tells it."""
        for code, told in (
            (Code.MESSAGE_INCOMPLETE, errno.EINVAL),
            (Code.BROKEN_ULM, errno.EINVAL),
            (errno.EAGAIN, errno.EAGAIN),
            (errno.EPERM, errno.EPERM),
            (errno.ENOSPC, errno.ENOSPC),
            (Code.IL_PROTO, errno.EAGAIN),
        ):
            self.setUp()
            logging = self.start(self.producer.log(b"x"))
            self.written()
            self.answer(dglog.answer(code))
            self.assertEqual(self.failureResultOf(logging, LBError).value.code, told)

    def test_replies_of_the_server(self) -> None:
        """Replies to registrations become the numbers of the spec's table."""
        for reply, told in (
            (il.Reply(600, 0, "job registration must go directly"), errno.EPERM),
            (il.Reply(200, 0, "no memory"), errno.ENOMEM),
            (il.Reply(400, 1403, "Message incomplete"), Code.MESSAGE_INCOMPLETE),
            (il.Reply(700, 28, "disk full"), errno.ENOSPC),
            (il.Reply(900, 0, "?"), Code.IL_PROTO),
        ):
            self.setUp()
            registering = self.start(self.producer.register(JOB))
            self.written()
            self.answer(il.write_reply(reply))
            self.assertEqual(self.failureResultOf(registering, LBError).value.code, told)


class NetworkTests(TestCase):
    """Over TLS on loopback."""

    async def make(self, peer: peers.Peer, **more: Any) -> Producer:
        found = peers.trust()
        credentials = EndpointCredentials(found.credential, found.authorities, reactor)
        settings = Settings(host="vm", logger=peer.address, **more)
        producer = Producer(TLSDialer(reactor, credentials), reactor, settings, peers.IDENTITY)
        self.addCleanup(lambda: Deferred.fromCoroutine(peer.close()))
        self.addCleanup(lambda: Deferred.fromCoroutine(producer.close()))
        return producer

    def events(self, count: int, job: jobid.JobId = JOB) -> list[Event]:
        return [
            Event(
                BY_NAME["UserTag"],
                job,
                timestamp=number + 1,
                host="vm",
                source=Source.Application,
                seqcode="",
                user="nobody",
                attributes={"name": "n", "value": str(number)},
            )
            for number in range(count)
        ]

    def numbers(self, peer: peers.Peer) -> list[int]:
        return [int(ulm.parse(line, "x").text("value") or "") for line in peer.messages]

    async def test_c_logger(self) -> None:
        """P4: a C-like logger that closes again and again gets all events, in order, never two at once."""
        peer = peers.logger_peer(reactor, close_after=7)
        producer = await self.make(peer)
        self.assertEqual(await producer.log_many(self.events(50)), 50)
        self.assertEqual(sorted(set(self.numbers(peer))), list(range(50)))
        self.assertEqual(self.numbers(peer), sorted(self.numbers(peer)))
        self.assertEqual(peer.early, 0)
        self.assertEqual(set(peer.users), {peers.IDENTITY})

    async def test_our_logger(self) -> None:
        """P4: our logger gets thousands of events over one connection, in order, pipelined."""
        peer = peers.logger_peer(reactor, ours=True)
        producer = await self.make(peer)
        self.assertEqual(await producer.log_many(iter(self.events(5000))), 5000)
        self.assertEqual(self.numbers(peer), list(range(5000)))
        self.assertEqual(len(peer.connections), 1)

    async def test_drawn_as_answered(self) -> None:
        """P10: events are drawn from the source no faster than they are answered."""
        answered = drawn = most = 0

        def answer(line: bytes) -> int:
            nonlocal answered
            answered += 1
            return 0

        def source() -> Iterator[Event]:
            nonlocal drawn, most
            for event in self.events(200):
                drawn += 1
                most = max(most, drawn - answered)
                yield event

        producer = await self.make(peers.logger_peer(reactor, answer))
        await producer.log_many(source())
        self.assertEqual(drawn, 200)
        self.assertLessEqual(most, 3)

    async def test_idle_connection_closed(self) -> None:
        """A logger that closed the idle connection is connected again; only one of ours is offered TLS 1.3."""
        for ours, versions in (
            (False, ["TLSv1.2", "TLSv1.2", "TLSv1.2"]),
            (True, ["TLSv1.2", "TLSv1.3", "TLSv1.3"]),
        ):
            peer = peers.logger_peer(reactor, ours=ours)
            producer = await self.make(peer)
            for event in self.events(3):
                await producer.log(event)
                peer.hang_up()
            self.assertEqual([connection.version for connection in peer.connections], versions)
            self.assertEqual(self.numbers(peer), [0, 1, 2])

    async def test_refused_lines(self) -> None:
        """P5: a refused line does not stop the others; who asked is told which, and why."""
        peer = peers.logger_peer(reactor, lambda line: 1403 if b'VALUE="3"' in line else 0, ours=True)
        producer = await self.make(peer)
        refused: list[tuple[bytes, int]] = []
        taken = await producer.log_many(self.events(10), refused=lambda line, error: refused.append((line, error.code)))
        self.assertEqual(taken, 9)
        self.assertEqual([code for _, code in refused], [errno.EINVAL])
        self.assertIn(b'VALUE="3"', refused[0][0])
        with self.assertRaises(LBError):
            await producer.log_many(self.events(10))

    async def test_no_logger(self) -> None:
        """Without a logger the error says where nobody listens."""
        peer = peers.logger_peer(reactor)
        producer = await self.make(peer)
        await peer.close()
        with self.assertRaises(LBError) as raised:
            await producer.log_many(self.events(10), refused=lambda line, error: self.fail("nobody refused it"))
        self.assertEqual(raised.exception.code, errno.ECONNREFUSED)
        self.assertIn(str(peer.address), raised.exception.description)

    async def test_dead_logger(self) -> None:
        """A logger that always hangs up is tried twice, not for ever."""
        peer = peers.logger_peer(reactor, lambda line: None)
        producer = await self.make(peer)
        with self.assertRaises(LBError) as raised:
            await producer.log(self.events(1)[0])
        self.assertEqual(raised.exception.code, errno.ENOTCONN)
        self.assertEqual(len(peer.messages), 2)

    async def test_wrong_host(self) -> None:
        """P7: a server whose certificate is for another name gets nothing."""
        peer = peers.logger_peer(reactor)
        producer = await self.make(peer)
        elsewhere = Address("127.0.0.2", peer.address.port)
        producer.settings = Settings(host="vm", logger=elsewhere)
        peer.listen_on("127.0.0.2", elsewhere.port)
        with self.assertRaises(LBError) as raised:
            await producer.log(self.events(1)[0])
        self.assertEqual(raised.exception.code, Code.GSS)
        self.assertEqual(peer.messages, [])

    async def test_register(self) -> None:
        """Registrations go to the store port beside the port in the job id, as the own identity."""
        for ours in (False, True):
            peer = peers.store_peer(reactor, ours=ours)
            producer = await self.make(peer)
            job = jobid.create(f"127.0.0.1:{peer.address.port - 1}")
            await producer.register(job)
            await producer.register(job, exclusive=True)
            first, second = (ulm.parse(line) for line in peer.messages)
            self.assertEqual((first.jobid, first.user, first.priority), (job, peers.IDENTITY, 16))
            self.assertEqual(second.priority, 80)
            self.assertTrue(all(line.endswith(b"\n") for line in peer.messages))
