"""The JSON API: events in, as the store port takes them; bounds of bodies."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import Priority
from lb.security.identity import ANONYMOUS
from lb.server.submission import Unstored
from lb.web.api.limits import APILimits
from lb.wire import il, ulm
from lb.wire.jsonevent import Defaults, read_event
from tests.server.fixture import OTHER, OWNER
from tests.web.api import Connection, Served, Waiting, document, request
from tests.web.fixture import NOW

JOB = "https://localhost:9000/xyz"
REGISTRATION = {"type": "RegJob", "jobId": JOB, "ns": "localhost:9000", "jobtype": "SIMPLE", "source": "UserInterface"}
TAG = {"type": "UserTag", "jobId": JOB, "name": "colour", "value": "blue"}
STORED = {"code": 0, "text": "OK", "again": False}


class Intake(SynchronousTestCase):
    """Events as JSON."""

    def setUp(self) -> None:
        """A server without jobs."""
        self.served = Served(Path(self.mktemp()), APILimits(post_events=20, post_bytes=4_096, posts_bytes=6_000))
        self.addCleanup(self.served.close)

    def test_one(self) -> None:
        """P1: a registration and a tag are stored when they are answered, in the name of the peer."""
        self.assertEqual(document(self.served.post(REGISTRATION)), STORED)
        self.assertEqual(document(self.served.post({**TAG, "seqcode": "UI=000002:NS=0"})), STORED)
        job = self.served.get("/jobs/xyz")
        self.assertEqual((job["state"], job["owner"], job["user_tags"]), ("Submitted", OWNER.name, {"colour": "blue"}))
        first, second = self.served.get("/jobs/xyz/events")["events"]
        self.assertEqual((first["user"], second["user"]), (OWNER.name, OWNER.name))
        self.assertTrue(first["priority"] & Priority.DIRECT)

    def test_several(self) -> None:
        """P5: each of several has its result, bad ones harm no others."""
        bad = [{**TAG, "jobId": "https://localhost:9000/unknown"}, {"type": "Nonsense"}, 7, {**TAG, "colour": 1}]
        found = document(self.served.post([REGISTRATION, *bad, TAG]))
        self.assertEqual((found["stored"], found["refused"]), (2, 4))
        self.assertEqual([found["results"][0], found["results"][5]], [STORED, STORED])
        self.assertEqual([result["code"] for result in found["results"][1:5]], [errno.ENOENT, 1402, 22, 22])
        self.assertFalse(any(result["again"] for result in found["results"]))
        self.assertEqual(len(self.served.get("/jobs/xyz/events")["events"]), 2)

    def test_without_times(self) -> None:
        """P2: events that tell no time are events of their own, in the order in which they came."""
        self.served.post(REGISTRATION)
        tags = [{**TAG, "value": str(number)} for number in range(3)]
        self.assertEqual(document(self.served.post(tags))["stored"], 3)
        self.assertEqual(document(self.served.post({**TAG, "value": "3"})), STORED)
        events = self.served.get("/jobs/xyz/events")["events"]
        self.assertEqual([event["value"] for event in events if event["type"] == "UserTag"], ["0", "1", "2", "3"])

    def test_lines(self) -> None:
        """NDJSON: an event a line, a broken line among them is a result like others."""
        body = b"\n".join([msgspec.json.encode(REGISTRATION), b"{broken", b"", msgspec.json.encode(TAG), b""])
        found = document(self.served.ask("POST", "/events", body, Content_Type="application/x-ndjson"))
        self.assertEqual([result["code"] for result in found["results"]], [0, errno.EINVAL, 0])

    def test_twice(self) -> None:
        """P3: the same events again are stored once, and answered alike."""
        timed = [{**event, "timestamp": "2026-11-25T10:00:00.5Z", "host": "wn"} for event in (REGISTRATION, TAG)]
        for _ in range(2):
            self.assertEqual(document(self.served.post(timed))["stored"], 2)
        self.assertEqual(len(self.served.get("/jobs/xyz/events")["events"]), 2)

    def test_replies_of_the_store_port(self) -> None:
        """What is refused has the number and the words of the store port's reply to the same line."""
        self.served.post(REGISTRATION)
        for event, peer, status in (
            ({**REGISTRATION, "source": "LRMS"}, OTHER, 403),
            ({**TAG, "source": "UserInterface"}, OTHER, 403),
            ({**TAG, "jobId": "https://elsewhere:9000/xyz"}, OWNER, 404),
            ({**REGISTRATION, "priority": int(Priority.EXCL)}, OWNER, 409),
        ):
            made = read_event(event, Defaults(NOW * 1_000_000, ""))
            made.user = peer.name
            made.priority |= Priority.DIRECT
            reply = self.served.server.send(ulm.write(made), peer)
            error = il.error_of(reply)
            assert error is not None
            problem = document(self.served.post(event, peer), status)
            self.assertEqual((problem["code"], problem["detail"]), (error.code, reply.text))

    def test_identity(self) -> None:
        """P7: who logs is who sends; a document that names somebody else is refused, not changed."""
        self.assertEqual(document(self.served.post({**REGISTRATION, "user": OTHER.name}), 403)["code"], errno.EPERM)
        self.assertEqual(document(self.served.post({**REGISTRATION, "user": OWNER.name})), STORED)
        for event in (TAG, {**TAG, "user": OWNER.name}):
            self.assertEqual(document(self.served.post({**event, "source": "UserInterface"}, OTHER), 403)["code"], 1)
        self.assertEqual(document(self.served.post(TAG, ANONYMOUS), 401)["code"], errno.EPERM)
        self.assertEqual(len(self.served.get("/jobs/xyz/events")["events"]), 1)

    def test_store_in_trouble(self) -> None:
        """What the store cannot take now is to come again: 503, and the result says so."""
        for events in (TAG, [TAG, {"type": "x"}]):
            waiting = Waiting()
            self.served.api = self.served.make(waiting)
            connection = self.served.connect()
            body = msgspec.json.encode(events)
            self.assertEqual(connection.send(request("POST", "/events", body, Content_Type="application/json")), b"")
            waiting.asked[0].callback([Unstored(il.Major.DBERR, errno.ENOSPC, "disk full")])
            answer = connection.transport.value()
            self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
            self.assertIn(b"Retry-After: 1\r\n", answer)
            self.assertIn(b'"code":28', answer)

    def test_congested(self) -> None:
        """P6: while more waits than should, events are refused for now."""
        waiting = Waiting(congested=True)
        self.served.api = self.served.make(waiting)
        response = self.served.post(TAG)
        self.assertEqual(document(response, 503)["code"], errno.EAGAIN)
        self.assertEqual(response.headers["retry-after"], "1")
        self.assertEqual(waiting.lines, [])


