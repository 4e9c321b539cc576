"""Following jobs over Perspective Broker: nothing is missed, nobody is flooded, nobody hears what is another's."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.spread import pb
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.grammar import read_query
from lb.model.jobid import parse
from lb.model.query import Flag, own_jobs
from lb.model.status import State
from lb.rpc import following as following_module
from lb.rpc import subscriptions
from lb.rpc.following import Callback, Following
from lb.rpc.pages import PAGE
from lb.rpc.plain import HEARTBEAT
from lb.rpc.subscriptions import Subscriptions
from lb.server.changes import Change
from lb.wire.lbxml import requests, results
from tests.rpc.served import FOLLOWERS, USER, Served
from tests.rpc.test_rpc import refusal
from tests.server.fixture import OTHER
from tests.server.test_ingest import registration, running


def job(number: int) -> str:
    return f"https://localhost:9000/j{number}"


def registered(number: int, user: str | None = USER.name, length: int = 0) -> str:
    return registration(job=job(number), user=user).replace("[ a = 1 ]", "x" * length or "[ a = 1 ]")


class Followed(Served):
    """A real client of a real port."""

    async def follow(self, query: Any = None, after: int | None = None) -> Following:
        found = await self.carrier.follow(self.address, query if query is not None else own_jobs(), after)
        self.addCleanup(lambda: Deferred.fromCoroutine(found.close()))
        return found

    async def test_changes(self) -> None:
        """P7: new and changed jobs are told with their states, in order, and none of another's."""
        following = await self.follow()
        self.server.send(registered(0, OTHER.name), OTHER)
        self.server.send(registered(1), USER)
        change = await following.__anext__()
        self.assertEqual((change.jobid, change.status and change.status.state), (job(1), State.Submitted))
        self.server.send(running(1, job=job(1), user=USER.name), USER)
        change = await following.__anext__()
        self.assertEqual((change.jobid, change.status and change.status.state), (job(1), State.Running))

    async def test_conditions(self) -> None:
        """A job that does not meet the conditions any longer is told without a state."""
        following = await self.follow(read_query(f"owner={USER.name}&status=submitted", 0))
        self.server.send(registered(1), USER)
        self.assertIsNotNone((await following.__anext__()).status)
        self.server.send(running(1, job=job(1), user=USER.name), USER)
        change = await following.__anext__()
        self.assertEqual((change.jobid, change.status), (job(1), None))

    async def test_goes_on(self) -> None:
        """P2: over a lost connection, and for another following from its position, nothing is missed."""
        following = await self.follow()
        self.server.send(registered(1), USER)
        self.assertEqual((await following.__anext__()).jobid, job(1))
        for connection in tuple(self.factory._connections):
            connection.transport.abortConnection()
        self.server.send_all([registered(2), registered(3)], USER)
        self.assertEqual([(await following.__anext__()).jobid for _ in range(2)], [job(2), job(3)])
        position = following.position
        assert position is not None
        await following.close()
        again = await self.follow(after=position)
        self.assertEqual([(await again.__anext__()).jobid for _ in range(2)], [job(2), job(3)])
        self.assertFalse(again.reset)

    async def test_reset(self) -> None:
        """Behind a number that this store never reached one begins at its end, and is told so."""
        following = await self.follow(after=1 << 62)
        self.assertTrue(following.reset)
        self.assertEqual(following.position, self.feed.position)

    async def test_closed(self) -> None:
        """A following that is closed has no subscription any more, and ends its iteration."""
        following = await self.follow()
        self.assertEqual(self.feed.followers, 1)
        await following.close()
        self.assertEqual(self.feed.followers, 0)
        self.assertEqual([change async for change in following], [])
        other = await self.follow()
        await self.carrier.close()
        with self.assertRaises(LBError) as gone:
            await other.__anext__()
        self.assertEqual(gone.exception.code, errno.ENOTCONN)

    async def test_long_states(self) -> None:
        """States beyond the protocol's limit for strings come in pages, whole."""
        following = await self.follow(own_jobs(Flag.CLASSADD))
        self.server.send(registered(1, length=3 * PAGE), USER)
        change = await following.__anext__()
        self.assertEqual(len(change.status.jdl or "") if change.status else 0, 3 * PAGE)

    async def test_bounds(self) -> None:
        """P10: followers of the server are counted at n-1, n and n+1; one that ends makes room."""
        made = [await self.follow() for _ in range(FOLLOWERS)]
        refused = await self.assertFailure(Deferred.fromCoroutine(self.follow()), LBError)
        self.assertEqual(refused.code, errno.EAGAIN)
        await made[0].close()
        await self.follow()

    async def test_wrong_calls(self) -> None:
        """What is no query, no object that can be told, no number, no subscription is refused with an error."""
        await self.follow()
        remote = await self.carrier._perspective(self.address)
        document = requests.write_jobs(own_jobs())
        told = Callback(lambda position, document: Deferred())
        for method, arguments, code in [
            ("subscribe", (document,), errno.EINVAL),
            ("subscribe", (document, 1), errno.EINVAL),
            ("subscribe", (document, document), errno.EINVAL),
            ("subscribe", (document, told, -2), errno.EINVAL),
            ("subscribe", (document, told, 1 << 63), errno.EINVAL),
            ("subscribe", (document, told, "1"), errno.EINVAL),
            ("subscribe", (b"<x/>", told), 1407),
            ("unsubscribe", (), errno.EINVAL),
            ("unsubscribe", (7,), errno.ENOENT),
        ]:
            self.assertEqual((await refusal(remote, method, *arguments)).code, code, (method, arguments))
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_hostile_callback(self) -> None:
        """A callback that answers with an object of a class ends its connection; others are told on."""

        class Hostile(pb.Referenceable):
            def remote_changed(self, *arguments: Any) -> Any:
                gone.callback(None)
                return _Copied()

        gone: Deferred[None] = Deferred()
        remote = await self.carrier._perspective(self.address)
        await remote.callRemote("subscribe", requests.write_jobs(own_jobs()), Hostile())
        lost = self.carrier.when_lost(self.address)
        self.server.send(registered(1), USER)
        await gone
        await lost
        following = await self.follow(after=0)
        self.assertEqual((await following.__anext__()).jobid, job(1))
        self.assertEqual(self.feed.followers, 1)


