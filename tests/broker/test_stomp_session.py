"""The STOMP session against a broker that says whatever a test wants, without a network."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.destination import read_destination
from lb.broker.errors import LoginError, LostError, RefusedError
from lb.broker.session import Subscription
from lb.broker.stomp import GOODBYE, StompSession
from lb.broker.url import read_url
from lb.wire.stomp import Frame, FrameReader, write
from tests.broker.brokers import Consumer, Owner, message

QUEUE = read_destination("/queue/q")


class Transport(StringTransportWithDisconnection):
    """Knows the rest of what a TCP transport can do."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to be delayed here."""

    def abortConnection(self) -> None:
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(Failure(ConnectionDone()))


class StompSessionTests(SynchronousTestCase):
    """One session."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.owner = Owner()

    def connect(self, options: str = "heartbeat=10", connected: dict[str, str] | None = None) -> None:
        """Connect; the broker answers with these headers."""
        self.session = StompSession(self.clock, read_url(f"stomp://u:p@mq/v?{options}"), self.owner)
        self.transport = Transport()
        self.transport.protocol = self.session
        self.session.makeConnection(self.transport)
        (self.greeting,) = self.sent("1.0")
        if connected is not None:
            self.say("CONNECTED", connected)

    def sent(self, version: str = "1.2") -> list[Frame]:
        """What the session sent since the last call."""
        data = self.transport.value()
        self.transport.clear()
        return FrameReader(version=version).feed(data)

    def say(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        """The broker sends a frame."""
        self.session.dataReceived(write(Frame(command, headers, body), self.session._reader.version))

    def test_greeting(self) -> None:
        """The first frame says who we are, which versions we speak, the virtual host and our heart-beats."""
        self.connect("heartbeat=2.5&client-id=c", {"version": "1.2"})
        self.assertEqual(
            self.greeting,
            Frame(
                "CONNECT",
                {"accept-version": "1.0,1.1,1.2", "host": "v", "heart-beat": "2500,2500", "login": "u", "passcode": "p",
                 "client-id": "c"},
            ),
        )  # fmt: skip
        self.assertIs(self.successResultOf(self.session.opened), self.session)

    def test_heartbeats(self) -> None:
        """We send signs of life in time; twice the broker's interval in silence ends the session."""
        self.connect("heartbeat=10", {"version": "1.2", "heart-beat": "20000,15000"})
        for _ in range(3):
            self.clock.advance(15)
            self.assertIn(b"\n", self.transport.value())
            self.transport.clear()
            self.session.dataReceived(b"\n")
        self.clock.advance(39)
        self.assertEqual(self.owner.endings, [])
        self.clock.advance(1)
        (reason,) = self.owner.endings
        self.assertIn("no sign of life", str(reason))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_heartbeats(self) -> None:
        """A broker that wants and promises nothing gets nothing and is not waited for."""
        self.connect("heartbeat=10", {"version": "1.2"})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_login_refused(self) -> None:
        """An ERROR instead of CONNECTED is a LoginError with the broker's words."""
        self.connect()
        self.say("ERROR", {"message": "Bad CONNECT"}, b"Access refused\nstack trace")
        failure = self.failureResultOf(self.session.opened, LoginError)
        self.assertIn("Bad CONNECT (Access refused)", failure.getErrorMessage())
        self.assertEqual(self.owner.endings, [])

    def test_not_stomp(self) -> None:
        """Something else that listens there is told apart, before and after the login."""
        self.connect()
        self.session.dataReceived(b"220 mail.example.org ESMTP\r\n\r\n\0")
        self.assertIn("does not speak STOMP", self.failureResultOf(self.session.opened, LostError).getErrorMessage())
        self.connect(connected={"version": "1.2"})
        self.say("RECEIPT", {"receipt-id": "p1"})
        self.session.dataReceived(b"HELLO\nx\n\n\0")
        self.assertIn("does not speak STOMP", str(self.owner.endings[0]))

    def test_each_version(self) -> None:
        """Messages are acknowledged as the version wants it, and escaped as it can."""
        for version, expected in (
            ("1.2", {"id": "a:1"}),
            ("1.1", {"message-id": "m:1", "subscription": "0"}),
            ("1.0", {"message-id": "m:1", "subscription": "0"}),
        ):
            with self.subTest(version=version):
                self.connect(connected={"version": version})
                consumer = Consumer()
                agreed = self.session.subscribe(Subscription(QUEUE, prefetch=3), consumer)
                (frame,) = self.sent(version)
                self.assertEqual(frame.headers["ack"], "client-individual")
                self.assertEqual(frame.headers["prefetch-count"], "3")
                self.say("RECEIPT", {"receipt-id": frame.headers["receipt"]})
                self.successResultOf(agreed)
                ack = {"ack": "a:1"} if version == "1.2" else {}
                self.say("MESSAGE", {"subscription": "0", "message-id": "m:1", "destination": "/queue/q", **ack}, b"x")
                self.assertEqual(consumer.bodies, [b"x"])
                self.assertEqual(self.sent(version), [Frame("ACK", expected)])

    def test_blame(self) -> None:
        """An ERROR that names a receipt blames that message; one that names none blames whatever was on its way."""
        self.connect(connected={"version": "1.2"})
        self.session.publish([(1, message(QUEUE)), (2, message(QUEUE))])
        self.say("ERROR", {"message": "no", "receipt-id": "p2"})
        self.assertEqual(list(self.owner.refusals), [2])
        self.assertIsInstance(self.owner.endings[0], LostError)
        self.connect(connected={"version": "1.2"})
        self.session.publish([(3, message(QUEUE))])
        self.say("ERROR", {"message": "no"})
        self.assertEqual(list(self.owner.refusals), [2])
        self.assertIsInstance(self.owner.endings[1], RefusedError)

    def test_blame_of_the_message(self) -> None:
        """Words about one message do not count against its destination (P5); the user-id concerns them all."""
        for said, everything in (
            ("The maximum frame size was exceeded", False),  # ActiveMQ
            ("The maximum number of headers was exceeded", False),
            ("precondition_failed: message size 9 is larger than configured max size 8", False),  # RabbitMQ
            ("precondition_failed: user_id property set to 'x' but authenticated user was 'y'", True),
            ("access_refused", True),
        ):
            self.connect(connected={"version": "1.2"})
            self.session.publish([(1, message(QUEUE))])
            self.say("ERROR", {"message": said})
            ending = self.owner.endings[-1]
            assert isinstance(ending, RefusedError)
            self.assertEqual(ending.everything, everything, said)

    def test_not_expressible(self) -> None:
        """What STOMP cannot say is refused for that message only; headers of the protocol cannot be smuggled in."""
        self.connect(connected={"version": "1.2"})
        bad = [
            {"a": "\0"},
            {"transaction": "t"},
            {"receipt": "p9"},
            {"content-length": "1"},
            {"destination": "/queue/x"},
        ]
        sent = [message(QUEUE, headers=headers) for headers in bad]
        self.session.publish([*enumerate(sent), (9, message(QUEUE, headers={"persistent": "false"}))])
        self.assertEqual(sorted(self.owner.refusals), [0, 1, 2, 3, 4])
        (frame,) = self.sent()
        self.assertEqual((frame.headers["receipt"], frame.headers["persistent"]), ("p9", "true"))

    def test_foreign_receipts(self) -> None:
        """Receipts that nobody asked for confirm nothing."""
        self.connect(connected={"version": "1.2"})
        self.session.publish([(1, message(QUEUE))])
        for receipt in ("p2", "p", "1", "px", "s1", ""):
            self.say("RECEIPT", {"receipt-id": receipt})
        self.assertEqual(self.owner.confirmations, [])

    def test_brokers_differ(self) -> None:
        """ActiveMQ is told text from bytes and has no exchanges; RabbitMQ is told the id for its own property."""
        self.connect(connected={"version": "1.2", "server": "ActiveMQ/5.17"})
        exchange, existing = read_destination("/exchange/e/k"), read_destination("/amq/queue/q")
        self.session.publish(
            [(1, message(QUEUE, content_type="text/javascript")), (2, message(existing)), (3, message(exchange))]
        )
        text, binary = self.sent()
        self.assertEqual(text.headers["amq-msg-type"], "text")
        self.assertEqual((binary.headers["amq-msg-type"], binary.headers["destination"]), ("bytes", "/queue/q"))
        self.assertIn("no exchanges", str(self.owner.refusals[3]))
        self.failureResultOf(self.session.subscribe(Subscription(exchange), Consumer()), RefusedError)
        self.connect(connected={"version": "1.2", "server": "RabbitMQ/3.10"})
        self.session.publish([(1, message(exchange, id="i", expires=5_000_000))])
        (frame,) = self.sent()
        self.assertEqual(frame.headers["amqp-message-id"], "i")
        self.assertEqual(frame.headers["expiration"], "5000")

    def test_late(self) -> None:
        """What another session brought is not acknowledged over this one; a session that is over does nothing."""
        self.connect(connected={"version": "1.2"})
        consumer = Consumer(acknowledge=False)
        self.session.subscribe(Subscription(QUEUE), consumer)
        self.say("RECEIPT", {"receipt-id": "s0"})
        self.say("MESSAGE", {"subscription": "0", "message-id": "m", "ack": "a"})
        first = self.session
        self.transport.abortConnection()
        self.connect(connected={"version": "1.2"})
        self.session.acknowledge(consumer.deliveries)
        first.acknowledge(consumer.deliveries)
        first.publish([(1, message(QUEUE))])
        self.assertEqual(self.sent(), [])
        self.failureResultOf(first.subscribe(Subscription(QUEUE), consumer), LostError)

    def test_close(self) -> None:
        """A session is closed in good order, and abruptly when the broker takes too long."""
        for answer in (True, False):
            self.connect(connected={"version": "1.2"})
            closed = self.session.close()
            (frame,) = self.sent()
            self.assertEqual(frame.command, "DISCONNECT")
            self.assertNoResult(closed)
            if answer:
                self.say("RECEIPT", {"receipt-id": frame.headers["receipt"]})
            else:
                self.clock.advance(GOODBYE)
            self.successResultOf(closed)
            self.successResultOf(self.session.close())
            self.assertIsInstance(self.owner.endings[-1], LostError)
            self.assertEqual(self.clock.getDelayedCalls(), [])
