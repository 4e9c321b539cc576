"""Queries as values, and what may not be asked."""

from __future__ import annotations

import errno

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid, query
from lb.model.errors import LBError
from lb.model.query import FORMS, Attribute, Condition, Flag, Operator, Query, Results
from tests.wire_query.strategies import event_queries, job_queries, relaxed

JOB = jobid.parse("https://lb.example.org:9000/a")


def of(*conditions: Condition, **fields: object) -> Query:
    return Query(jobs=(conditions,), **fields)  # type: ignore[arg-type]


class CheckTests(SynchronousTestCase):
    def refused(self, asked: Query, *, events: bool = False) -> str:
        error = self.assertRaises(LBError, query.check_events if events else query.check_jobs, asked)
        self.assertEqual(error.code, errno.EINVAL)
        return error.description

    def test_one_attribute_a_group(self) -> None:
        """Alternatives are about one attribute, and one tag."""
        owner = Condition(Attribute.OWNER, Operator.EQUAL, "a")
        state = Condition(Attribute.STATUS, Operator.EQUAL, 5)
        red = Condition(Attribute.USERTAG, Operator.EQUAL, "red", name="color")
        blue = Condition(Attribute.USERTAG, Operator.EQUAL, "blue", name="Color")
        size = Condition(Attribute.USERTAG, Operator.EQUAL, "9", name="size")
        text = "only same attribute types supported in 'or' expressions"
        self.assertEqual(self.refused(of(owner, state)), text)
        self.assertEqual(self.refused(of(red, size)), text)
        query.check_jobs(of(red, blue))
        query.check_jobs(Query(jobs=((owner,), (state,))))

    def test_operators(self) -> None:
        """A wrong operator is refused in the words of the C server."""
        self.assertEqual(
            self.refused(of(Condition(Attribute.OWNER, Operator.LESS, "a"))),
            "only `=' and `!=' supported with job owner",
        )
        self.assertEqual(
            self.refused(of(Condition(Attribute.JOBID, Operator.LESS, JOB))),
            "only `=', `>' and `!=' supported with job id",
        )
        host = Query(events=((Condition(Attribute.HOST, Operator.GREATER, "h"),),))
        self.assertEqual(self.refused(host, events=True), "only `=' and `!=' supported with host")

    def test_every_operator(self) -> None:
        """Each attribute takes exactly the operators of its row, in jobs' and in events' groups."""
        for attribute, form in FORMS.items():
            for operator in Operator:
                condition = Condition(attribute, operator, 1, 2, name="n", state=1)
                for asked, check, allowed in (
                    (of(condition), query.check_jobs, form.job_operators),
                    (Query(events=((condition,),)), query.check_events, form.event_operators),
                ):
                    if operator in allowed:
                        check(asked)
                    else:
                        self.assertRaises(LBError, check, asked)

    def test_incomplete(self) -> None:
        """Conditions that lack what their attribute or operator needs are refused."""
        self.assertEqual(self.refused(Query()), "empty condition list")
        self.assertEqual(self.refused(Query(), events=True), "empty condition list")
        self.assertEqual(self.refused(of()), "empty condition list")
        self.assertIn("two values", self.refused(of(Condition(Attribute.EXITCODE, Operator.WITHIN, 1))))
        self.assertIn("does not name", self.refused(of(Condition(Attribute.USERTAG, Operator.EQUAL, "x"))))
        self.assertIn("which state", self.refused(of(Condition(Attribute.TIME, Operator.LESS, 1))))
        self.assertIn("not supported", self.refused(of(Condition(Attribute.CHKPT_TAG, Operator.EQUAL, "x"))))
        self.assertIn("limit", self.refused(of(Condition(Attribute.EXITCODE, Operator.EQUAL, 1), soft_limit=-1)))
        level = Condition(Attribute.LEVEL, Operator.LESS, 9)
        self.assertIn("event conditions", self.refused(Query(jobs=query.own_jobs().jobs, events=((level,),))))

    def test_all_results(self) -> None:
        """Limits can be waived for the jobs of one owner and the events of one job only."""
        text = "Invalid parameter EDG_WLL_PARAM_QUERY_RESULTS"
        owner = Condition(Attribute.OWNER, Operator.EQUAL, None)
        job = Condition(Attribute.JOBID, Operator.EQUAL, JOB)
        query.check_jobs(of(owner, results=Results.ALL))
        query.check_events(of(job, results=Results.ALL))
        self.assertEqual(self.refused(of(job, results=Results.ALL)), text)
        self.assertEqual(self.refused(of(owner, owner, results=Results.ALL)), text)
        self.assertEqual(self.refused(of(owner, results=Results.ALL), events=True), text)

    @relaxed
    @given(job_queries, event_queries)
    def test_generated(self, jobs: Query, events: Query) -> None:
        """The generators of the other tests make queries that may be asked."""
        query.check_jobs(jobs)
        query.check_events(events)