class Bodies(SynchronousTestCase):
    """Bounds of bodies (P10)."""

    def setUp(self) -> None:
        """Small bounds."""
        self.limits = APILimits(post_events=20, post_bytes=4_096, posts_bytes=6_000, post_time=30.0)
        self.served = Served(Path(self.mktemp()), self.limits)
        self.addCleanup(self.served.close)

    def test_types(self) -> None:
        """A body of another type is refused with the types that are taken: a form of another site's is none."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            response = self.served.ask("POST", "/events", b"{}", Content_Type=kind)
            self.assertEqual(document(response, 415)["code"], errno.EINVAL)
            self.assertEqual(response.headers["accept-post"], "application/json, application/x-ndjson")

    def test_number(self) -> None:
        """So many events and no more."""
        found = document(self.served.post([{"type": "x"}] * 20))
        self.assertEqual(found["refused"], 20)
        self.assertEqual(document(self.served.post([{"type": "x"}] * 21), 413)["code"], errno.E2BIG)
        for nothing in ([], None, ""):
            document(self.served.post(nothing), 400)

    def test_hostile(self) -> None:
        """Whatever a body holds, it is an answer: depth, great numbers, half characters, NUL, no text at all."""
        event = '{"type": "UserTag", "jobId": "https://h:1/a", "name": "n", "value": %s}'
        for body in (
            b"[" * 4_000,
            b'{"a":' * 800,
            b"\xff\xfe",
            b"1e999",
            b"",
            (event % '"\\ud800"').encode(),
            (event % '"\\u0000"').encode(),
            (event % "1e400").encode(),
            (event % '{"a": []}').encode(),
        ):
            response = self.served.ask("POST", "/events", body, Content_Type="application/json")
            self.assertIn(document(response, 400)["code"], (errno.EINVAL, 1402), body[:20])

    def test_length(self) -> None:
        """A body as long as the bound is read, a longer one is refused before it comes."""
        body = msgspec.json.encode({"type": "x"}).ljust(4_096)
        kind = {"Content_Type": "application/json"}
        self.assertEqual(self.served.ask("POST", "/events", body, **kind).status, 400)
        connection = self.served.connect()
        head = request("POST", "/events", body + b" ", **kind).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self.assertIn(b"HTTP/1.1 413 ", connection.send(head))
        self.assertTrue(connection.transport.disconnecting)
        self.assertIn(b"HTTP/1.1 411 ", self.served.connect().send(request("POST", "/events", **kind)))
        chunked = request("POST", "/events", Transfer_Encoding="chunked", **kind) + b"5\r\n{}   \r\n0\r\n\r\n"
        connection = self.served.connect()
        self.assertIn(b"HTTP/1.1 411 ", connection.send(chunked))
        self.assertTrue(connection.transport.disconnecting)

    def test_no_name(self) -> None:
        """Of who shows no certificate nothing is read, nor where nothing is taken."""
        for path, peer, status in (("/events", ANONYMOUS, b"401"), ("/jobs", OWNER, b"405")):
            head = request("POST", path, Content_Type="application/json", Content_Length="4000")
            connection = self.served.connect(peer)
            self.assertIn(b"HTTP/1.1 %b " % status, connection.send(head))
            self.assertTrue(connection.transport.disconnecting)

    def _begun(self, length: int = 4_000) -> tuple[Connection, bytes]:
        connection = Connection(self.served, lambda transport: OWNER)
        head = request("POST", "/events", Content_Type="application/json", Content_Length=str(length))
        return connection, connection.send(head)

    def test_all_bodies(self) -> None:
        """Bodies of all connections share their bound; it is free again when they are done or gone."""
        first = self.served.connect()
        site = first.channel.site

        def begun() -> tuple[Any, bytes]:
            connection = self.served.connect()
            connection.channel.site = site
            return connection, connection.send(
                request("POST", "/events", Content_Type="application/json", Content_Length="4000")
            )

        one, answer = begun()
        self.assertEqual(answer, b"")
        self.assertIn(b"HTTP/1.1 503 ", begun()[1])
        one.channel.connectionLost(Failure(ConnectionDone()))
        two, answer = begun()
        self.assertEqual(answer, b"")
        self.assertIn(b"HTTP/1.1 400 ", two.send(b"x" * 4_000))
        self.assertEqual(begun()[1], b"")

    def test_time(self) -> None:
        """A body that does not come in time ends the connection, also one that trickles."""
        connection, answer = self._begun()
        self.assertEqual(answer, b"")
        for _ in range(29):
            self.served.clock.advance(1)
            connection.send(b" ")
        self.assertFalse(connection.transport.disconnected)
        self.served.clock.advance(1)
        self.assertTrue(connection.transport.disconnected)

    def test_cut_anywhere(self) -> None:
        """A POST may come in any pieces, and another request may follow it."""
        data = request("POST", "/events", msgspec.json.encode(REGISTRATION), Content_Type="application/json")
        for cut in range(1, len(data)):
            connection = self.served.connect()
            self.assertEqual(connection.send(data[:cut]), b"")
            self.assertIn(b"HTTP/1.1 200 ", connection.send(data[cut:] + request("GET", "/jobs/xyz")))
            self.assertEqual(connection.transport.value().count(b"HTTP/1.1 200 "), 2)

    def test_continue(self) -> None:
        """Who waits for 100 Continue gets it when the body will be read, else the refusal."""
        head = {"Content_Type": "application/json", "Expect": "100-continue"}
        connection = self.served.connect()
        answer = connection.send(request("POST", "/events", Content_Length="2", **head))
        self.assertEqual(answer, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertIn(b"HTTP/1.1 400 ", connection.send(b"{}"))
        answer = self.served.connect().send(request("POST", "/events", Content_Length="5000", **head))
        self.assertIn(b"HTTP/1.1 413 ", answer)
        self.assertNotIn(b"100 Continue", answer)