class _Copied(pb.Copyable):
    """What a server must never make."""


class Peer:
    """An object of a peer's; `answers` are what it waits for."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, bytes, Any]] = []
        self.answers: list[Deferred[None]] = []

    def callRemote(self, method: str, *arguments: Any) -> Deferred[None]:
        assert method == "changed"
        self.told.append(arguments)  # type: ignore[arg-type]
        self.answers.append(Deferred())
        return self.answers[-1]

    def jobs(self, number: int) -> list[str | None]:
        document = self.told[number][2]
        return [each.jobid for each in results.read_jobs(document).jobs] if document else []


class GivenFeed:
    """A feed whose changes come when the test says so."""

    followers = 0
    position = 100

    def __init__(self) -> None:
        self.paused = False
        self.closed = False
        self.deliver: Any = None

    def subscribe(self, peer: Any, query: Any, after: int, deliver: Any) -> GivenFeed:
        self.deliver = deliver
        return self

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True


class Slow(SynchronousTestCase):
    """P10: a follower that takes its time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.feed: Any = GivenFeed()
        self.subscriptions = Subscriptions(self.feed, self.clock, 10)
        self.peer: Any = Peer()

    def subscribe(self, after: int = -1) -> tuple[int, int]:
        return self.subscriptions.subscribe(USER, own_jobs(), self.peer, after)

    def change(self, number: int) -> Change:
        return Change(number, parse(job(number)), None)

    def test_paused(self) -> None:
        """The store is not read for who has not answered; what was on its way is told next, then it goes on."""
        self.assertEqual(self.subscribe(), (1, 100))
        self.feed.deliver([self.change(101)], 101)
        self.assertTrue(self.feed.paused)
        self.feed.deliver([self.change(102)], 102)  # it was on its way
        self.assertEqual([told[1] for told in self.peer.told], [101])
        self.peer.answers[0].callback(None)
        self.assertEqual([told[1] for told in self.peer.told], [101, 102])
        self.assertTrue(self.feed.paused)
        self.peer.answers[1].callback(None)
        self.assertFalse(self.feed.paused)
        self.assertEqual([self.peer.jobs(0), self.peer.jobs(1)], [[job(101)], [job(102)]])

    def test_heartbeat(self) -> None:
        """Who heard nothing is told how far its view has come, one at a time."""
        self.subscribe(after=40)
        self.feed.deliver([], 77)
        self.clock.advance(HEARTBEAT)
        self.assertEqual(self.peer.told, [(1, 77, b"", None)])
        self.clock.advance(10 * HEARTBEAT)
        self.assertEqual(len(self.peer.told), 1)
        self.peer.answers[0].callback(None)
        self.clock.advance(HEARTBEAT)
        self.assertEqual(len(self.peer.told), 2)

    def test_ends(self) -> None:
        """A peer that is gone, has no such method, or unsubscribes leaves nothing behind."""
        for end in (
            lambda number: self.peer.answers[-1].errback(pb.PBConnectionLost()),
            lambda number: self.peer.answers[-1].errback(pb.RemoteError("x", "no such method", "")),
            self.subscriptions.unsubscribe,
            lambda number: self.subscriptions.clear(),
        ):
            number, _ = self.subscribe()
            self.feed.closed = False
            self.feed.deliver([self.change(101)], 101)
            end(number)
            self.assertTrue(self.feed.closed)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            with self.assertRaises(LBError):
                self.subscriptions.unsubscribe(number)

    def test_many(self) -> None:
        """One connection has so many subscriptions and no more."""
        for _ in range(subscriptions.MAX_SUBSCRIPTIONS):
            self.subscribe()
        with self.assertRaises(LBError) as refused:
            self.subscribe()
        self.assertEqual(refused.exception.code, errno.EAGAIN)
        self.subscriptions.unsubscribe(1)
        self.subscribe()
        self.subscriptions.clear()


