"""The registration agent without a network: who is believed, what is answered, what is kept alive and what lapses."""

from __future__ import annotations

import errno
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.agent import Agent, read_control
from lb.broker.agent_book import Book, Entry
from lb.broker.agent_messages import read_request
from lb.broker.agent_requests import AgentLimits
from lb.broker.destination import read_destination
from lb.broker.errors import LostError, RefusedError
from lb.broker.message import Delivery
from lb.broker.notifications import Topics
from lb.broker.url import BrokerURL, read_url
from lb.broker.vouching import read_vouching
from lb.model.errors import LBError, missing
from lb.model.jobid import JobId
from lb.model.query import Attribute, Flag, Group, Operator
from lb.security.identity import Identity
from tests.broker.fakes import FakeOpener

NOW = 1_800_000_000
ALICE, BOB = "/C=CZ/CN=Alice", "/C=CZ/CN=Bob"
TOPIC = "/topic/grid.emi.alice"
REPLY = "amq.gen-alice"
LIMITS = AgentLimits(interval=10, registrations=3, request_bytes=1_000)


class FakeRegistrar:
    """Registrations that last for an hour when nobody says how long."""

    server = "lb.example:9000"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.made: dict[str, tuple[str, str, tuple[Group, ...], Flag]] = {}
        self.error: Exception | None = None

    def _until(self, valid: int | None) -> int:
        if self.error is not None:
            raise self.error
        return int(self.clock.seconds()) + 3_600 if valid is None else valid

    async def new(
        self, owner: Identity, id_: JobId, address: str, groups: tuple[Group, ...], flags: Flag, valid: int | None
    ) -> int:
        until = self._until(valid)
        self.made[str(id_)] = str(owner.name), address, groups, flags
        return until

    async def refresh(self, owner: Identity, id_: JobId, valid: int | None) -> int:
        if str(id_) not in self.made:
            raise missing("Unknown notification ID")
        return self._until(valid)

    async def change(self, owner: Identity, id_: JobId, groups: tuple[Group, ...]) -> None:
        name, address, _, flags = self.made[str(id_)]
        self.made[str(id_)] = name, address, groups, flags

    async def drop(self, owner: Identity, id_: JobId) -> None:
        if self.made.pop(str(id_), None) is None:
            raise missing("Unknown notification ID")


