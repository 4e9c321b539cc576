"""Documents of the query port: long ones in bounded memory as fast as the peer reads; small requests."""

from __future__ import annotations

import errno
import gc
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from lb.model.errors import LBError
from lb.model.indexing import from_title
from lb.model.jobid import parse
from lb.model.query import Attribute, Condition, Operator, Query, Results, log_of_job, own_jobs
from lb.model.seqcode import in_order
from lb.security.identity import ANONYMOUS, Identity
from lb.server import draft, queryconnection
from lb.server.answers import Answers
from lb.server.draft import Draft, Stream
from lb.server.limits import QueryLimits
from lb.server.merging import EventSorter
from lb.server.query import Questions
from lb.server.queryconnection import QueryConnection, QueryFactory
from lb.server.queryport import QueryPort
from lb.wire import http, ulm
from lb.wire.lbxml import indices, requests, results, sequence
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_ingest import JOB, registration, running
from tests.server.test_ports import Later
from tests.service.connected import Transport


def ask(path: str, document: bytes) -> bytes:
    return http.request("POST", path, document)


class Answered(SynchronousTestCase):
    """One connection to a server whose reading thread runs when the test says so."""

    longest = 0

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory)
        self.addCleanup(self.server.close)
        self.clock = Clock()
        self.later = Later()
        port = QueryPort(Questions(self.later, self.server.lookup), longest=self.longest)
        self.factory = QueryFactory(port, Site(Resource(), reactor=self.clock), self.clock, QueryLimits())

    def _connect(self, peer: Identity = OWNER) -> tuple[QueryConnection, Transport]:
        connection, transport = self.factory.buildProtocol(None), Transport()
        self.patch(queryconnection, "ANONYMOUS", peer)
        connection.makeConnection(transport)
        return connection, transport

    def _ask(self, data: bytes, peer: Identity = OWNER) -> http.Response:
        connection, transport = self._connect(peer)
        connection.dataReceived(data)
        self.later.run()
        (response,) = http.ResponseReader().feed(transport.value())
        connection.connectionLost()
        return response

    def _register(self, count: int) -> list[str]:
        ids = [f"https://localhost:9000/job{number:05}" for number in range(count)]
        self.server.send_all([registration().replace(JOB, jobid) for jobid in ids])
        return ids


class Cut(Answered):
    """Answers that end at a limit."""

    def test_let_go(self) -> None:
        """What was found for one goes with it, and does not wait for the garbage collector."""
        self._register(5)
        answers = Answers(Questions(self.later, self.server.lookup))
        query = Query(jobs=own_jobs().jobs, soft_limit=3, results=Results.LIMITED)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        response = answers.response(answers.about_jobs(OWNER, query))
        self.later.run()
        self.assertIn(b"size limit exceeded", self.successResultOf(response))
        self.assertEqual([each for each in gc.get_objects() if isinstance(each, Draft)], [])


