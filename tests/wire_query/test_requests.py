"""Request documents."""

from __future__ import annotations

import errno

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from lb.model import query
from lb.model.errors import Code, LBError, ParseError
from lb.model.query import Attribute, Condition, Operator, Query, Results
from lb.wire import http
from lb.wire.lbxml import requests
from lb.wire.lbxml.tree import REQUEST_LIMITS, Limits
from tests.wire_query.exchanges import body, protocol_exchanges
from tests.wire_query.strategies import event_queries, job_queries, mutations, relaxed

RECORDED = [body(e.asked) for e in protocol_exchanges()]


def jobs(groups: str, attributes: str = "") -> bytes:
    return f"<edg_wll_QueryJobsRequest{attributes}><and>{groups}</and></edg_wll_QueryJobsRequest>".encode()


def one(condition: str) -> bytes:
    return jobs(f"<orJobConditions>{condition}</orJobConditions>")


OWNER = "<equal><owner>NULL</owner></equal>"


class RecordedTests(SynchronousTestCase):
    def test_rewritten(self) -> None:
        """Each request of a C client is read, and written again byte for byte with its HTTP head."""
        for exchange in protocol_exchanges():
            document = body(exchange.asked)
            if exchange.asked.startswith(b"POST /queryJobs "):
                written = requests.write_jobs(requests.read_jobs(document))
                path = "/queryJobs"
            else:
                written = requests.write_events(requests.read_events(document))
                path = "/queryEvents"
            self.assertEqual(http.request("POST", path, written), exchange.asked, exchange.name)

    def test_values(self) -> None:
        """Recorded requests mean what their clients were asked for."""
        asked = {e.name: body(e.asked) for e in protocol_exchanges()}
        status_query = requests.read_jobs(asked["03-job_status.00.out.bin"])
        self.assertEqual(query.write_flags(status_query.flags), "classadd+children+childstat+no_jobs")
        self.assertEqual(str(status_query.jobs[0][0].value), "https://localhost:9000/msw8BK0qi8up4XWiw6utvA")
        self.assertEqual(requests.read_jobs(asked["04-user_jobs.00.out.bin"]), query.own_jobs())
        limited = requests.read_jobs(asked["30c-queryjobs-limit.00.out.bin"])
        self.assertEqual((limited.soft_limit, limited.results), (2, Results.LIMITED))
        tag = requests.read_jobs(asked["30f-queryjobs-tag.00.out.bin"]).jobs[1][0]
        self.assertEqual(tag, Condition(Attribute.USERTAG, Operator.EQUAL, "x", name="mytag"))
        log = requests.read_events(asked["05-job_log.00.out.bin"])
        self.assertEqual(log.events[0][0], Condition(Attribute.LEVEL, Operator.LESS, 9))

    def test_example(self) -> None:
        """A query with every kind of condition is written in the layout of C clients."""
        asked = Query(
            jobs=(
                (Condition(Attribute.STATUS, Operator.EQUAL, 6), Condition(Attribute.STATUS, Operator.EQUAL, 8)),
                (Condition(Attribute.TIME, Operator.WITHIN, 1400000000, 1400003600, state=5),),
                (Condition(Attribute.USERTAG, Operator.UNEQUAL, "red & blue", name="color"),),
                (Condition(Attribute.OWNER, Operator.CHANGED, None),),
            ),
        )
        self.assertEqual(
            requests.write_jobs(asked),
            b'<edg_wll_QueryJobsRequest softLimit="0" queryRes="0">\r\n\t<flags></flags>\r\n\t<and>\r\n'
            b"\t\t<orJobConditions>\r\n"
            b"\t\t\t<equal>\n\t\t\t\t\t<status>Done</status>\r\n\t\t\t</equal>\r\n"
            b"\t\t\t<equal>\n\t\t\t\t\t<status>Aborted</status>\r\n\t\t\t</equal>\r\n"
            b"\t\t</orJobConditions>\r\n"
            b'\t\t<orJobConditions>\r\n\t\t\t<within>\n\t\t\t\t\t<time state="Running">1400000000</time>\r\n'
            b'\t\t\t<time state="Running">1400003600</time>\r\n\t\t\t</within>\r\n\t\t</orJobConditions>\r\n'
            b'\t\t<orJobConditions>\r\n\t\t\t<unequal>\n\t\t\t\t\t<usertag name="color">red &amp; blue</usertag>\r\n'
            b"\t\t\t</unequal>\r\n\t\t</orJobConditions>\r\n"
            b"\t\t<orJobConditions>\r\n\t\t\t<changed>\n\t\t\t\t\t<owner/>\r\n\t\t\t</changed>\r\n"
            b"\t\t</orJobConditions>\r\n\t</and>\r\n</edg_wll_QueryJobsRequest>",
        )
        event_time = Query(events=((Condition(Attribute.TIME, Operator.LESS, 5),),))
        self.assertIn(b'<time state="Undefined">5</time>', requests.write_events(event_time))