class AgentTestCase(SynchronousTestCase):
    """An agent at broker `site`, where alice and bob are known."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.path = Path(self.mktemp())
        self.registrar = FakeRegistrar(self.clock)
        self.disk_fails = False
        self.messages = 0
        self.begin()

    def begin(self, named: str | None = "site") -> None:
        """Start the agent, with what its book says."""
        self.openers: defaultdict[str, FakeOpener] = defaultdict(FakeOpener)
        self.book = Book(self.path)
        self.agent = Agent(
            read_control("site:/queue/lb.agent", {"site"}),
            [read_url("amqp://b")],
            self,
            read_vouching([f"site:alice={ALICE}", f"site:bob={BOB}", f"site:alice2={ALICE}"]),
            self.registrar,
            self.book,
            self.save,
            Topics(("site",), ("grid.emi.",)).allows,
            self.clock,
            named=named,
            limits=LIMITS,
        )
        self.agent.startService()
        self.requests, self.answers, self.questions = (
            self.openers[f"site, {purpose}"].succeed() for purpose in ("requests", "answers", "questions")
        )
        self.questions.listening[TOPIC] = 1
        ((self.subscription, self.consumer, agreed),) = self.requests.subscriptions
        self.assertNoResult(self.agent.serves)
        agreed.callback(None)
        self.successResultOf(self.agent.serves)

    def open(self, url: BrokerURL, owner: Any) -> Any:
        return self.openers[owner.broker].open(url, owner)

    def save(self, function: Callable[[bytes], None], content: bytes) -> Deferred[None]:
        if self.disk_fails:
            return fail(OSError(errno.ENOSPC, "no space"))
        return succeed(function(content))

    # --- what tests do ----------------------------------------------------------------------------------------

    def send(self, user: str | None = "alice", body: bytes | None = None, **request: Any) -> Delivery:
        """Send a request."""
        self.messages += 1
        delivery = Delivery(
            json.dumps(request).encode() if body is None else body,
            {"user-id": "bob", "lb-user": BOB},  # which nobody believes
            f"message-{self.messages}",
            "/queue/lb.agent",
            "application/json",
            f"correlation-{self.messages}",
            REPLY,
            user,
            False,
            None,
        )
        self.deliver(delivery)
        return delivery

    def deliver(self, delivery: Delivery) -> None:
        self.consumer.received(self.requests, [delivery])

    def answer(self) -> dict[str, Any]:
        """The answer that went out last, which the broker confirms."""
        ((_, message),) = self.answers.published
        self.answers.confirm(1)
        answer: dict[str, Any] = json.loads(message.body)
        return answer

    def ask(self, user: str | None = "alice", **request: Any) -> dict[str, Any]:
        self.send(user, **request)
        return self.answer()

    def new(self, user: str = "alice", **more: Any) -> str:
        """Register; the id."""
        answer = self.ask(user, request="new", destination=TOPIC, **more)
        self.assertEqual(answer["status"], "ok", answer)
        notifid: str = answer["notifId"]
        return notifid

    def refused(self, code: int, user: str | None = "alice", **request: Any) -> str:
        """Ask what is refused; the reason."""
        answer = self.ask(user, **request)
        self.assertEqual((answer["status"], answer["code"]), ("error", code), answer)
        description: str = answer["description"]
        return description


class RequestTests(AgentTestCase):
    """Requests and answers."""

    def test_new(self) -> None:
        """A registration is made for whom the broker vouches for, with the conditions of the query grammar."""
        delivery = self.send(
            request="new",
            destination=f"{TOPIC}?format=cloudevents",
            conditions="status=done|=aborted&owner=/CN=A",
            changes=True,
            flags="history+terminal_states",
            validity=600,
        )
        ((_, message),) = self.answers.published
        self.assertEqual(str(message.destination), f"/reply-queue/{REPLY}")
        self.assertEqual(message.correlation_id, delivery.correlation_id)
        answer = self.answer()
        owner, address, groups, flags = self.registrar.made[answer["notifId"]]
        self.assertEqual((owner, address), (ALICE, f"x-msg://site{TOPIC}?format=cloudevents"))
        self.assertEqual(flags, Flag.HISTORY | Flag.TERMINAL_STATES)
        self.assertEqual(
            [[(one.attribute, one.operator, one.value) for one in group] for group in groups],
            [
                [(Attribute.STATUS, Operator.EQUAL, 6), (Attribute.STATUS, Operator.EQUAL, 8)],
                [(Attribute.OWNER, Operator.EQUAL, "/CN=A")],
                [(Attribute.STATUS, Operator.CHANGED, None)],
            ],
        )
        self.assertEqual((answer["valid"], answer["listening"]), ("2027-01-15T08:10:00.000000Z", True))

    def test_acknowledged_when_answered(self) -> None:
        """A request is acknowledged when the broker has its answer, and not before: it would be lost (P2)."""
        delivery = self.send(request="list")
        self.assertEqual(self.requests.acknowledged, [])
        self.answer()
        self.assertEqual(self.requests.acknowledged, [delivery])

    def test_identity(self) -> None:
        """P7: nobody is believed but whom the broker vouches for, and of those only whom the site knows."""
        for user in (None, "mallory", ALICE):
            self.refused(errno.EPERM, user, request="new", destination=TOPIC)
        self.refused(errno.EINVAL, request="new", destination=TOPIC, owner=BOB)
        self.assertEqual(self.registrar.made, {})

    def test_nobody_listens(self) -> None:
        """Where the broker tells that nobody listens nothing is registered; where it does not tell, it is."""
        self.questions.listening[TOPIC] = 0
        self.assertIn("nobody listens", self.refused(errno.ENOTCONN, request="new", destination=TOPIC))
        del self.questions.listening[TOPIC]
        self.assertNotIn("listening", self.ask(request="new", destination=TOPIC))
        self.questions.listening[f"/reply-queue/{REPLY}"] = 0
        self.refused(errno.ENOTCONN, request="new", destination=TOPIC)
        self.assertEqual(self.ask(request="new", destination=TOPIC, listener="/queue/other").get("listening"), None)

    def test_another_under_the_same_id(self) -> None:
        """A client that gives all its messages one id gets the registrations it asked for, each its own."""
        first = self.new(conditions="status=done")
        self.messages -= 1
        second = self.new(conditions="status=running")
        self.assertNotEqual(first, second)
        self.assertEqual(len(self.registrar.made), 2)

    def test_the_same_again(self) -> None:
        """P3: a request that comes again, its answer having been lost, makes no second registration."""
        delivery = self.send(request="new", destination=TOPIC)
        first = self.answer()["notifId"]
        self.deliver(delivery)
        self.assertEqual((self.answer()["notifId"], len(self.registrar.made)), (first, 1))
        delivery.user = "bob"
        self.deliver(delivery)
        self.assertNotEqual(self.answer()["notifId"], first)

    def test_life_of_a_registration(self) -> None:
        """Listed, refreshed, changed, dropped by its owner under any of his names at the broker."""
        notifid = self.new()
        (listed,) = self.ask("alice2", request="list")["registrations"]
        self.assertEqual((listed["notifId"], listed["listening"]), (notifid, True))
        self.assertEqual(self.ask(request="list")["registrations"], [listed])
        self.assertEqual(self.ask("bob", request="list")["registrations"], [])
        answer = self.ask(request="refresh", notifId=notifid, validity=100)
        self.assertEqual(answer["valid"], "2027-01-15T08:01:40.000000Z")
        self.ask(request="change", notifId=notifid, conditions=["status=running"])
        self.assertEqual(len(self.registrar.made[notifid][2]), 1)
        self.assertEqual(self.ask(request="drop", notifId=notifid)["status"], "ok")
        self.assertEqual((self.registrar.made, len(self.book)), ({}, 0))

    def test_of_others(self) -> None:
        """P7: what belongs to somebody else can neither be seen nor changed; unknown ones are ENOENT."""
        notifid = self.new()
        for request in ("refresh", "change", "drop"):
            self.refused(errno.EPERM, "bob", request=request, notifId=notifid)
            self.refused(errno.ENOENT, request=request, notifId="https://lb.example:9000/NOTIF:x")
            self.refused(errno.EINVAL, request=request, notifId="nonsense")

    def test_refused_by_the_server(self) -> None:
        """What the server refuses is answered in its words; a mistake of ours is answered, too."""
        self.registrar.error = LBError(errno.EINVAL, "This site requires that …")
        self.assertEqual(self.refused(errno.EINVAL, request="new", destination=TOPIC), "This site requires that …")
        self.registrar.error = ZeroDivisionError()
        self.refused(errno.EIO, request="new", destination=TOPIC)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_addresses(self) -> None:
        """A destination is one at this broker; an agent whose broker is the server's default one asks for topics."""
        for destination, address in (
            ("grid.emi.x", "x-msg://site/grid.emi.x"),
            ("/topic/grid.emi.x", "x-msg://site/topic/grid.emi.x"),
            ("x-msg://other/topic/grid.emi.x", "x-msg://other/topic/grid.emi.x"),
        ):
            answer = self.ask(request="new", destination=destination)
            self.assertEqual(answer["destination"], address)
            self.ask(request="drop", notifId=answer["notifId"])
        self.begin(named=None)
        self.assertEqual(self.ask(request="new", destination=TOPIC)["destination"], "x-msg://grid.emi.alice")
        self.refused(errno.EINVAL, request="new", destination="/queue/grid.emi.x")

    def test_bounds(self) -> None:
        """P10: so many registrations and no more, requests so long and no longer, at n and n + 1."""
        for _ in range(LIMITS.registrations):
            self.new()
        self.refused(errno.ENOSPC, request="new", destination=TOPIC)
        body = b'{"request":"list"}'
        self.send(body=body.ljust(LIMITS.request_bytes))
        self.assertEqual(self.answer()["status"], "ok")
        self.send(body=body.ljust(LIMITS.request_bytes + 1))
        self.assertEqual(self.answer()["code"], errno.EINVAL)
        self.assertEqual(self.subscription.prefetch, LIMITS.requests)

    @given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
    def test_nonsense(self, body: bytes) -> None:
        """Whatever bytes come, they are read or refused with EINVAL."""
        try:
            read_request(body)
        except LBError as error:
            self.assertEqual(error.code, errno.EINVAL)

    def test_full_disk(self) -> None:
        """A book that cannot be written is said: what it forgot, nobody would keep alive."""
        self.disk_fails = True
        self.refused(errno.ENOSPC, request="new", destination=TOPIC)


