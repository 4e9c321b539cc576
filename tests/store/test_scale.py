"""What keeps a store of a million jobs prompt: the index of each statement, pages in orders that no index gives."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.indexing import OWNER, Column, from_title
from lb.model.jobid import JobId
from lb.state.fold import blank
from lb.store import finder, walk
from lb.store.interface import ConnectionChange, Link, NewEvent, NewNotice, Outgoing, StoredJob
from lb.store.selection import JOBID, PARENT, Arrived, Range, Selection
from lb.store.sqlite import SQLiteReader, SQLiteStore, SQLiteWriter
from lb.store.statistics import Count

STATUS, UPDATED = from_title("STD_status"), from_title("STD_lastUpdateTime")
UPDATES = (0, 1, 2, 3, 5)  #: seconds
OWNERS = ("/cn=a", "/cn=b", "/cn=c")
JOBS = 90


def made(writer: SQLiteWriter) -> list[StoredJob]:
    """Jobs whose unique parts, keys and values are in different orders."""
    jobs = []
    for number in range(JOBS):
        jobid = JobId("localhost", 9000, f"u{number * 37 % JOBS:03d}")
        owner = OWNERS[number * 7 % len(OWNERS)]
        job = StoredJob(writer.new_key(), jobid, owner, owner, blank(jobid, owner), parent=f"u{number % 4:03d}")
        job.state.status.state = number * 11 % 5
        job.state.status.lastUpdateTime = UPDATES[number * 13 % len(UPDATES)] * 1_000_000
        jobs.append(job)
    return jobs


def value(job: StoredJob, column: Column | None) -> Any:
    """What a job has in a column."""
    if column in (OWNER, PARENT, JOBID):
        return {OWNER: job.owner_key, PARENT: job.parent, JOBID: job.jobid.unique}[column]
    return 0 if column is None else column.value(job.state.status)


def selected(job: StoredJob, selection: Selection) -> bool:
    held = value(job, selection.column)
    return selection.column is None or any(
        (low is None or held >= low) and (high is None or held <= high) for low, high in selection.ranges
    )


class Case(SynchronousTestCase):
    """A store with its jobs, all columns of which are indexed."""

    def setUp(self) -> None:
        self.store = SQLiteStore(Path(self.mktemp()))
        self.addCleanup(self.store.close)
        self.writer = self.store.writer()
        self.addCleanup(self.writer.close)
        self.writer.index.configure([(STATUS,), (UPDATED,)])
        while self.writer.index.fill(1_000):
            pass
        self.jobs = made(self.writer)
        self.writer.write(self.jobs, [NewEvent(job.key, job.key, bytes(16), b"line") for job in self.jobs])
        self.reader = self.store.reader()
        self.addCleanup(self.reader.close)


def ranges(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Range]]:
    bounds = values | st.none()
    return st.lists(
        st.builds(Range, bounds, bounds) | values.map(lambda each: Range(each, each)), min_size=1, max_size=3
    )


def over(column: Column, values: tuple[Any, ...]) -> st.SearchStrategy[Selection]:
    return ranges(st.sampled_from(values)).map(lambda several: Selection(column, tuple(several)))


UNIQUES = tuple(f"u{number:03d}" for number in range(0, JOBS, 9))
SELECTIONS = st.one_of(
    st.just(Selection(None)),
    over(STATUS, tuple(range(5))),
    over(UPDATED, UPDATES),
    over(OWNER, OWNERS),
    over(PARENT, (*UNIQUES[:1], "u001", "u002")),
    over(JOBID, UNIQUES),
)


class PageTests(Case):
    """Every selection in both orders, sorted and picked out."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(walk, "_APART", 7)
        self.patch(walk, "_TOGETHER", 11)

    @settings(suppress_health_check=[HealthCheck.differing_executors], deadline=None)  # on both databases
    @given(SELECTIONS, st.sampled_from((1, 20, 1_000)), st.integers(1, 10), st.sampled_from(("", *UNIQUES)))
    def test_pages(self, selection: Selection, sorted_at_once: int, most: int, after: str) -> None:
        """All jobs of a selection behind any place come once, in order, in pages of at most so many."""
        self.patch(finder, "_SORTED", sorted_at_once)
        pages = list(self.reader.finder.pages(selection, after, most))
        self.assertLessEqual(max(map(len, pages), default=0), most)
        expected = sorted(job.jobid.unique for job in self.jobs if selected(job, selection))
        self.assertEqual(
            [place.unique for page in pages for place in page], [unique for unique in expected if unique > after]
        )

    @settings(suppress_health_check=[HealthCheck.differing_executors], deadline=None)  # on both databases
    @given(SELECTIONS, st.sampled_from((1, 20, 1_000)), st.integers(1, 10), st.integers(1, JOBS + 1) | st.none())
    def test_newest(self, selection: Selection, sorted_at_once: int, most: int, before: int | None) -> None:
        """As above, newest first; and whoever begins again where a page says meets what was to come."""
        self.patch(finder, "_SORTED", sorted_at_once)
        pages = list(self.reader.finder.newest(selection, before, most))
        self.assertLessEqual(max((len(keys) for keys, _ in pages), default=0), most)
        found = [key for keys, _ in pages for key in keys]
        expected = [job.key for job in reversed(self.jobs) if selected(job, selection)]
        self.assertEqual(found, [key for key in expected if before is None or key < before])
        number = 0
        for keys, last in pages:
            number += len(keys)
            again = [key for keys, _ in self.reader.finder.newest(selection, last, most) for key in keys]
            self.assertEqual(again, found[number:])

    def test_bounded(self) -> None:
        """A page that finds nothing near is given as such: whoever waits for the thread has its turn."""
        self.patch(finder, "_SORTED", 1)
        self.patch(walk, "_APART", 1)
        self.patch(walk, "_TOGETHER", 1)
        selection = Selection(UPDATED, (Range(5, None),))
        self.assertEqual(list(self.reader.finder.pages(selection, "", 5)).count([]), JOBS - JOBS // len(UPDATES))
        pages = list(self.reader.finder.newest(selection, None, 5))
        self.assertEqual([keys for keys, _ in pages].count([]), JOBS - JOBS // len(UPDATES))

    def test_gaps(self) -> None:
        """Keys of jobs that are gone are passed over in one step, however many there were."""
        self.writer.purge.remove([job.key for job in self.jobs[5:]], 1)
        self.patch(finder, "_SORTED", 1)
        everything = Selection(UPDATED, (Range(None, None),))
        pages = list(self.reader.finder.newest(everything, None, 100))
        self.assertEqual([keys for keys, _ in pages], [[job.key for job in reversed(self.jobs[:5])]])


class _Traced:
    """Statements of a connection as they are run."""

    def __init__(self, side: SQLiteReader | SQLiteWriter) -> None:
        self.statements: list[str] = []
        self._connection: sqlite3.Connection = side._connection
        self._connection.set_trace_callback(self.statements.append)

    def plans(self) -> list[str]:
        """A line of the query plan for each table that the statements looked at."""
        self._connection.set_trace_callback(None)
        explained = [
            detail
            for statement in self.statements
            if re.match("SELECT|INSERT|UPDATE|DELETE", statement)
            for *_, detail in self._connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
        return [detail for detail in explained if re.match("SCAN|SEARCH|USE TEMP", detail)]


def point(column: Column, wanted: Any) -> Selection:
    return Selection(column, (Range(wanted, wanted),))


#: What may be gone through: lists that came with the statement, what it made itself, tables of a few rows.
_SCANNED = re.compile(
    r"SCAN (v|k|json_each|\(subquery-\d+\)|index_columns|meta|registrations|doomed|missed|counted|next)( |$)"
)


class PlanTests(Case):
    """Statements of queries that have an index."""

    def test_one_job(self) -> None:
        """A job, its events, its connections and what became of it are found by its id."""
        traced = _Traced(self.reader)
        reader: SQLiteReader = self.reader
        entry = reader.job("u000", texts=True)
        assert entry is not None
        reader.last_code("u000")
        reader.jobs(["u000", "u001"])
        list(reader.events(entry.key))
        list(reader.finder.event_pages(entry.key, 10))
        reader.finder.last_event(entry.key)
        reader.connections(entry.key)
        reader.purged(["u000"])
        self.assertNothingScanned(traced, sorted_too=True)

    def test_children(self) -> None:
        """Children are found by their parent."""
        traced = _Traced(self.reader)
        self.reader.child_ids("u001")
        list(self.reader.children("u001"))
        self.assertNothingScanned(traced)

    def test_streams(self) -> None:
        """Changes behind a number and events behind a moment are found by their indices, in order."""
        traced = _Traced(self.reader)
        self.reader.changes(1, 10)
        self.reader.finder.arrived(1, 50, Arrived(2, 2, b""), 10)
        self.assertNothingScanned(traced)

    def test_in_order(self) -> None:
        """Jobs with one value of a column come out of its index in the order of the answer."""
        for column, wanted in ((OWNER, OWNERS[0]), (PARENT, "u001"), (STATUS, 2), (UPDATED, 2)):
            traced = _Traced(self.reader)
            list(self.reader.finder.pages(point(column, wanted), "u01", 5))
            self.assertNothingScanned(traced)

    def test_in_order_of_age(self) -> None:
        """Those of an owner and of a parent also newest first."""
        for column, wanted in ((OWNER, OWNERS[0]), (PARENT, "u001")):
            traced = _Traced(self.reader)
            list(self.reader.finder.newest(point(column, wanted), 50, 5))
            self.assertNothingScanned(traced)

    def test_small(self) -> None:
        """Small selections are sorted, and nothing else is looked at."""
        for selection in (point(STATUS, 2), Selection(UPDATED, (Range(2, 3),)), Selection(STATUS, (Range(4, None),))):
            traced = _Traced(self.reader)
            list(self.reader.finder.newest(selection, 50, 5))
            self.assertNothingScanned(traced, sorted_too=True)

    def test_great(self) -> None:
        """Great selections are picked out of ranges of jobs, in order: nothing is sorted."""
        self.patch(finder, "_SORTED", 1)
        for selection in (
            Selection(UPDATED, (Range(2, 3),)),
            Selection(OWNER, (Range(*OWNERS[:1] * 2), Range("b", "c"))),
        ):
            traced = _Traced(self.reader)
            list(self.reader.finder.pages(selection, "u01", 5))
            list(self.reader.finder.newest(selection, 50, 5))
            self.assertNothingScanned(traced)

    def test_writing(self) -> None:
        """What stands of the jobs of a batch is looked up by their keys: no statement grows with the store."""
        self.writer.index.configure([(STATUS,), (UPDATED,), (from_title("USR_experiment"),)])
        while self.writer.index.fill(1_000):
            pass
        traced = _Traced(self.writer)
        fresh = StoredJob(self.writer.new_key(), JobId("localhost", 9000, "new"), "", "", blank(self.jobs[0].jobid, ""))
        known = self.writer.load(["u000", "u001"])
        known["u000"].state.status.lastUpdateTime = 7_000_000
        known["u001"].parent = "u005"
        self.writer.duplicates([(known["u000"].key, bytes(16))])
        self.writer.children("u001")
        self.writer.events(known["u000"].key)
        self.writer.after(1, 5)
        events = [NewEvent(job.key, 1, b"d" * 16, b"line") for job in (*known.values(), fresh)]
        outgoing = Outgoing([NewNotice(self.writer.outbox.new_notice(), 1, b"state", (1,))], [(1, 1)])
        changes = [ConnectionChange(1, "x", Link.ACTIVE), ConnectionChange(1, "y", Link.INACTIVE)]
        self.writer.write([*known.values(), fresh], events, outgoing, changes, [Count("c", "g", 0, 1)])
        self.writer.outbox.received([(1, 1)])
        self.assertNothingScanned(traced, sorted_too=True)

    def test_removing(self) -> None:
        """Purged jobs and rows of a dropped index go by their keys, and a slice of them is no look at the others."""
        traced = _Traced(self.writer)
        self.writer.purge.purged(["u000"])
        self.writer.purge.unchanged([(1, 1)])
        self.writer.purge.remove([1, 2], 1)
        while self.writer.purge.clear(1):
            pass
        self.assertNothingScanned(traced, sorted_too=True)
        self.assertFalse([plan for plan in traced.plans() if plan.endswith("(column_id=?)")])
        traced = _Traced(self.writer)
        self.writer.index.configure([(STATUS,)])
        while self.writer.index.fill(7):
            pass
        self.assertNothingScanned(traced, sorted_too=True)
        (left,) = self.writer._connection.execute("SELECT count(*) FROM indexed").fetchone()
        self.assertEqual(left, JOBS - 2)

    def assertNothingScanned(self, traced: _Traced, *, sorted_too: bool = False) -> None:
        """Every table of jobs and events is searched by an index, and only what may be is sorted."""
        plans = traced.plans()
        self.assertTrue(any(plan.startswith("SEARCH") for plan in plans), plans)
        for plan in plans:
            if plan.startswith("SCAN"):
                self.assertRegex(plan, _SCANNED)
            elif not sorted_too and plan.startswith("USE TEMP"):
                self.fail(f"{plan}: {traced.statements}")