class RequestTests(SynchronousTestCase):
    def broken(self, data: bytes) -> str:
        error = self.assertRaises(ParseError, requests.read_jobs, data)
        self.assertEqual(error.code, Code.XML_PARSE)
        return error.description

    @relaxed
    @given(job_queries, event_queries)
    def test_round_trip(self, asked_jobs: Query, asked_events: Query) -> None:
        """Any query comes back as it was."""
        self.assertEqual(requests.read_jobs(requests.write_jobs(asked_jobs)), asked_jobs)
        self.assertEqual(requests.read_events(requests.write_events(asked_events)), asked_events)

    def test_case_and_layout(self) -> None:
        """Names of elements are read without case, root attributes may be missing, numbers do for names."""
        asked = requests.read_jobs(
            b"<EDG_WLL_queryjobsrequest SoftLimit='7'><AND><orjobconditions><Equal><JOBID>https://h/a</JOBID></Equal>"
            b"</orjobconditions><orJobConditions><less><Status>6</Status></less></orJobConditions></AND>"
            b"<FLAGS>Children+volatile+junk</FLAGS></EDG_WLL_queryjobsrequest>"
        )
        self.assertEqual(asked.soft_limit, 7)
        self.assertEqual(str(asked.jobs[0][0].value), "https://h:9000/a")
        self.assertEqual(asked.jobs[1][0], Condition(Attribute.STATUS, Operator.LESS, 6))
        self.assertEqual(query.write_flags(asked.flags), "children+volatile")

    def test_foreign_letters(self) -> None:
        """The same owner is meant by UTF-8 and by ISO-8859-1 bytes."""
        for letter in (b"\xc3\xa9", b"\xe9"):
            data = one("<equal><owner>caf~</owner></equal>").replace(b"~", letter)
            self.assertEqual(requests.read_jobs(data).jobs[0][0].value, "café")

    def test_out_of_place(self) -> None:
        """Elements and attributes not known at their place are error 1407, which is answered with 400."""
        for data in (
            b"<html/>",
            b"<edg_wll_QueryEventsRequest/>",
            jobs(OWNER),
            jobs("<orSomething/>"),
            one("<equals><owner>x</owner></equals>"),
            one("<equal><colour>x</colour></equal>"),
            one("<equal><owner><b/></owner></equal>"),
            one("<equal/>"),
            one("<equal><owner>x</owner><owner>y</owner></equal>"),
            one("<within><exitcode>1</exitcode></within>"),
            one("<within><exitcode>1</exitcode><donecode>2</donecode></within>"),
            one("<less><time>5</time></less>"),
            one('<less><time state="x">5</time></less>'),
            one("<equal><usertag>x</usertag></equal>"),
            jobs("", ' hardLimit="1"'),
            jobs("", ' softLimit="x"'),
            jobs("", ' softLimit="-1"'),
            jobs("", ' queryRes="4"'),
            jobs("", ' queryRes="10"'),
            b"<edg_wll_QueryJobsRequest><or/></edg_wll_QueryJobsRequest>",
        ):
            self.broken(data)

    def test_invalid(self) -> None:
        """What is well formed but may not be asked is EINVAL."""
        for data in (
            jobs(""),
            one(""),
            b"<edg_wll_QueryJobsRequest/>",
            one("<less><owner>x</owner></less>"),
            one("<equal><status>Bogus</status></equal>"),
            one("<equal><jobId>nonsense</jobId></equal>"),
            one("<equal><level>3</level></equal>"),
        ):
            error = self.assertRaises(LBError, requests.read_jobs, data)
            self.assertEqual(error.code, errno.EINVAL, data)

    def test_flags_in_events(self) -> None:
        """Flags in a query for events are taken as they are in one for jobs, not refused."""
        data = (
            b"<edg_wll_QueryEventsRequest><flags>history</flags><and><orEventConditions><equal>"
            b"<source>NetworkServer</source></equal></orEventConditions></and></edg_wll_QueryEventsRequest>"
        )
        self.assertEqual(requests.read_events(data).events[0][0].value, 2)

    def test_number_of_conditions(self) -> None:
        """P10: as many conditions as the bound on elements allows, and not one more."""
        limits = Limits(size=1 << 20, depth=6, elements=3 + 2 * 100)
        for count, accepted in ((99, True), (100, True), (101, False)):
            data = one(OWNER * count)
            if accepted:
                self.assertEqual(len(requests.read_jobs(data, limits).jobs[0]), count)
            else:
                self.assertRaises(ParseError, requests.read_jobs, data, limits)

    def test_depth(self) -> None:
        """Real requests need less depth than the bound: what is deeper is refused before it is looked at."""
        self.assertIn("deep", self.broken(one("<equal><owner>" + "<x>" * REQUEST_LIMITS.depth)))

    @relaxed
    @given(mutations(RECORDED))
    def test_mutations(self, data: bytes) -> None:
        """Damaged requests are read or refused with an error of the protocol, nothing else."""
        for read in (requests.read_jobs, requests.read_events):
            try:
                self.assertIsInstance(read(data), Query)
            except LBError as error:
                self.assertIn(error.code, (Code.XML_PARSE, errno.EINVAL))