class ReplyTests(AgentTestCase):
    """Where answers go."""

    def test_only_where_it_may(self) -> None:
        """P7: the agent's rights write to nobody's queue: only temporary queues and allowed topics get answers."""
        for reply_to, answered in (
            ("amq.rabbitmq.reply-to.g2h/x==", True),
            ("/remote-temp-queue/ID:a-1", True),
            ("/topic/grid.emi.answers", True),
            ("/queue/accounting", False),
            ("accounting", False),
            ("/topic/secret", False),
            ("/exchange/amq.topic/grid.emi.x", False),
            ("a\nb", False),
            (None, False),
        ):
            self.messages += 1
            delivery = Delivery(
                b'{"request":"list"}', {}, str(self.messages), "", "", None, reply_to, "alice", False, None
            )
            self.deliver(delivery)
            self.assertEqual(len(self.answers.published), answered, reply_to)
            self.answers.confirm(1)
            self.assertIn(delivery, self.requests.acknowledged)

    def test_nobody_takes_it(self) -> None:
        """An answer that its queue is gone for is forgotten; the request is done with."""
        delivery = self.send(request="list")
        tag, _ = self.answers.published.pop()
        self.answers.owner.refused(self.answers, tag, RefusedError("gone", everything=False))
        self.assertEqual(self.requests.acknowledged, [delivery])

    def test_broker_away(self) -> None:
        """An answer waits while the broker is away, and goes over the next session."""
        self.send(request="list")
        self.answers.end(LostError("gone"))
        self.clock.advance(2)
        self.answers = self.openers["site, answers"].succeed()
        self.assertEqual(self.answer()["status"], "ok")

    def test_stopped(self) -> None:
        """What had no answer when the agent stops is not acknowledged, so that it comes again."""
        self.send(request="list")
        self.agent.stopService()
        self.assertEqual(self.requests.acknowledged, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LifeTests(AgentTestCase):
    """Registrations that are kept alive, and those that lapse."""

    def pass_(self, seconds: int) -> None:
        for _ in range(seconds // 10):
            self.clock.advance(10)

    def valid(self, notifid: str) -> int | None:
        entry = self.book.get(notifid)
        return None if entry is None else entry.valid - NOW

    def test_kept_alive(self) -> None:
        """While somebody listens a registration is extended at half of its validity; when nobody does, it lapses."""
        notifid = self.new(validity=600)
        self.pass_(300)
        self.assertEqual(self.valid(notifid), 600)
        self.pass_(20)
        self.assertEqual(self.valid(notifid), 910)
        self.questions.listening[TOPIC] = 0
        self.pass_(600)
        self.assertIsNone(self.valid(notifid))
        self.assertEqual(len(Book(self.path)), 0)

    def test_not_told(self) -> None:
        """Where the broker does not tell who listens, the client has to refresh."""
        del self.questions.listening[TOPIC]
        notifid = self.new(validity=600)
        self.pass_(500)
        self.assertEqual(self.valid(notifid), 600)
        self.ask(request="refresh", notifId=notifid)
        self.assertEqual(self.valid(notifid), 500 + 3_600)

    def test_temporary_queue_tells(self) -> None:
        """For a topic of which the broker tells nothing the queue for the answers tells that its owner is there."""
        del self.questions.listening[TOPIC]
        self.questions.listening[f"/reply-queue/{REPLY}"] = 1
        notifid = self.new(validity=600)
        self.pass_(400)
        self.assertGreater(self.valid(notifid) or 0, 600)

    def test_questions_without_a_session(self) -> None:
        """A broker that is away just now does not make registrations lapse early, nor live longer."""
        notifid = self.new(validity=600)
        self.questions.end(LostError("gone"))
        self.pass_(400)
        self.assertEqual(self.valid(notifid), 600)
        self.openers["site, questions"].succeed().listening[TOPIC] = 1
        self.pass_(10)
        self.assertGreater(self.valid(notifid) or 0, 600)

    def test_dropped_elsewhere(self) -> None:
        """What its owner dropped at the server is forgotten; a server in trouble is asked again."""
        notifid = self.new(validity=600)
        self.registrar.error = LBError(errno.EIO, "trouble")
        self.pass_(400)
        self.assertEqual(self.valid(notifid), 600)
        del self.registrar.made[notifid]
        self.pass_(10)
        self.assertIsNone(self.valid(notifid))

    def test_after_a_restart(self) -> None:
        """P2: an agent that died knows its registrations, and keeps them alive."""
        notifid = self.new(validity=600)
        self.begin()
        self.pass_(400)
        self.assertGreater(self.valid(notifid) or 0, 600)
        (listed,) = self.ask(request="list")["registrations"]
        self.assertEqual(listed["notifId"], notifid)


class BookTests(SynchronousTestCase):
    """The file."""

    ENTRY = Entry("https://h:9000/NOTIF:a", ALICE, "x-msg://a", 5, 600, TOPIC, REPLY)

    def test_round_trip(self) -> None:
        """What was saved is read, with all members."""
        path = Path(self.mktemp())
        book = Book(path)
        book.put(self.ENTRY)
        book.save(book.content())
        self.assertEqual(list(Book(path)), [self.ENTRY])

    def test_damaged(self) -> None:
        """P9: a file with any byte changed is set aside, never believed and never dropped."""
        path = Path(self.mktemp())
        book = Book(path)
        book.put(self.ENTRY)
        content = book.content()
        for place in range(len(content)):
            damaged = bytearray(content)
            damaged[place] ^= 1
            path.write_bytes(damaged)
            self.assertEqual(list(Book(path)), [], place)
            self.assertEqual(path.with_suffix(".damaged").read_bytes(), damaged)


class ControlTests(SynchronousTestCase):
    """The option."""

    def test_read(self) -> None:
        """A name, a colon, a destination; the broker has to be known."""
        self.assertEqual(
            read_control("site:/queue/lb.agent", {"site"}).destination, read_destination("/queue/lb.agent")
        )
        for text in ("site", "site:", "other:/queue/a", ":/queue/a", "site:/nonsense/a"):
            self.assertRaises(LBError, read_control, text, {"site"})
