"""Messages through the logger to destinations at brokers: fake sessions, a clock, a spool on the real disk."""

from __future__ import annotations

import errno
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.errors import LostError, RefusedError
from lb.broker.message import Message as Outgoing
from lb.logger.admission import TunnelPolicy, read_policy
from lb.logger.limits import TunnelLimits
from lb.model.errors import Code
from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import PolicyError
from lb.wire import dglog, il, tunnel
from lb.wire.tunnel import Message
from tests.broker.fakes import FakeSession
from tests.logger.fixture import GOOD, PRODUCER, Logger, answers, flush, line

SITE = "x-msg://site"
A, B = f"{SITE}/queue/a", f"{SITE}/queue/b"
ELSEWHERE = "x-msg://other/topic/t"
MICROSECONDS = 1_000_000
NOWHERE = RefusedError("no such exchange")


def message(number: int, destination: str = A, **fields: Any) -> Message:
    """A message whose body and id are its number."""
    return Message(destination, b"%d" % number, f"id-{number}", 1_700_000_000 * MICROSECONDS, "ui.ex", **fields)


def sent(*messages: Message) -> list[bytes]:
    """Their lines."""
    return [tunnel.write(each) for each in messages]


class TunnelTestCase(SynchronousTestCase):
    """A logger with two brokers."""

    def setUp(self) -> None:
        self.directory = str(Path(self.mktemp()).absolute())
        self.logger = self.begin()

    def begin(self, **options: Any) -> Logger:
        """A logger over the directory of this test."""
        logger = Logger(self.directory, **{"brokers": ("site", "other"), **options})
        self.addCleanup(logger.close)
        self.logger = logger
        return logger

    def again(self, **options: Any) -> Logger:
        """The logger ends and begins anew."""
        now = self.logger.clock.seconds()
        self.logger.close()
        return self.begin(now=now, **options)

    def stands(self, broker: str = "site") -> FakeSession:
        """The session with a broker begins."""
        session = self.logger.openers.by_name[broker].succeed()
        self.logger.writer.run()
        return session

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.logger.clock.advance(seconds)
        self.logger.writer.run()

    def confirm(self, session: FakeSession, count: int = 1) -> list[bytes]:
        """The broker has the next messages: their bodies."""
        bodies = session.bodies[:count]
        session.confirm(count)
        self.logger.writer.run()
        return bodies

    def refuse(self, session: FakeSession, reason: RefusedError) -> None:
        """The broker refuses the next message."""
        tag, _ = session.published.pop(0)
        session.owner.refused(session, tag, reason)
        self.logger.writer.run()

    def quarantined(self) -> list[bytes]:
        """Comment lines of the quarantine."""
        files = sorted(Path(self.directory).rglob("quarantine/*"))
        return [entry for path in files for entry in path.read_bytes().splitlines() if entry.startswith(b"# ")]

    def pending(self) -> int:
        return self.logger.spool.pending


