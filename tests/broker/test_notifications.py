"""Notifications to brokers without a network: addresses, prefixes, messages, outages, refusals, several brokers."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.errors import LostError, RefusedError, UnroutableError
from lb.broker.message import Message
from lb.broker.notifications import DEFAULT_PREFIXES, TopicLimits, Topics, read_format
from lb.broker.url import BrokerURL, read_url
from lb.model.errors import LBError
from lb.model.registration import Registration
from lb.server.notify.brokers import BROKER, Brokers
from lb.server.notify.notifier import Kind
from lb.service.metrics import figures, registry
from lb.wire.brokerstate import Format
from tests.broker.fakes import FakeOpener, FakeSession
from tests.notify.registrations import ALICE, BOB
from tests.notify.test_notifier import NOW, Notifying

LIMITS = TopicLimits(window_messages=8)
TOPIC = "x-msg://grid.emi.jobs"


class AddressTests(SynchronousTestCase):
    """What addresses name, and what a site takes."""

    def test_what_is_meant(self) -> None:
        """Addresses of C clients name a topic at the default broker; full ones say more, cut nowhere."""
        topics = Topics(("site", "other"), ("grid.emi.",))
        for address, broker, destination, form in (
            ("x-msg://grid.emi.a", "site", "/topic/grid.emi.a", Format.PLAIN),
            ("X-MSG://grid.emi.a", "site", "/topic/grid.emi.a", Format.PLAIN),
            ("x-msg://grid.emi.a:61616", "site", "/topic/grid.emi.a", Format.PLAIN),
            ("x-msg://grid.emi.a/whatever", "site", "/topic/grid.emi.a", Format.PLAIN),
            ("x-msg://other/grid.emi.a", "other", "/topic/grid.emi.a", Format.PLAIN),
            ("x-msg://other/topic/grid.emi.a", "other", "/topic/grid.emi.a", Format.PLAIN),
            ("x-msg://site/topic/grid.emi.a?format=cloudevents", "site", "/topic/grid.emi.a", Format.CLOUDEVENTS),
            ("x-msg://grid.emi.a?format=plain", "site", "/topic/grid.emi.a", Format.PLAIN),
        ):
            read = topics.read(address)
            self.assertEqual((read.broker, str(read.destination), read.form), (broker, destination, form))
            self.assertEqual(topics.accept(address), address)

    def test_prefixes(self) -> None:
        """Only what begins as the site says is taken; queues and exchanges only when a prefix says them in full."""
        topics = Topics(("site",), ("grid.", "/queue/jobs.", "/exchange/lb/"))
        for address in ("grid.x", "site/topic/grid.x", "site/queue/jobs.a", "site/exchange/lb/any.key"):
            topics.accept(f"x-msg://{address}")
        for address in (
            "grim.x",
            "site/queue/grid.x",
            "site/amq/queue/grid.x",
            "site/exchange/grid.x",
            "site/exchange/amq.topic/grid.x",
            "site/queue/other",
            "unknown/topic/grid.x",
        ):
            error = self.assertRaises(LBError, topics.accept, f"x-msg://{address}")
            self.assertEqual(
                (error.code, error.description),
                (
                    22,
                    "This site requires that all topic names start with prefix grid. or /queue/jobs. or /exchange/lb/",
                ),
            )

    def test_words_of_the_c_server(self) -> None:
        """With the usual prefix the refusal is that of the recorded server (wire-query.md §8.5)."""
        error = self.assertRaises(LBError, Topics(("site",), DEFAULT_PREFIXES).accept, "x-msg://secret")
        self.assertEqual(error.description, "This site requires that all topic names start with prefix grid.emi.")

    def test_one_destination(self) -> None:
        """A name that some broker takes for several destinations, or for options, is refused (P7: past the prefix)."""
        topics = Topics(("site",))
        for name in ("grid.emi.a,secret", "grid.emi.*", "grid.emi.>", "grid.emi.#", "grid.emi.a,queue:%2F%2Fx"):
            self.assertRaises(LBError, topics.accept, f"x-msg://{name}")
            self.assertRaises(LBError, topics.accept, f"x-msg://site/topic/{name}")

    def test_none(self) -> None:
        """What is no address, asks for an unknown format, or has no broker to go to is refused with the reason."""
        for address in (
            "x-msg://",
            "x-msg:///",
            "x-msg://a b",
            "x-msg://grid.emi.a?format=xml",
            "x-msg://grid.emi.a?x=1",
        ):
            self.assertRaises(LBError, Topics(("site",)).accept, address)
        error = self.assertRaises(LBError, Topics(()).accept, TOPIC)
        self.assertIn("none is configured", error.description)
        self.assertRaises(LBError, read_format, "xml")


class Brokered(Notifying):
    """An outbox, a notifier, and brokers `site` and `other` that do what a test says."""

    def _kinds(self) -> dict[str, Kind]:
        self.openers: defaultdict[str, FakeOpener] = defaultdict(FakeOpener)
        urls = {name: (read_url(f"amqp://{name}"), read_url(f"amqp://{name}2")) for name in ("site", "other")}
        topics = Topics(tuple(urls), ("grid.emi.",))
        self.brokers = Brokers(urls, topics, self, self.clock, limits=LIMITS)
        for link in self.brokers.links:
            link.startService()
        return {BROKER: self.brokers.kind}

    def open(self, url: BrokerURL, owner: Any) -> Any:
        return self.openers[url.host.removesuffix("2")].open(url, owner)

    def _here(self, name: str = "site") -> FakeSession:
        """A broker's session begins."""
        session = self.openers[name].succeed()
        self.reading.run()
        return session

    def _confirm(self, session: FakeSession, count: int) -> None:
        session.confirm(count)
        self.reading.run()

    def _register(self, number: int = 1, **more: Any) -> Registration:
        return super()._register(number, **{"destination": TOPIC, **more})


