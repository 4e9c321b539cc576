"""The stream of changes: who is told what, that nothing is missed, that nobody makes the server remember."""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import Action, Policy
from lb.server import feed
from lb.store.interface import StoreError
from lb.web.api.limits import APILimits
from lb.web.api.stream import HEARTBEAT
from tests.server.fixture import OTHER, OWNER
from tests.web.api import Connection, Served, document, request

_CHUNK = re.compile(rb"[0-9a-f]+\r\n(.*?)\r\n", re.DOTALL)


class Told(NamedTuple):
    """One event of a stream."""

    kind: str
    number: int
    document: dict[str, Any]


def job(unique: str) -> str:
    return f"https://localhost:9000/{unique}"


def registration(unique: str) -> dict[str, Any]:
    return {"type": "RegJob", "jobId": job(unique), "ns": "x", "jobtype": "SIMPLE", "source": "UserInterface"}


def running(unique: str, number: int = 1) -> dict[str, Any]:
    code = f"UI=000001:NS=0000000000:WM=000000:BH=0000000000:JSS=000000:LM=000000:LRMS=0000{number:02}:APP=000000:LBS=0"
    return {"type": "Running", "jobId": job(unique), "node": f"wn{number}", "source": "LRMS", "seqcode": code + "00000"}


class Stream:
    """A reader of a stream, as a browser is one."""

    def __init__(self, served: Served, query: str = "", peer: Identity = OWNER, last: int | None = None) -> None:
        self.served = served
        self.connection: Connection = served.connect(peer)
        headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last_Event_ID": str(last)})
        self.head, _, body = self.connection.send(request("GET", f"/stream{query}", **headers)).partition(b"\r\n\r\n")
        self.connection.transport.clear()
        self.last = -1
        self.events = self._read(body)

    def _read(self, data: bytes) -> list[Told]:
        if b"chunked" not in self.head:
            return []
        found = []
        for block in b"".join(_CHUNK.findall(data)).decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            self.last = int(fields["id"])
            if "data" in fields:
                found.append(Told(fields["event"], self.last, msgspec.json.decode(fields["data"])))
        return found

    def heard(self) -> list[Told]:
        """What came since the last time, all that is to come soon."""
        for _ in range(10):
            self.served.clock.advance(feed.PACE)
        data = self.connection.transport.value()
        self.connection.transport.clear()
        return self._read(data)

    def close(self) -> None:
        self.connection.channel.connectionLost(Failure(ConnectionDone()))