class WayTests(TunnelTestCase):
    """Messages that find their way."""

    def test_way(self) -> None:
        """A message is answered when it is stored, published as it was given, and done when it is confirmed (P1)."""
        port, transport = self.logger.producer()
        session = self.stands()
        given = message(
            7,
            content_type="text/x-log",
            headers={"Colour": "red"},
            persistent=False,
            expires=1_700_000_100 * MICROSECONDS,
            priority=7,
            correlation_id="c",
            reply_to="/queue/answers",
        )
        port.dataReceived(dglog.message(tunnel.write(given)))
        self.assertEqual((answers(transport), session.published), ([], []))
        self.logger.writer.run()
        self.assertEqual(answers(transport), [0])
        ((_, out),) = session.published
        expected = Outgoing(
            out.destination,
            b"7",
            "id-7",
            {"Colour": "red", "lb-user": "/O=Test/CN=Producer", "lb-host": "ui.ex"},
            "text/x-log",
            "c",
            "/queue/answers",
            False,
            1_700_000_100 * MICROSECONDS,
            7,
        )
        self.assertEqual((out, str(out.destination)), (expected, "/queue/a"))
        self.assertEqual(self.pending(), 1)
        self.confirm(session)
        self.assertEqual(self.pending(), 0)

    def test_identity(self) -> None:
        """The sender is the peer of the connection, not what the line says; odd bytes of a name become text (P7)."""
        session = self.stands()
        forged = b'DG.USER="/CN=Somebody Else" ' + tunnel.write(message(1))
        for name, told in (("/CN=A", "/CN=A"), ("/CN=\udcff", "/CN=\\xff")):
            port, _ = self.logger.producer(Identity(name))
            port.dataReceived(dglog.message(forged))
            self.logger.writer.run()
            self.assertEqual(session.published.pop()[1].headers["lb-user"], told)

    def test_order(self) -> None:
        """Messages for a destination are published in their order, each destination by itself (P4)."""
        self.logger.log(*sent(*(message(number, (A, B, ELSEWHERE)[number % 3]) for number in range(30))))
        here, there = self.stands(), self.stands("other")
        for session, mine in ((here, (0, 1)), (there, (2,))):
            for rest in mine:
                bodies = [int(body) for body in session.bodies if int(body) % 3 == rest]
                self.assertEqual(bodies, list(range(rest, 30, 3)))

    def test_window(self) -> None:
        """No more messages, and not much more of their bytes, are out than the bounds say (P10)."""
        self.again(tunnelling=TunnelLimits(window_messages=3))
        self.logger.log(*sent(*map(message, range(5))))
        session = self.stands()
        self.assertEqual(session.bodies, [b"0", b"1", b"2"])
        self.confirm(session)
        self.assertEqual(session.bodies, [b"1", b"2", b"3"])
        size = len(tunnel.receive(tunnel.write(message(0)), "/O=Test/CN=Producer", 7000)[1])
        for bytes_, count in ((2 * size - 1, 1), (2 * size, 2), (3 * size - 1, 2)):
            self.again(tunnelling=TunnelLimits(window_bytes=bytes_))
            self.assertEqual(len(self.stands().bodies), count)

    def test_broker_window(self) -> None:
        """All destinations of a broker together have a bound, too; each gets its turn (P10)."""
        self.again(tunnelling=TunnelLimits(broker_messages=2))
        self.logger.log(*sent(*(message(number, (A, B)[number % 2]) for number in range(6))))
        session = self.stands()
        found = []
        while session.published:
            self.assertLessEqual(len(session.published), 2)
            found += self.confirm(session)
        self.assertEqual(sorted(found), [b"%d" % number for number in range(6)])

    def test_synchronous(self) -> None:
        """Who sends synchronously is answered when the broker has the message, or why it will not."""
        port, transport = self.logger.producer()
        port.dataReceived(b"".join(map(dglog.message, sent(*(message(number, flags=6) for number in range(2))))))
        self.logger.writer.run()
        session = self.stands()
        self.confirm(session)
        self.assertEqual(answers(transport), [])  # answers come in the order of the messages
        self.refuse(session, RefusedError("too great", everything=False))
        self.assertEqual(answers(transport), [0, Code.IL_SYS])

    def test_flush(self) -> None:
        """A flush of everything waits for tunnelled messages as well."""
        self.logger.log(*sent(message(1)))
        transport = self.logger.log(flush("10", None))
        self.assertEqual(answers(transport), [])
        self.confirm(self.stands())
        self.assertEqual(answers(transport), [0])