def _codes(session: FakeSession) -> list[int]:
    """Which notices are on their way over a session."""
    return [json.loads(body)["exitCode"] for body in session.bodies]


def _refuse(session: FakeSession, place: int) -> None:
    """The queue of one of the messages that are on their way is full."""
    tag, _ = session.published.pop(place)
    session.owner.refused(session, tag, RefusedError("not stored by the broker, is the queue full?"))


class DeliveryTests(Brokered):
    """Rows of the outbox and messages."""

    def test_figures(self) -> None:
        """Trouble of a broker moves the figures that docs/operations.md promises, those of no other."""
        counted = registry()
        self.brokers.watch(counted)

        def told(broker: str = "site") -> list[float]:
            found = figures(counted)
            outcomes = [
                found[f'lb_broker_notifications_total{{broker="{broker}",outcome="{outcome}"}}']
                for outcome in ("confirmed", "refused", "resent")
            ]
            now = [found[f'lb_broker_{name}{{broker="{broker}"}}'] for name in ("connected", "waiting")]
            return [*now, *outcomes]

        one = self._register()
        self._tell(one, count=3)
        self.assertEqual(told()[0], 0)
        session = self._here()
        self.assertEqual(told()[0], 1)
        self.assertGreater(told()[1], 0)
        self._confirm(session, 1)
        self.assertEqual(told()[2:], [1, 0, 0])
        session.end(LostError("gone"))
        self.assertEqual(told()[0], 0)
        self.clock.advance(60)
        again = self._here()
        self.assertEqual((told()[0], told()[4] > 0), (1, True))
        _refuse(again, 0)
        self.assertEqual(told()[3], 1)
        self.assertEqual(told("other"), [0, 0, 0, 0, 0])

    def test_message(self) -> None:
        """A notification is a persistent message with body, headers, type, and an id that never changes."""
        one = self._register()
        (number,) = self._tell(one)
        session = self._here()
        ((_, message),) = session.published
        self.assertEqual(str(message.destination), "/topic/grid.emi.jobs")
        self.assertEqual((message.content_type, message.persistent, message.expires), ("text/javascript", True, None))
        self.assertEqual(message.id, f"{one.id.notification}.{number}")
        self.assertEqual(message.headers["lb-notification"], str(one.id))
        self.assertEqual(message.headers["lb-sequence"], str(number))
        self.assertEqual(message.headers["lb-owner"], ALICE)
        self.assertEqual(json.loads(message.body)["jobid"], message.headers["lb-job"])

    def test_formats(self) -> None:
        """Of two registrations for the same change one may have it as CloudEvents."""
        plain = self._register(1)
        event = self._register(2, destination=f"{TOPIC}?format=cloudevents")
        self._tell(plain, event)
        messages = [message for _, message in self._here().published]
        by_type = {message.content_type: json.loads(message.body) for message in messages}
        self.assertEqual(by_type["application/cloudevents+json"]["data"], by_type["text/javascript"])
        self.assertEqual({str(message.destination) for message in messages}, {"/topic/grid.emi.jobs"})

    def test_row_goes_on_confirm(self) -> None:
        """P2: a row of the outbox stays until the broker has confirmed its message, whatever was sent."""
        one = self._register()
        told = self._tell(one, count=3)
        session = self._here()
        self.assertEqual(_codes(session), told)
        self._advance(1)
        self.assertEqual(self._waiting(one), told)
        self._confirm(session, 2)
        self._advance(1)
        self.assertEqual(self._waiting(one), told[2:])

    def test_window(self) -> None:
        """P10: no more than a window is on its way; what follows goes as the broker confirms, in order (P4)."""
        one = self._register()
        told = self._tell(one, count=20)
        session = self._here()
        self.assertEqual(_codes(session), told[:8])
        got: list[int] = []
        while session.published:
            self.assertLessEqual(len(session.published), 8)
            got += _codes(session)[:1]
            self._confirm(session, 1)
        self.assertEqual(got, told)

    def test_broker_away(self) -> None:
        """P2, P4: what was not confirmed when a session ended comes again over the next one, in order, with its id."""
        one = self._register()
        told = self._tell(one, count=3)
        first = self._here()
        ids = [message.id for _, message in first.published]
        self._confirm(first, 1)
        first.end(LostError("gone"))
        self._advance(2)
        told += self._tell(one, count=2)
        second = self._here()
        self.assertEqual(_codes(second), told[1:])
        self.assertEqual([message.id for _, message in second.published][:2], ids[1:])

    def test_confirmed_out_of_order(self) -> None:
        """P2: a notification that a full queue refused comes again, though the broker took later ones of its kind."""
        one = self._register()
        told = self._tell(one, count=4)
        session = self._here()
        _refuse(session, 1)
        self._confirm(session, 3)
        self._advance(0.1)
        self.assertEqual(self._waiting(one), told[1:2])
        self._advance(2)
        self.assertEqual(_codes(session), told[1:2])
        self._confirm(session, 1)
        self._tell(one)
        self.assertEqual(len(_codes(session)), 1)
        self._confirm(session, 1)
        self._advance(1)
        self.assertEqual(self._waiting(one), [])

    def test_moved_out_of_order(self) -> None:
        """P2: nor is it forgotten when the registration moves to another destination before it came again."""
        one = self._register()
        told = self._tell(one, count=3)
        session = self._here()
        _refuse(session, 0)
        self._confirm(session, 1)
        moved = msgspec.structs.replace(one, destination="x-msg://site/grid.emi.others")
        self.registry.change(moved)
        self.notifier.update(moved)
        self.reading.run()
        self._advance(0.1)
        again = [json.loads(m.body)["exitCode"] for _, m in session.published if m.destination.name != "grid.emi.jobs"]
        self.assertEqual([code for code in again if code != told[1]], [told[0], told[2]])

    def test_after_a_restart(self) -> None:
        """P2: after kill -9 all that was not confirmed and stored comes again, with the same ids."""
        one = self._register()
        told = self._tell(one, count=3)
        first = self._here()
        ids = [message.id for _, message in first.published]
        self._confirm(first, 1)
        self._advance(1)
        self._close()
        self._open()
        second = self._here()
        self.assertEqual(_codes(second), told[1:])
        self.assertEqual([message.id for _, message in second.published], ids[1:])

    def test_other_url(self) -> None:
        """Fail-over: when the first URL of a broker cannot be had, the next one is tried within two seconds."""
        self._tell(self._register())
        self.openers["site"].fail()
        self._advance(2)
        self.assertEqual([url.host for url in self.openers["site"].asked], ["site", "site2"])
        self.assertEqual(len(self._here().published), 1)

    def test_brokers_do_not_wait_for_each_other(self) -> None:
        """P5: beside a broker that is away, another one and a listening socket's kind get everything."""
        away, here = self._register(1), self._register(2, destination="x-msg://other/topic/grid.emi.jobs")
        told = self._tell(away, here, count=5)
        session = self._here("other")
        self.assertEqual(_codes(session), told)
        self._confirm(session, 5)
        self._advance(1)
        self.assertEqual((self._waiting(here), self._waiting(away)), ([], told))

    def test_bind_moves(self) -> None:
        """After a Bind what was not confirmed goes to the new destination."""
        one = self._register()
        told = self._tell(one, count=2)
        self._move(one, "x-msg://other/topic/grid.emi.else")
        session = self._here("other")
        self.assertEqual(_codes(session), told)
        self.assertEqual({str(message.destination) for _, message in session.published}, {"/topic/grid.emi.else"})

    def test_moved_or_dropped_while_the_broker_is_away(self) -> None:
        """What waits in memory for a destination that is given up is not sent there when the broker comes back."""
        moved, dropped, kept = (self._register(n, destination=f"{TOPIC}.{n}") for n in (1, 2, 3))
        told = self._tell(moved, dropped, kept, count=2)
        self._move(moved, "x-msg://other/topic/grid.emi.jobs")
        self.registry.drop([dropped])
        messages = [message for _, message in self._here().published]
        self.assertEqual({message.headers["lb-notification"] for message in messages}, {str(kept.id)})
        self.assertEqual(_codes(self._here("other")), told)

    def _move(self, one: Registration, destination: str) -> None:
        moved = msgspec.structs.replace(one, destination=destination)
        self.registry.change(moved)
        self.notifier.update(moved)
        self.reading.run()

    def test_expired(self) -> None:
        """What is not handed to a broker before its registration expires is not sent."""
        one = self._register()
        self._advance(20_000)
        self._tell(one)
        self.assertEqual(self._here().published, [])


