"""States, events and the answers they travel in."""

from __future__ import annotations

import errno

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import BY_NAME, TYPES
from lb.model.errors import Code, LBError, ParseError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.status import ATTRIBUTES, JobStatus, State
from lb.wire.lbxml import event, results, status
from lb.wire.lbxml.results import Job
from lb.wire.lbxml.tree import Limits, Node, parse
from tests.wire_query.exchanges import answers
from tests.wire_query.strategies import events, jobids, mutations, nasty_texts, relaxed, statuses

LIMITS = Limits(1 << 20, 20, 10_000)
JOB = JobId("lb.example.org", 9000, "a")

JOB_ANSWERS = answers(b"edg_wll_QueryJobsResult")
EVENT_ANSWERS = answers(b"edg_wll_QueryEventsResult")


def rewrite_jobs(answer: results.Jobs) -> bytes:
    rows = ((job.jobid, None if job.status is None else status.write(job.status)) for job in answer.jobs)
    return b"".join(results.write_jobs(rows, answer.error))


class RecordedTests(SynchronousTestCase):
    def test_jobs(self) -> None:
        """Each answer of the C server about jobs is read and written again byte for byte."""
        self.assertEqual(len(JOB_ANSWERS), 17)
        for document in JOB_ANSWERS:
            self.assertEqual(rewrite_jobs(results.read_jobs(document)), document)

    def test_events(self) -> None:
        """Each answer of the C server about events is read and written again byte for byte."""
        self.assertEqual(len(EVENT_ANSWERS), 4)
        for document in EVENT_ANSWERS:
            self.assertEqual(b"".join(results.write_events(*results.read_events(document))), document)

    def test_values(self) -> None:
        """A recorded state has the values that the C client shows for it."""
        document = next(d for d in JOB_ANSWERS if b"<acl>" in d and b"<edg_wll_Job>\r\n\t\t<jobStat" in d)
        [job] = results.read_jobs(document).jobs
        assert job.status is not None
        self.assertIsNone(job.jobid)
        self.assertEqual(job.status.state, State.Running)
        self.assertEqual(job.status.stateEnterTime, 1795417891307820)
        self.assertEqual(job.status.user_tags, [("mytag", 'my value with "quotes" and = and\nnewline')])
        self.assertEqual(job.status.access_rights, "READ:\n\tallowed: dn:/C=CZ/O=LB Reference Test/CN=Other User\n")
        self.assertEqual(job.status.stateEnterTimes[State.Waiting], 1795417891)
        self.assertEqual(job.status.children_hist, [0] * 12)

    def test_errors(self) -> None:
        """Answers carry errors with and without entries."""
        errors = [results.read_jobs(d).error for d in JOB_ANSWERS]
        self.assertEqual({e.code for e in errors if e}, {2, 7, 43, 1416})
        [partial] = [a for a in map(results.read_events, EVENT_ANSWERS) if a.error]
        assert partial.error is not None
        self.assertEqual((partial.error.code, len(partial.events)), (errno.E2BIG, 2))