class OutageTests(TunnelTestCase):
    """Brokers and loggers that go away."""

    def test_broker_away(self) -> None:
        """A broker that is away keeps its own messages waiting, no others and no events (P5); nothing is lost (P2)."""
        transport = self.logger.log(*sent(message(1), message(2, ELSEWHERE)), line(3))
        self.assertEqual(answers(transport), [0, 0, 0])
        self.assertEqual(self.confirm(self.stands("other")), [b"2"])
        self.logger.servers[GOOD].reply(il.OK)
        self.assertEqual(self.pending(), 1)
        self.logger.openers.by_name["site"].fail()
        self.logger.clock.advance(60)
        self.assertEqual(self.confirm(self.stands()), [b"1"])
        self.assertEqual(self.pending(), 0)

    def test_session_ends(self) -> None:
        """What was not confirmed when a session ended goes again, in order and with the same ids (P2, P4)."""
        self.logger.log(*sent(*map(message, range(4))))
        session = self.stands()
        self.confirm(session, 2)
        session.end(LostError("gone"))
        self.logger.clock.advance(60)
        self.assertEqual([out.id for _, out in self.stands().published], ["id-2", "id-3"])

    def test_restart(self) -> None:
        """A logger that begins anew goes on where brokers had confirmed, with the same ids (P2)."""
        self.logger.log(*sent(*map(message, range(4))))
        self.confirm(self.stands(), 1)
        self.again()
        self.assertEqual([out.id for _, out in self.stands().published], ["id-1", "id-2", "id-3"])

    def test_late_confirmation(self) -> None:
        """A confirmation after the logger stopped changes nothing that is closed already."""
        self.logger.log(*sent(message(1)))
        session = self.stands()
        self.logger.forwarder.stopService()
        session.confirm(1)
        self.logger.writer.run()
        self.logger.brokers.links[0].stopService()

    def test_broker_not_configured(self) -> None:
        """Messages for a broker that is missing in a new configuration wait until it is there again (P2)."""
        self.logger.log(*sent(message(1)))
        self.again(brokers=("other",))
        transport = self.logger.log(flush("1", None))
        self.logger.clock.advance(1)
        self.assertEqual(answers(transport), [Code.IL_EVENTS_WAITING])
        self.assertEqual(answers(self.logger.log(*sent(message(2)))), [errno.ENOENT])
        self.again()
        self.assertEqual(self.confirm(self.stands()), [b"1"])

    @settings(deadline=None, max_examples=15)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("send"), st.sampled_from([A, B])),
                st.tuples(st.just("confirm"), st.integers(1, 4)),
                st.tuples(st.sampled_from(["lose", "restart", "refuse", "bad", "time"]), st.none()),
            ),
            max_size=20,
        )
    )
    def test_any_course(self, course: list[tuple[str, Any]]) -> None:
        """Whatever happens, each stored message is confirmed or set aside, in order but for repetitions (P2, P4)."""
        self.directory = str(Path(self.mktemp()).absolute())
        self.again(brokers=("site",))
        session: FakeSession | None = self.stands()
        expected: dict[str, list[bytes]] = {A: [], B: []}
        confirmed: list[bytes] = []
        for act, what in course:
            if act == "send":
                number = sum(map(len, expected.values()))
                self.logger.log(*sent(message(number, what)))
                expected[what].append(b"%d" % number)
            elif act == "restart":
                self.again(brokers=("site",))
                session = None
            elif act == "time":
                self.logger.clock.advance(70)
            if session is None:
                self.logger.clock.advance(60)
                session = self.stands()
            if act == "confirm":
                confirmed += self.confirm(session, what)
            elif act == "lose":
                session.end(LostError("gone"))
                session = None
            elif act == "bad" and session.published:
                self.refuse(session, RefusedError("bad", everything=False))
            elif act == "refuse" and session.published:
                # As brokers do: with one message, all others that were sent there.
                where = session.published[0][1].destination
                for place in [out for out in session.published if out[1].destination == where]:
                    session.published.remove(place)
                    session.owner.refused(session, place[0], NOWHERE)
        if session is None:
            self.logger.clock.advance(60)
            session = self.stands()
        while self.pending():
            while session.published:
                confirmed += self.confirm(session, len(session.published))
            self.logger.clock.advance(60)
            self.logger.writer.run()
        first = list(dict.fromkeys(confirmed))
        aside = self.quarantined()
        self.assertEqual(len(first) + len(aside), sum(map(len, expected.values())))
        for bodies in expected.values():
            self.assertEqual([body for body in first if body in bodies], [body for body in bodies if body in first])


