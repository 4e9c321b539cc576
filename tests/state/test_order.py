"""What the specification calls free of order is so, whatever order events arrive in (P4)."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.event import Event
from lb.model.seqcode import format_normal, format_pbs
from lb.model.status import TERMINAL, JobStatus, State
from lb.state import condor, glite_rules, pbs
from lb.state.families import coverage
from lb.state.job import Job
from lb.state.rules import Position, Row, Table
from tests.state.make import JOB, OWNER, make, played, registered

bounded = settings(deadline=None, max_examples=150)


def _moving(table: Table) -> list[Row]:
    """Rows of events that bring a job to one state which is not final, in any state that it is in."""
    return [
        covered.row
        for covered in coverage(table)
        if covered.row.rule.to is not None
        and covered.row.rule.to not in TERMINAL
        and not covered.row.rule.guards
        and covered.row.rule.position is Position.ADVANCE
        and covered.row.type.name != "RegJob"
        # Half of it is taken, then it counts as not allowed (S12).
        and "KILLED" not in covered.codes
    ]


def _event(row: Row, seqcode: str, at: int) -> Event:
    given = {row.attribute: row.codes[-1]} if row.attribute else {}
    given |= {name.name: f"{name.name}{at}" for name in row.type.attributes if name.kind.name == "STRING"}
    return Event(
        row.type,
        JOB,
        timestamp=at * 1_000_000,
        host=f"host{at}",
        source=row.sources[0],
        seqcode=seqcode,
        user=OWNER,
        attributes=given,
    )


_CODES = st.lists(st.tuples(*[st.integers(1, 3)] * 3), unique=True, max_size=12).map(sorted)


def _streams(table: Table, codes: Iterable[str]) -> st.SearchStrategy[list[Event]]:
    rows = st.sampled_from(_moving(table))
    return st.tuples(*(rows for _ in codes)).map(
        lambda drawn: [
            _event(row, code, number) for number, (row, code) in enumerate(zip(drawn, codes, strict=True), 1)
        ]
    )


class Order(SynchronousTestCase):
    """Streams of events with codes that tell them apart, in two orders of arrival."""

    def _both(self, data: st.DataObject, registration: Event, events: list[Event]) -> tuple[Job, Job]:
        other = data.draw(st.permutations(events))
        return played(registration, *events), played(registration, *other)

    @bounded
    @given(st.data())
    def test_glite(self, data: st.DataObject) -> None:
        """The highest code tells where a gLite job is; candidates and nodes are the same ones in some order."""
        codes = [format_normal((1, 1, w, 0, j, m, 0, 0, 0)) for w, j, m in data.draw(_CODES)]
        events = data.draw(_streams(glite_rules.TABLE, codes))
        job, other = self._both(data, registered(), events)
        self.assertEqual(job.hidden.last, other.hidden.last)
        self.assertEqual(_place(job.status), _place(other.status))
        for name in ("possible_destinations", "possible_ce_nodes"):
            self.assertEqual(sorted(getattr(job.status, name) or ()), sorted(getattr(other.status, name) or ()))

    @bounded
    @given(st.data())
    def test_pbs(self, data: st.DataObject) -> None:
        """So it does for a PBS job."""
        codes = [format_pbs((1, s, d, 0, m)) for s, d, m in data.draw(_CODES)]
        registration = registered("PBS", seqcode=format_pbs((1, 0, 0, 0, 0)))
        job, other = self._both(data, registration, data.draw(_streams(pbs.FAMILY.table, codes)))
        self.assertEqual((job.status.state, job.hidden.last), (other.status.state, other.hidden.last))
        self.assertEqual(job.status.lastUpdateTime, other.status.lastUpdateTime)

    @bounded
    @given(st.data())
    def test_condor(self, data: st.DataObject) -> None:
        """So it does for a Condor job, by the times in its codes."""
        codes = [f"TIMESTAMP=2008011012{a}{b}{c}0:POS=0000000001:EV.CODE=200:SRC=s" for a, b, c in data.draw(_CODES)]
        registration = registered("CONDOR", seqcode="TIMESTAMP=20080110000000:POS=0000000001:EV.CODE=017:SRC=j")
        job, other = self._both(data, registration, data.draw(_streams(condor.FAMILY.table, codes)))
        self.assertEqual((job.status.state, job.hidden.last), (other.status.state, other.hidden.last))
        self.assertEqual(job.status.condor_status, other.status.condor_status)

    @bounded
    @given(st.data())
    def test_tags(self, data: st.DataObject) -> None:
        """The value of a tag is that with the highest code, whenever it comes and whatever the job's state is."""
        codes = data.draw(st.lists(st.integers(1, 50), unique=True, max_size=10))
        names = data.draw(st.lists(st.sampled_from("aAbc"), min_size=len(codes), max_size=len(codes)))
        tags = [
            make("UserTag", "APP", f"U1 A{code}", code, name=name, value=str(code))
            for code, name in zip(codes, names, strict=True)
        ]
        ended = make("Done", "LM", "U1 W9", 60, status_code="CANCELLED")
        job, other = self._both(data, registered(), [*tags, ended])
        expected: dict[str, str] = {}
        for code, name in sorted(zip(codes, names, strict=True)):
            expected[name.lower()] = str(code)
        self.assertEqual(dict(job.status.user_tags or ()), expected)
        self.assertEqual(dict(other.status.user_tags or ()), expected)

    def test_ownership(self) -> None:
        """A payload given and taken has its new owner whichever came first."""
        grant = make("GrantPayloadOwnership", "LRMS", "U1 R1", 1, payload_owner="/CN=Eve")
        take = make("TakePayloadOwnership", "LRMS", "U1 R2", 2, user="/CN=Eve")
        for events in ((grant, take), (take, grant)):
            self.assertEqual(played(registered(), *events).status.payload_owner, "/CN=Eve")

    def test_enough_rows(self) -> None:
        """The properties above are about most of what moves a job."""
        moving = {State(row.rule.to or 0) for row in _moving(glite_rules.TABLE)}
        self.assertEqual(
            moving, {State.Submitted, State.Waiting, State.Ready, State.Scheduled, State.Running, State.Done}
        )
        self.assertGreater(len(_moving(pbs.FAMILY.table)), 8)


def _place(status: JobStatus) -> tuple[int, str | None, int]:
    return status.state, status.location, status.lastUpdateTime
