"""Registrations: the documents of the C programs, what becomes of answers, keeping them valid, watching."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.consumer import HTTPCarrier, Pages
from lb.client.lease import Lease
from lb.client.notification import Notifications, Registration
from lb.client.session import Session
from lb.client.settings import Address, Settings
from lb.model import jobid, notifid
from lb.model.errors import Code, LBError
from lb.model.query import Attribute, Condition, Flag, Group, Operator
from lb.wire.lbxml import registrations
from lb.wire.lbxml.registrations import Function
from tests.client import peers
from tests.client.fakes import FakeDialer
from tests.client.subscriptions import NotificationServer
from tests.client.until import until
from tests.wire_notification import recorded

ID = notifid.parse("https://localhost:9000/NOTIF:Nl_gE9SlA0KpmBgAhveYLA")
JOB = jobid.parse("https://localhost:9000/msw8BK0qi8up4XWiw6utvA")
PAGES = Pages(FakeDialer(), Clock(), Settings())
GROUPS: tuple[Group, ...] = ((Condition(Attribute.JOBID, Operator.EQUAL, JOB),),)


class DocumentTests(SynchronousTestCase):
    """Requests as C clients send them, answers as C servers give them."""

    def setUp(self) -> None:
        self.dialer = FakeDialer()
        settings = Settings(query_server=Address("localhost", 9000))
        self.notifications = Notifications(HTTPCarrier(self.dialer, Clock(), settings), settings, PAGES)

    def check(self, name: str, coroutine: Coroutine[Deferred[Any], Any, Any]) -> Any:
        """Ask what a C client asked; returns the outcome."""
        asking = Deferred.fromCoroutine(coroutine)
        protocol = self.dialer.connect()
        protocol.dataReceived(recorded.files()[f"{name}.01.in.bin"])
        self.assertEqual(b"".join(protocol.transport.written), recorded.files()[f"{name}.00.out.bin"])
        return self.successResultOf(asking)

    def test_new(self) -> None:
        """New, with a job or an owner, with and without flags and validity."""
        new = self.notifications.new(ID, GROUPS, address=":::40651")
        self.assertEqual(self.check("06-notify-new-job", new), Registration(ID, 1795425063))
        self.setUp()
        other = notifid.parse("https://localhost:9000/NOTIF:v_AUrSy0vy93sH3JldDHfQ")
        owner: tuple[Group, ...] = (
            (Condition(Attribute.OWNER, Operator.EQUAL, "/C=CZ/O=LB Reference Test/CN=Test User"),),
        )
        flags = Flag.TERMINAL_STATES | Flag.HISTORY
        new = self.notifications.new(other, owner, address=":::48421", flags=flags, validity=1795418578)
        self.assertEqual(self.check("50-notify-new-history", new), Registration(other, 1795418578))

    def test_others(self) -> None:
        """Bind, change, refresh and drop."""
        bound = self.check("07-notify-receive", self.notifications.bind(ID, ":::60437", 1795421463))
        self.assertEqual(bound, Registration(ID, 1795421463))
        self.setUp()
        self.assertIsNone(self.check("08c-notify-change", self.notifications.change(ID, GROUPS)))
        self.setUp()
        refreshed = self.check("08-notify-refresh", self.notifications.refresh(ID, 1795419669))
        self.assertEqual(refreshed, Registration(ID, 1795419669))
        self.setUp()
        self.assertIsNone(self.check("08d-notify-drop", self.notifications.drop(ID)))

    def test_server(self) -> None:
        """A request goes to the server of the id; a fresh id is on the notification server, if there is one."""
        self.assertEqual(self.notifications.new_id().server, "localhost:9000")
        settings = Settings(notification_server=Address("lb.example.org", 9100))
        notifications = Notifications(HTTPCarrier(self.dialer, Clock(), settings), settings, PAGES)
        self.assertEqual(notifications.new_id().server, "lb.example.org:9100")
        self.assertEqual(notifications.new_id(Address("h", 1)).server, "h:1")
        asking = Deferred.fromCoroutine(notifications.drop(ID))
        self.assertEqual(self.dialer.addresses, [Address("localhost", 9000)])
        self.failureResultOf(asking.cancel() or asking)


#: What a server does with a request: its answer's document, or raises.
Serve = Callable[[registrations.Request], bytes]


class Scripted:
    """A carrier to a server that does as a test says."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.asked: list[registrations.Request] = []

    async def ask(self, server: Address, path: str, document: bytes) -> bytes:
        request = registrations.read_request(document)
        self.asked.append(request)
        return self.serve(request)

    async def close(self) -> None:
        return None