class StatusTests(SynchronousTestCase):
    @relaxed
    @given(statuses())
    def test_round_trip(self, state: JobStatus) -> None:
        """Any state comes back as it was, alone and in an answer."""
        document = status.write(state)
        self.assertEqual(status.read(document), state)
        answer = b"".join(results.write_jobs([("https://h:1/a", document), (None, document)]))
        self.assertEqual(results.read_jobs(answer), ([Job("https://h:1/a", state), Job(None, state)], None))

    def test_each_attribute(self) -> None:
        """Every attribute that crosses the wire is written when it is not null, in the order of the table."""
        sample = {"string": "x", "jobid": "https://h:1/a", "int": 7, "bool": True, "timeval": 1_000_001}
        fields = {a.name: sample.get(a.type, [("n", "v")]) for a in ATTRIBUTES if a.sent and not a.structured}
        document = status.write(JobStatus(**fields))
        written = [node.tag for node in parse(document, LIMITS).children]
        self.assertEqual(written, [*fields, "stateEnterTimes"])
        self.assertIn(b"\t\t\t<stateEnterTime>1.000001</stateEnterTime>\r\n", document)
        self.assertIn(b"\t\t\t<pbs_resource_usage>n=v</pbs_resource_usage>\r\n", document)
        self.assertNotIn(b"user_fqans", status.write(JobStatus(user_fqans=["/vo"])))

    def test_nulls(self) -> None:
        """Null values are left out: -1 where that is null, 0 elsewhere; done code 0 is a value."""
        self.assertEqual(
            [node.tag for node in parse(status.write(JobStatus()), LIMITS).children],
            ["stateEnterTimes"],
        )
        document = status.write(JobStatus(done_code=0, exit_code=0, jobtype=0, cpuTime=-1))
        self.assertIn(b"<done_code>0</done_code>", document)
        self.assertIn(b"<jobtype>0</jobtype>", document)
        self.assertNotIn(b"exit_code", document)
        self.assertNotIn(b"cpuTime", document)

    def test_lists(self) -> None:
        """Lists follow in their order; states of children stand in them unindented."""
        child = JobStatus(state=State.Done, jobId="https://h:1/b")
        document = status.write(
            JobStatus(
                possible_destinations=["ce & 1"],
                possible_ce_nodes=[],
                children=["https://h:1/b"],
                children_hist=[0, 1] + [0] * 10,
                children_states=[child],
                user_tags=[("color", "red"), ("n", "")],
            )
        )
        self.assertIn(
            b"\t\t\t<possible_destinations>\r\n\t\t\t\t<name>ce &amp; 1</name>\r\n\t\t\t</possible_destinations>\r\n"
            b"\t\t\t<possible_ce_nodes>\r\n\t\t\t</possible_ce_nodes>\r\n"
            b"\t\t\t<children>\r\n\t\t\t\t<jobId>https://h:1/b</jobId>\r\n\t\t\t</children>\r\n"
            b"\t\t\t<children_hist>\r\n\t\t\t\t<Undefined>0</Undefined>\r\n\t\t\t\t<Submitted>1</Submitted>\r\n",
            document,
        )
        self.assertIn(
            b'\t\t\t<children_states>\r\n<jobStat name="Done">\r\n\t\t\t<jobId>https://h:1/b</jobId>\r\n', document
        )
        self.assertIn(
            b"</jobStat>\t\t\t</children_states>\r\n\t\t\t<user_tags>\r\n"
            b'\t\t\t\t<tag name="color">red</tag>\r\n\t\t\t\t<tag name="n"></tag>\r\n\t\t\t</user_tags>\r\n',
            document,
        )

    def test_lenient(self) -> None:
        """A reader passes over what it does not know, takes any order, and makes the best of odd numbers."""
        state = status.read(
            b'<jobStat name="RUNNING"><news><x/></news><stateEnterTimes><Ready>5</Ready><Lost>1</Lost>'
            b"</stateEnterTimes><exit_code></exit_code><resubmitted>1</resubmitted><owner></owner>"
            b"<children_states><other/></children_states><jobId>https://h:1/a</jobId></jobStat>"
        )
        self.assertEqual(
            state,
            JobStatus(
                state=State.Running,
                jobId="https://h:1/a",
                exit_code=-1,
                resubmitted=True,
                children_states=[],
                stateEnterTimes=[0, 0, 0, 5] + [0] * 8,
            ),
        )
        self.assertRaises(ParseError, status.read, b"<html/>")

    def test_error_document(self) -> None:
        """A failed GET of a job is answered with a zeroed state that carries the error."""
        document = status.write_error(LBError(errno.EPERM, "not owner"))
        zeroed = (
            b"jobtype",
            b"done_code",
            b"cpuTime",
            b"cream_state",
            b"cream_done_code",
            b"cream_exit_code",
            b"cream_jw_status",
            b"ft_sandbox_type",
            b"vm_state",
        )
        lines = b"".join(b"\t\t\t<%b>0</%b>\r\n" % (name, name) for name in zeroed)
        self.assertEqual(document, b'<jobStat name="Undefined" code="1" desc="not owner">\r\n' + lines + b"</jobStat>")
        error = self.assertRaises(LBError, status.read, document)
        self.assertEqual((error.code, error.description), (errno.EPERM, "not owner"))

    @relaxed
    @given(mutations(JOB_ANSWERS[:4] + JOB_ANSWERS[-1:]))
    def test_mutations(self, data: bytes) -> None:
        """Damaged answers are read or refused with an error of the protocol, nothing else."""
        try:
            self.assertIsInstance(results.read_jobs(data), results.Jobs)
        except ParseError as error:
            self.assertEqual(error.code, Code.XML_PARSE)


