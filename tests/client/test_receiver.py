"""Receiving notifications: over real TLS, from senders like the C program and like ours, and who is believed."""

from __future__ import annotations

import dataclasses
import errno
import socket
from typing import Any

import msgspec
from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.receiver import Received, Receiver
from lb.client.sender import LIMITS
from lb.model import notifid
from lb.model.errors import LBError
from lb.model.status import JobStatus, State
from lb.security import pki
from lb.security.names import first_common_name
from lb.security.tls import EndpointCredentials
from lb.service.bounds import Limits
from lb.wire import il, notification
from lb.wire.lbxml import status as status_document
from lb.wire.notification import Notification
from tests.client import peers
from tests.client.receiver import Receiver as PlainReceiver
from tests.client.senders import Sender
from tests.client.until import until
from tests.wire_notification import recorded

RECORDED = notifid.parse("https://localhost:9000/NOTIF:Nl_gE9SlA0KpmBgAhveYLA")
ID = notifid.parse("https://localhost:9000/NOTIF:a")


def line(number: int, *, identity: str = str(ID), padding: int = 0) -> bytes:
    """A notification whose state says its number."""
    status = JobStatus(
        state=State.Running, jobId="https://localhost:9000/j", reason=f"{number}", location="x" * padding
    )
    return notification.write(Notification(identity, peers.IDENTITY, status_document.write(status), 1, 0, "h"))


def limits(**changes: Any) -> Limits:
    """The default bounds with changes."""
    return dataclasses.replace(LIMITS, **changes)


def user_credentials(clock: Any = reactor) -> EndpointCredentials:
    files = pki.DevelopmentPKI(peers.state_directory() / "pki")
    return EndpointCredentials(files.user, files.authorities, clock)


