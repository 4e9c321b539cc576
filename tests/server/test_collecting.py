"""Messages from brokers into a real store: who may log what, and what becomes of messages that hold several events."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.collect import Outcome, Trouble
from lb.broker.deadletter import Refusal
from lb.broker.errors import LostError, RefusedError
from lb.broker.source import read_source
from lb.broker.url import read_url
from lb.broker.vouching import Vouching, read_vouching
from lb.model.errors import Code
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.brokersources import BrokerSources
from lb.server.collecting import LOGGER_ACTIONS, EventStore, identify
from lb.server.collector import Collector
from lb.server.options import Options
from lb.server.quarantine import Quarantine
from lb.service.metrics import figures, registry
from lb.spool.filesystem import OSFileSystem
from lb.spool.quarantine import decode_entries
from lb.store.interface import StoreError
from lb.wire import ulm
from lb.wire.eventmessage import read_lines
from tests.broker.collecting import Openers, delivery
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_ingest import JOB, line, registration, running

OWN = "/O=Test/CN=server.ex"
USERS = read_vouching([f"site:alice={OWNER.name}", f"site:bob={OTHER.name}"])


def message(*lines: str, **fields: Any) -> Any:
    """A message that holds lines."""
    return delivery(1, "\n".join(lines).encode(), **fields)


class StoreTestCase(SynchronousTestCase):
    """A server whose writing thread is this one."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory, Policy.open().permitting(OWN, *LOGGER_ACTIONS))
        self.addCleanup(self.server.close)
        self.collector = Collector(self.server.ingest, lambda function, batch: defer.execute(function, batch))

    def nodes(self) -> list[str]:
        """Nodes of the job's events, in their order."""
        (job,) = self.server.writer.load([JOB.rpartition("/")[2]]).values()
        events = [ulm.parse(stored.line) for stored in self.server.writer.events(job.key)]
        return [str(event.text("node")) for event in events if event.type.name == "Running"]


