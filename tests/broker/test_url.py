"""URLs of brokers and destinations: what is read, what is refused, and what is never shown."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.destination import Address, Destination, Kind, read_address, read_destination
from lb.broker.url import BrokerURL, read_brokers, read_url
from lb.model.errors import LBError


class URLTests(SynchronousTestCase):
    """Broker URLs."""

    def test_forms(self) -> None:
        """Schemes with their ports, users, virtual hosts and options."""
        for text, expected in (
            ("stomp://mq", BrokerURL("stomp", "mq", 61613)),
            ("stomp+ssl://mq", BrokerURL("stomp+ssl", "mq", 61614)),
            ("amqp://mq:1", BrokerURL("amqp", "mq", 1)),
            ("amqps://u:p@mq/v", BrokerURL("amqps", "mq", 5671, "u", "p", "v")),
            ("amqp+txamqp://u@[::1]:7/%2F", BrokerURL("amqp+txamqp", "::1", 7, "u", "", "/")),
            ("amqps+txamqp://a%40b:%3A%2F@mq/", BrokerURL("amqps+txamqp", "mq", 5671, "a@b", ":/", "/")),
            (
                "stomp://mq?heartbeat=2.5&timeout=3&client-id=c&vouched=JMSXUserID&max-message=4096",
                BrokerURL(
                    "stomp",
                    "mq",
                    61613,
                    heartbeat=2.5,
                    timeout=3,
                    client_id="c",
                    vouched="JMSXUserID",
                    frame_bytes=4096,
                ),
            ),
            (
                "amqps://mq?cert=/c&key=/k&ca=/a&user-id=CN%3Dx",
                BrokerURL("amqps", "mq", 5671, cert=Path("/c"), key=Path("/k"), ca=Path("/a"), user_id="CN=x"),
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(read_url(text), expected)

    def test_drivers(self) -> None:
        """Which driver and whether TLS: the scheme tells."""
        for scheme, driver, tls in (
            ("stomp", "stomp", False),
            ("stomp+ssl", "stomp", True),
            ("amqp", "pika", False),
            ("amqps", "pika", True),
            ("amqp+txamqp", "txamqp", False),
            ("amqps+txamqp", "txamqp", True),
        ):
            url = read_url(f"{scheme}://mq")
            self.assertEqual((url.driver, url.tls), (driver, tls))

    def test_refused(self) -> None:
        """What is wrong is said, in words that do not contain the password."""
        for text in (
            "http://u:secret@mq",
            "stomp://",
            "stomp://u:secret@mq:x",
            "stomp://u:secret@mq:99999",
            "stomp://u:secret/secret@mq",
            "stomp://u:1/secret@mq",
            "stomp://u:1?secret@mq",
            "stomp://u:1#secret@mq",
            "stomp://u:secret#secret@mq",
            "stomp://u:\u2100secret@mq",
            "stomp://u:secret@mq?color=red",
            "stomp://u:secret@mq?heartbeat=0",
            "stomp://u:secret@mq?timeout=ever",
            "stomp://u:secret@mq?max-message=1",
        ):
            with self.subTest(text=text):
                error = self.assertRaises(LBError, read_url, text)
                self.assertNotIn("secret", str(error))

    def test_shown(self) -> None:
        """A URL is shown without its password and options."""
        url = read_url("amqps://u:secret@[::1]:7/v?cert=/c")
        self.assertEqual(f"{url} {url!r}", "amqps://u@[::1]:7/v amqps://u@[::1]:7/v")

    def test_brokers(self) -> None:
        """Several URLs of a name are kept in order, in one option or in several."""
        brokers = read_brokers(["main=stomp://a amqp://b", "other=amqp://c", "main=amqps://d"])
        self.assertEqual([str(url) for url in brokers["main"]], ["stomp://a:61613", "amqp://b:5672", "amqps://d:5671"])
        self.assertEqual([str(url) for url in brokers["other"]], ["amqp://c:5672"])
        for text in ("stomp://u:secret@a", "main", "main=", "a b=stomp://a", "=stomp://a"):
            error = self.assertRaises(LBError, read_brokers, [text])
            self.assertNotIn("secret", str(error))


class DestinationTests(SynchronousTestCase):
    """Destinations and addresses."""

    def test_forms(self) -> None:
        """The spellings of a destination; the canonical one reads the same."""
        for text, expected in (
            ("grid.emi.lbtest", Destination(Kind.TOPIC, "grid.emi.lbtest")),
            ("/topic/a.b", Destination(Kind.TOPIC, "a.b")),
            ("topic/a.b", Destination(Kind.TOPIC, "a.b")),
            ("/queue/q", Destination(Kind.QUEUE, "q")),
            ("amq/queue/q", Destination(Kind.EXISTING, "q")),
            ("/exchange/e", Destination(Kind.EXCHANGE, "e")),
            ("/exchange/e/k", Destination(Kind.EXCHANGE, "e", "k")),
        ):
            with self.subTest(text=text):
                self.assertEqual(read_destination(text), expected)
                self.assertEqual(read_destination(str(expected)), expected)

    @given(st.text(max_size=30))
    def test_any_text(self, text: str) -> None:
        """Any text is a destination that reads the same again, or is refused."""
        try:
            destination = read_destination(text)
        except LBError:
            return
        self.assertEqual(read_destination(str(destination)), destination)

    def test_refused(self) -> None:
        """Names that some broker would take for something else."""
        for text in ("", "/", "/queue/", "/queue/a/b", "/queue/a%2Fb", "/topic/a b", "/queue/\0", "/x/y", "x" * 201,
                     "/queue/" + "é" * 128, "/exchange/a/b/c", "\udcff"):  # fmt: skip
            with self.subTest(text=text):
                self.assertRaises(LBError, read_destination, text)

    def test_addresses(self) -> None:
        """C clients' addresses mean what they mean to the C plugin; those with a known broker's name mean more."""
        topic = Destination(Kind.TOPIC, "grid.emi.a")
        for text, expected in (
            ("x-msg://grid.emi.a", Address(None, topic)),
            ("x-msg://grid.emi.a:6166", Address(None, topic)),
            ("x-msg://grid.emi.a/main/grid", Address(None, topic)),
            ("x-msg://main/grid.emi.a", Address("main", topic)),
            ("x-msg://main/topic/grid.emi.a", Address("main", topic)),
            ("x-msg://main/exchange/e/k", Address("main", Destination(Kind.EXCHANGE, "e", "k"))),
            ("x-msg://main/queue/q", Address("main", Destination(Kind.QUEUE, "q"))),
            ("x-msg://other/queue/q", Address(None, Destination(Kind.TOPIC, "other"))),
            ("x-msg://main", Address(None, Destination(Kind.TOPIC, "main"))),
            ("x-msg://main/", Address(None, Destination(Kind.TOPIC, "main"))),
        ):
            with self.subTest(text=text):
                self.assertEqual(read_address(text, {"main"}), expected)
                self.assertEqual(read_address(str(expected), {"main"}), expected)
        for text in ("x-msg://", "x-msg:///a", "http://a", "x-msg://a b", "x-msg://main/queue/a b"):
            with self.subTest(text=text):
                self.assertRaises(LBError, read_address, text, {"main"})