class ReceiverTests(TestCase):
    """A receiver and its senders on loopback."""

    timeout = 60

    def receiver(self, **arguments: Any) -> Receiver:
        receiver = Receiver(reactor, user_credentials(), host="127.0.0.1", **arguments)
        self.addCleanup(lambda: Deferred.fromCoroutine(receiver.close()))
        return receiver

    def sender(self, receiver: Receiver, **arguments: Any) -> Sender:
        sender = Sender(reactor, receiver.address, **arguments)
        self.addCleanup(sender.close)
        return sender

    async def take(self, receiver: Receiver) -> Received:
        found = await receiver.receive(30.0)
        assert found is not None
        return found

    async def test_recorded(self) -> None:
        """A recorded notification of the C server is handed out as what it says, to a sender of either kind."""
        for ours in (False, True):
            receiver = self.receiver()
            body = recorded.lines()[0].removesuffix(b"\n")
            replying = self.sender(receiver, ours=ours).deliver(body)
            found = await self.take(receiver)
            self.assertEqual(found.notification, notification.read(body))
            self.assertEqual(found.status, found.notification.status())
            await receiver.close()
            self.assertEqual(await replying, il.OK)

    async def test_acknowledged_when_taken(self) -> None:
        """A notification is acknowledged when its consumer comes for the next, not before (P1)."""
        receiver = self.receiver(known=[ID])
        sender = self.sender(receiver)
        first, second = sender.deliver(line(1)), sender.deliver(line(2))
        self.assertEqual((await self.take(receiver)).status.reason, "1")
        await self.assert_open(sender, receiver, first)
        self.assertEqual((await self.take(receiver)).status.reason, "2")
        self.assertEqual(await first, il.OK)
        self.assertNoResult(second)
        found = receiver.receive(30.0)
        waiting = Deferred.fromCoroutine(found)
        self.assertEqual(await second, il.OK)
        await receiver.close()
        self.assertIsNone(await waiting)

    async def assert_open(self, sender: Sender, receiver: Receiver, outstanding: Deferred[Any]) -> None:
        """A second sender's refused message has been answered since, so an answer would have come."""
        other = self.sender(receiver)
        await other.deliver(b"nonsense")
        self.assertNoResult(outstanding)

    async def test_by_hand(self) -> None:
        """A consumer may acknowledge at once; answers keep the order of the messages."""
        receiver = self.receiver(known=[ID])
        sender = self.sender(receiver)
        replies = [sender.deliver(line(number)) for number in range(3)]
        refused = sender.deliver(b"nonsense")
        (await self.take(receiver)).acknowledge()
        self.assertEqual(await replies[0], il.OK)
        self.assertNoResult(refused)
        await self.take(receiver)
        await self.take(receiver)
        await receiver.close()
        self.assertEqual([await reply for reply in replies[1:]], [il.OK] * 2)
        self.assertEqual((await refused).major, il.Major.PROTO)

    async def test_iteration(self) -> None:
        """The iterator gives all that arrives in order, and ends with the receiver."""
        receiver = self.receiver(known=[ID])
        sender = self.sender(receiver)
        replies = [sender.deliver(line(number)) for number in range(300)]
        found = []
        async for received in receiver:
            self.assertEqual(received.notifid, ID)
            found.append(received.status.reason)
            self.assertGreater(sender.window, 1)
            if len(found) == 300:
                await receiver.close()
        self.assertEqual(found, [str(number) for number in range(300)])
        self.assertEqual([await reply for reply in replies], [il.OK] * 300)

    async def test_closed_untaken(self) -> None:
        """What was not taken, or not to be counted as taken, is not acknowledged: it comes again (P2)."""
        receiver = self.receiver(known=[ID])
        sender = self.sender(receiver, ours=False)
        replying = sender.deliver(line(1))
        await self.take(receiver)
        await receiver.close(taken=False)
        with self.assertRaises(LBError) as caught:
            await replying
        self.assertIn(caught.exception.code, (errno.ENOTCONN, errno.ECONNREFUSED))

    async def test_lost_connection(self) -> None:
        """What nobody took of a lost connection is forgotten, since it comes again; the rest stays."""
        receiver = self.receiver(known=[ID])
        staying, going = self.sender(receiver), self.sender(receiver)
        kept = staying.deliver(line(1))
        lost = going.deliver(line(2))
        lost.addErrback(lambda failure: failure.trap(LBError) and None)
        await until(lambda: receiver.waiting == 2)
        await going.close()
        await until(lambda: receiver.waiting == 1)
        again = self.sender(receiver).deliver(line(2))
        await until(lambda: receiver.waiting == 2)
        self.assertEqual([(await self.take(receiver)).status.reason for _ in range(2)], ["1", "2"])
        await receiver.close()
        self.assertEqual([await kept, await again], [il.OK, il.OK])

    async def test_slow_consumer(self) -> None:
        """What was acknowledged when its sender had given up is known again: a slow consumer goes on (P3)."""
        receiver = self.receiver(known=[ID])
        impatient = self.sender(receiver)
        lost = [impatient.deliver(line(number)) for number in (1, 2)]
        self.assertEqual((await self.take(receiver)).status.reason, "1")
        await impatient.close()
        for each in lost:
            self.assertEqual((await self.failure(each)).code, errno.ENOTCONN)
        await until(lambda: receiver.waiting == 0)
        sender = self.sender(receiver)
        again = [sender.deliver(line(number)) for number in (1, 2, 2)]
        self.assertEqual((await self.take(receiver)).status.reason, "2")
        self.assertEqual(await again[0], il.OK)
        # The same twice by one connection are two that say the same.
        self.assertEqual((await self.take(receiver)).status.reason, "2")
        await receiver.close()
        self.assertEqual([await each for each in again[1:]], [il.OK] * 2)

    async def failure(self, waiting: Deferred[Any]) -> LBError:
        """What it fails with."""
        with self.assertRaises(LBError) as caught:
            await waiting
        return caught.exception

    async def test_strangers(self) -> None:
        """Who is not the server of an id is refused for good, whatever certificate it has (P7)."""
        receiver = self.receiver()
        self.assertEqual((await self.sender(receiver, user=True).deliver(line(1))).major, il.Major.PERM)
        elsewhere = line(1, identity="https://lb.example.org:9000/NOTIF:a")
        refusal = await self.sender(receiver).deliver(elsewhere)
        self.assertEqual(refusal.major, il.Major.PERM)
        self.assertIn("not the server lb.example.org", refusal.text)

    async def test_believed(self) -> None:
        """A sender with another name is believed when it was named."""
        receiver = self.receiver(believed=[peers.IDENTITY.upper()])
        replying = self.sender(receiver, user=True).deliver(line(1))
        await self.take(receiver)
        await receiver.close()
        self.assertEqual(await replying, il.OK)

    async def test_unknown(self) -> None:
        """Notifications of registrations that nobody here made are refused; one that is expected later is taken."""
        receiver = self.receiver(known=[RECORDED])
        sender = self.sender(receiver)
        refusal = await sender.deliver(line(1))
        self.assertEqual(refusal.major, il.Major.PERM)
        receiver.expect(ID)
        replying = sender.deliver(line(1))
        await self.take(receiver)
        await receiver.close()
        self.assertEqual(await replying, il.OK)

    async def test_unreadable(self) -> None:
        """A bad line, id or state is refused for good and keeps nothing else from arriving (P5)."""
        receiver = self.receiver()
        sender = self.sender(receiver)
        plain = notification.read(line(1))
        bad = [
            sender.deliver(b"nonsense"),
            sender.deliver(notification.write(msgspec.structs.replace(plain, notifid="https://localhost:9000/j"))),
            sender.deliver(notification.write(msgspec.structs.replace(plain, jobstat=b"<jobStat"))),
        ]
        good = sender.deliver(line(2))
        self.assertEqual((await self.take(receiver)).status.reason, "2")
        self.assertEqual([(await reply).major for reply in bad], [il.Major.PROTO] * 3)
        await receiver.close()
        self.assertEqual(await good, il.OK)

    async def test_news_for_interloggers(self) -> None:
        """A line without a state, which only says that something changed, is acknowledged and not handed out."""
        receiver = self.receiver()
        empty = msgspec.structs.replace(notification.read(line(1)), jobstat=b"")
        self.assertEqual(await self.sender(receiver).deliver(notification.write(empty)), il.OK)
        self.assertEqual(receiver.waiting, 0)

    async def test_bounded(self) -> None:
        """A consumer that is slow pauses its senders; nothing is lost and all comes in order (P6, P10)."""
        small = limits(window_events=4, window_bytes=1 << 30)
        receiver = self.receiver(known=[ID], limits=small, inbox_bytes=200_000)
        sender = self.sender(receiver)
        replies = [sender.deliver(line(number, padding=20_000)) for number in range(60)]
        await until(lambda: receiver.waiting_bytes >= 80_000)
        most = 0
        for number in range(60):
            found = await self.take(receiver)
            self.assertEqual(found.status.reason, str(number))
            most = max(most, receiver.waiting_bytes)
        # One chunk of the transport more than the bound at most.
        self.assertLess(most, 200_000 + (1 << 17))
        await receiver.close()
        self.assertEqual([await reply for reply in replies], [il.OK] * 60)

    async def test_inbox_bounded_over_connections(self) -> None:
        """The bound holds for all senders together, and all go on when there is room."""
        receiver = self.receiver(known=[ID], inbox_bytes=50_000)
        senders = [self.sender(receiver) for _ in range(4)]
        replies = [
            sender.deliver(line(10 * number + which, padding=20_000))
            for number in range(8)
            for which, sender in enumerate(senders)
        ]
        await until(lambda: receiver.waiting_bytes >= 50_000)
        for _ in replies:
            await self.take(receiver)
        await receiver.close()
        self.assertEqual([await reply for reply in replies], [il.OK] * 32)

    async def test_oversize(self) -> None:
        """A message beyond the bound is refused for good before memory is spent on it (P5, P10)."""
        receiver = self.receiver(known=[ID], limits=limits(message_bytes=4096))
        sender = self.sender(receiver)
        fits = sender.deliver(line(1, padding=1000))
        await self.take(receiver)
        (await self.take_nothing(receiver, fits))
        refusal = await self.sender(receiver).deliver(line(2, padding=5000))
        self.assertEqual((refusal.major, refusal.minor), (il.Major.PROTO, errno.E2BIG))
        self.assertTrue(il.is_permanent(refusal))

    async def take_nothing(self, receiver: Receiver, replying: Deferred[il.Reply]) -> None:
        """Come for the next one, which does not come."""
        with self.assertRaises(LBError) as caught:
            await receiver.receive(0.0)
        self.assertEqual(caught.exception.code, errno.ETIMEDOUT)
        self.assertEqual(await replying, il.OK)

    async def test_existing_socket(self) -> None:
        """An existing socket is used, and is the caller's afterwards."""
        with socket.socket() as mine:
            mine.bind(("127.0.0.1", 0))
            receiver = self.receiver(listening=mine)
            self.assertEqual(receiver.address, f"127.0.0.1:{mine.getsockname()[1]}")
            replying = self.sender(receiver).deliver(line(1))
            await self.take(receiver)
            await receiver.close()
            self.assertEqual(await replying, il.OK)
            self.assertGreater(mine.fileno(), 0)

    async def test_taken_port(self) -> None:
        """A port that cannot be had is an error that names it."""
        receiver = self.receiver()
        port = int(receiver.address.rpartition(":")[2])
        with self.assertRaises(LBError) as caught:
            self.receiver(port=port)
        self.assertEqual(caught.exception.code, errno.EADDRINUSE)
        self.assertIn(str(port), caught.exception.description)


