"""Collecting without a network: what is acknowledged when, in which order, and what becomes of what nobody can use."""

from __future__ import annotations

import json
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.deadletter import Letter, Refusal, dead_message, identifier
from lb.broker.destination import read_destination
from lb.broker.errors import LostError, RefusedError
from lb.broker.message import BINARY, Delivery
from lb.broker.source import read_source, read_sources
from lb.broker.vouching import read_vouching
from lb.model.errors import LBError
from lb.security.identity import Identity
from tests.broker.collecting import OCTETS, PAUSE, Site, delivery

LOST = LostError("gone")


class OrderTests(SynchronousTestCase):
    """Messages that can be stored, sooner or later."""

    def setUp(self) -> None:
        self.site = Site()

    def test_acknowledged_when_stored(self) -> None:
        """Nothing is acknowledged before it is stored; what is stored together is acknowledged together (P1)."""
        self.site.come(delivery(1), delivery(2))
        self.site.come(delivery(3))
        self.assertEqual(self.site.store.taken, [[b"1", b"2"], [b"3"]])
        self.assertEqual(self.site.acknowledged, [])
        self.site.store.commit()
        self.assertEqual(self.site.acknowledged, [1, 2])
        self.site.store.commit()
        self.assertEqual(self.site.acknowledged, [1, 2, 3])
        self.assertEqual((self.site.collect.counts.received, self.site.collect.counts.stored), (3, 3))

    def test_trouble(self) -> None:
        """Of what the store could not take nothing is acknowledged or overtaken; it goes again in its order (P4)."""
        self.site.come(delivery(1), delivery(2), delivery(3))
        self.site.come(delivery(4))
        self.site.store.commit(failing=1)
        self.site.come(delivery(5))
        self.site.store.commit()
        self.assertEqual((self.site.acknowledged, self.site.store.taken), ([1], []))
        self.site.come(delivery(6))
        self.site.clock.advance(PAUSE * 0.99)
        self.assertEqual(self.site.store.taken, [])
        self.site.clock.advance(PAUSE * 0.01)
        self.assertEqual(self.site.store.taken, [[b"2", b"3", b"4", b"5", b"6"]])
        self.site.store.commit()
        self.assertEqual(self.site.acknowledged, [1, 2, 3, 4, 5, 6])

    def test_pauses(self) -> None:
        """Pauses grow while nothing can be stored, and begin anew when something was."""
        self.site.come(delivery(1), delivery(2))
        for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE):
            self.site.store.commit(failing=0)
            self.site.clock.advance(pause * 0.99)
            self.assertEqual(self.site.store.taken, [])
            self.site.clock.advance(pause * 0.01)
        self.site.store.commit(failing=1)
        self.site.clock.advance(PAUSE)
        self.site.store.commit()
        self.assertEqual((self.site.acknowledged, self.site.collect.counts.troubles), ([1, 2], 4))

    def test_mistake(self) -> None:
        """A store that fails for a reason nobody thought of is tried again, and the reason is logged."""
        self.site.come(delivery(1))
        self.site.store.chunks.pop()[2].errback(ZeroDivisionError("what"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.site.clock.advance(PAUSE)
        self.site.store.commit()
        self.assertEqual(self.site.acknowledged, [1])

    def test_congestion(self) -> None:
        """While more waits for the store than should, nothing is handed to it (P6)."""
        self.site.store.congested = True
        self.site.come(delivery(1))
        self.site.come(delivery(2))
        self.assertEqual((self.site.store.taken, self.site.collect.waiting), ([], 2))
        self.site.store.congested = False
        (resume,) = self.site.store.resume
        resume()
        self.assertEqual(self.site.store.taken, [[b"1", b"2"]])

    def test_great_messages(self) -> None:
        """Great messages go into the store few at a time (P10)."""
        body = bytes(3 << 20)
        self.site.come(*(delivery(number, body) for number in range(5)))
        self.assertEqual([len(chunk) for chunk in self.site.store.taken], [2, 2, 1])

    def test_bytes(self) -> None:
        """Beyond so many bytes of messages nothing more is read, until half of them are acknowledged (P10)."""
        body = bytes(OCTETS // 4)
        self.site.come(*(delivery(number, body) for number in range(4)))
        self.assertFalse(self.site.session.paused)
        self.site.come(delivery(4, b"x"))
        self.assertTrue(self.site.session.paused)
        for paused in (True, True, False, False):
            self.site.store.commit()
            self.assertEqual(self.site.session.paused, paused)
        self.site.store.commit()
        self.assertEqual(self.site.acknowledged, [0, 1, 2, 3, 4])

    def test_bytes_of_a_session(self) -> None:
        """What a session that is over still has in the store counts no more; an old one's end resumes nothing."""
        self.site.come(delivery(1, bytes(OCTETS + 1)))
        self.assertTrue(self.site.session.paused)
        self.site.session.end(LOST)
        self.site.clock.advance(PAUSE)
        self.site.begin()
        self.site.come(delivery(1, bytes(OCTETS)))
        self.assertFalse(self.site.session.paused)
        self.site.store.commit()
        self.site.come(delivery(2, b"x"))
        self.assertTrue(self.site.session.paused)

    def test_session_ends(self) -> None:
        """What a session brought is not acknowledged over another one; it comes again, in its order (P2)."""
        self.site.come(delivery(1), delivery(2))
        self.site.come(delivery(3))
        self.site.store.commit(failing=1)  # the first two: 2 and 3 would go again after a pause
        self.site.session.end(LOST)
        self.site.clock.advance(PAUSE)
        self.site.begin()
        self.site.come(delivery(2, redelivered=True), delivery(3, redelivered=True))
        self.site.store.commit()  # what the first session still had there
        self.assertEqual(self.site.acknowledged, [])
        self.site.clock.advance(PAUSE)
        self.site.store.commit()
        self.assertEqual((self.site.acknowledged, self.site.store.bodies), ([2, 3], [b"1", b"2", b"3"]))

    def test_cancelled(self) -> None:
        """The broker ends the subscription: what it brought is not acknowledged, and a new one is asked for."""
        self.site.come(delivery(1))
        self.site.session.subscriptions[-1][1].cancelled(self.site.session, LOST)
        self.site.store.commit()
        self.assertEqual(self.site.acknowledged, [])
        self.site.clock.advance(self.site.link.limits.subscription_pause)
        self.assertEqual(len(self.site.session.subscriptions), 2)
        self.site.come(delivery(1))
        self.site.store.commit()
        self.assertEqual(self.site.acknowledged, [1])

    def test_stop(self) -> None:
        """A stop waits for what is being stored, has it acknowledged, and takes nothing more."""
        self.site.come(delivery(1))
        stopped = self.site.collect.stop()
        self.site.come(delivery(2))
        self.assertNoResult(stopped)
        self.site.store.commit()
        self.successResultOf(stopped)
        self.assertEqual((self.site.acknowledged, self.site.store.taken), ([1], []))

    def test_stop_without_session(self) -> None:
        """A stop waits for nothing when the session ends before all is stored: nobody could acknowledge it."""
        self.site.come(delivery(1))
        stopped = self.site.collect.stop()
        self.site.session.end(LOST)
        self.successResultOf(stopped)
        self.site.store.commit()
        self.assertEqual(self.site.acknowledged, [])

    def test_stop_in_trouble(self) -> None:
        """A stop while the store is in trouble does not wait for it."""
        self.site.come(delivery(1))
        self.site.store.commit(failing=0)
        self.successResultOf(self.site.collect.stop())
        self.assertEqual(self.site.clock.getDelayedCalls(), [])


class DeadTests(SynchronousTestCase):
    """Messages that can never be stored."""

    def setUp(self) -> None:
        self.site = Site()
        self.consuming = self.site.session

    def refuse(self) -> None:
        """A bad message between two good ones."""
        self.site.come(delivery(1), delivery(2, b"bad"), delivery(3))
        self.site.store.commit()

    def acknowledged(self) -> list[int]:
        return [each.token for each in self.consuming.acknowledged]

    def test_circle(self) -> None:
        """A message that comes back from where the dead go ends in quarantine: it does not go round for ever (P5)."""
        self.site.come(delivery(9, b"bad"))
        self.site.store.commit()
        dead = self.site.openers.succeed()
        for number in range(3):
            ((_, message),) = dead.published
            dead.confirm(1)
            self.site.come(delivery(number, b"bad", headers=message.headers))
            self.site.store.commit()
        self.assertEqual((dead.published, len(self.site.acknowledged)), ([], 4))
        ((body, reason),) = self.site.kept
        self.assertEqual(body, b"bad")
        self.assertIn("it was set aside 3 times and came back", reason)

    def test_dead_letter(self) -> None:
        """It goes to the dead with its reason, and is acknowledged when it is safe there; nobody waits for it (P5)."""
        self.refuse()
        self.assertEqual(self.acknowledged(), [1, 3])
        dead = self.site.openers.succeed()
        ((_, message),) = dead.published
        self.assertEqual((str(message.destination), message.body, message.id), ("/queue/q.dead", b"bad", "id-2"))
        self.assertEqual(message.headers["lb-dead-reason"], "ULM parse error")
        self.assertEqual(message.headers["lb-dead-code"], "1401")
        self.assertEqual(message.headers["lb-dead-source"], "x-msg://site/queue/q")
        self.assertEqual(self.acknowledged(), [1, 3])
        dead.confirm(1)
        self.assertEqual(self.acknowledged(), [1, 3, 2])
        self.assertEqual((self.site.letters.published, self.site.letters.kept, self.site.kept), (1, 0, []))

    def test_refused_by_the_broker(self) -> None:
        """Where the broker takes no dead letters they go to quarantine, with both reasons."""
        self.refuse()
        dead = self.site.openers.succeed()
        (tag, _) = dead.published[0]
        dead.owner.refused(dead, tag, RefusedError("no permission"))
        ((body, reason),) = self.site.kept
        self.assertEqual(body, b"bad")
        for words in ("x-msg://site/queue/q", "id-2", "1401 ULM parse error", "no permission"):
            self.assertIn(words, reason)
        self.assertEqual(self.acknowledged(), [1, 3, 2])

    def test_full_disk(self) -> None:
        """A quarantine that cannot be written is tried again; until then the broker keeps the message (P2)."""
        self.site = Site("site:/queue/q,dead=quarantine")
        self.consuming = self.site.session
        self.site.file_fails = True
        self.refuse()
        self.site.clock.advance(PAUSE)
        self.assertEqual(self.acknowledged(), [1, 3])
        self.site.file_fails = False
        self.site.clock.advance(PAUSE)
        self.assertEqual(self.acknowledged(), [1, 3, 2])
        self.assertEqual([body for body, _ in self.site.kept], [b"bad"])
        self.assertEqual(self.site.openers.opened, 1)  # no broker was asked

    def test_again(self) -> None:
        """One that comes again before it is safe is not sent to the dead twice, and is acknowledged where it came."""
        self.refuse()
        self.consuming.end(LOST)
        dead = self.site.openers.succeed()
        self.site.clock.advance(PAUSE)
        self.site.begin()
        self.refuse()
        self.assertEqual(len(dead.published), 1)
        self.assertEqual(self.site.acknowledged, [1, 3])
        dead.confirm(1)
        self.assertEqual((self.site.acknowledged, self.acknowledged()), ([1, 3, 2], [1, 3]))

    def test_stop(self) -> None:
        """A stop leaves what is not safe to the broker, and nothing runs on."""
        self.refuse()
        self.site.openers.succeed()
        self.successResultOf(self.site.collect.stop())
        self.site.letters.stop()
        self.assertEqual(self.acknowledged(), [1, 3])
        self.assertEqual(self.site.clock.getDelayedCalls(), [])

    def test_headers(self) -> None:
        """Headers of the dead message are told in one, for some would make brokers do things under our name (P7)."""
        given = {"CC": "elsewhere", "x-match": "a\nb", "odd": "\udcff"}
        letter = Letter(
            delivery(1, headers=given, user="al\nice", content_type="text/x"),
            Refusal(22, "a\nb\udcff" * 999, 2, 3),
            "s",
            None,
        )
        message = dead_message(letter, read_destination("/queue/d"), 1_800_000_000.5)
        self.assertEqual(
            json.loads(message.headers["lb-dead-headers"]), {"CC": "elsewhere", "x-match": "a\nb", "odd": "�"}
        )
        self.assertTrue(all(name.startswith("lb-dead-") for name in message.headers))
        self.assertEqual(message.headers["lb-dead-time"], "2027-01-15T08:00:00Z")
        self.assertEqual((message.headers["lb-dead-refused"], message.headers["lb-dead-user"]), ("2/3", "al ice"))
        self.assertEqual(len(message.headers["lb-dead-reason"]), 1_000)
        self.assertEqual((message.content_type, message.persistent), ("text/x", True))
        huge = letter._replace(delivery=delivery(1, headers={"h": "x" * 20_000}, content_type="t" * 300))
        message = dead_message(huge, read_destination("/queue/d"), 0)
        self.assertNotIn("lb-dead-headers", message.headers)
        self.assertEqual(message.content_type, BINARY)

    def test_identifiers(self) -> None:
        """A message without a usable id has one made of its content: the same each time, no two alike."""
        for odd in ("", "x" * 300):
            first, again, other = (
                identifier(delivery(n, body, id=odd)) for n, body in ((1, b"a"), (2, b"a"), (3, b"b"))
            )
            self.assertEqual(first, again)
            self.assertNotEqual(first, other)
            self.assertEqual(len(first), 32)


class Broker:
    """A queue of numbered messages: sends them ahead of their acknowledgement, and again what was not acknowledged."""

    PREFETCH = 4

    def __init__(self, site: Site, bodies: list[bytes]) -> None:
        self.site = site
        self.queue = [delivery(number, body) for number, body in enumerate(bodies)]
        self.sent: deque[Delivery] = deque()

    def send(self) -> None:
        """Send what may be sent."""
        acknowledged = set(self.site.acknowledged)
        self.queue = [each for each in self.queue if each.token not in acknowledged]
        out = {each.token for each in self.sent}
        ready = [each for each in self.queue if each.token not in out][: self.PREFETCH - len(out - acknowledged)]
        self.sent.extend(ready)
        if ready:
            self.site.come(*ready)

    def lose(self) -> None:
        """The session ends, another one begins."""
        self.send()
        self.site.session.end(LOST)
        self.sent.clear()
        self.site.clock.advance(PAUSE)
        self.site.begin()


class PropertyTests(SynchronousTestCase):
    """Whatever happens."""

    @given(
        st.lists(st.booleans(), min_size=1, max_size=10),
        st.lists(st.sampled_from(("send", "commit", "fail", "lose", "wait")), max_size=40),
    )
    @settings(max_examples=150, deadline=None)
    def test_everything_once_in_order(self, good: list[bool], steps: list[str]) -> None:
        """Each good message is stored, in the order of the queue, whatever fails or breaks when (P2, P4)."""
        site = Site("site:/queue/q,dead=quarantine")
        bodies = [b"%d" % number if each else b"bad%d" % number for number, each in enumerate(good)]
        broker = Broker(site, bodies)
        for step in [*steps, *["send", "commit", "wait"] * 30]:
            if step == "send":
                broker.send()
            elif step == "lose":
                broker.lose()
            elif step == "wait":
                site.clock.advance(1_000)
            elif site.store.chunks:
                site.store.commit(failing=0 if step == "fail" else None)
            stored, kept = set(site.store.bodies), {body for body, _ in site.kept}
            self.assertLessEqual({each.body for each in site.session.acknowledged}, stored | kept)
        broker.send()
        self.assertEqual(broker.queue, [])
        self.assertEqual(site.store.bodies, [body for body, each in zip(bodies, good, strict=True) if each])
        self.assertEqual({body for body, _ in site.kept}, {body for body in bodies if body.startswith(b"bad")})


class SourceTests(SynchronousTestCase):
    """Sources and users as options name them."""

    def test_sources(self) -> None:
        """A source with all its options, and with none."""
        full = read_source("b:/topic/t,as=logger,durable=lb,dead=/queue/x", {"b"})
        self.assertEqual(
            (full.as_logger, full.durable, str(full.dead), str(full)), (True, "lb", "/queue/x", "x-msg://b/topic/t")
        )
        plain = read_source("b:/topic/t", {"b"})
        self.assertEqual((plain.as_logger, plain.durable, str(plain.dead)), (False, None, "/queue/t.dead"))
        self.assertIsNone(read_source("b:/queue/q,dead=quarantine", {"b"}).dead)

    def test_mistakes(self) -> None:
        """Everything else is refused with what would be right."""
        for text, words in (
            ("/queue/q", "is not NAME:DESTINATION"),
            ("b:", "is not NAME:DESTINATION"),
            ("c:/queue/q", "no broker c; give it by --broker c=URL"),
            ("b:/queue/a/b", "names of up to 200"),
            ("b:/queue/q,as=admin", "as=logger is the only role"),
            ("b:/queue/q,as", "is none of as=logger"),
            ("b:/queue/q,dead=/queue/a,dead=/queue/b", "is none of"),
            ("b:/queue/q,durable=x", "queues keep their messages anyhow"),
            ("b:/queue/q,dead=/queue/q", "dead messages would come back"),
        ):
            error = self.assertRaises(LBError, read_source, text, {"b"})
            self.assertIn(words, error.description)

    def test_twice(self) -> None:
        """One destination is one source; the same name at another broker is another one."""
        brokers = {"b", "c"}
        self.assertEqual(len(read_sources(["b:/queue/q", "c:/queue/q", "b:/topic/q"], brokers)), 3)
        self.assertRaises(LBError, read_sources, ["b:/queue/q", "b:queue/q,as=logger"], brokers)

    def test_users(self) -> None:
        """Users are known by broker and name; names may hold what separates them elsewhere (P7)."""
        known = read_vouching(
            ["b:alice=/O=Ex/CN=Alice", "b:CN=Test User,O=Test=/O=Ex/CN=T FQAN:/vo/Role=r FQAN:/vo", "c:a:b=/CN=x y"]
        )
        self.assertEqual(known.identity("b", "alice"), Identity("/O=Ex/CN=Alice"))
        self.assertEqual(known.identity("b", "CN=Test User,O=Test"), Identity("/O=Ex/CN=T", ("/vo/Role=r", "/vo")))
        self.assertEqual(known.identity("c", "a:b"), Identity("/CN=x y"))
        for broker, user in (("c", "alice"), ("b", "Alice"), ("b", None)):
            self.assertRaises(LBError, known.identity, broker, user)
        self.assertEqual((known.knows_some("c"), known.knows_some("d")), (True, False))
        for text in ("alice=/CN=a", "b:alice", "b:=/CN=a", "b:alice=CN=a"):
            self.assertRaises(LBError, read_vouching, [text])
        self.assertRaises(LBError, read_vouching, ["b:a=/CN=a", "b:a=/CN=b"])