class ValueTests(SynchronousTestCase):
    def test_flags(self) -> None:
        """Flags are read in any order and case, unknown ones ignored, and written in the order of their bits."""
        flags = query.read_flags("no_jobs+Children+whatever+classadd")
        self.assertEqual(flags, Flag.CLASSADD | Flag.CHILDREN | Flag.NO_JOBS)
        self.assertEqual(query.write_flags(flags), "classadd+children+no_jobs")
        self.assertEqual(query.read_flags(""), Flag(0))
        self.assertEqual(query.write_flags(Flag(0)), "")

    def test_names_and_numbers(self) -> None:
        """Coded values are read by name without case, or by number."""
        for attribute, text, value in [
            (Attribute.STATUS, "running", 5),
            (Attribute.STATUS, " 5 ", 5),
            (Attribute.JOB_TYPE, "File_Transfer", 9),
            (Attribute.VM_STATUS, "vm_really-running", 3),
            (Attribute.VM_STATUS, "Vm_really_running", 3),
            (Attribute.DONECODE, "OK", 0),
            (Attribute.EXITCODE, "-1", -1),
            (Attribute.SOURCE, "LRMS", 7),
            (Attribute.LEVEL, "9", 9),
            (Attribute.EVENT_TYPE, "RegJob", 17),
            (Attribute.STATEENTERTIME, "1400000000.5", 1400000000),
            (Attribute.OWNER, "NULL", "NULL"),
            (Attribute.JOBID, "https://lb.example.org/a", JOB),
        ]:
            self.assertEqual(query.read_value(attribute, text), value)

    def test_unreadable(self) -> None:
        """Values that cannot be read are EINVAL, said in words."""
        for attribute, text, words in [
            (Attribute.STATUS, "Bogus", 'Unknown job state "Bogus" in query'),
            (Attribute.JOB_TYPE, "x", 'Unknown job type "x" in query'),
            (Attribute.VM_STATUS, "running", 'Unknown VM job state "running" in query'),
            (Attribute.DONECODE, "x", 'Cannot parse numeric value "x" for attribute donecode in query'),
            (Attribute.LASTUPDATETIME, "-1", 'Cannot parse numeric value "-1" for attribute lastupdatetime in query'),
            (Attribute.EXITCODE, "9" * 30, f'Numeric value "{"9" * 30}" for attribute exitcode in query exceeds range'),
        ]:
            error = self.assertRaises(LBError, query.read_value, attribute, text)
            self.assertEqual((error.code, error.description), (errno.EINVAL, words))
        self.assertEqual(self.assertRaises(LBError, query.read_value, Attribute.JOBID, "x").code, errno.EINVAL)

    def test_range(self) -> None:
        """Numbers of 64 bits are accepted, larger ones are not."""
        self.assertEqual(query.read_value(Attribute.EXITCODE, str(2**63 - 1)), 2**63 - 1)
        self.assertRaises(LBError, query.read_value, Attribute.EXITCODE, str(2**63))

    def test_common_queries(self) -> None:
        """The queries that clients ask most have the shape that C clients give them."""
        self.assertEqual(query.of_job(JOB, Flag.CLASSADD).flags, Flag.CLASSADD | Flag.NO_JOBS)
        self.assertIsNone(query.own_jobs().jobs[0][0].value)
        self.assertEqual(query.log_of_job(JOB).events[0][0].value, 9)