class PlainReceiverTests(TestCase):
    """The receiver that tests use as one of C, made of plain sockets: it does what they rely on."""

    timeout = 60

    async def test_plain(self) -> None:
        """It takes one notification after the other, answers each, and says what came from whom over what."""
        files = pki.DevelopmentPKI(peers.state_directory() / "pki")
        plain = PlainReceiver(files.user.certificate, files.user.key, files.authority)
        self.addCleanup(plain.close)
        sender = Sender(reactor, plain.address)
        self.addCleanup(sender.close)
        host = first_common_name(x509.load_pem_x509_certificate(files.host.certificate.read_bytes()))
        replies = [sender.deliver(line(number)) for number in range(3)]
        for number in range(3):
            plain.reply = (0, 0, f"OK {number}")
            found = await deferToThread(plain.receive)
            self.assertEqual((found.line, found.notifid), (line(number), str(ID)))
            self.assertEqual((found.state, found.element("reason")), ("Running", str(number)))
            self.assertEqual((found.jobid, found.sender), ("https://localhost:9000/j", host))
            self.assertEqual(found.version, "TLSv1.2")
            self.assertEqual((await replies[number]).text, f"OK {number}")
        self.assertEqual(sender.window, 1)

    async def test_strangers(self) -> None:
        """It says why a handshake failed, and is there for the next one."""
        files = pki.DevelopmentPKI(peers.state_directory() / "pki")
        plain = PlainReceiver(files.user.certificate, files.user.key, files.authority)
        self.addCleanup(plain.close)
        with socket.create_connection(("127.0.0.1", plain.port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with self.assertRaises(TimeoutError):
                await deferToThread(plain.receive, 0.2)
        self.assertEqual(len(plain.failures), 1)
        sender = Sender(reactor, plain.address)
        self.addCleanup(sender.close)
        replying = sender.deliver(line(1))
        await deferToThread(plain.receive)
        self.assertEqual(await replying, il.OK)


class WaitingTests(SynchronousTestCase):
    """Time and ends, without a network."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.receiver = Receiver(self.reactor, user_credentials(self.reactor))

    def test_address(self) -> None:
        """Without a host it listens everywhere and registers with what its socket says."""
        host, port = self.reactor.tcpServers[0][3], self.reactor.tcpServers[0][0]
        self.assertEqual((host, port), ("::", 0))

    def test_time_out(self) -> None:
        """Whoever waits in vain is told after the time given; then can wait again."""
        for _ in range(2):
            waiting = Deferred.fromCoroutine(self.receiver.receive(5.0))
            self.reactor.advance(4.9)
            self.assertNoResult(waiting)
            self.reactor.advance(0.2)
            self.assertEqual(self.failureResultOf(waiting, LBError).value.code, errno.ETIMEDOUT)

    def test_one_consumer(self) -> None:
        """A second consumer at the same time is a mistake."""
        first = Deferred.fromCoroutine(self.receiver.receive())
        self.failureResultOf(Deferred.fromCoroutine(self.receiver.receive()), RuntimeError)
        first.cancel()
        self.failureResultOf(first)
        self.assertNoResult(Deferred.fromCoroutine(self.receiver.receive()))

    def test_closed(self) -> None:
        """Closing ends the waiting, with the error it was given, now and later."""
        waiting = Deferred.fromCoroutine(self.receiver.receive(5.0))
        Deferred.fromCoroutine(self.receiver.close(LBError(errno.ENOENT, "gone")))
        self.assertEqual(self.failureResultOf(waiting, LBError).value.code, errno.ENOENT)
        later = Deferred.fromCoroutine(self.receiver.receive())
        self.assertEqual(self.failureResultOf(later, LBError).value.code, errno.ENOENT)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