class RefusalTests(TunnelTestCase):
    """Messages that no broker wants, or nobody any more."""

    def test_expired(self) -> None:
        """A message that expired before it could be published is set aside with the reason; others go on."""
        now = int(self.logger.clock.seconds())
        self.logger.log(*sent(message(1, expires=(now + 10) * MICROSECONDS), message(2)))
        self.logger.clock.advance(10)
        session = self.stands()
        self.assertEqual(session.bodies, [b"2"])
        (entry,) = self.quarantined()
        self.assertIn(b"it expired at 2023-11-14T22:13:30Z, before the broker had it", entry)
        self.confirm(session)
        self.assertEqual(self.pending(), 0)

    def test_expired_in_the_spool(self) -> None:
        """The same for one that had expired when it was read."""
        self.logger.log(*sent(message(1, expires=MICROSECONDS), message(2)))
        self.assertEqual(self.stands().bodies, [b"2"])
        self.assertEqual(len(self.quarantined()), 1)

    def test_refused_message(self) -> None:
        """A message that the broker refuses for itself is set aside at once, with the broker's words (P5)."""
        self.logger.log(*sent(message(1), message(2)))
        session = self.stands()
        self.refuse(session, RefusedError("header too long", everything=False))
        self.assertIn(b"header too long", self.quarantined()[0])
        self.assertEqual(self.confirm(session), [b"2"])
        self.assertEqual(self.pending(), 0)

    def test_refused_destination(self) -> None:
        """A refused destination waits and is tried again with one message; mended, it gets all in order (P4, P5)."""
        self.logger.log(*sent(message(1), message(2), message(3, B)))
        session = self.stands()
        self.refuse(session, NOWHERE)
        self.refuse(session, NOWHERE)
        self.assertEqual(self.confirm(session), [b"3"])
        self.assertEqual(session.bodies, [])
        self.advance(2)  # a pause of one second, and a random part of it
        self.assertEqual(session.bodies, [b"1"])
        self.refuse(session, NOWHERE)
        self.advance(3)
        self.assertEqual(self.confirm(session), [b"1"])
        self.assertEqual(self.confirm(session), [b"2"])
        self.assertEqual((self.pending(), self.quarantined()), (0, []))

    def test_hastened(self) -> None:
        """A flush ends the pause of a destination."""
        self.logger.log(*sent(message(1)))
        session = self.stands()
        self.refuse(session, NOWHERE)
        self.logger.clock.advance(0.6)  # the publisher remembers a refusal for half of the first pause
        self.assertEqual(session.bodies, [])
        self.logger.log(flush("10", None))
        self.assertEqual(session.bodies, [b"1"])

    def test_patience(self) -> None:
        """Messages for a destination that is never mended go to quarantine when they waited long enough."""
        self.again(tunnelling=TunnelLimits(patience=20, longest_pause=5))
        session = self.stands()
        self.logger.log(*sent(message(1)))
        for _ in range(20):
            self.logger.clock.advance(1)
            self.logger.writer.run()
            if session.published:
                self.refuse(session, NOWHERE)
        self.assertEqual(self.quarantined(), [])
        self.logger.log(*sent(message(2)))
        for _ in range(15):
            self.logger.clock.advance(1)
            self.logger.writer.run()
            if session.published:
                self.refuse(session, NOWHERE)
        self.assertEqual(len(self.quarantined()), 1)
        self.assertIn(b"no such exchange", self.quarantined()[0])
        self.assertEqual(self.pending(), 1)

    def test_patience_after_an_outage(self) -> None:
        """What waited for a broker that was away has waited for no refusal: one full queue does not give it up (P2)."""
        self.logger.log(*sent(message(1), message(2)))
        self.advance(2 * TunnelLimits().patience)
        session = self.stands()
        self.refuse(session, NOWHERE)
        self.refuse(session, NOWHERE)
        self.advance(2)
        self.assertEqual((self.quarantined(), self.pending()), ([], 2))
        self.assertEqual(self.confirm(session), [b"1"])
        self.refuse(session, NOWHERE)
        self.advance(2)
        self.assertEqual((self.confirm(session), self.quarantined()), ([b"2"], []))

    def test_unreadable(self) -> None:
        """A line that a later version wrote, and this one cannot read, goes to quarantine and stops nothing (P5)."""
        self.logger.spool.append([(A, b"DG.TYPE=whatever"), (A, tunnel.write(message(1)))])
        self.logger.writer.run()
        self.assertEqual(self.stands().bodies, [b"1"])
        self.assertIn(b"it cannot be read", self.quarantined()[0])