class GivenLink:
    """A way to a server that the test plays."""

    closed = False

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.outcomes: list[Any] = []
        self.callback: Any = None
        self.lost: Deferred[None] = Deferred()
        self.cuts = 0

    async def subscribe(self, document: bytes, callback: Callback, after: int) -> tuple[int, int]:
        self.asked.append(after)
        self.callback = callback
        self.lost = Deferred()
        outcome = self.outcomes.pop(0) if self.outcomes else max(after, 0)
        if isinstance(outcome, Exception):
            raise outcome
        return len(self.asked), outcome

    async def unsubscribe(self, number: int) -> None:
        raise LBError(errno.ENOTCONN, "gone")

    def when_lost(self) -> Deferred[None]:
        return self.lost

    def cut(self) -> None:
        self.cuts += 1
        self.lost.callback(None)

    def tell(self, position: int, *jobs: str) -> Deferred[None]:
        document = b"".join(results.write_jobs([(each, None) for each in jobs])) if jobs else b""
        return maybeDeferred(self.callback.remote_changed, 1, position, document, None)


class Client(SynchronousTestCase):
    """The client's side by itself."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.link = GivenLink()
        self.following = Following(self.link, own_jobs(), None, self.clock, lambda: 0.5)

    def next(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.following.__anext__())

    def test_taken(self) -> None:
        """P2: a batch is answered, and the position moves, when its last change was taken and more is asked for."""
        self.successResultOf(Deferred.fromCoroutine(self.following.open()))
        answer = self.link.tell(5, "a", "b")
        self.assertEqual([self.successResultOf(self.next()).jobid for _ in range(2)], ["a", "b"])
        self.assertNoResult(answer)
        self.assertEqual(self.following.position, 0)
        waiting = self.next()
        self.successResultOf(answer)
        self.assertEqual(self.following.position, 5)
        self.successResultOf(self.link.tell(9))
        self.assertEqual(self.following.position, 9)
        self.link.tell(10, "c")
        self.assertEqual(self.successResultOf(waiting).jobid, "c")
        self.successResultOf(Deferred.fromCoroutine(self.following.close()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_away(self) -> None:
        """A server that is away is tried again, each time later; what was told is not asked for again."""
        self.successResultOf(Deferred.fromCoroutine(self.following.open()))
        self.link.tell(5, "a")
        self.link.outcomes = [LBError(errno.ECONNREFUSED, "x"), LBError(errno.ETIMEDOUT, "x"), 5]
        self.link.lost.callback(None)
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.link.asked, [-1, 5, 5, 5])
        self.assertEqual(self.successResultOf(self.next()).jobid, "a")

    def test_refused(self) -> None:
        """What cannot be cured by waiting is the iterator's error."""
        self.successResultOf(Deferred.fromCoroutine(self.following.open()))
        waiting = self.next()
        self.link.outcomes = [LBError(errno.EPERM, "no")]
        self.link.lost.callback(None)
        self.assertEqual(self.failureResultOf(waiting, LBError).value.code, errno.EPERM)

    def test_silence(self) -> None:
        """A server that says nothing is given up; one that waits for us is not."""
        self.successResultOf(Deferred.fromCoroutine(self.following.open()))
        self.clock.advance(following_module._SILENCE - 1)
        self.link.tell(1)
        self.clock.advance(following_module._SILENCE - 1)
        self.assertEqual(self.link.cuts, 0)
        self.link.tell(2, "a")
        self.clock.advance(10 * following_module._SILENCE)
        self.assertEqual(self.link.cuts, 0)
        self.successResultOf(self.next())
        self.next()
        self.clock.advance(following_module._SILENCE)
        self.assertEqual(self.link.cuts, 1)
        self.assertEqual(self.link.asked, [-1, 2])