class EventTests(StoreTestCase):
    """Events of one source."""

    def take(self, *deliveries: Any, source: str = "site:/queue/q") -> list[Outcome]:
        """What becomes of messages that come together."""
        known = identify(read_source(source, {"site"}), USERS, OWN)
        return self.successResultOf(EventStore(self.collector, known, 10).begin()(list(deliveries)))

    def believed(self, *deliveries: Any) -> list[Outcome]:
        """The same from a source that counts as a logger."""
        return self.take(*deliveries, source="site:/queue/q,as=logger")

    def test_vouched(self) -> None:
        """Who registers and logs is whom the broker vouches for, not whom the event names (P7)."""
        self.assertEqual(self.take(message(registration(user=OTHER.name), user="alice")), [None])
        self.assertEqual(self.server.status(JOB).owner, OWNER.name)
        tag = line("UserTag", 'DG.USERTAG.NAME="t" DG.USERTAG.VALUE="v" ', source="UserInterface")
        (outcome,) = self.take(message(tag, user="bob"))
        self.assertEqual(outcome, Refusal(1, "check_auth()"))
        self.assertEqual(self.take(message(tag, user="alice")), [None])

    def test_nobody(self) -> None:
        """A message of somebody whom nobody vouches for, or whom we do not know, is refused with the reason (P7)."""
        (one, other) = self.take(message(registration()), message(registration(), user="eve"))
        assert isinstance(one, Refusal)
        assert isinstance(other, Refusal)
        self.assertEqual((one.code, one.reason), (1, "broker site does not vouch for its sender"))
        self.assertEqual((other.code, other.reason), (1, "user 'eve' of broker site is nobody whom we know"))

    def test_logger(self) -> None:
        """A source that counts as a logger is believed as one: users yes, registrations of others no."""
        (outcome,) = self.believed(message(registration(), user="alice"))
        assert isinstance(outcome, Refusal)
        self.assertEqual(outcome.reason, "job registration must go directly")
        self.server.send(registration())
        self.assertEqual(self.believed(message(running(1, "wn1", user=OTHER.name))), [None])
        (outcome,) = self.believed(message(running(2, user="anonymous")))
        assert isinstance(outcome, Refusal)
        self.assertEqual(outcome.reason, "check_auth()")

    def test_several(self) -> None:
        """Of several events those that can be are stored, in order; for the others the message is refused (P5)."""
        self.server.send(registration())
        lines = (running(1, "wn1"), "nonsense", running(2, "wn2"), running(3, "wn3").replace("Running", "None", 1))
        ((first, second)) = self.believed(message(*lines), message(running(4, "wn4")))
        assert isinstance(first, Refusal)
        self.assertEqual((first.code, first.refused, first.parts), (Code.BROKEN_ULM, 2, 4))
        self.assertEqual((second, self.nodes()), (None, ["wn1", "wn2", "wn4"]))

    def test_mistake(self) -> None:
        """A message at which we fail is refused and logged; its neighbours are stored (P5)."""
        self.server.send(registration())

        def read(body: bytes, *others: Any) -> Any:
            return read_lines(body, *others) if b"wn" in body else 1 / 0

        with mock.patch("lb.server.collecting.read_lines", read):
            outcomes = self.believed(message(running(1, "wn1")), message("odd"), message(running(2, "wn2")))
        refusal = Refusal(22, "internal error of the server while reading this message")
        self.assertEqual((outcomes, self.nodes()), ([None, refusal, None], ["wn1", "wn2"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_twice(self) -> None:
        """The same message twice changes nothing (P3)."""
        self.server.send(registration())
        one, two = message(running(1, "wn1")), message(running(2, "wn2"))
        self.assertEqual(self.believed(one, two, one), [None] * 3)
        self.assertEqual(self.believed(two), [None])
        self.assertEqual(self.nodes(), ["wn1", "wn2"])

    def test_trouble(self) -> None:
        """While the store cannot, all that comes on a stream is for another time, bad messages excepted (P4)."""
        self.server.send(registration())
        take = EventStore(
            self.collector, identify(read_source("site:/queue/q,as=logger", {"site"}), USERS, OWN), 10
        ).begin()
        with mock.patch.object(self.server.writer, "write", side_effect=StoreError(28, "disk full")):
            outcomes = self.successResultOf(take([message(running(1, "wn1")), message("nonsense")]))
        self.assertIsInstance(outcomes[0], Trouble)
        self.assertEqual(outcomes[1], Refusal(Code.BROKEN_ULM, "ULM parse error"))
        (outcome,) = self.successResultOf(take([message(running(2, "wn2"))]))
        self.assertIsInstance(outcome, Trouble)
        self.assertEqual(self.nodes(), [])
        self.assertEqual(self.believed(message(running(1, "wn1"))), [None])


class ServiceTests(StoreTestCase):
    """Sources put together."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.folder = Path(self.mktemp())
        self.quarantine = Quarantine(str(self.folder), OSFileSystem(), lambda: 1_800_000_000.0)
        self.openers = {"site": Openers(), "other": Openers()}
        self.sources = self.begin("site:/queue/q,as=logger,dead=quarantine", "other:/queue/q,as=logger")

    def begin(self, *sources: str) -> BrokerSources:
        """The service, which runs."""
        urls = {name: (read_url(f"stomp://{name}?client-id=lb"),) for name in self.openers}
        service = BrokerSources(
            [read_source(source, urls) for source in sources],
            urls,
            Vouching(),
            self,
            self.collector,
            lambda body, reason: defer.execute(self.quarantine.append, body, reason),
            self.clock,
            OWN,
        )
        service.startService()
        return service

    def open(self, url: Any, owner: Any) -> Deferred[Any]:
        """Sessions of each broker when the test says so."""
        return self.openers[url.host].open(url, owner)

    def test_one_away(self) -> None:
        """A broker that is away keeps neither the start nor another broker's events waiting (P5)."""
        self.server.send(registration())
        session = self.openers["site"].succeed()
        _, consumer, agreed = session.subscriptions[0]
        agreed.callback(None)
        consumer.received(session, [message(running(1, "wn1")), message("nonsense")])
        self.assertEqual(self.nodes(), ["wn1"])
        self.assertEqual(len(session.acknowledged), 2)
        (path,) = self.folder.iterdir()
        (entry,) = decode_entries(path.read_bytes())
        self.assertEqual((entry.payload, entry.number, entry.intact), (b"nonsense", 1, True))
        self.assertIn("x-msg://site/queue/q, message id-1: 1401 ULM parse error", entry.reason)
        counted = registry()
        self.sources.watch(counted)
        told = figures(counted)
        self.assertEqual(told['lb_collect_messages_total{source="x-msg://site/queue/q",outcome="stored"}'], 1)
        self.assertEqual(told['lb_collect_messages_total{source="x-msg://site/queue/q",outcome="refused"}'], 1)
        self.assertEqual(told['lb_collect_connected{source="x-msg://site/queue/q"}'], 1)
        self.assertEqual(told['lb_collect_connected{source="x-msg://other/queue/q"}'], 0)
        self.assertEqual(told['lb_dead_letters_total{broker="site",place="quarantine"}'], 1)

    def test_refused_subscription(self) -> None:
        """A source that brings nothing is told as such, though there is a session with its broker."""
        session = self.openers["site"].succeed()
        counted = registry()
        self.sources.watch(counted)

        def told() -> list[float]:
            found = figures(counted)
            return [
                found[f'lb_collect_{name}{{source="x-msg://site/queue/q"}}'] for name in ("connected", "subscribed")
            ]

        self.assertEqual(told(), [1, 0])
        session.subscriptions[0][2].errback(RefusedError("404 no queue 'q'"))
        self.assertEqual(told(), [1, 0])
        self.clock.advance(10)
        _, consumer, agreed = session.subscriptions[1]
        agreed.callback(None)
        self.assertEqual(told(), [1, 1])
        consumer.cancelled(session, LostError("the queue was deleted"))
        self.assertEqual(told(), [1, 0])

    def test_stop(self) -> None:
        """A stop ends the sessions that stand, and attempts to have one."""
        self.openers["site"].succeed()
        self.successResultOf(defer.maybeDeferred(self.sources.stopService))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_names(self) -> None:
        """Only durable subscriptions have a client's name, and no two the same: brokers refuse a second one."""
        self.openers["site"] = Openers()
        self.begin("site:/topic/a,as=logger,durable=x", "site:/topic/b,as=logger,durable=y", "site:/queue/q,as=logger")
        names = [self.openers["site"].succeed().url.client_id for _ in range(3)]
        self.assertEqual(names, ["lb.x", "lb.y", None])


class OptionTests(SynchronousTestCase):
    """Sources and users among the server's options."""

    def options(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def refused(self, *arguments: str) -> str:
        """What is said of options that cannot be used."""
        options = self.options(*arguments)
        return str(self.assertRaises(usage.UsageError, lambda: options.read_sources(options.read_vouching())))

    def test_file(self) -> None:
        """All may stand in the file, in tables where they have keys."""
        path = Path(self.mktemp())
        path.write_text(
            'broker = { site = "amqp://one stomp://two?vouched=JMSXUserID" }\n'
            'collect = ["site:/queue/a", "site:/topic/b,as=logger"]\n'
            'broker-user = { "site:CN=x,O=y" = "/O=y/CN=x FQAN:/vo" }\n'
        )
        options = self.options("--config", str(path))
        vouching = options.read_vouching()
        first, second = options.read_sources(vouching)
        self.assertEqual((str(first), first.as_logger, second.as_logger), ("x-msg://site/queue/a", False, True))
        self.assertEqual(vouching.identity("site", "CN=x,O=y"), Identity("/O=y/CN=x", ("/vo",)))
        self.assertEqual([url.host for url in options.brokers["site"]], ["one", "two"])

    def test_mistakes(self) -> None:
        """Each mistake names its option and what would be right, also that nobody could ever be believed (P7)."""
        broker = ("--broker", "site=amqp://h")
        for arguments, words in (
            (("--collect", "site:/queue/q"), "--collect: 'site:/queue/q': there is no broker site"),
            ((*broker, "--collect", "site"), "--collect: 'site' is not NAME:DESTINATION"),
            ((*broker, "--collect", "site:/queue/q"), "give --broker-user site:USER=SUBJECT"),
            (
                ("--broker", "site=stomp://h", "--collect", "site:/queue/q", "--broker-user", "site:u=/CN=u"),
                "over stomp://h:61613 nobody says who sent a message",
            ),
            ((*broker, "--broker-user", "site:a=b"), "--broker-user: 'site:a=b' is not BROKER:USER=/SUBJECT"),
        ):
            self.assertIn(words, self.refused(*arguments))