class EventTests(SynchronousTestCase):
    @relaxed
    @given(st.lists(events(), max_size=4))
    def test_round_trip(self, given_events: list[Event]) -> None:
        """Any events come back as they were."""
        answer = results.read_events(b"".join(results.write_events(given_events)))
        self.assertEqual(answer, (given_events, None))

    def test_layout(self) -> None:
        """An event is written as the C server does: coded values as numbers, priority and exit code 0 too."""
        done = Event(
            BY_NAME["Done"],
            JOB,
            timestamp=1_400_000_000_001_234,
            arrived=1_400_000_001_000_000,
            host="ui.example.org",
            source=6,
            seqcode="UI=000002",
            user="/C=CZ/O=X/CN=A",
            attributes={"status_code": 1, "reason": 'fin "ok" <1>', "exit_code": 0},
        )
        self.assertEqual(
            event.write(done),
            b'      <edg_wll_Event name="Done">\r\n\t\t\t<timestamp>1400000000.001234</timestamp>\r\n'
            b"\t\t\t<arrived>1400000001.000000</arrived>\r\n\t\t\t<host>ui.example.org</host>\r\n"
            b"\t\t\t<level>8</level>\r\n\t\t\t<priority>0</priority>\r\n"
            b"\t\t\t<jobId>https://lb.example.org:9000/a</jobId>\r\n\t\t\t<seqcode>UI=000002</seqcode>\r\n"
            b"\t\t\t<user>/C=CZ/O=X/CN=A</user>\r\n\t\t\t<source>LogMonitor</source>\r\n"
            b"\t\t\t<src_instance></src_instance>\r\n\t\t\t<status_code>1</status_code>\r\n"
            b"\t\t\t<reason>fin &quot;ok&quot; &lt;1&gt;</reason>\r\n\t\t\t<exit_code>0</exit_code>\r\n"
            b"      </edg_wll_Event>\r\n",
        )

    def test_doubles(self) -> None:
        """A double has no null on the wire; what is no finite number is read as none."""
        usage = Event(BY_NAME["ResourceUsage"], JOB, timestamp=1, host="h", source=1, seqcode="", user=None)
        document = event.write(usage)
        self.assertIn(b"<quantity>0.000000</quantity>", document)
        for text in (b"inf", b"nan", b"many", b"1e999"):
            node = parse(document.replace(b"0.000000</q", text + b"</q"), LIMITS)
            self.assertEqual(event.from_node(node), usage)

    def test_every_type(self) -> None:
        """Each type of event can be written and read without any attribute of its own."""
        for type_ in TYPES:
            bare = Event(type_, JOB, timestamp=1, host="h", source=1, seqcode="s", user="/CN=u")
            self.assertEqual(event.from_node(parse(event.write(bare), LIMITS)), bare)

    def test_unreadable(self) -> None:
        """An event without a type or a job is refused with the number that says so."""
        for data, code in (
            (b'<edg_wll_Event name="News"/>', Code.EVENT_UNDEFINED),
            (b"<edg_wll_Event/>", Code.EVENT_UNDEFINED),
            (b'<edg_wll_Event name="Done"/>', Code.XML_PARSE),
            (b'<edg_wll_Event name="Done"><jobId>x</jobId></edg_wll_Event>', Code.XML_PARSE),
        ):
            self.assertEqual(self.assertRaises(ParseError, event.from_node, parse(data, LIMITS)).code, code)

    @relaxed
    @given(mutations(EVENT_ANSWERS))
    def test_mutations(self, data: bytes) -> None:
        """Damaged answers are read or refused with an error of the protocol, nothing else."""
        try:
            self.assertIsInstance(results.read_events(data), results.Events)
        except ParseError as error:
            self.assertIn(error.code, (Code.XML_PARSE, Code.EVENT_UNDEFINED))


