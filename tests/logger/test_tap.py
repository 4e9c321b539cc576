"""The logger as twistd composes it: options, and a whole way over TLS on loopback."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.logger.limits import DeliveryLimits
from lb.logger.tap import Options, compose
from lb.security.identity import Identity
from lb.wire import dglog, il
from tests.logger.fixture import line


def options(*arguments: str) -> Options:
    """Options as the command line gives them."""
    parsed = Options()
    parsed.parseOptions(list(arguments))
    return parsed


class Choices(SynchronousTestCase):
    """What the command line means."""

    def test_forward(self) -> None:
        """--forward takes HOST:PORT, the port may be left out, nonsense is refused with the option's name."""
        self.assertIsNone(options().forward)
        self.assertEqual(options("--forward", "lb.example").forward, "lb.example:9000")
        self.assertEqual(options("--forward", "[::1]:9100").forward, "[::1]:9100")
        with self.assertRaisesRegex(UsageError, "--forward"):
            _ = options("--forward", "lb.example:99999").forward

    def test_brokers(self) -> None:
        """--broker may be repeated, URLs of one name are tried in order; nonsense is refused without its password."""
        self.assertEqual(options().brokers, {})
        found = options("--broker", "a=stomp://h", "--broker", "b=amqp://x", "--broker", "a=amqps://i").brokers
        self.assertEqual(
            {name: [url.host for url in urls] for name, urls in found.items()}, {"a": ["h", "i"], "b": ["x"]}
        )
        for wrong in ("stomp://h", "a=", "a=ftp://guest:secret@h"):
            with self.assertRaisesRegex(UsageError, "--broker: broker ") as caught:
                _ = options("--broker", wrong).brokers
            self.assertNotIn("secret", str(caught.exception))

    def test_destination(self) -> None:
        """--destination may be repeated, in any case of letters, its port may be left out; nonsense is refused."""
        found = options(
            "--destination", "LB*.example", "--destination", "[::1]", "--destination", "h:90?0"
        ).destinations
        self.assertEqual(found, ["lb*.example:*", "[::1]:*", "h:90?0"])
        for wrong in ("", ":9000", "h:", "h:x", "a b"):
            with self.assertRaisesRegex(UsageError, "--destination"):
                _ = options("--destination", wrong).destinations

    def test_tunnel_policy(self) -> None:
        """--tunnel-policy names a file of rules; one that is missing or wrong is refused with its name."""
        path = Path(self.mktemp())
        with self.assertRaisesRegex(UsageError, f"--tunnel-policy: {path}: No such file"):
            _ = options("--tunnel-policy", str(path)).tunnel_policy
        path.write_text('resource "TUNNEL" { action "x-msg://a/" { rule permit { subject = "/CN=A" } } }')
        policy = options("--tunnel-policy", str(path)).tunnel_policy
        self.assertTrue(policy.allows("x-msg://a/queue/q", Identity("/CN=A")))
        self.assertFalse(policy.allows("x-msg://a/queue/q", Identity("/CN=B")))

    def test_defaults(self) -> None:
        """Without options the logger listens on the producer port of loopback."""
        chosen = options()
        self.assertEqual((chosen["host"], chosen["port"]), ("127.0.0.1", 9002))


class Bookkeeper(Protocol):
    """A server of ours: accepts every event of a read at once."""

    def __init__(self, lines: list[bytes], protocols: set[bytes | None]) -> None:
        self._lines = lines
        self._protocols = protocols
        self._frames = il.FrameReader()

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        self._protocols.add(transport.negotiatedProtocol)
        bodies = self._frames.feed(data)
        self._lines.extend(map(il.read_line, bodies))
        transport.write(il.write_reply(il.OK) * len(bodies))


class Producer(Protocol):
    """Waits for a number of answers."""

    def __init__(self, count: int) -> None:
        self.answered: Deferred[list[int]] = Deferred()
        self._count = count
        self._reader = dglog.AnswerReader()
        self._answers: list[int] = []

    def dataReceived(self, data: bytes) -> None:
        self._answers += self._reader.feed(data)
        if len(self._answers) == self._count:
            self.answered.callback(self._answers)


class Whole(TestCase):
    """A real reactor, real TLS."""

    timeout = 60

    def setUp(self) -> None:
        self.directory = str(Path(self.mktemp()).absolute())
        environment = mock.patch.dict("os.environ", {"HOME": self.directory}, clear=True)
        environment.start()
        self.addCleanup(environment.stop)

    async def test_lookups(self) -> None:
        """P5, P10: as many names are looked up at once as is allowed, which is more than the few of a plain reactor."""
        real: Any = reactor
        self.addCleanup(real.suggestThreadPoolSize, real.getThreadPool().max)
        for given, most in (((), DeliveryLimits().lookups), (("--max-lookups", "17"), 17)):
            service = compose(options("--state-dir", self.directory, "--port", "0", *given), real)
            with mock.patch("sys.__stderr__", io.StringIO()):
                service.startService()
            self.assertEqual(real.getThreadPool().max, most)
            await service.stopService()

    async def test_way_of_an_event(self) -> None:
        """Events go from a producer to the server with the producer's TLS name, pipelined to a server of ours (P7)."""
        real: Any = reactor
        chosen = options("--state-dir", self.directory, "--port", "0")
        credentials = chosen.credentials(real)
        lines: list[bytes] = []
        protocols: set[bytes | None] = set()
        server = TLSMemoryBIOFactory(
            credentials.server(certificate_required=True, alpn=[il.ALPN]),
            False,
            Factory.forProtocol(lambda: Bookkeeper(lines, protocols)),
        )
        listening = real.listenTCP(0, server, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        chosen["forward"] = f"127.0.0.1:{listening.getHost().port - 1}"

        service = compose(chosen, real)
        said = io.StringIO()
        with mock.patch("sys.__stderr__", said):
            service.startService()
        self.addCleanup(service.stopService)
        ready = said.getvalue()
        self.assertRegex(ready, r"^lb-logger ready: producers 127\.0\.0\.1:\d+, spool .*/spool\n$")
        port = int(ready.split(":")[2].partition(",")[0])

        count = 50
        producer = Producer(count)
        endpoint = wrapClientTLS(credentials.client("127.0.0.1"), HostnameEndpoint(real, "127.0.0.1", port))
        await connectProtocol(endpoint, producer)
        transport: Any = producer.transport
        self.addCleanup(transport.abortConnection)
        # The last is a priority event: its answer tells that all are with the server.
        messages = [*map(line, range(count - 1)), line(count - 1, priority=1)]
        transport.write(b"".join(map(dglog.message, messages)))
        self.assertEqual(await producer.answered, [0] * count)
        self.assertEqual(len(lines), count)
        self.assertEqual(protocols, {il.ALPN})
        self.assertIn(f'DG.USER="{chosen.own_name}"'.encode(), lines[0])
