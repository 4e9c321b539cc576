"""A logger without threads, sockets or time: what the tests of this room drive by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from lb.broker.session import Session
from lb.broker.url import BrokerURL
from lb.logger.admission import Admission, TunnelPolicy
from lb.logger.brokers import Brokers
from lb.logger.confirmations import Confirmations
from lb.logger.destinations import Destinations
from lb.logger.forwarder import Forwarder
from lb.logger.intake import Intake
from lb.logger.limits import AnswerLimits, DeliveryLimits, DestinationLimits, TunnelLimits
from lb.logger.receiver import ProducerPort
from lb.security.identity import Identity
from lb.service.bounds import Limits
from lb.service.exchange import ExchangeFactory
from lb.service.link import Link
from lb.spool.limits import Limits as SpoolLimits
from lb.spool.spool import Spool
from lb.wire import dglog, il
from tests.broker.fakes import FakeOpener
from tests.service.connected import Transport, connected

PRODUCER = Identity("/O=Test/CN=Producer")
RECEIPT = 7000
GOOD = "good.example:9000"
BAD = "bad.example:9000"


def line(number: int, server: str = GOOD, priority: int = 4) -> bytes:
    """An event line; the number is in its date."""
    return (
        f'DATE=20240102030405.{number:06d} HOST="ui.ex" PROG=edg-wms LVL=SYSTEM DG.PRIORITY={priority} '
        f'DG.SOURCE="LRMS" DG.SRC_INSTANCE="" DG.EVNT="Running" DG.JOBID="https://{server}/job" '
        'DG.SEQCODE="UI=000001:NS=0000000000:WM=000000:BH=0000000000:JSS=000000:LM=000000:LRMS=000000'
        ':APP=000000:LBS=000000" DG.RUNNING.NODE="wn" \n'
    ).encode()


def flush(timeout: str, server: str | None = GOOD) -> bytes:
    """A flush command, of everything without a server."""
    job = f' DG.JOBID="https://{server}/job"' if server else ""
    return (
        'DATE=20240102030405.000000 HOST="ui" PROG=internal LVL=system DG.PRIORITY=1 DG.TYPE="command" '
        f'DG.COMMAND="flush" DG.TIMEOUT="{timeout}"{job}\n'
    ).encode()


class SteppedWriter:
    """The spool's writer: jobs wait until the test runs them."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()

    def submit(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        self.jobs.append((job, done))

    def stop(self) -> None: ...

    def run(self) -> None:
        while self.jobs:
            job, done = self.jobs.popleft()
            job()
            done()


@implementer(IStreamClientEndpoint)
class Server:
    """A server's end as an endpoint: takes connections or refuses them; replies when the test says so."""

    def __init__(self, *, pipelining: bool = False) -> None:
        self.pipelining = pipelining
        self.refusing = False
        self.connections: list[tuple[Link, Transport]] = []
        self.attempts = 0

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        self.attempts += 1
        if self.refusing:
            return fail(ConnectionRefusedError())
        link: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        link.pipelining = self.pipelining
        transport = Transport()
        self.connections.append((link, transport))
        link.makeConnection(transport)
        return succeed(link)

    def received(self) -> list[bytes]:
        """Lines that came over the newest connection since the last look."""
        _, transport = self.connections[-1]
        lines = [il.read_line(body) for body in il.FrameReader().feed(transport.value())]
        transport.clear()
        return lines

    def reply(self, *replies: il.Reply) -> None:
        self.connections[-1][0].dataReceived(b"".join(map(il.write_reply, replies)))

    def close(self) -> None:
        self.connections[-1][0].connectionLost(Failure(ConnectionDone()))


class Openers:
    """Opens sessions with brokers that are named like their hosts: one `FakeOpener` for each."""

    def __init__(self) -> None:
        self.by_name: dict[str, FakeOpener] = {}

    def open(self, url: BrokerURL, owner: Any) -> Deferred[Session]:
        return self.by_name.setdefault(url.host, FakeOpener()).open(url, owner)


class Logger:
    """The parts of a logger over a directory."""

    def __init__(
        self,
        directory: str,
        *,
        forward: str | None = None,
        spool_limits: SpoolLimits | None = None,
        delivery: DeliveryLimits = DeliveryLimits(),  # noqa: B008
        answering: AnswerLimits = AnswerLimits(),  # noqa: B008
        brokers: Sequence[str] = (),
        policy: TunnelPolicy = TunnelPolicy(),  # noqa: B008
        tunnelling: TunnelLimits = TunnelLimits(),  # noqa: B008
        destinations: DestinationLimits = DestinationLimits(),  # noqa: B008
        now: float = 1_700_000_000,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(now)
        self.writer = SteppedWriter()
        self.spool = Spool(directory, clock=self.clock, writer=self.writer, limits=spool_limits)
        self.spool.open()
        self.servers = {GOOD: Server(), BAD: Server()}
        self.confirmations = Confirmations(self.clock, answering)
        self.openers = Openers()
        self.brokers = Brokers(
            {name: (BrokerURL("stomp", name, 61613),) for name in brokers},
            self.openers,
            self.clock,
            self.confirmations,
            tunnelling,
        )
        self.forwarder = Forwarder(
            self.spool,
            self.servers.__getitem__,
            self.confirmations,
            self.clock,
            random=lambda: 1.0,
            limits=delivery,
            tunnel=self.brokers.tunnel,
        )
        #: Answers, a chunk of lines at a time.
        self.answered: list[list[int]] = []
        self.intake = Intake(
            self.spool,
            self.confirmations,
            self.clock,
            receipt=RECEIPT,
            forward=forward,
            hasten=self.forwarder.hasten,
            admission=Admission(brokers, policy, tunnelling, lambda: self.forwarder.addresses),
            destinations=Destinations((), destinations, self.spool.__contains__),
            limits=answering,
            answered=self.answered.append,
        )
        limits = Limits(anonymous_bytes=1_000, message_bytes=100_000)
        self.port = ExchangeFactory(partial(ProducerPort, self.intake, limits), self.clock, limits)
        for link in self.brokers.links:
            link.startService()
        self.forwarder.startService()

    def close(self) -> None:
        """As a stopping daemon does; a second time is nothing."""
        if self.forwarder.running:
            self.forwarder.stopService()
            for link in self.brokers.links:
                link.stopService()
            self.writer.run()

    def producer(self, peer: Identity = PRODUCER) -> tuple[ProducerPort, Transport]:
        """A connection of a producer."""
        return connected(self.port, ProducerPort, peer)

    def log(self, *lines: bytes) -> Transport:
        """Send lines in one write over a new connection and run the disk."""
        port, transport = self.producer()
        port.dataReceived(b"".join(map(dglog.message, lines)))
        self.writer.run()
        return transport


def answers(transport: Transport) -> list[int]:
    """What a producer was answered so far."""
    return dglog.AnswerReader().feed(transport.value())