class RefusalTests(Brokered):
    """Destinations that brokers refuse, and sites that change their minds."""

    def _refuse(self, session: FakeSession, *, everything: bool = True) -> Message:
        tag, message = session.published.pop(0)
        session.owner.refused(session, tag, RefusedError("no such exchange", everything=everything))
        self.reading.run()
        return message

    def test_refused_destination(self) -> None:
        """A refused destination is said to the registration, tried again with pauses, and loses nothing (P2, P4)."""
        one = self._register()
        told = self._tell(one, count=3)
        session = self._here()
        while session.published:
            self._refuse(session)
        self.assertEqual(self.notifier.trouble(one.number), "no such exchange")
        self._advance(2)
        self.assertEqual(_codes(session), told[:1])
        self._refuse(session)
        self._advance(1)
        self.assertEqual(session.published, [])
        self._advance(2)
        got: list[int] = []
        while session.published:
            got += _codes(session)
            self._confirm(session, len(session.published))
        self.assertEqual(got, told)
        self.assertIsNone(self.notifier.trouble(one.number))
        self._advance(1)
        self.assertEqual(self._waiting(one), [])

    def test_refused_message(self) -> None:
        """A message refused for itself goes to quarantine with the reason; those behind it are not held up (P5)."""
        one = self._register()
        told = self._tell(one, count=3)
        session = self._here()
        self._refuse(session, everything=False)
        self.assertEqual(_codes(session), told[1:])
        self.writing.run()
        self._confirm(session, 2)
        self._advance(1)
        self._advance(1)
        self.assertEqual(self._waiting(one), [])
        ((body, reason),) = self.quarantine
        self.assertEqual(json.loads(body)["exitCode"], told[0])
        self.assertIn("no such exchange", reason)

    def test_nobody_listens(self) -> None:
        """A notification that no queue would get is told as well as it can be: it neither waits nor is kept."""
        one = self._register()
        told = self._tell(one, count=2)
        session = self._here()
        tag, _ = session.published.pop(0)
        session.owner.refused(session, tag, UnroutableError("nobody gets it"))
        self.assertEqual(_codes(session), told[1:])
        self._confirm(session, 1)
        self._advance(1)
        self.assertEqual((self._waiting(one), self.quarantine), ([], []))
        self.assertIsNone(self.notifier.trouble(one.number))

    def test_others_at_the_same_broker(self) -> None:
        """P5: beside a refused destination another one of the same broker gets everything."""
        bad, good = self._register(1), self._register(2, destination="x-msg://grid.emi.good", owner=BOB)
        session = self._here()
        self._tell(bad)
        self._refuse(session)
        told = self._tell(bad, good, count=3)
        self.assertEqual(_codes(session), told)
        self.assertIsNone(self.notifier.trouble(good.number))

    def test_allowed_no_longer(self) -> None:
        """A stored destination that the site no longer allows gets nothing, and the registration says why."""
        one = self._register(destination="x-msg://former/topic/grid.emi.jobs")
        self._tell(one)
        self.assertEqual(self._here().published, [])
        self.assertIn("start with prefix grid.emi.", self.notifier.trouble(one.number) or "")
        self.assertEqual(len(self._waiting(one)), 1)

    def test_broker_away_is_said(self) -> None:
        """A registration whose broker is away says so."""
        one = self._register()
        self._tell(one)
        self.openers["site"].fail()
        self.assertEqual(self.notifier.trouble(one.number), "nobody there")
        self._advance(2)
        self._here()
        self.assertIsNone(self.notifier.trouble(one.number))


class NumberTests(Brokered):
    """Numbers of notices."""

    def test_never_given_again(self) -> None:
        """Numbers go up over a restart after which the store remembers none of them."""
        one = self._register()
        self.outbox.continue_from(NOW << 20)
        (first,) = self._tell(one)
        self._confirm(self._here(), 1)
        self._advance(1)
        self.assertEqual(self._waiting(one), [])
        self._close()
        self._open()
        self.outbox.continue_from(int(self.clock.seconds()) << 20)
        self.assertGreater(self.outbox.new_notice(), first)
