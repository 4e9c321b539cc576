"""What collecting is tested with: a store that commits when a test says so, openers of fake sessions, a quarantine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from lb.broker.collect import Collect, Outcome, Take, Trouble
from lb.broker.deadletter import DeadLetters, Refusal
from lb.broker.errors import BrokerError, LostError
from lb.broker.link import Link
from lb.broker.message import Delivery
from lb.broker.publisher import Publisher
from lb.broker.session import Session, Subscription
from lb.broker.source import read_source
from lb.broker.subscriber import Subscriber
from lb.broker.url import BrokerURL, read_url
from tests.broker.fakes import FakeSession

URL = read_url("amqp://broker.example.org")
PAUSE = 0.5  #: after trouble
OCTETS = 32 << 20  #: of messages in memory


def delivery(number: int, body: bytes | None = None, **fields: Any) -> Delivery:
    """A message whose id, body and token are its number."""
    given = {"headers": {}, "content_type": "", "user": None, "redelivered": False, "id": f"id-{number}", **fields}
    body = b"%d" % number if body is None else body
    return Delivery(body=body, destination="/queue/q", correlation_id=None, reply_to=None, token=number, **given)


class Openers:
    """Opens fake sessions for any number of links; `sessions` are those that stand, oldest first."""

    def __init__(self) -> None:
        self.opened = 0
        self.sessions: list[FakeSession] = []
        self._asked: list[tuple[BrokerURL, Any, Deferred[Session]]] = []

    def open(self, url: BrokerURL, owner: Any) -> Deferred[Session]:
        self.opened += 1
        opening: Deferred[Session] = Deferred(lambda cancelled: cancelled.errback(LostError("given up")))
        self._asked.append((url, owner, opening))
        return opening

    def succeed(self) -> FakeSession:
        """The session that was asked for longest ago stands."""
        url, owner, opening = self._asked.pop(0)
        session = FakeSession(url, owner)
        self.sessions.append(session)
        opening.callback(session)
        return session

    def fail(self, reason: BrokerError) -> None:
        """The session that was asked for longest ago cannot be had."""
        _, _, opening = self._asked.pop(0)
        opening.errback(reason)


class Stored:
    """A store: messages are taken in chunks, which a test has committed, or fail."""

    def __init__(self) -> None:
        self.congested = False
        self.bodies: list[bytes] = []  # stored, each once
        self.chunks: list[tuple[list[bool], list[Delivery], Deferred[list[Outcome]]]] = []
        self.resume: list[Callable[[], None]] = []

    def when_ready(self, resume: Callable[[], None]) -> None:
        self.resume.append(resume)

    def begin(self) -> Take:
        ended = [False]

        def take(deliveries: list[Delivery]) -> Deferred[list[Outcome]]:
            if ended[0]:
                return succeed([Trouble("full")] * len(deliveries))
            answered: Deferred[list[Outcome]] = Deferred()
            self.chunks.append((ended, deliveries, answered))
            return answered

        return take

    def commit(self, failing: int | None = None) -> None:
        """Store the oldest chunk, up to a message that fails with all behind it; what begins with "bad" is refused."""
        ended, deliveries, answered = self.chunks.pop(0)
        outcomes: list[Outcome] = []
        for number, each in enumerate(deliveries):
            ended[0] = ended[0] or number == failing
            if ended[0]:
                outcomes.append(Trouble("full"))
            elif each.body.startswith(b"bad"):
                outcomes.append(Refusal(1401, "ULM parse error"))
            else:
                outcomes.append(None)
                if each.body not in self.bodies:
                    self.bodies.append(each.body)
        answered.callback(outcomes)

    @property
    def taken(self) -> list[list[bytes]]:
        """Bodies of the chunks that are not committed."""
        return [[each.body for each in deliveries] for _, deliveries, _ in self.chunks]


class Site:
    """A source at a broker, collected; sessions stand when a test says so."""

    def __init__(self, source: str = "site:/queue/q") -> None:
        self.clock = Clock()
        self.openers = Openers()
        self.store = Stored()
        self.kept: list[tuple[bytes, str]] = []
        self.file_fails = False
        self.link = Link("site", (URL,), self.openers, self.clock, delay=lambda rounds: PAUSE)
        dead = Link("dead", (URL,), self.openers, self.clock, delay=lambda rounds: PAUSE)
        self.letters = DeadLetters(dead, Publisher(dead, self.clock), self._keep, self.clock, PAUSE)
        self.collect = Collect(
            read_source(source, {"site"}), self.store, self.letters, self.clock, lambda n: PAUSE * 2**n, OCTETS
        )
        self.link.use(self.collect)
        self.subscriber = Subscriber(self.link, Subscription(self.collect.source.destination), self.collect, self.clock)
        self.link.startService()
        self.begin()

    def _keep(self, body: bytes, reason: str) -> Deferred[None]:
        if self.file_fails:
            return fail(OSError(28, "No space left on device"))
        self.kept.append((body, reason))
        return succeed(None)

    def begin(self) -> FakeSession:
        """The next session stands, and its subscription is agreed to."""
        self.session = self.openers.succeed()
        if self.session.subscriptions:
            self.session.subscriptions[-1][2].callback(None)
        return self.session

    def come(self, *deliveries: Delivery) -> None:
        """Messages come."""
        self.session.subscriptions[-1][1].received(self.session, list(deliveries))

    @property
    def acknowledged(self) -> list[int]:
        """Numbers of the messages that the present session acknowledged."""
        return [each.token for each in self.session.acknowledged]