class AdmissionTests(TunnelTestCase):
    """Who may send where."""

    def test_answers(self) -> None:
        """What cannot go anywhere is answered with its number, and costs its neighbours nothing (P5)."""
        cases = {
            A: 0,
            "x-msg://nobody/queue/a": errno.ENOENT,
            "x-msg://site": errno.EINVAL,
            "x-msg://site/": errno.EINVAL,
            "x-msg://topic": errno.EINVAL,
            "https://site/queue/a": errno.EINVAL,
            f"{SITE}/queue/a/b": errno.EINVAL,
            f"{SITE}/queue/a,b": errno.EINVAL,
            f"{SITE}/topic/>": errno.EINVAL,
            f"{SITE}/queue/x?y": errno.EINVAL,
            ELSEWHERE: 0,
        }
        transport = self.logger.log(*sent(*(message(1, address) for address in cases)), b'DG.TYPE="message" x=y')
        self.assertEqual(answers(transport), [*cases.values(), Code.MESSAGE_INCOMPLETE])
        self.assertEqual(self.pending(), 2)

    def test_spellings(self) -> None:
        """Spellings of an address share a queue, so that they share its order."""
        self.logger.log(*sent(message(1, f"{SITE}/t"), message(2, f"{SITE}//topic/t"), message(3, f"{SITE}/topic/t")))
        self.assertEqual([queue.destination for queue in self.logger.spool.queues()], [f"{SITE}/topic/t"])

    def test_anonymous(self) -> None:
        """Whoever has no certificate sends nowhere: EPERM, whatever a policy says (P7)."""
        path = Path(self.mktemp())
        path.write_text(f'resource "TUNNEL" {{ action "{SITE}/" {{ rule permit {{ subject = ".*" }} }} }}')
        for policy in (TunnelPolicy(), read_policy(path)):
            self.again(policy=policy)
            port, transport = self.logger.producer(ANONYMOUS)
            port.dataReceived(dglog.message(tunnel.write(message(1))))
            self.assertEqual(answers(transport), [errno.EPERM])

    def test_policy(self) -> None:
        """With a file only what a rule permits is taken, by prefix of the address, name and VOMS attribute."""
        path = Path(self.mktemp())
        path.write_text(
            f"""resource "TUNNEL" {{
                action "{SITE}/queue/a" {{ rule permit {{ subject = ".*" }} }}
                action "{SITE}/queue/b" {{ rule permit {{ subject = "/CN=B" }} rule permit {{ fqan = "/vo/b" }} }}
            }}"""
        )
        self.again(policy=read_policy(path))
        for peer, allowed in (
            (PRODUCER, [0, 0, errno.EPERM, errno.EPERM]),
            (Identity("/CN=B"), [0, 0, 0, errno.EPERM]),
            (replaced(PRODUCER, fqans=("/vo/b",)), [0, 0, 0, errno.EPERM]),
        ):
            port, transport = self.logger.producer(peer)
            for address in (A, f"{A}bc", B, ELSEWHERE):
                port.dataReceived(dglog.message(tunnel.write(message(1, address))))
                self.logger.writer.run()
            self.assertEqual(answers(transport), allowed)

    def test_wrong_policies(self) -> None:
        """A policy that cannot be meant is refused with its line."""
        path = Path(self.mktemp())
        for text, wrong in (
            ('resource "LB" { }', ":1: unknown resource 'LB', there is only TUNNEL"),
            ('resource "TUNNEL" {\naction "PURGE" { } }', ":2: the action 'PURGE' is no prefix of addresses"),
        ):
            path.write_text(text)
            self.assertIn(wrong, str(self.assertRaises(PolicyError, read_policy, path)))
        path.unlink()
        self.assertRaises(PolicyError, read_policy, path)

    def test_destinations(self) -> None:
        """A producer can fill the destinations at brokers, and leaves room for servers; known ones go on (P5, P10)."""
        self.again(tunnelling=TunnelLimits(destinations=2))
        found = [answers(self.logger.log(*sent(message(1, f"{SITE}/queue/{name}")))) for name in "abcab"]
        self.assertEqual(found, [[0], [0], [errno.ENOSPC], [0], [0]])
        self.assertEqual(answers(self.logger.log(line(1))), [0])

    def test_large_neighbour(self) -> None:
        """A body of megabytes goes whole, between small ones."""
        body = bytes(range(256)) * 8000
        self.logger.intake.take(sent(message(1), replace(message(2), body=body), message(3)), PRODUCER)
        self.logger.writer.run()
        session = self.stands()
        self.assertEqual([len(each) for each in session.bodies], [1, len(body), 1])
        self.assertTrue(session.bodies[1] == body)