class ResultTests(SynchronousTestCase):
    def test_no_states(self) -> None:
        """A job whose state was not asked for is answered with an empty state, and read as having none."""
        document = b"".join(results.write_jobs([("https://h:1/a", None), (None, None)]))
        empty = b'\t\t<jobStat name="Unknown">\r\n\r\n\t\t</jobStat>\r\n\t</edg_wll_Job>\r\n'
        self.assertEqual(
            document,
            b"<edg_wll_QueryJobsResult>\r\n\t<edg_wll_Job>\r\n\t\t<jobId>https://h:1/a</jobId>\r\n"
            + empty
            + b"\t<edg_wll_Job>\r\n"
            + empty
            + b"</edg_wll_QueryJobsResult>\r\n",
        )
        self.assertEqual(results.read_jobs(document).jobs, [Job("https://h:1/a", None), Job(None, None)])

    def test_pieces(self) -> None:
        """An answer is made entry by entry: nothing is asked of the source before it is wanted."""
        asked: list[int] = []

        def rows() -> object:
            for number in range(3):
                asked.append(number)
                yield (str(number), None)

        pieces = results.write_jobs(rows())  # type: ignore[arg-type]
        next(pieces)
        self.assertEqual(asked, [])
        next(pieces)
        self.assertEqual(asked, [0])

    @relaxed
    @given(st.lists(jobids.map(str), max_size=4), st.none() | st.tuples(st.integers(1, 2000), nasty_texts))
    def test_user_jobs(self, ids: list[str], failed: tuple[int, str] | None) -> None:
        """The list of a user's jobs comes back, with its error."""
        error = None if failed is None else LBError(*failed)
        answer = results.read_user_jobs(b"".join(results.write_user_jobs(ids, error)))
        self.assertEqual(answer.jobids, ids)
        self.assertEqual(answer.error and answer.error.args, error and error.args)

    def test_error_roots(self) -> None:
        """Each kind of answer carries an error in its root; no description is written (nil)."""
        for write, read in (
            (results.write_jobs, results.read_jobs),
            (results.write_events, results.read_events),
            (results.write_user_jobs, results.read_user_jobs),
        ):
            document = b"".join(write([], LBError(Code.NO_INDEX, "")))  # type: ignore[operator]
            self.assertIn(b' code="1416" desc="(nil)">\r\n</', document)
            error = read(document).error  # type: ignore[operator]
            self.assertEqual((error.code, error.description), (1416, ""))

    def test_wrong_root(self) -> None:
        """Another document than the one expected is error 1407."""
        for read in (results.read_jobs, results.read_events, results.read_user_jobs):
            error = self.assertRaises(ParseError, read, b"<html><body>Gateway</body></html>")
            self.assertEqual(error.code, Code.XML_PARSE)

    def test_unknown_entries(self) -> None:
        """Entries that a reader does not know are passed over."""
        self.assertEqual(results.read_jobs(b"<edg_wll_QueryJobsResult><x/></edg_wll_QueryJobsResult>").jobs, [])
        self.assertIsInstance(parse(b"<a><x/></a>", LIMITS), Node)

    def test_depth(self) -> None:
        """P10: states nested deeper than the bound are refused, not followed."""
        state = JobStatus()
        for _ in range(40):
            state = JobStatus(children_states=[state])
        self.assertRaises(ParseError, status.read, status.write(state))