class Streams(SynchronousTestCase):
    """`GET /api/v1/stream`."""

    def setUp(self) -> None:
        """A server without jobs."""
        self.path = Path(self.mktemp())
        self.served = Served(self.path, APILimits(streams=3))
        self.addCleanup(lambda: self.served.close())

    def _post(self, *events: dict[str, Any]) -> None:
        found = document(self.served.post(list(events)))
        self.assertEqual(found["refused"], 0, found)

    def test_changes(self) -> None:
        """A change is told with the job's state and a number; many changes of one job may be told as one."""
        stream = Stream(self.served)
        self.assertIn(b"Content-Type: text/event-stream", stream.head)
        self.assertIn(b"Cache-Control: no-store", stream.head)
        ((kind, number, nothing),) = stream.events
        self.assertEqual((kind, number, nothing), ("begin", self.served.feed.position, {}))
        self._post(registration("a"))
        ((kind, first, told),) = stream.heard()
        self.assertEqual((kind, told), ("job", self.served.get("/jobs/a")))
        self.assertGreater(first, number)
        for number in range(1, 8):
            self._post(running("a", number))
        told_at_once, (kind, second, told) = stream.heard()
        self.assertEqual(told_at_once.document["ce_node"], "wn1")
        self.assertEqual((kind, told["state"], told["ce_node"]), ("job", "Running", "wn7"))
        self.assertGreater(second, first)
        self.assertEqual(stream.heard(), [])

    def test_conditions(self) -> None:
        """Conditions choose; a job that no longer meets what may change is gone, others are never named."""
        self._post(registration("a"), registration("b"))
        submitted = Stream(self.served, "?status=submitted")
        of_b = Stream(self.served, f"?jobid={quote(job('b'))}&status=running&flags=childhist_fast")
        self._post(running("a"), registration("c"))
        told = {each.document["jobId"]: each.kind for each in submitted.heard()}
        self.assertEqual(told, {job("a"): "gone", job("c"): "job"})
        self.assertEqual(of_b.heard(), [])
        self._post(running("b"))
        self.assertEqual([(each.kind, each.document["state"]) for each in of_b.heard()], [("job", "Running")])

    def test_who(self) -> None:
        """P7: jobs that may not be read are not told, not even that they are gone; nobody without a name reads."""
        others = Stream(self.served, "", OTHER)
        asked = Stream(self.served, f"?owner={quote(OWNER.name or '')}", OTHER)
        by_state = Stream(self.served, "?status=submitted", OTHER)
        self._post(registration("a"), registration("b"))
        self._post(running("a"))
        for stream in (others, asked, by_state):
            self.assertEqual(stream.heard(), [])
            stream.close()
        self.assertEqual(self.served.ask("GET", "/stream", peer=ANONYMOUS).status, 401)
        self.served.server.policy = Policy.open().permitting(OTHER.name or "", Action.READ_ALL)
        stream = Stream(self.served, "?status=running", OTHER)
        self._post(running("b"))
        self.assertEqual([each.document["state"] for each in stream.heard()], ["Running"])

    def test_watchers(self) -> None:
        """P7: who only watches jobs cannot find out what is not told by asking for changes of jobs that have it."""
        self.served.server.policy = Policy.open().permitting(OTHER.name or "", Action.STATUS_FOR_MONITORING)
        watched = Stream(self.served, "?status=running", OTHER)
        probe = Stream(self.served, "?status=running&location=%3C~", OTHER)
        guess = Stream(self.served, f"?owner={quote(OWNER.name or '')}", OTHER)
        self._post(registration("a"))
        self._post(running("a"))
        self.assertEqual(watched.heard()[-1].kind, "job")
        self.assertEqual((probe.heard(), guess.heard()), ([], []))

    def test_resumed(self) -> None:
        """Nothing is missed between two connections, nor over a restart of the server (P2)."""
        stream = Stream(self.served)
        self._post(registration("a"), registration("b"))
        stream.heard()
        stream.close()
        self._post(running("a"))
        again = Stream(self.served, last=stream.last)
        self.assertEqual([each.document["jobId"] for each in again.events[1:] + again.heard()], [job("a")])
        again.close()
        self._post(running("b", 1))
        self.served.close()
        self.served = Served(self.path, APILimits(streams=3))
        self._post(running("a", 3))
        third = Stream(self.served, last=again.last)
        told = third.events[1:] + third.heard()
        self.assertEqual({each.document["jobId"] for each in told}, {job("a"), job("b")})
        self.assertEqual(sorted(each.number for each in told), [each.number for each in told])
        self.assertEqual(Stream(self.served, f"?after={third.last}").events[0].kind, "begin")

    def test_unknown_place(self) -> None:
        """A place beyond the changes of a store that was brought back is told; one that is none is refused."""
        stream = Stream(self.served, last=self.served.feed.position + 5)
        self.assertEqual([each.kind for each in stream.events], ["reset"])
        self._post(registration("a"))
        self.assertEqual(len(stream.heard()), 1)
        for place in ("x", "-1", "9" * 30):
            response = self.served.ask("GET", "/stream", Last_Event_ID=place)
            self.assertEqual(document(response, 400)["code"], errno.EINVAL)

    def test_wrong(self) -> None:
        """What cannot be asked is refused before a stream begins; HEAD and other types have their answers."""
        for query in ("?status=bogus", "?nonsense=1", "?limit=5", "?flags=bogus"):
            self.assertEqual(self.served.ask("GET", f"/stream{query}").status, 400, query)
        self.assertEqual(self.served.ask("GET", "/stream", Accept="application/json").status, 406)
        head = self.served.ask("HEAD", "/stream")
        self.assertEqual((head.status, head.headers["content-type"]), (200, "text/event-stream"))
        self.assertEqual(self.served.feed.followers, 0)

    def test_bound(self) -> None:
        """P10: so many streams and no more; one that ends makes room."""
        streams = [Stream(self.served) for _ in range(3)]
        self.assertEqual(document(self.served.ask("GET", "/stream"), 503)["code"], errno.EAGAIN)
        streams[0].close()
        self.assertEqual(Stream(self.served).events[0].kind, "begin")
        self.assertEqual(self.served.feed.followers, 3)

    def test_slow(self) -> None:
        """P6, P10: a reader that does not read costs nothing, holds up nobody, and catches up from the store."""
        slow, quick = Stream(self.served), Stream(self.served)
        slow.connection.transport.producer.pauseProducing()
        for number in range(3 * feed.MOST // 10):
            self._post(*(registration(f"j{number}-{each}") for each in range(10)))
        self._post(running("j0-0"))
        self.assertEqual(len({each.document["jobId"] for each in quick.heard()}), 3 * feed.MOST)
        self.assertEqual(slow.heard(), [])
        slow.connection.transport.producer.resumeProducing()
        told = slow.heard()
        self.assertEqual(len({each.document["jobId"] for each in told}), 3 * feed.MOST)
        self.assertEqual(
            [each.document["state"] for each in told if each.document["jobId"] == job("j0-0")], ["Running"]
        )

    def test_heartbeat(self) -> None:
        """A reader that hears nothing is told its place, so that it need not look through all that others changed."""
        stream = Stream(self.served, "?status=running")
        self._post(registration("a"))
        (gone,) = stream.heard()
        for number in range(5):
            self._post(registration(f"b{number}"))
        other = Stream(self.served, f"?jobid={quote(job('a'))}")
        self._post(running("b1"))
        self.assertEqual(other.heard(), [])
        before = other.last
        self.served.clock.advance(HEARTBEAT)
        self.assertEqual(other._read(other.connection.transport.value()), [])
        self.assertEqual(other.last, self.served.feed.position)
        self.assertGreater(other.last, before)
        self.assertEqual(gone.kind, "gone")

    def test_store_in_trouble(self) -> None:
        """P5: while the store cannot be read nothing is told, and nothing is lost."""
        stream = Stream(self.served)
        changes = self.served.server.reader.changes

        def broken(after: int, most: int) -> Any:
            raise StoreError(errno.EIO, "disk")

        self.served.server.reader.changes = broken  # type: ignore[method-assign]
        self._post(registration("a"))
        self.assertEqual(stream.heard(), [])
        self.served.server.reader.changes = changes  # type: ignore[method-assign]
        self.assertEqual(len(stream.heard() + stream.heard()), 1)
        self.assertGreaterEqual(len(self.flushLoggedErrors(StoreError)), 1)

    def test_certificate_expires(self) -> None:
        """P7: a stream ends when the certificate of its reader expires, and nothing of it is left."""
        end = int(self.served.clock.seconds()) + 2 * int(HEARTBEAT)
        stream = Stream(self.served, "", replace(OWNER, expires=end))
        self.served.clock.pump([1.0] * (2 * int(HEARTBEAT) - 1))
        self.assertFalse(stream.connection.transport.value().endswith(b"0\r\n\r\n"))
        self.served.clock.advance(1)
        self.assertTrue(stream.connection.transport.value().endswith(b"0\r\n\r\n"))
        self.assertEqual(self.served.feed.followers, 0)
        left = Stream(self.served, "", replace(OWNER, expires=end + 100))
        left.close()
        self.served.clock.advance(200)

    def test_stopped(self) -> None:
        """A server that stops looks no more: its threads are ending."""
        stream = Stream(self.served)
        self._post(registration("a"))
        self._post(registration("b"))  # its look waits for the pace
        self.served.feed.stopService()
        self._post(registration("c"))
        self.assertEqual([each.document["jobId"] for each in stream.heard()], [job("a")])
        self.assertEqual(self.served.feed.followers, 1)

    def test_cost(self) -> None:
        """Followers at one place are served by one look at the store, and nobody looks when nobody follows."""
        looks: list[int] = []
        changes = self.served.server.reader.changes

        def counted(after: int, most: int) -> Any:
            looks.append(after)
            return changes(after, most)

        self.served.server.reader.changes = counted  # type: ignore[method-assign]
        self._post(registration("a"))
        self.assertEqual(looks, [])
        streams = [Stream(self.served) for _ in range(3)]
        self._post(registration("b"))
        self.assertEqual([len(stream.heard()) for stream in streams[:1]], [1])
        self.assertEqual(len(looks), 1)

    def test_crowd(self) -> None:
        """P10: of many followers one look serves a few, so that questions wait for no more; all are served in turn."""
        self.served.close()
        self.served = Served(self.path)
        streams = [Stream(self.served) for _ in range(2 * feed.TOGETHER + 1)]
        crowds: list[int] = []
        part = self.served.changes.part

        def counted(followers: Any, after: int, most: int) -> Any:
            crowds.append(len(followers))
            return part(followers, after, most)

        self.served.changes.part = counted  # type: ignore[method-assign]
        self._post(registration("a"))
        self.assertEqual(crowds, [feed.TOGETHER, feed.TOGETHER, 1])
        self.assertEqual({len(stream.heard()) for stream in streams}, {1})


class Histories(SynchronousTestCase):
    """Any history, any interruption."""

    @given(st.lists(st.sampled_from(["post", "hear", "again", "restart"]), max_size=14), st.data())
    @settings(deadline=None, max_examples=25)
    def test_nothing_is_missed(self, steps: list[str], data: st.DataObject) -> None:
        """Whoever keeps to the ids knows in the end the last state of each job (P2)."""
        path = Path(self.mktemp())
        served = Served(path)
        stream = Stream(served)
        known: dict[str, dict[str, Any]] = {}
        codes: dict[str, int] = {}
        for step in [*steps, "hear"]:
            if step == "post":
                unique = data.draw(st.sampled_from("abc"))
                codes[unique] = codes.get(unique, -1) + 1
                event = running(unique, codes[unique]) if codes[unique] else registration(unique)
                self.assertEqual(document(served.post([event]))["stored"], 1)
                continue
            if step == "restart":
                served.close()
                served = Served(path)
            if step != "hear":
                stream = Stream(served, last=stream.last)
                known |= {each.document["jobId"]: each.document for each in stream.events[1:]}
            known |= {each.document["jobId"]: each.document for each in stream.heard()}
        self.assertEqual(known, {job(unique): served.get(f"/jobs/{unique}") for unique in codes})
        served.close()
