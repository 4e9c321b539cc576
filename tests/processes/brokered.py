"""A running server that knows real brokers, a job, and a client of it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from lb.broker.destination import Destination
from lb.broker.session import Subscription
from lb.broker.subscriber import Subscriber
from lb.client.notification import Registration
from lb.client.session import open_session
from lb.client.settings import Address
from lb.model import jobid
from lb.model.query import Attribute, Condition, Operator
from lb.security import pki
from lb.security.names import slash_form
from lb.wire import http, il
from tests.broker.brokers import BrokerTestCase, Consumer, Way, clock, unique
from tests.peers import activemq
from tests.processes.daemon import Daemon, connect, free_port, replies
from tests.server.test_ingest import line, registration


def name_of(way: Way) -> str:
    """What the server calls the broker."""
    return f"{way.scheme.replace('+', '-')}.{way.module.__name__.rpartition('.')[2]}"


class BrokeredServer(BrokerTestCase):
    """One server, one job, and brokers; subclasses have the tests."""

    timeout = 240

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.state.mkdir(0o700)
        self.pki = self.state / "pki"
        made = pki.ensure(self.pki)
        self.user = slash_form(x509.load_pem_x509_certificate(made.user.certificate.read_bytes()))

    async def begin(self, ways: Sequence[Way], *options: str) -> None:
        """Start a server that knows these ways, and register a job there."""
        self.port = free_port()
        brokers = []
        for way in ways:
            vouched = "&vouched=JMSXUserID" if way.module is activemq else ""
            brokers += ["--broker", f"{name_of(way)}={way.text(options=f'&heartbeat=2{vouched}')}"]
        self.server = Daemon("lb", self.state, "--port", str(self.port), *brokers, *options)
        self.addCleanup(self.server.kill)
        await deferToThread(self.server.start)
        self.job = jobid.create(f"localhost:{self.port}")
        await self.store([registration(job=str(self.job), user=self.user)])
        self.client = open_session(
            clock,
            environ={},
            explicit={"query_server": Address("localhost", self.port)},
            certificate=self.pki / "user.pem",
            key=self.pki / "user.key",
            state=self.state,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(self.client.close()))

    async def serve(self, way: Way, *options: str) -> str:
        """Start a server that takes requests for registrations there; the name of the control queue."""
        control = unique("lb.agent")
        await self.begin(
            [way],
            *("--agent", f"{name_of(way)}:/queue/{control}", "--agent-interval", "0.2"),
            *("--broker-user", f"{name_of(way)}:{way.user}={self.user}"),
            *options,
        )
        return control

    async def durable(self, way: Way, source: Destination, consumer: Consumer) -> None:
        """Consume from now on, whoever dies."""
        name = unique("lb-test")
        url = way.url(options=f"&client-id={name}&heartbeat=2")
        subscription = Subscription(source, durable=name)
        first = await self.session(url)
        await first.subscribe(subscription, Consumer())
        await first.close()
        Subscriber(self.link(url), subscription, consumer, clock)

    async def new(self, address: str) -> Registration:
        """A registration for the job."""
        notifications = self.client.notifications
        return await notifications.new(
            notifications.new_id(),
            ((Condition(Attribute.JOBID, Operator.EQUAL, self.job),),),
            address=address,
        )

    def store(self, lines: Sequence[str]) -> Deferred[None]:
        """Store events."""
        return deferToThread(self._store, lines)

    def _store(self, lines: Sequence[str]) -> None:
        connection = connect(self.port + 1, self.pki)
        connection.sendall(b"".join(il.frame(line.encode()) for line in lines))
        came = iter(replies(connection))
        self.assertEqual([next(came) for _ in lines], [il.OK] * len(lines))
        connection.close()

    def wait(self, first: int, last: int) -> Deferred[None]:
        """Have the job wait for reasons that are numbers, from the first to the last."""
        return self.store(
            [
                line("Pending", f'DG.PENDING.REASON="{n}" ', number=n, job=str(self.job), user=self.user)
                for n in range(first, last + 1)
            ]
        )

    def page(self, path: str) -> str:
        """A page as text."""
        connection = connect(self.port, self.pki)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\n\r\n".encode())
        found = response(connection)
        connection.close()
        return found


def response(connection: ssl.SSLSocket) -> str:
    """The body of the next answer."""
    reader = http.ResponseReader()
    while True:
        answered = reader.feed(connection.recv(65_536))
        if answered:
            return str(answered[0].body.decode())
