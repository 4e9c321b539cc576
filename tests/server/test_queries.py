"""Queries over many jobs: each compared with a plain evaluation over all of them, whatever is indexed."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError
from lb.model.indexing import DEFAULT_INDICES, OWNER, Column, Index, from_title
from lb.model.jobid import JobId
from lb.model.query import FORMS, Attribute, Condition, Flag, Group, Operator, Query, Results, check_jobs
from lb.model.status import JobStatus, JobType, State
from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import Action, Policy
from lb.server.assembly import PAGE
from lb.server.conditions import MAX_EFFORT
from lb.server.lookup import Limits, Lookup
from lb.server.planner import Plan, plan
from lb.state.job import Job, Texts
from lb.store.interface import JobEntry, StoredJob
from lb.store.selection import Range, Selection
from lb.store.sqlite import SQLiteStore
from tests.store.raw import execute

READER = Identity("/CN=reader")
OWNERS = ("/CN=a", "/CN=b", "/CN=reader")
TEXTS = (None, "", "a", "b", "ba", "é", "z" * 200, "z" * 199 + "y")
#: One index of each kind, and one of two columns.
INDICES: tuple[Index, ...] = (
    (OWNER,),
    (from_title("STD_destination"), from_title("TIME_Done")),
    (from_title("USR_color"),),
    (from_title("STD_lastUpdateTime"),),
    (from_title("STD_status"),),
)


def jobid(number: int) -> JobId:
    return JobId("localhost", 9000, f"job{number:04}")


def status(number: int, choose: random.Random) -> JobStatus:
    """A job with some of everything that conditions compare."""
    times = [0] * 12
    times[State.Done] = choose.randrange(4)
    tags = [(choose.choice(("color", "Color", "size")), choose.choice(TEXTS) or "") for _ in range(choose.randrange(3))]
    return JobStatus(
        jobId=str(jobid(number)),
        state=State(choose.randrange(1, 10)),
        owner=choose.choice(OWNERS),
        parent_job=str(jobid(choose.randrange(3))) if choose.random() < 0.3 else None,
        destination=choose.choice(TEXTS),
        location=choose.choice(TEXTS),
        network_server=choose.choice(TEXTS),
        done_code=choose.randrange(-1, 3),
        exit_code=choose.randrange(3),
        resubmitted=bool(choose.randrange(2)),
        jobtype=choose.randrange(11),
        vm_state=choose.randrange(-1, 4),
        stateEnterTime=choose.randrange(4) * 1_000_000 + 5,
        lastUpdateTime=choose.randrange(4) * 1_000_000 + 5,
        stateEnterTimes=times,
        user_tags=tags or None,
    )


DESCRIPTIONS = (None, '[ VO = "x"; ]', '[ vo = "é"; Other = "x" ]')

#: What a condition compares, told once more and without any of the server's code.
PLAIN: dict[Attribute, Callable[[JobStatus, Condition], Any]] = {
    Attribute.OWNER: lambda job, _: job.owner,
    Attribute.STATUS: lambda job, _: int(job.state),
    Attribute.LOCATION: lambda job, _: job.location,
    Attribute.DESTINATION: lambda job, _: job.destination,
    Attribute.DONECODE: lambda job, _: job.done_code,
    Attribute.USERTAG: lambda job, c: next(
        (v for n, v in job.user_tags or () if n.lower() == str(c.name).lower()), None
    ),
    Attribute.TIME: lambda job, c: job.stateEnterTimes[c.state or 0],
    Attribute.RESUBMITTED: lambda job, _: int(job.resubmitted),
    Attribute.PARENT: lambda job, _: job.parent_job,
    Attribute.EXITCODE: lambda job, _: job.exit_code,
    Attribute.STATEENTERTIME: lambda job, _: job.stateEnterTime // 1_000_000,
    Attribute.LASTUPDATETIME: lambda job, _: job.lastUpdateTime // 1_000_000,
    Attribute.NETWORK_SERVER: lambda job, _: job.network_server,
    Attribute.JOB_TYPE: lambda job, _: job.jobtype,
    Attribute.VM_STATUS: lambda job, _: job.vm_state,
}


def meets(job: JobStatus, description: str | None, condition: Condition) -> bool:
    """One condition, plainly."""
    if condition.operator is Operator.CHANGED:
        return True
    wanted: Any = condition.value
    if condition.attribute is Attribute.JOBID:
        value: Any = str(job.jobId).rpartition("/")[2]
        wanted = condition.value.unique if isinstance(condition.value, JobId) else None
    elif condition.attribute is Attribute.JDL_ATTR:
        value = {DESCRIPTIONS[1]: "x", DESCRIPTIONS[2]: "é"}.get(description) if condition.name == "vo" else None
    else:
        value = PLAIN[condition.attribute](job, condition)
        if condition.attribute is Attribute.OWNER and wanted is None:
            wanted = READER.name
        wanted = str(wanted) if isinstance(wanted, JobId) else wanted
    if condition.operator is Operator.EQUAL:
        return bool(value == wanted)
    if condition.operator is Operator.UNEQUAL:
        return bool(value != wanted)
    if value is None:
        return False
    if isinstance(value, str):
        value, wanted = value.encode(), wanted.encode()
    wanted2 = condition.value2.encode() if isinstance(condition.value2, str) else condition.value2
    return bool(
        {
            Operator.LESS: lambda: value < wanted,
            Operator.GREATER: lambda: value > wanted,
            Operator.WITHIN: lambda: wanted <= value <= wanted2,
        }[condition.operator]()
    )


@st.composite
def groups(draw: st.DrawFn) -> Group:
    """Alternatives on one attribute, with any operator that it takes."""
    attribute = draw(st.sampled_from([a for a, form in FORMS.items() if form.job_operators]))
    name = draw(st.sampled_from(["color", "size"])) if attribute is Attribute.USERTAG else None
    name = "vo" if attribute is Attribute.JDL_ATTR else name
    state = int(State.Done) if attribute is Attribute.TIME else None
    values: st.SearchStrategy[Any] = st.integers(-1, 9)
    if attribute in (Attribute.JOBID, Attribute.PARENT):
        values = st.integers(0, 150).map(jobid)
    elif attribute is Attribute.OWNER:
        values = st.sampled_from([None, *OWNERS])
    elif FORMS[attribute].kind.value == "text":
        values = st.sampled_from([text for text in (*TEXTS, "x") if text is not None])

    def condition(operator: Operator) -> Condition:
        changed = operator is Operator.CHANGED
        second = draw(values) if operator is Operator.WITHIN else None
        return Condition(attribute, operator, None if changed else draw(values), second, name, state)

    operators = sorted(FORMS[attribute].job_operators)
    return tuple(condition(draw(st.sampled_from(operators))) for _ in range(draw(st.integers(1, 3))))


class Queries(SynchronousTestCase):
    """150 jobs of three owners, seen by somebody who may read all of them."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        store = SQLiteStore(directory / "lb.sqlite")
        self.addCleanup(store.close)
        self.writer = store.writer()
        self.addCleanup(self.writer.close)
        choose = random.Random(7)
        self.jobs: list[StoredJob] = []
        for number in range(150):
            held = Job(status(number, choose), texts=Texts(jdl=choose.choice(DESCRIPTIONS)))
            owner = str(held.status.owner)
            parent = str(held.status.parent_job).rpartition("/")[2] if held.status.parent_job else None
            key = self.writer.new_key()
            self.jobs.append(StoredJob(key, jobid(number), owner, owner.lower(), held, parent=parent))
        # Keys in another order than unique parts.
        choose.shuffle(self.jobs)
        self.writer.write(self.jobs[:100], [])
        self.reader = store.reader()
        self.addCleanup(self.reader.close)
        self.policy = Policy.open().permitting("/CN=reader", Action.READ_ALL)

    def _lookup(self, limits: Limits = Limits(no_index=2)) -> Lookup:  # noqa: B008
        return Lookup(self.reader, lambda: self.policy, "salt", limits)

    def _index(self, indices: tuple[Index, ...]) -> None:
        self.writer.index.configure(indices)
        while self.writer.index.fill(30):
            pass

    def _ids(self, query: Query, lookup: Lookup | None = None, peer: Identity = READER) -> list[str]:
        try:
            found = (lookup or self._lookup()).jobs(peer, query).jobs
        except LBError as error:
            if error.code != errno.ENOENT:
                raise
            return []
        return [str(job.jobId).rpartition("/")[2] for job in found]

    def _compare(self, examples: int) -> None:
        lookup = self._lookup()

        @settings(max_examples=examples, deadline=None)
        @given(st.lists(groups(), min_size=1, max_size=3))
        def compare(asked: list[Group]) -> None:
            query = Query(jobs=tuple(asked))
            check_jobs(query)
            wanted = sorted(
                job.jobid.unique
                for job in self.jobs
                if all(any(meets(job.state.status, job.state.texts.jdl, one) for one in group) for group in asked)
            )
            self.assertEqual(self._ids(query, lookup), wanted)

        compare()

    def test_plain_evaluation(self) -> None:
        """lb-test-job-states 3 to 6: any conditions find what a look at all jobs finds, in the order of the ids."""
        self.writer.write(self.jobs[100:], [])
        self._compare(200)

    def test_indexed_evaluation(self) -> None:
        """The same with indices, filled while jobs came and changed."""
        self.writer.index.configure(INDICES)
        self.writer.index.fill(30)
        self.writer.write(self.jobs[100:], [])
        choose = random.Random(8)
        for job in self.jobs[::3]:
            job.state.status = status(int(job.jobid.unique[3:]), choose)
            job.state.status.owner = job.owner
            job.state.status.parent_job = None if job.parent is None else str(job.jobid._replace(unique=job.parent))
        self.writer.write(self.jobs[::3], [])
        while self.writer.index.fill(30):
            pass
        self.assertEqual(self.reader.finder.indices(), INDICES)
        self._compare(300)

    def test_changed_online(self) -> None:
        """Indices come and go while jobs are written; what is dropped is emptied, what is new is used when filled."""
        done = Query(jobs=((Condition(Attribute.STATUS, Operator.EQUAL, int(State.Done)),),))
        lookup = self._lookup(Limits())
        self.assertEqual(self.reader.finder.indices(), DEFAULT_INDICES)
        self._refused(lookup, done, "No indexed condition in query")
        self.writer.index.configure(INDICES)
        self._refused(lookup, done, "No indexed condition in query")
        self._index(INDICES)
        found = self._ids(done, lookup)
        self.assertEqual(found, sorted(j.jobid.unique for j in self.jobs[:100] if j.state.status.state == State.Done))
        self._index(())
        self._refused(lookup, done, "no indices configured: jobid required in query")
        rows = execute(self.writer, "SELECT (SELECT count(*) FROM indexed) + (SELECT count(*) FROM index_columns)")
        self.assertEqual(rows.fetchone(), (0,))

    def _refused(self, lookup: Lookup, query: Query, words: str, peer: Identity = READER) -> None:
        error = self.assertRaises(LBError, lookup.jobs, peer, query)
        self.assertEqual((error.code, error.description), (Code.NO_INDEX, words))

    def test_index_rule(self) -> None:
        """wire-query.md §5.5: what needs an index, in which words it is refused, and who is excused."""
        own = Query(jobs=((Condition(Attribute.OWNER, Operator.EQUAL, None),),))
        other_jobs = (Condition(Attribute.JOBID, Operator.UNEQUAL, jobid(3)),)
        done = (Condition(Attribute.STATUS, Operator.EQUAL, int(State.Done)),)
        family = Query(jobs=((Condition(Attribute.PARENT, Operator.EQUAL, jobid(1)),),))
        self._index(((from_title("STD_destination"), OWNER),))
        lookup = self._lookup(Limits())
        self._refused(lookup, Query(), "unrestricted queries unsupported")
        self._refused(lookup, own, '"-all" queries denied by server configuration')
        self._refused(lookup, Query(jobs=(*own.jobs, done)), "No indexed condition in query")
        destination = (Condition(Attribute.DESTINATION, Operator.UNEQUAL, "x"),)
        self.assertNotEqual(self._ids(Query(jobs=(*own.jobs, destination)), lookup), [])
        # lb-test-collections 2: subjobs are found without any index; lb-test-job-states: so is what is not one job.
        self.assertNotEqual(self._ids(family, lookup), [])
        self.assertEqual(len(self._ids(Query(jobs=(other_jobs,)), lookup)), 99)
        self.policy = self.policy.permitting("/CN=admin", Action.ADMIN_ACCESS)
        excused = self._lookup(Limits(no_index=1))
        self._refused(excused, Query(jobs=(done,)), "No indexed condition in query")
        self.assertNotEqual(self._ids(Query(jobs=(done,)), excused, Identity("/CN=admin")), [])

    def test_transfers(self) -> None:
        """lb-test-sandbox-transfer 6: transfers by their type and not by a job's id; by another type none of them."""
        self.writer.write(self.jobs[100:], [])
        transfers = [job.jobid.unique for job in self.jobs if job.state.status.jobtype == JobType.FILE_TRANSFER]
        elsewhere = (Condition(Attribute.JOBID, Operator.UNEQUAL, jobid(150)),)
        for operator in Operator.EQUAL, Operator.UNEQUAL:
            of_type = (Condition(Attribute.JOB_TYPE, operator, int(JobType.FILE_TRANSFER)),)
            found = self._ids(Query(jobs=(of_type, elsewhere)), self._lookup(Limits()))
            self.assertEqual(set(found) & set(transfers), set(transfers) if operator is Operator.EQUAL else set())

    def test_side_by_side(self) -> None:
        """lb-test-threaded: long questions asked at once are answered slice by slice, each as if it were alone."""
        self.writer.write(self.jobs[100:], [])
        lookup = self._lookup()
        asked = [Query(jobs=((Condition(Attribute.EXITCODE, Operator.EQUAL, code),),)) for code in (0, 1, 2)] * 10
        running = [(query, lookup.job_pages(READER, query), list[str]()) for query in asked]
        waiting = list(running)
        while waiting:
            for each in list(waiting):
                page = next(each[1], None)
                if page is None:
                    waiting.remove(each)
                else:
                    each[2].extend(str(job.jobId).rpartition("/")[2] for job in page)
        for query, _, found in running:
            self.assertEqual(found, self._ids(query))

    def test_narrowest(self) -> None:
        """Of several ways to the jobs the one over the fewest is taken, and none is counted further than that needs."""
        for sizes, counted in (
            ({"color": 50_000, "size": 3}, {100}),
            ({"color": 50_000, "size": 5_000}, {100, 10_000}),
            ({"color": 50_000, "size": 50}, {100}),
        ):
            found, most = self._narrowest(sizes)
            self.assertEqual(found.selection, Selection(Column(Attribute.USERTAG, name="size"), (Range("x", "x"),)))
            self.assertEqual(most, counted)

    def _narrowest(self, sizes: dict[str, int]) -> tuple[Plan, set[int]]:
        """The plan for tags of which so many jobs have the value that is asked for, and how far they were counted."""
        asked = tuple(
            (Condition(Attribute.USERTAG, Operator.EQUAL, "x", name=name),) for name in ("color", "size", "none")
        )
        columns = {Column(Attribute.USERTAG, name=name) for name in sizes}
        counted: set[int] = set()

        def estimate(selection: Selection, most: int) -> int:
            counted.add(most)
            return min(most, sizes[str(selection.column and selection.column.name)])

        return plan(Query(jobs=asked), None, columns, estimate), counted

    def test_slices(self) -> None:
        """P10: a long answer is found a slice at a time, none of which looks at more than a page of jobs."""
        self.writer.write(self.jobs[100:], [])
        anything = Query(jobs=((Condition(Attribute.JOBID, Operator.UNEQUAL, jobid(3)),),))
        pages = list(self._lookup().job_pages(READER, anything))
        self.assertEqual([len(page) for page in pages], [PAGE - 1, 50])

    def test_no_more(self) -> None:
        """Where a limit ends an answer, one job behind it is read and no other; for the newest jobs not even that."""
        self.writer.write(self.jobs[100:], [])
        read: list[int] = []
        entries = self.reader.entries

        def counted(keys: Sequence[int], *, texts: bool = False) -> list[JobEntry]:
            read.extend(keys)
            return entries(keys, texts=texts)

        self.patch(self.reader, "entries", counted)
        groups = ((Condition(Attribute.JOBID, Operator.UNEQUAL, jobid(200)),),)
        for limit in (1, 99, 100, 101, 149):
            read.clear()
            found = self._ids(Query(jobs=groups, soft_limit=limit, results=Results.LIMITED))
            self.assertEqual((len(found), len(read)), (limit, limit + 1))
            read.clear()
            slices = list(self._lookup().newest(READER, Query(jobs=groups), None, limit))
            self.assertEqual((sum(len(jobs) for jobs, _ in slices), len(read)), (limit, limit))

    def test_many_alternatives(self) -> None:
        """P10: thousands of alternatives, equal values and ranges, are found over an index as a few are."""
        self.writer.write(self.jobs[100:], [])
        self._index(INDICES)
        lookup = self._lookup()
        for attribute in (Attribute.DESTINATION, Attribute.OWNER):
            here = {getattr(job.state.status, attribute.name.lower()) for job in self.jobs} - {None}
            values = [f"nowhere{number}" for number in range(3_000)] + sorted(here)
            equal = tuple(Condition(attribute, Operator.EQUAL, value) for value in values)
            wanted = [
                job.jobid.unique for job in self.jobs if getattr(job.state.status, attribute.name.lower()) in here
            ]
            self.assertEqual(self._ids(Query(jobs=(equal,)), lookup), sorted(wanted))
        spans = tuple(Condition(Attribute.LASTUPDATETIME, Operator.WITHIN, n, n + 1) for n in range(2_000, 3_800, 2))
        query = Query(jobs=((*spans, Condition(Attribute.LASTUPDATETIME, Operator.LESS, 2)),))
        wanted = [job.jobid.unique for job in self.jobs if job.state.status.lastUpdateTime // 1_000_000 < 2]
        self.assertEqual(self._ids(query, lookup), sorted(wanted))

    def test_effort(self) -> None:
        """P10: what a query may have compared of each job is bounded; equal values are one comparison."""
        own = (Condition(Attribute.OWNER, Operator.EQUAL, None),)
        named = tuple(Condition(Attribute.JOBID, Operator.EQUAL, jobid(n)) for n in range(3 * MAX_EFFORT))
        self.assertEqual(len(self._ids(Query(jobs=(named, own)))), len(self._ids(Query(jobs=(own,)))))
        others = tuple(Condition(Attribute.DONECODE, Operator.UNEQUAL, n) for n in range(MAX_EFFORT - 2))
        found = len(self._ids(Query(jobs=(named, own, own, others))))
        self.assertEqual(found, len(self._ids(Query(jobs=(own,)))))
        more = (*others, Condition(Attribute.DONECODE, Operator.LESS, 7))
        refused = self.assertRaises(LBError, self._lookup().jobs, READER, Query(jobs=(named, own, more)))
        self.assertEqual(refused.code, errno.E2BIG)
        events = tuple(Condition(Attribute.HOST, Operator.EQUAL, str(n)) for n in range(MAX_EFFORT))
        refused = self.assertRaises(LBError, self._lookup().events, READER, Query(jobs=(own,), events=(events,)))
        self.assertEqual(refused.code, errno.E2BIG)

    def test_limits(self) -> None:
        """wire-query.md §5.6: n results under a limit of n, n+1 are too many; LIMITED gives the first n and says so."""
        base = Query(jobs=(tuple(Condition(Attribute.JOBID, Operator.EQUAL, jobid(n)) for n in range(150)),))
        everything = sorted(job.jobid.unique for job in self.jobs[:100])
        for soft, hard, effective in ((100, 0, None), (0, 100, None), (99, 0, 99), (0, 99, 99), (7, 5, 5), (5, 7, 5)):
            lookup = self._lookup(Limits(jobs=hard))
            for results in Results.NONE, Results.UNDEFINED, Results.LIMITED:
                query = Query(jobs=base.jobs, soft_limit=soft, results=results)
                if effective is not None and results is not Results.LIMITED:
                    self.assertEqual(self.assertRaises(LBError, lookup.jobs, READER, query).code, errno.E2BIG)
                    continue
                answer = lookup.jobs(READER, query)
                self.assertEqual([str(job.jobId)[-7:] for job in answer.jobs], everything[:effective])
                self.assertEqual(answer.error and answer.error.code, errno.E2BIG if effective else None)
        own = Query(jobs=((Condition(Attribute.OWNER, Operator.EQUAL, None),),), soft_limit=1, results=Results.ALL)
        self.assertGreater(len(self._ids(own, self._lookup(Limits(jobs=1)))), 1)

    def test_who_may_read(self) -> None:
        """P7: ids alone are filtered as states are; nobody, strangers, watchers, readers of hashes see their part."""
        ids = Query(
            jobs=(tuple(Condition(Attribute.JOBID, Operator.EQUAL, jobid(n)) for n in range(150)),),
            flags=Flag.NO_STATES,
        )
        mine = sorted(job.jobid.unique for job in self.jobs[:100] if job.owner == "/CN=reader")
        self.policy = Policy.open().permitting("/CN=watch", Action.STATUS_FOR_MONITORING)
        self.policy = self.policy.permitting("/CN=hash", Action.READ_ANONYMIZED)
        self.assertEqual(self._ids(ids), mine)
        self.assertEqual(self._ids(ids, peer=ANONYMOUS), [])
        self.assertEqual(self._ids(ids, peer=Identity("/CN=stranger")), [])
        self.assertEqual(len(self._ids(ids, peer=Identity("/CN=watch"))), 100)
        whole = Query(jobs=ids.jobs)
        watched = self._lookup().jobs(Identity("/CN=watch"), whole).jobs
        self.assertEqual({(job.owner, job.location, job.user_tags) for job in watched}, {(None, None, None)})
        for attribute, name in ((Attribute.LOCATION, None), (Attribute.USERTAG, "color"), (Attribute.JDL_ATTR, "a")):
            probe = (Condition(attribute, Operator.UNEQUAL, "x", name=name),)
            self.assertEqual(self._ids(Query(jobs=(*ids.jobs, probe)), peer=Identity("/CN=watch")), [])
            self.assertNotEqual(self._ids(Query(jobs=(*ids.jobs, probe))), [])
        for name in ("Type", "virtualorganisation"):
            probe = (Condition(Attribute.JDL_ATTR, Operator.UNEQUAL, "x", name=name),)
            self.assertEqual(len(self._ids(Query(jobs=(*ids.jobs, probe)), peer=Identity("/CN=watch"))), 100)
        of_reader = Condition(Attribute.OWNER, Operator.EQUAL, "/CN=reader")
        other = Condition(Attribute.OWNER, Operator.UNEQUAL, "/CN=stranger")
        states = tuple(Condition(Attribute.STATUS, Operator.EQUAL, state) for state in State)
        for guess in ((of_reader,), (other,), (of_reader, *states)):
            for peer in (Identity("/CN=watch"), Identity("/CN=hash")):
                self.assertEqual(self._ids(Query(jobs=(*ids.jobs, guess)), peer=peer), [], "no name is confirmed")
        self.assertEqual(self._ids(Query(jobs=(*ids.jobs, (other,)))), mine)
        hashed = {str(job.owner) for job in self._lookup().jobs(Identity("/CN=hash"), whole).jobs}
        self.assertEqual(sorted(map(len, hashed)), [64, 64, 64])
