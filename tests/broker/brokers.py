"""Every way to a real broker: driver, broker, plain or TLS with client certificates; who owns and consumes there."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from lb.broker.destination import Destination, read_destination
from lb.broker.dial import SessionOpener
from lb.broker.errors import BrokerError, LostError, RefusedError
from lb.broker.link import Link
from lb.broker.message import Delivery, Message
from lb.broker.session import Session, Subscription
from lb.broker.url import BrokerURL, read_url
from tests.peers import activemq, rabbitmq
from tests.peers.certificates import shared_certificates

clock: Any = reactor
_numbers = itertools.count()
#: Seconds that a broker on a busy machine may take for anything; tests that pass do not wait for it.
PATIENCE = 60


def unique(prefix: str) -> str:
    """A name that nobody else has."""
    return f"{prefix}.{os.getpid()}.{next(_numbers)}"


class Way(NamedTuple):
    """A way to a broker. `user`: whom the broker vouches for as the sender, None where it vouches for nobody."""

    scheme: str
    module: Any  #: of tests.peers
    port: str  #: attribute of the broker
    user: str | None

    @property
    def broker(self) -> Any:
        """The running broker, shared by all tests of this process."""
        return self.module.shared()

    @property
    def tls(self) -> bool:
        """Whether it takes a certificate."""
        return "tls" in self.port or self.port == "amqps_port"

    def url(self, *, login: str = "guest:guest@", options: str = "") -> BrokerURL:
        """Its URL, with more options."""
        return read_url(self.text(login=login, options=options))

    def text(self, *, login: str = "guest:guest@", options: str = "") -> str:
        """The same as users write it."""
        port = getattr(self.broker, self.port)
        if not self.tls:
            return f"{self.scheme}://{login}127.0.0.1:{port}/?timeout={PATIENCE}{options}"
        certificates = shared_certificates()
        files = f"ca={certificates.ca}&cert={certificates.user.certificate}&key={certificates.user.key}"
        if self.scheme.startswith("amqps"):
            options += f"&user-id={quote(self.user or '')}"  # which only the broker's configuration tells
        return f"{self.scheme}://localhost:{port}/?timeout={PATIENCE}&{files}{options}"


RABBIT_STOMP = Way("stomp", rabbitmq, "stomp_port", None)
RABBIT_STOMP_TLS = Way("stomp+ssl", rabbitmq, "stomp_tls_port", None)
ACTIVE = Way("stomp", activemq, "stomp_port", "guest")
ACTIVE_TLS = Way("stomp+ssl", activemq, "stomp_tls_port", activemq.CERTIFICATE_USER)
PIKA = Way("amqp", rabbitmq, "amqp_port", "guest")
PIKA_TLS = Way("amqps", rabbitmq, "amqps_port", rabbitmq.CERTIFICATE_USER)
TXAMQP = Way("amqp+txamqp", rabbitmq, "amqp_port", "guest")
TXAMQP_TLS = Way("amqps+txamqp", rabbitmq, "amqps_port", rabbitmq.CERTIFICATE_USER)

WAYS = (RABBIT_STOMP, RABBIT_STOMP_TLS, ACTIVE, ACTIVE_TLS, PIKA, PIKA_TLS, TXAMQP, TXAMQP_TLS)


class Waiting:
    """Something that tests wait for."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], object], Deferred[None]]] = []

    def until(self, condition: Callable[[], object]) -> Deferred[None]:
        """Fires when the condition holds, as seen after each event; fails after a long time."""
        met: Deferred[None] = Deferred()
        met.addTimeout(PATIENCE, clock)
        self._waiting.append((condition, met))
        self.happened()
        return met

    def happened(self) -> None:
        """Look at the conditions."""
        for condition, met in list(self._waiting):
            if not met.called and condition():
                met.callback(None)
        self._waiting = [(condition, met) for condition, met in self._waiting if not met.called]


class Owner(Waiting):
    """Keeps what a session tells its owner."""

    def __init__(self) -> None:
        super().__init__()
        self.confirmations: list[int] = []
        self.refusals: dict[int, RefusedError] = {}
        self.blockings: list[str | None] = []
        self.endings: list[LostError | RefusedError] = []

    def confirmed(self, session: Session, tags: list[int]) -> None:
        self.confirmations += tags
        self.happened()

    def refused(self, session: Session, tag: int, reason: RefusedError) -> None:
        self.refusals[tag] = reason
        self.happened()

    def blocked(self, session: Session, reason: str | None) -> None:
        self.blockings.append(reason)
        self.happened()

    def ended(self, session: Session, reason: LostError | RefusedError) -> None:
        self.endings.append(reason)
        self.happened()


class Consumer(Waiting):
    """Keeps what a subscription brings; acknowledges it where asked to."""

    def __init__(self, *, acknowledge: bool = True) -> None:
        super().__init__()
        self.acknowledge = acknowledge
        self.deliveries: list[Delivery] = []
        self.cancellations: list[BrokerError] = []

    @property
    def bodies(self) -> list[bytes]:
        """What came, in order."""
        return [delivery.body for delivery in self.deliveries]

    def received(self, session: Session, deliveries: list[Delivery]) -> None:
        self.deliveries += deliveries
        if self.acknowledge:
            session.acknowledge(deliveries)
        self.happened()

    def cancelled(self, session: Session, reason: BrokerError) -> None:
        self.cancellations.append(reason)
        self.happened()


def message(destination: Destination, body: bytes = b"x", **fields: Any) -> Message:
    """A message with an id of its own."""
    return Message(destination, body, fields.pop("id", None) or unique("id"), **fields)


def queue() -> Destination:
    """A queue that nobody else uses."""
    return read_destination(f"/queue/{unique('lb.test')}")


def topic() -> Destination:
    """A topic that nobody else uses."""
    return read_destination(f"/topic/{unique('lb.test')}")


class BrokerTestCase(TestCase):
    """Opens sessions that are closed when the test is over."""

    timeout = 3 * PATIENCE

    async def session(self, url: BrokerURL, owner: Owner | None = None) -> Session:
        """A session that stands."""
        session = await SessionOpener(clock, None).open(url, owner or Owner())
        self.addCleanup(session.close)
        return session

    def link(self, *urls: BrokerURL) -> Link:
        """A link that runs."""
        link = Link("test", urls, SessionOpener(clock, None), clock, delay=lambda rounds: 0.1 + 0.1 * rounds)
        link.startService()
        self.addCleanup(link.stopService)
        return link

    async def consuming(self, session: Session, source: Destination, **options: Any) -> Consumer:
        """A consumer that the broker has agreed to."""
        consumer = Consumer(acknowledge=options.pop("acknowledge", True))
        await session.subscribe(Subscription(source, **options), consumer)
        return consumer


def for_ways(*ways: Way) -> Callable[[type], type]:
    """Make a test of each method ``each_…(way)`` of a class for each of the ways."""

    def decorate(tests: type) -> type:
        for name in [name for name in vars(tests) if name.startswith("each_")]:
            method = vars(tests)[name]
            for way in ways:
                made = _test(method, way)
                made.__doc__ = f"{method.__doc__} [{way.scheme}, {way.module.__name__.rpartition('.')[2]}]"
                made.skip = way.module.absent  # type: ignore[attr-defined]
                broker = way.module.__name__.rpartition(".")[2]
                setattr(tests, f"test_{name[5:]}_{way.scheme.replace('+', '_')}_{broker}", made)
        return tests

    return decorate


def _test(method: Callable[[Any, Way], Any], way: Way) -> Callable[[Any], Any]:
    def test(self: Any) -> Any:
        return method(self, way)

    return test