class AnswerTests(SynchronousTestCase):
    def outcome(self, serve: Serve, ask: Callable[[Notifications], Coroutine[Deferred[Any], Any, Any]]) -> Any:
        self.carrier = Scripted(serve)
        return Deferred.fromCoroutine(ask(Notifications(self.carrier, Settings(), PAGES)))

    def test_errors(self) -> None:
        """An error inside an answer is raised with the id it is about."""
        answer = registrations.write_result(0, LBError(errno.ENOENT, "Unknown notification ID"))
        error = self.failureResultOf(self.outcome(lambda request: answer, lambda n: n.refresh(ID)), LBError).value
        self.assertEqual((error.code, error.description), (errno.ENOENT, f"{ID}: Unknown notification ID"))

    def test_no_validity(self) -> None:
        """An answer that ought to say how long and does not is an error, not a guess."""
        failure = self.failureResultOf(
            self.outcome(lambda request: registrations.write_result(), lambda n: n.refresh(ID)), LBError
        )
        self.assertEqual(failure.value.code, errno.EPROTO)

    def test_repeated(self) -> None:
        """A fresh id in use means that the request was done before its repetition: the validity is asked for."""

        def serve(request: registrations.Request) -> bytes:
            if request.function is Function.NEW:
                return registrations.write_result(error=LBError(errno.EEXIST, "in use"))
            return registrations.write_result(1400003600)

        made = self.outcome(serve, lambda n: n.new(ID, GROUPS, address="h:1", validity=5))
        self.assertEqual(self.successResultOf(made), Registration(ID, 1400003600))
        self.assertEqual([asked.function for asked in self.carrier.asked], [Function.NEW, Function.REFRESH])
        self.assertEqual(self.carrier.asked[1].validity, 5)


