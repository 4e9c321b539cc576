"""The questions of C clients in their recorded bytes, to a server that knows what the recorded one knew."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from lb.model.jobid import parse
from lb.model.status import JobStatus, State
from lb.model.subject import comparable
from lb.security.identity import Identity
from lb.server.statistics import Counts
from lb.state.job import Job, Texts
from lb.store.interface import StoredJob
from lb.wire import dglog, http, il, ulm
from lb.wire.lbxml import dump, results, statistics
from tests.server.administered import Administered
from tests.server.fixture import OTHER, OWNER
from tests.wire import recorded
from tests.wire_query.exchanges import administration, body, exchanges, protocol_exchanges

#: Asked when the first job had its first two events.
_EARLY = ("03-job_status", "04-user_jobs", "04b-user_jobs-nostates", "05-job_log", "12-job_status-nonexistent")
#: Asked when the DAG and the collection were registered, and scripts had brought jobs into their states.
_LATE = (
    "10b-job_status-dag",
    "20c-job_status-running",
    "24-user_jobs",
    "30-queryjobs-owner",
    "30d-queryjobs-noindex",
    "30f-queryjobs-tag",
    "31-queryevents",
    "31b-queryevents-type",
    "31c-queryevents-limit",
)
#: Answered in other words than the recorded ones, and told of in docs/protocol.md.
_DIFFERENT = ("13-job_status-otheruser", "30c-queryjobs-limit")
#: Asked after these events.
_CHANGED = {"26-usertag": "29-qstat", "25-logevent-ChangeACL": "25b-job_status-acl"}
#: Asked after a purge.
_PURGED = ("30e-queryjobs-time", "30g-queryjobs-states-C", "41c-job_status-purged")
#: The order of subjobs is free (README of the recorded states).
_UNORDERED = ("children", "children_states")
_TEXTS = Texts.__struct_fields__

Tree = tuple[str, tuple[tuple[str, str], ...], str, tuple["Tree", ...]]


class RecordedQuestions(SynchronousTestCase):
    """A server that gets the recorded events; the states of jobs whose events were not recorded are put into it."""

    maxDiff = None

    def setUp(self) -> None:
        self.lb = Administered(Path(self.mktemp()))
        self.addCleanup(self.lb.close)
        self.recorded = {each.name.partition(".")[0]: each for each in protocol_exchanges()}

    def _store(self, *names: str) -> None:
        for name in names:
            for frame in il.FrameReader().feed(recorded.files()[name]):
                self.assertEqual(self.lb.server.send(il.read_line(frame)), il.OK, name)

    def _registered(self) -> None:
        self._store("01-job_reg.00.out.bin", "interlogd.00.out.bin")

    def _later(self) -> None:
        """What came until the last questions."""
        self._registered()
        self._store("10-job_reg-dag.00.out.bin", *(f"interlogd.{number:02}.out.bin" for number in (2, 4, 6, 8)))
        self._store("15-job_reg-again.00.out.bin")
        for name in ("31c-queryevents-limit", "31-queryevents", "31b-queryevents-type"):
            for event in results.read_events(body(self.recorded[name].answered)).events:
                self.assertEqual(self.lb.server.send(ulm.write(event)), il.OK)
        self._store(*(f"interlogd.{number:02}.out.bin" for number in (14, 15, 17, 19, 21, 23)))
        described = {str(status.jobId): status for status in self._states("30g-queryjobs-states-C")}
        for name in ("24-user_jobs", "20c-job_status-running"):
            for status in self._states(name):
                self._put(status, described.get(str(status.jobId), status))

    def _states(self, name: str) -> list[JobStatus]:
        found = results.read_jobs(body(self.recorded[name].answered)).jobs
        return [each.status for each in found if each.status is not None]

    def _put(self, status: JobStatus, described: JobStatus) -> None:
        """Have a job in a state, with the long texts of another answer."""
        jobid, writer = parse(str(status.jobId)), self.lb.server.writer
        texts = Texts(**{name: getattr(described, name) for name in _TEXTS if hasattr(described, name)})
        plain = msgspec.structs.replace(status, **dict.fromkeys(set(_TEXTS) - {"branches"}), children_hist=None)
        held = writer.load([jobid.unique]).get(jobid.unique)
        if held is None:
            parent = parse(status.parent_job).unique if status.parent_job else None
            owner = str(status.owner)
            held = StoredJob(writer.new_key(), jobid, owner, comparable(owner), Job(), parent=parent)
        plain.children_hist = held.state.status.children_hist
        held.state = Job(plain, held.state.hidden, texts if texts != Texts() else held.state.texts)
        writer.write([held], [])
        self.lb.cache.forget([jobid.unique])

    def _answer(self, name: str, peer: Identity = OWNER) -> http.Response:
        return self.lb.send(self.recorded[name].asked, peer)

    def _same(self, name: str) -> None:
        (theirs,) = http.ResponseReader().feed(self.recorded[name].answered)
        ours = self._answer(name)
        self.assertEqual((ours.status, ours.reason), (theirs.status, theirs.reason), name)
        self.assertEqual(_tree(ours.body), _tree(theirs.body), name)

    def test_early(self) -> None:
        """03 to 05, 12: state, list and events of one job that was registered and accepted; no such job."""
        self._registered()
        for name in _EARLY:
            self._same(name)

    def test_late(self) -> None:
        """10b to 31c: a DAG with its subjobs, lists, conditions of all kinds, limits."""
        self._later()
        for name in _LATE:
            self._same(name)

    def _log(self, name: str) -> None:
        """What came to the logger comes to the server."""
        (message,) = dglog.MessageReader().feed(recorded.files()[f"{name}.00.out.bin"])
        self.assertEqual(self.lb.server.send(ulm.write(ulm.parse(message, OWNER.name))), il.OK)

    def test_changed(self) -> None:
        """29, 25b: the tag, then the access list, that recorded events add to what the job was."""
        self._later()
        for logged, name in _CHANGED.items():
            self._log(logged)
            self._same(name)

    def test_purged(self) -> None:
        """30e, 30g, 41c: a purged job is in no list, and told to be gone."""
        self._later()
        for logged in _CHANGED:
            self._log(logged)
        gone = parse("https://localhost:9000/dWWmwBH2fGB36R5nnnPW0Q")
        self.assertEqual(self.lb.purge(jobs=(gone,)).jobs, (str(gone),))
        for name in _PURGED:
            self._same(name)

    def test_different(self) -> None:
        """13, 30c: a stranger is told that he may not (EPERM), and a limited list holds what fits beside the error."""
        self._later()
        refused = self._answer("13-job_status-otheruser", OTHER)
        self.assertEqual((refused.status, b' code="1"' in refused.body), (401, True))
        limited = results.read_jobs(self._answer("30c-queryjobs-limit").body)
        theirs = results.read_jobs(body(self.recorded["30c-queryjobs-limit"].answered))
        self.assertEqual(str(limited.error), str(theirs.error))
        everything = results.read_jobs(body(self.recorded["30-queryjobs-owner"].answered)).jobs
        self.assertEqual([each.jobid for each in limited.jobs], [each.jobid for each in everything[:2]])

    def test_statistics(self) -> None:
        """27: the rate at a destination, of as many jobs as make the recorded one, by the same archive."""
        (asked, answered) = self._administration("27-stats")
        request = statistics.read_request(body(asked))
        self.lb.clock.rightNow = request.until
        counts = Counts()
        for _ in range(8):
            status = JobStatus(state=State.Done, done_code=0, destination="destination CE/queue")
            status.stateEnterTime = (request.until - 10) * 1_000_000
            counts.entered(status, State.Running)
        self.lb.server.writer.write([], [], counts=counts.all())
        self.assertEqual(_tree(self.lb.send(asked).body), _tree(body(answered)))

    def test_dump(self) -> None:
        """40: everything is dumped to a file that is named for the time; the next dump begins there."""
        (asked, answered) = self._administration("40-dump")
        self._registered()
        ours, theirs = (dump.read_dump_result(document) for document in (self.lb.send(asked).body, body(answered)))
        self.assertEqual(ours.since, theirs.since)
        for result in ours, theirs:
            name = datetime.fromtimestamp(result.until or 0, UTC).strftime(r"/dump/dump_%Y%m%d%H%M%S\.\d{6}$")
            self.assertRegex(result.server_file or "", name)
        again = dump.read_dump_result(self.lb.send(asked).body)
        self.assertEqual(again.since, ours.until)

    def _administration(self, name: str) -> tuple[bytes, bytes]:
        (found,) = (each for each in administration() if each.name.startswith(name))
        return found.asked, found.answered

    def test_all(self) -> None:
        """No recorded question is left out."""
        asked = {*_EARLY, *_LATE, *_DIFFERENT, *_CHANGED.values(), *_PURGED}
        self.assertEqual(asked, set(self.recorded))
        self.assertLess(len(asked), len(exchanges()))  # the rest are pages: tests.web.test_vectors


def _tree(document: bytes) -> Tree:
    return _plain(ElementTree.fromstring(document))


def _plain(element: ElementTree.Element) -> Tree:
    """An element as what it says: without layout, order of subjobs, empty histograms and times of arrival."""
    children = [child for child in element if child.tag != "arrived" and not _counts_nothing(child)]
    text = "" if children else re.sub(r"^\s+|\s+$", "", element.text or "")
    plain = map(_plain, children)
    ordered = sorted(plain) if element.tag in _UNORDERED else plain
    return element.tag, tuple(sorted(element.attrib.items())), text, tuple(ordered)


def _counts_nothing(element: ElementTree.Element) -> bool:
    return element.tag == "children_hist" and all(child.text == "0" for child in element)
