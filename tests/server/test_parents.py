"""Subjobs and their parents: one transaction, any interleaving, at a cost that does not grow with the family."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.status import STATE_NAMES, State
from lb.server.recomputation import Recomputation
from lb.state.job import encode
from lb.wire import il
from tests.server.fixture import OWNER, Server
from tests.server.test_ingest import JOB, line, registration, running
from tests.store.raw import read_only

_NUMBER = 6


def subjobs(parent: str = JOB, count: int = _NUMBER) -> list[str]:
    """Ids of the subjobs that `registration` makes."""
    return [str(each) for each in jobid.subjobs(jobid.parse(parent), count, "s")]


def done(number: int, **more: Any) -> str:
    """A Done/OK line."""
    attributes = 'DG.DONE.STATUS_CODE="OK" DG.DONE.REASON="" DG.DONE.EXIT_CODE="0" '
    return line("Done", attributes, number=number, source="LogMonitor", **more)


def named(histogram: list[int] | None) -> dict[str, int]:
    """The counters of a histogram that are not zero."""
    return {STATE_NAMES[number]: count for number, count in enumerate(histogram or ()) if count}


class Families(SynchronousTestCase):
    """One store, events handed in directly."""

    def setUp(self) -> None:
        self.server = self._server()

    def _server(self, **options: Any) -> Server:
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory, **options)
        self.addCleanup(server.close)
        return server

    def _histogram(self, job: str = JOB, server: Server | None = None) -> dict[str, int]:
        return named((server or self.server).status(job, "childhist_fast").children_hist)

    def test_same_transaction(self) -> None:
        """The parent has moved when the subjob's event is answered, and its history tells why."""
        first, second = subjobs(count=2)
        self.server.send(registration(jobtype="COLLECTION", nsubjobs=2))
        for event, state in (
            (running(1, job=first), State.Running),
            (done(2, job=first), State.Waiting),
            (done(3, job=second), State.Done),
        ):
            self.assertEqual(self.server.send(event), il.OK)
            self.assertEqual(self.server.status(JOB).state, state)
        events = self.server.lookup.events_of(OWNER, jobid.parse(JOB).unique)
        self.assertEqual([event.type.name for event in events], ["RegJob"] + ["CollectionState"] * 3)
        self.assertEqual(events[3].attributes["child"], second)
        self.assertEqual(self._histogram(), {"Done": 2})

    def test_nothing_without_the_transaction(self) -> None:
        """P1: when the store fails neither subjob nor parent has moved, in memory neither."""
        child = subjobs()[0]
        self.server.send(registration(jobtype="COLLECTION", nsubjobs=_NUMBER))
        read_only(self.server.writer, on=True)
        self.assertNotEqual(self.server.send(running(1, job=child)), il.OK)
        read_only(self.server.writer, on=False)
        self.assertEqual(self._histogram(), {"Unknown": _NUMBER})
        self.assertEqual(self.server.send(running(1, job=child)), il.OK)
        self.assertEqual(self._histogram(), {"Unknown": _NUMBER - 1, "Running": 1})

    @settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
    @given(st.data())
    def test_any_interleaving(self, data: st.DataObject) -> None:
        """P4: each subjob is counted once whatever order events and registrations come in, in whatever batches.

        Subjobs are grey, registered by themselves or made by their parent, which itself may come last.
        """
        server = self._server(grey_jobs=True)
        children = subjobs()
        lines = [registration(jobtype="COLLECTION", nsubjobs=_NUMBER)]
        for number, child in enumerate(children):
            registers, runs, ends = data.draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
            if registers:
                own = registration(job=child).replace('PARENT=""', f'PARENT="{JOB}"')
                lines.append(own)
            if runs:
                lines.append(running(2 * number + 1, job=child))
            if ends:
                lines.append(done(2 * number + 2, job=child))
        lines = data.draw(st.permutations(lines))
        while lines:
            size = data.draw(st.integers(1, len(lines)))
            self.assertEqual(server.send_all(lines[:size]), [il.OK] * size)
            lines = lines[size:]
        counted = dict.fromkeys(("Running", "Done", "Unknown"), 0)
        for child in children:
            name = STATE_NAMES[server.status(child).state]
            counted[name if name in counted else "Unknown"] += 1
        self.assertEqual(self._histogram(server=server), {name: count for name, count in counted.items() if count})
        self.assertEqual(sorted(server.status(JOB, "children").children or ()), sorted(children))
        # What was stored on the way is what the events say, to the last hidden field.
        self.assertEqual(Recomputation(server.writer, server.ingest)().differing, [])

    def test_s5(self) -> None:
        """S5: a subjob whose parent is not known here lives on; the parent counts it when it comes."""
        child = "https://localhost:9000/child"
        self.server.send_all([registration(job=child).replace('PARENT=""', f'PARENT="{JOB}"')])
        self.assertEqual(self.server.send(running(1, job=child)), il.OK)
        self.assertEqual(self.server.send(registration(jobtype="DAG", nsubjobs=1)), il.OK)
        self.assertEqual(self._histogram(), {"Running": 1})

    def test_s26(self) -> None:
        """S26: subjobs that were grey belong to their parent's owner when it is registered, with all their events."""
        server = self._server(grey_jobs=True)
        child = subjobs()[0]
        server.send_all([running(1, job=child), done(2, job=child)])
        self.assertEqual(server.send(registration(jobtype="COLLECTION", nsubjobs=_NUMBER)), il.OK)
        status = server.status(child)
        self.assertEqual((status.state, status.owner, status.parent_job), (State.Done, OWNER.name, JOB))
        self.assertEqual(self._histogram(server=server), {"Done": 1, "Unknown": _NUMBER - 1})

    def test_s41(self) -> None:
        """S41: what its subjobs make of a collection is told to its own parent at its own next event only."""
        inner = subjobs(count=1)[0]
        leaf = subjobs(inner, 1)[0]
        own = registration(job=inner, jobtype="COLLECTION", nsubjobs=1, number=1)
        self.server.send_all(
            [registration(jobtype="COLLECTION", nsubjobs=1), own.replace('PARENT=""', f'PARENT="{JOB}"')]
        )
        self.server.send(running(2, job=leaf))
        self.assertEqual(self.server.status(inner).state, State.Running)
        self.assertEqual(self._histogram(), {"Unknown": 1})
        # An event that moves nothing: the parent learns of where its subjob is.
        self.server.send(line("CurDescr", 'DG.CURDESCR.DESCR="x" ', job=inner, number=3))
        self.assertEqual(self._histogram(), {"Running": 1})
        self.assertEqual(self.server.status(JOB).state, State.Running)

    def test_parent_changes(self) -> None:
        """A registration that names another parent takes the subjob out of the first one's count and list."""
        other, child = "https://localhost:9000/other", "https://localhost:9000/child"
        for parent in (JOB, other):
            self.server.send(registration(job=parent, jobtype="DAG", nsubjobs=1))
        for number, parent in enumerate((JOB, other)):
            event = registration(job=child, number=2 * number).replace('PARENT=""', f'PARENT="{parent}"')
            self.server.send_all([event, running(2 * number + 1, job=child)])
        self.assertEqual((self._histogram(), self._histogram(other)), ({"Unknown": 1}, {"Running": 1}))
        self.assertNotIn(child, self.server.status(JOB, "children").children or ())
        self.assertIn(child, self.server.status(other, "children").children or ())

    def test_terminal_parent(self) -> None:
        """A cancelled collection stays so; its late internal events do not stop the subjobs that cause them."""
        children = subjobs()
        cancel = line("Cancel", 'DG.CANCEL.STATUS_CODE="DONE" DG.CANCEL.REASON="" ', number=1)
        self.server.send_all([registration(jobtype="COLLECTION", nsubjobs=_NUMBER), cancel])
        for some in (children[:3], children[3:]):  # the clock of this server stands still
            self.assertEqual(self.server.send_all([running(2, job=child) for child in some]), [il.OK] * len(some))
        self.assertEqual(self.server.status(JOB).state, State.Cancelled)
        self.assertEqual(self._histogram(), {"Running": _NUMBER})

    def _trace(self, statements: list[str] | None) -> None:
        """Have the statements of the writing side added to a list, or no more."""
        traced = None if statements is None else statements.append
        self.server.writer._connection.set_trace_callback(traced)  # type: ignore[attr-defined]

    def test_cost_of_a_child_event(self) -> None:
        """The parent's row has the same size whatever the number of its children, and is written once a batch."""
        sizes = []
        for number, count in enumerate((10, 2000)):
            parent = f"https://localhost:9000/collection{number}"
            self.server.send(registration(job=parent, jobtype="COLLECTION", nsubjobs=count))
            written: list[str] = []
            self._trace(written)
            self.server.send_all([running(1, job=child) for child in subjobs(parent, count)[:10]])
            self._trace(None)
            self.assertLess(len([each for each in written if not each.startswith("SELECT")]), 6)
            row = self.server.writer.load([jobid.parse(parent).unique])[jobid.parse(parent).unique]
            sizes.append(len(encode(row.state)))
        self.assertLess(sizes[1] - sizes[0], 20)
        self.assertLess(sizes[1], 1000)


class Store(SynchronousTestCase):
    """What the rows say."""

    def test_parent_column(self) -> None:
        """The column by which children are found follows the status."""
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory)
        self.addCleanup(server.close)
        child = "https://localhost:9000/child"
        server.send(registration(job=child).replace('PARENT=""', f'PARENT="{JOB}"'))
        database = sqlite3.connect(directory / "lb.sqlite")
        self.addCleanup(database.close)
        find = "SELECT parent FROM jobs WHERE unique_part = 'child'"
        self.assertEqual(database.execute(find).fetchone(), (jobid.parse(JOB).unique,))
        server.send(registration(job=child, number=1))
        self.assertEqual(database.execute(find).fetchone(), (None,))