class LeaseTests(SynchronousTestCase):
    """Keeping a registration valid, on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lost: list[LBError] = []
        self.failing: LBError | None = None
        self.validity = 100
        self.carrier = Scripted(self.serve)
        self.lease = Lease(
            Notifications(self.carrier, Settings(), PAGES),
            Registration(ID, 100),
            self.clock,
            now=self.clock.seconds,
            seconds=None,
            lost=self.lost.append,
        )

    def serve(self, request: registrations.Request) -> bytes:
        self.assertIs(request.function, Function.REFRESH)
        if self.failing is not None:
            raise self.failing
        return registrations.write_result(round(self.clock.seconds()) + self.validity)

    def test_half(self) -> None:
        """It is extended at half of its life, again and again, until it is stopped."""
        self.clock.advance(49)
        self.assertEqual(self.carrier.asked, [])
        self.clock.pump([1, 49])
        self.assertEqual((len(self.carrier.asked), self.lease.valid), (1, 150))
        self.clock.pump([1, 50])
        self.assertEqual((len(self.carrier.asked), self.lease.valid), (3, 250))
        self.lease.stop()
        self.clock.advance(1000)
        self.assertEqual((len(self.carrier.asked), self.lost), (3, []))

    def test_away(self) -> None:
        """A server that is away is tried again at half of what is left, at last each second; then it is lost."""
        self.failing = LBError(errno.ECONNREFUSED, "away")
        self.clock.pump([50, 25, 12.5])
        self.assertEqual((len(self.carrier.asked), self.lost), (3, []))
        self.clock.pump([1.0] * 14)
        (error,) = self.lost
        self.assertEqual(error.code, errno.ECONNREFUSED)
        self.assertLess(len(self.carrier.asked), 14)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_back(self) -> None:
        """A server that comes back in time changes nothing."""
        self.failing = LBError(errno.ECONNREFUSED, "away")
        self.clock.advance(50)
        self.failing = None
        self.clock.advance(25)
        self.assertEqual((self.lease.valid, self.lost), (175, []))
        self.flushLoggedErrors()

    def test_gone(self) -> None:
        """A registration that the server does not know, or that expired, is lost at once."""
        for code in (errno.ENOENT, errno.EINVAL, errno.EPERM):
            self.setUp()
            self.failing = LBError(code, "gone")
            self.clock.advance(50)
            self.assertEqual([error.code for error in self.lost], [code])
            self.assertEqual(self.clock.getDelayedCalls(), [])


class WatchTests(TestCase):
    """A watch, and a server that notifies, over real TLS."""

    timeout = 60

    def setUp(self) -> None:
        self.server = NotificationServer(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))
        settings = Settings(query_server=self.server.address)
        self.session = Session(reactor, settings, peers.trust())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.session.close()))

    async def test_watch(self) -> None:
        """Registered, received in order, dropped at the end; what comes before the answer to New is not missed."""
        self.server.on_new = [("Submitted", 1), ("Running", 2)]
        watch = self.session.watch(self.session.receiver(host="127.0.0.1", known=()))
        async with watch:
            made = await watch.add(GROUPS, flags=Flag.BOOTSTRAP, seconds=600)
            self.assertEqual(list(self.server.registered), [made.notifid])
            found = []
            async for received in watch:
                self.assertEqual(received.notifid, made.notifid)
                found.append((received.status.jobId, received.status.reason))
                if len(found) == 2:
                    break
        self.assertEqual(found, [(str(JOB), "1"), (str(JOB), "2")])
        self.assertEqual(self.server.registered, {})
        self.assertEqual([asked.function for asked in self.server.asked], [Function.NEW, Function.DROP])
        await self.server.delivered()

    async def test_time_out(self) -> None:
        """Registrations have the time-out of their own setting (NOTIF_TIMEOUT)."""
        self.server.silent = True
        settings = Settings(query_server=self.server.address, notification_timeout=0.1)
        session = Session(reactor, settings, peers.trust())
        with self.assertRaises(LBError) as caught:
            await session.notifications.drop(session.notifications.new_id())
        self.assertEqual(caught.exception.code, errno.ETIMEDOUT)
        await session.close()

    async def test_refused(self) -> None:
        """A registration that is refused is raised, and nothing is left of it."""
        self.server.refusal = LBError(errno.EPERM, "Forbidden subject")
        receiver = self.session.receiver(host="127.0.0.1", known=())
        with self.assertRaises(LBError) as caught:
            async with self.session.watch(receiver) as watch:
                await watch.add(GROUPS)
        self.assertEqual(caught.exception.code, errno.EPERM)
        self.assertIsNone(await receiver.receive())

    async def test_ended_meanwhile(self) -> None:
        """A watch that is ended while it registers drops what the server makes of it; later it registers no more."""
        watch = self.session.watch(self.session.receiver(host="127.0.0.1", known=()))
        adding = Deferred.fromCoroutine(watch.add(GROUPS))
        await watch.close()
        self.assertEqual([asked.function for asked in self.server.asked], [Function.NEW, Function.DROP])
        self.assertEqual(self.server.registered, {})
        for late in (adding, Deferred.fromCoroutine(watch.add(GROUPS))):
            with self.assertRaises(LBError) as caught:
                await late
            self.assertEqual(caught.exception.code, errno.ENOTCONN)

    async def test_lost(self) -> None:
        """A registration that cannot be kept ends the watch with the reason."""
        watch = self.session.watch(self.session.receiver(host="127.0.0.1", known=()))
        self.server.validity = 1
        await watch.add(GROUPS)
        self.server.registered.clear()
        with self.assertRaises(LBError) as caught:
            await watch.receive(50.0)
        self.assertEqual(caught.exception.code, errno.ENOENT)
        await watch.close()

    async def test_lease(self) -> None:
        """A registration that is only kept valid ends its receiver when it is lost; it is not dropped."""
        self.server.validity = 1
        receiver = self.session.receiver(host="127.0.0.1")
        made = await self.session.notifications.new(
            self.session.notifications.new_id(), GROUPS, address=receiver.address
        )
        lease = self.session.lease(made, receiver, seconds=None)
        await until(lambda: self.server.asked[-1].function is Function.REFRESH)
        self.server.registered.clear()
        with self.assertRaises(LBError) as caught:
            await receiver.receive(50.0)
        self.assertEqual(caught.exception.code, errno.ENOENT)
        lease.stop()

    async def test_undroppable(self) -> None:
        """A registration that could not be dropped is told, after the receiver is closed."""
        receiver = self.session.receiver(host="127.0.0.1", known=())
        watch = self.session.watch(receiver)
        await watch.add(GROUPS)
        await self.server.close()
        with self.assertRaises(LBError) as caught:
            await watch.close()
        self.assertIn(caught.exception.code, (errno.ECONNREFUSED, Code.GSS))
        self.assertIsNone(await receiver.receive())
