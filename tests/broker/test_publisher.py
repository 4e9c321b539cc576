"""The publisher: each message at least once, in order, bounded, and nobody suffers for another (P2, P4, P6)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.broker.destination import read_destination
from lb.broker.errors import ExpiredError, FullError, LostError, RefusedError
from lb.broker.limits import PublisherLimits
from lb.broker.link import Link
from lb.broker.message import Message
from lb.broker.publisher import Publisher
from lb.broker.url import read_url
from tests.broker.fakes import FakeOpener

QUEUE, OTHER = read_destination("/queue/a"), read_destination("/queue/b")


class House:
    """A publisher over a link whose sessions tests control."""

    def __init__(self, limits: PublisherLimits | None = None) -> None:
        self.clock = Clock()
        self.opener = FakeOpener()
        self.link = Link("main", [read_url("stomp://a")], self.opener, self.clock, delay=lambda rounds: 1.0)
        self.publisher = Publisher(self.link, self.clock, limits or PublisherLimits())
        self.link.startService()

    def publish(self, body: bytes, destination=QUEUE, **fields: object) -> Deferred[None]:  # type: ignore[no-untyped-def]
        """Publish a message."""
        return self.publisher.publish(Message(destination, body, f"id-{body!r}", **fields))  # type: ignore[arg-type]

    def next_session(self, *refused: bytes):  # type: ignore[no-untyped-def]
        """The next session stands."""
        self.clock.advance(1)
        return self.opener.succeed(*refused)


class PublisherTests(SynchronousTestCase):
    """One message after the other."""

    def test_confirmed(self) -> None:
        """A message is published when there is a session, and done when the broker confirms it, not before."""
        house = House()
        done = house.publish(b"1")
        session = house.next_session()
        self.assertEqual(session.bodies, [b"1"])
        self.assertNoResult(done)
        session.confirm(1)
        self.successResultOf(done)
        self.assertEqual((len(house.publisher), house.publisher.counts.confirmed), (0, 1))

    def test_refusals_are_forgotten(self) -> None:
        """P10: reply queues that are gone are refused once each, and cost no memory when their time is over."""
        house = House(PublisherLimits(refusal=10))
        session = house.next_session()
        for number in range(100):
            refused = house.publish(b"answer", read_destination(f"/queue/gone.{number}"))
            ((tag, _),) = session.published
            session.published.clear()
            session.owner.refused(session, tag, RefusedError("nobody there"))
            self.failureResultOf(refused, RefusedError)
            house.clock.advance(1)
        self.assertLessEqual(len(house.publisher._refusals), 11)

    def test_room_of_the_dropped(self) -> None:
        """Whoever waits for room is told when others gave up, also while no session stands (P6)."""
        house = House(PublisherLimits(messages=1))
        first = house.publish(b"1").addErrback(lambda failure: failure.trap(CancelledError))
        room = house.publisher.when_room()
        self.assertNoResult(room)
        first.cancel()
        self.successResultOf(room)

    def test_sent_again(self) -> None:
        """What was not confirmed when a session ends goes first over the next one, in order, with the same ids."""
        house = House(PublisherLimits(window=4))
        done = [house.publish(b"%d" % number) for number in range(6)]
        session = house.next_session()
        self.assertEqual(session.bodies, [b"0", b"1", b"2", b"3"])
        first = [message.id for _, message in session.published]
        session.confirm(1)
        session.end(LostError("gone"))
        session = house.next_session()
        self.assertEqual(session.bodies, [b"1", b"2", b"3", b"4"])
        self.assertEqual([message.id for _, message in session.published][:3], first[1:])
        session.confirm(4)
        session.confirm(1)
        for each in done:
            self.successResultOf(each)
        self.assertEqual(house.publisher.counts.resent, 4)

    def test_cancelled(self) -> None:
        """What nobody wants any longer is not sent, nor sent again; it makes room, and its neighbours go (P6)."""
        house = House(PublisherLimits(messages=6, window=4))
        done = [house.publish(b"%d" % number) for number in range(6)]
        self.assertTrue(house.publisher.full)
        for number in (0, 2, 5):
            done[number].cancel()
            self.failureResultOf(done[number], CancelledError)
        self.assertEqual(len(house.publisher), 3)
        done.append(house.publish(b"6"))
        session = house.next_session()
        self.assertEqual(session.bodies, [b"1", b"3", b"4", b"6"])
        done[3].cancel()
        self.failureResultOf(done[3], CancelledError)
        session.confirm(1)
        session.end(LostError("gone"))
        session = house.next_session()
        self.assertEqual(session.bodies, [b"4", b"6"])
        done[4].cancel()
        self.failureResultOf(done[4], CancelledError)
        session.confirm(2)
        self.successResultOf(done[6])
        self.assertEqual((len(house.publisher), house.publisher._octets), (0, 0))

    def test_late_confirmation(self) -> None:
        """A confirmation of a session that ended says nothing about the message that was sent again."""
        house = House()
        done = house.publish(b"1")
        old = house.next_session()
        old.end(LostError("gone"))
        house.next_session()
        old.confirm(1)
        self.assertNoResult(done)

    def test_refused(self) -> None:
        """A refused message fails with the reason; a refused destination is left alone for a while, others are not."""
        house = House(PublisherLimits(refusal=10))
        session = house.next_session()
        first = house.publish(b"1")
        (tag, _) = session.published.pop()
        session.owner.refused(session, tag, RefusedError("no such queue"))
        self.failureResultOf(first, RefusedError)
        self.failureResultOf(house.publish(b"2"), RefusedError)
        house.publish(b"3", OTHER)
        self.assertEqual(session.bodies, [b"3"])
        house.clock.advance(10)
        house.publish(b"4")
        self.assertEqual(session.bodies, [b"3", b"4"])
        self.assertEqual(house.publisher.counts.refused, 2)

    def test_refused_at_once(self) -> None:
        """A message that the driver refuses while it is asked to publish is no trouble to its neighbours."""
        house = House(PublisherLimits(window=2))
        done = [house.publish(b"%d" % number) for number in range(5)]
        session = house.next_session(b"0", b"3")
        session.confirm(2)
        session.confirm(1)
        self.failureResultOf(done[0], RefusedError)
        self.failureResultOf(done[3], RefusedError)
        for place in (1, 2, 4):
            self.successResultOf(done[place])

    def test_suspects(self) -> None:
        """When the broker ends a session without saying whom it blames, messages go one by one until it is clear."""
        house = House()
        done = [house.publish(b"%d" % number) for number in range(4)]
        house.next_session().end(RefusedError("one of you"))
        session = house.next_session()
        self.assertEqual(session.bodies, [b"0"])
        session.confirm(1)
        self.assertEqual(session.bodies, [b"1"])
        session.end(RefusedError("you"))
        self.assertEqual(str(self.failureResultOf(done[1], RefusedError).value), "you")
        house.clock.advance(60)  # until the destination is no longer taken for refused
        session = house.opener.succeed()
        late = house.publish(b"late")
        self.assertEqual(session.bodies, [b"2"])
        session.confirm(1)
        self.assertEqual(session.bodies, [b"3"])
        session.confirm(1)
        self.assertEqual(session.bodies, [b"late"])
        session.confirm(1)
        for each in (done[0], done[2], done[3], late):
            self.successResultOf(each)

    def test_expired(self) -> None:
        """A message that is sent too late for anybody to want it is reported, not sent."""
        house = House()
        house.clock.advance(100)
        late, good = house.publish(b"late", expires=100_500_000), house.publish(b"good", expires=102_000_000)
        session = house.next_session()
        self.failureResultOf(late, ExpiredError)
        self.assertEqual(session.bodies, [b"good"])
        session.confirm(1)
        self.successResultOf(good)
        self.assertEqual(house.publisher.counts.expired, 1)

    def test_give_up(self) -> None:
        """Whoever waits is told that nothing was confirmed."""
        house = House(PublisherLimits(window=1))
        done = [house.publish(b"1"), house.publish(b"2")]
        house.next_session()
        house.publisher.give_up()
        for each in done:
            self.failureResultOf(each, LostError)
        self.assertEqual(len(house.publisher), 0)


class BoundTests(SynchronousTestCase):
    """P6, P10: full means no more, and never less than what was taken."""

    def test_messages(self) -> None:
        """One more than the bound is refused with FullError; there is room when one is confirmed."""
        house = House(PublisherLimits(messages=3))
        session = house.next_session()
        for number in range(3):
            self.assertNoResult(house.publish(b"%d" % number))
        self.failureResultOf(house.publish(b"4"), FullError)
        room = house.publisher.when_room()
        self.assertNoResult(room)
        session.confirm(1)
        self.successResultOf(room)
        self.successResultOf(house.publisher.when_room())
        self.assertNoResult(house.publish(b"4"))

    def test_octets(self) -> None:
        """The same for bytes; a message greater than the bound is taken when nothing else waits."""
        house = House(PublisherLimits(octets=5_000, window_octets=1_000))
        session = house.next_session()
        self.assertNoResult(house.publish(bytes(10_000)))
        self.failureResultOf(house.publish(b""), FullError)
        session.confirm(1)
        self.assertNoResult(house.publish(b""))

    def test_window(self) -> None:
        """No more is on its way than the window has room for, in messages and in bytes."""
        house = House(PublisherLimits(window=3, window_octets=4_000))
        for _ in range(4):
            house.publish(b"")
        for _ in range(4):
            house.publish(bytes(2_000))
        session = house.next_session()
        sizes = []
        while session.published:
            sizes.append([len(body) for body in session.bodies])
            session.confirm(1)
        self.assertEqual(sizes[0], [0, 0, 0])
        for each in sizes:
            self.assertLessEqual(len(each), 3)
            self.assertLessEqual(sum(size + 512 for size in each), 4_000)
        self.assertEqual(len(sizes), 8)


class AnyOrderTests(SynchronousTestCase):
    """Whatever a broker does."""

    @given(st.lists(st.sampled_from(["publish", "confirm", "lose", "open", "blame"]), max_size=60))
    @settings(max_examples=150, deadline=None)
    def test_any_course(self, course: list[str]) -> None:
        """Every message is confirmed once it was sent, in the end; those seen for the first time are in order."""
        house = House(PublisherLimits(window=3, refusal=0))
        done: list[Deferred[None]] = []
        seen: list[bytes] = []
        session = None
        guilty = b"2"

        def look() -> None:
            if session is not None:
                seen.extend(body for body in session.bodies if body not in seen)

        for step in [*course, *["open", "confirm", "confirm"] * (len(course) + 3)]:
            if step == "publish":
                done.append(house.publish(b"%d" % len(done)))
            elif step == "open" and session is None:
                house.clock.advance(1)
                session = house.opener.succeed()
            elif session is not None and step == "confirm" and session.published:
                if session.bodies[0] == guilty:
                    look()
                    session.end(RefusedError("somebody"))
                    session = None
                else:
                    session.confirm(1)
            elif session is not None and step == "lose":
                look()
                session.end(LostError("gone"))
                session = None
            look()
        for number, each in enumerate(done):
            if b"%d" % number == guilty:
                self.failureResultOf(each, RefusedError)
            else:
                self.successResultOf(each)
        self.assertEqual(seen, [b"%d" % number for number in range(len(done))])