class Long(Answered):
    """Answers that do not fit memory."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(draft, "_IN_MEMORY", 4_000)
        self.patch(draft, "_PIECE", 1_000)
        self.ids = self._register(300)

    def test_slow_reader(self) -> None:
        """P10: a peer that stops reading gets no more of an answer until it reads on, then all of it, once."""
        connection, transport = self._connect()
        connection.dataReceived(ask("/queryJobs", requests.write_jobs(own_jobs())) * 2)
        write = transport.write
        written: list[bytes] = []

        def full(data: bytes) -> None:
            written.append(data)
            write(data)
            connection.pauseProducing()

        with mock.patch.object(transport, "write", full):
            self.later.run()
            self.assertEqual(len(written), 1)
            for number in range(2, 6):
                connection.resumeProducing()
                self.assertEqual(len(written), number)
        self.assertLess(max(map(len, written[1:])), 1_001)
        self.assertEqual(self.later.calls, [])  # the second request waits for the end of the first answer
        while connection._sending is not None or self.later.calls:
            connection.resumeProducing()
            self.later.run()
        responses = http.ResponseReader().feed(transport.value())
        for response in responses:
            self.assertEqual([job.jobid for job in results.read_jobs(response.body).jobs], self.ids)
        self.assertEqual(len(responses), 2)

    def test_peer_leaves(self) -> None:
        """P10: who leaves while an answer is found or sent leaves nothing behind."""
        opened: list[Draft] = []
        spill = Draft._spill

        def watched(self: Draft) -> None:
            opened.append(self)
            spill(self)

        self.patch(Draft, "_spill", watched)
        connection, _ = self._connect()
        connection.dataReceived(ask("/queryJobs", requests.write_jobs(own_jobs())))
        connection.pauseProducing()
        self.later.run()
        self.assertTrue(opened)
        connection.connectionLost()
        for each in opened:
            self.assertTrue(each._file is not None and each._file.closed)
        connection, transport = self._connect()
        connection.dataReceived(ask("/queryJobs", requests.write_jobs(own_jobs())))
        connection.connectionLost()
        self.later.run()
        self.assertEqual(transport.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_slow_but_alive(self) -> None:
        """A peer that reads on, however slowly, is not cut off; one that stops is."""
        connection, transport = self._connect()
        connection.dataReceived(ask("/queryJobs", requests.write_jobs(own_jobs())))
        connection.pauseProducing()
        self.later.run()
        idle = QueryLimits().idle
        write = transport.write

        def full(data: bytes) -> None:
            write(data)
            connection.pauseProducing()

        with mock.patch.object(transport, "write", full):
            for _ in range(5):
                self.clock.pump([1.0] * int(idle / 2))
                connection.resumeProducing()
        self.assertFalse(transport.aborted)
        self.clock.pump([1.0] * int(idle + 2))
        self.assertTrue(transport.aborted)

    def test_events_merged(self) -> None:
        """Events of many jobs come in event order, also through the disk; a sorter's runs change nothing."""
        lines = [running(n).encode() for n in range(40)]
        lines[7], lines[3] = lines[3], lines[7]
        lines += lines[:5]
        events = []
        for number, line in enumerate(lines):
            event = ulm.parse(line)
            event.arrived = number
            events.append(event)
        wanted = [event.arrived for event in in_order(events)]
        for run in (1, 2, 7, 44, 45, 46, 100):
            sorter = EventSorter(run=run)
            for event, line in zip(events, lines, strict=True):
                sorter.add(event, line)
            self.assertEqual([event.arrived for event in sorter], wanted, run)
            sorter.close()

    def test_great_events_merged(self) -> None:
        """P10: a run ends at so many bytes of lines, however few events these are."""
        line = running(1).encode()
        for extra, held in ((-1, 0), (0, 0), (1, 3)):
            sorter = EventSorter(run_bytes=3 * len(line) + extra)
            self.addCleanup(sorter.close)
            for _ in range(3):
                sorter.add(ulm.parse(line), line)
            self.assertEqual((len(sorter._held), len(list(sorter))), (held, 3), extra)


class Bounded(Answered):
    """A bound on the size of an answer."""

    def test_longest(self) -> None:
        """P10: an answer of the longest size is given, one byte more is refused as too big."""
        self._register(10)
        whole = self._ask(ask("/queryJobs", requests.write_jobs(own_jobs())))
        frame = len(b"".join(results.write_jobs(())))
        for longest, status in ((len(whole.body) - frame, 200), (len(whole.body) - frame - 1, 401)):
            self.factory = QueryFactory(
                QueryPort(Questions(self.later, self.server.lookup), longest=longest),
                Site(Resource(), reactor=self.clock),
                self.clock,
                QueryLimits(),
            )
            self.assertEqual(self._ask(ask("/queryJobs", requests.write_jobs(own_jobs()))).status, status)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.binary(max_size=3_000), max_size=20))
    def test_draft(self, pieces: list[bytes]) -> None:
        """What goes into a draft comes out, through memory or through the disk."""
        with mock.patch.object(draft, "_IN_MEMORY", 2_000):
            held = Draft(0)
            for piece in pieces:
                held.write(piece)
            self.assertEqual(held.size, len(b"".join(pieces)))
            self.assertEqual(b"".join(Stream(b"<", held, b">").pieces()), b"<" + b"".join(pieces) + b">")


class Small(Answered):
    """Sequence codes, indices, and what nobody may ask."""

    def test_sequence_code(self) -> None:
        """wire-query.md §7.7: the code of the last event that moved the state, for who may read it; errors."""
        self.server.send_all([registration(), running(1)])
        asked = ask("/querySequenceCode", sequence.write_request(parse(JOB)))
        code = ulm.parse(running(1).encode()).seqcode
        self.assertEqual(sequence.read_result(self._ask(asked).body), code)
        other = ask("/querySequenceCode", sequence.write_request(parse("https://localhost:9000/other")))
        for data, peer, error, status in (
            (other, OWNER, errno.ENOENT, 404),
            (asked, OTHER, errno.EPERM, 401),
            (asked, ANONYMOUS, errno.EPERM, 401),
            (ask("/querySequenceCode", b"<edg_wll_QuerySequenceCodeRequest/>"), OWNER, errno.EINVAL, 579),
        ):
            response = self._ask(data, peer)
            self.assertEqual(response.status, status)
            self.assertEqual(self.assertRaises(LBError, sequence.read_result, response.body).code, error)
        self.assertEqual(self._ask(ask("/querySequenceCode", b"<x/>")).status, 400)

    def test_indexed(self) -> None:
        """wire-query.md §7.6: one entry an index, one record a column; anybody may ask."""
        configured = ((from_title("STD_owner"),), (from_title("USR_color"), from_title("TIME_Done")))
        self.server.writer.index.configure(configured)
        while self.server.writer.index.fill(10):
            pass
        response = self._ask(ask("/indexedAttrs", indices.write_request()), ANONYMOUS)
        self.assertEqual(tuple(indices.read_result(response.body)), configured)
        self.assertIn(b"EDG_WLL_QUERY_ATTR_USERTAG</attribute>\r\n\t\t\t<name>color</name>", response.body)
        self.assertIn(b"EDG_WLL_QUERY_ATTR_TIME</attribute>\r\n\t\t\t<state>Done</state>", response.body)

    def test_event_conditions(self) -> None:
        """wire-query.md §5.3: events by JDL attribute of a registration, by time alone, by tag; ENOENT without any."""
        described = registration().replace('DG.REGJOB.JDL="[ a = 1 ]"', 'DG.REGJOB.JDL="[ VO = \\"x\\"; ]"')
        self.assertNotEqual(described, registration())
        self.server.send_all([described, running(1)])
        by_job = log_of_job(parse(JOB)).jobs
        for condition, types in (
            (Condition(Attribute.JDL_ATTR, Operator.EQUAL, "x", name="vo"), ["RegJob"]),
            (Condition(Attribute.JDL_ATTR, Operator.EQUAL, "y", name="vo"), []),
            (Condition(Attribute.TIME, Operator.GREATER, 0), ["RegJob", "Running"]),
            (Condition(Attribute.EVENT_TYPE, Operator.UNEQUAL, 17), ["Running"]),
        ):
            groups = [by_job, ()] if condition.attribute is Attribute.TIME else [by_job]
            for jobs in groups:
                query = Query(jobs=jobs, events=((condition,),))
                response = self._ask(ask("/queryEvents", requests.write_events(query)))
                found = results.read_events(response.body)
                self.assertEqual([event.type.name for event in found.events], types)
                self.assertEqual(response.status, 200 if types else 404)

    def test_asked_for_to_the_end(self) -> None:
        """What another part has begun for a peer goes on when the peer leaves."""
        begun: Deferred[bytes] = Deferred()
        port = QueryPort(Questions(self.later, self.server.lookup), {"/other": lambda *_: begun})
        answer: Any = port.answer(http.RequestReader().feed(ask("/other", b"x"))[0], OWNER)
        answer.addErrback(lambda failure: failure.trap(Exception))
        answer.cancel()
        self.assertFalse(begun.called)
        begun.callback(b"")
