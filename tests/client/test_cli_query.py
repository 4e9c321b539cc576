"""lb query: what is asked for, by arguments and by files for query_ext, and how answers are shown (cli.md §2.3)."""

from __future__ import annotations

import errno
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.cli.conditions import EVENTS, JOBS, read_block, read_blocks, read_line
from lb.model import jobid
from lb.model.catalogue import BY_NAME
from lb.model.errors import LBError
from lb.model.query import Attribute, Condition, Flag, Operator, Query, Results
from lb.model.status import State
from lb.wire import http, ulm
from lb.wire.lbxml import requests, results
from tests.client import peers
from tests.client.recorded import received
from tests.client.site import Site
from tests.client.test_cli import Outcome, lb
from tests.client.test_recording import registration

JOB = "https://lb:9000/one"
NOON = 1_227_441_600  #: 2008-11-23 12:00:00 UTC


class LineTests(SynchronousTestCase):
    """Lines of files for query_ext."""

    def test_jobs(self) -> None:
        """Every word, every operator, quoted and bare values, alternatives, and tags by any other word."""
        a, o = Attribute, Operator
        for text, group in {
            f"jobid={JOB}": (Condition(a.JOBID, o.EQUAL, jobid.parse(JOB)),),
            f"parent_job = {JOB}": (Condition(a.PARENT, o.EQUAL, jobid.parse(JOB)),),
            "owner=NULL": (Condition(a.OWNER, o.EQUAL, None),),
            'owner="/O=a b/CN=c"': (Condition(a.OWNER, o.EQUAL, "/O=a b/CN=c"),),
            "owner=/CN=c;owner<>/CN=d": (Condition(a.OWNER, o.EQUAL, "/CN=c"), Condition(a.OWNER, o.UNEQUAL, "/CN=d")),
            "status = Done ; status = running": (
                Condition(a.STATUS, o.EQUAL, State.Done),
                Condition(a.STATUS, o.EQUAL, State.Running),
            ),
            "status<done": (Condition(a.STATUS, o.LESS, State.Done),),
            "location=here": (Condition(a.LOCATION, o.EQUAL, "here"),),
            "destination=ce/q": (Condition(a.DESTINATION, o.EQUAL, "ce/q"),),
            "done_code=1": (Condition(a.DONECODE, o.EQUAL, 1),),
            "exit_code @ 1 9": (Condition(a.EXITCODE, o.WITHIN, 1, 9),),
            'time>"2008-11-23 12:00:00" running': (Condition(a.TIME, o.GREATER, NOON, state=State.Running),),
            f"time@{NOON} {NOON + 1} done": (Condition(a.TIME, o.WITHIN, NOON, NOON + 1, state=State.Done),),
            f"state_enter_time<{NOON}": (Condition(a.STATEENTERTIME, o.LESS, NOON),),
            f"last_update_time@{NOON} {NOON + 5}": (Condition(a.LASTUPDATETIME, o.WITHIN, NOON, NOON + 5),),
            "jdl_attr=VOCE VirtualOrganisation": (Condition(a.JDL_ATTR, o.EQUAL, "VOCE", name="VirtualOrganisation"),),
            "job_type<>file_transfer": (Condition(a.JOB_TYPE, o.UNEQUAL, 9),),
            "vm_status=vm_running": (Condition(a.VM_STATUS, o.EQUAL, 2),),
            'colour="dark ; red"': (Condition(a.USERTAG, o.EQUAL, "dark ; red", name="colour"),),
            'colour=""': (Condition(a.USERTAG, o.EQUAL, "", name="colour"),),
        }.items():
            with self.subTest(text):
                self.assertEqual(read_line(text, JOBS), group)

    def test_events(self) -> None:
        """Words of conditions on events; a time needs no state there."""
        a, o = Attribute, Operator
        for text, condition in {
            "level<8": Condition(a.LEVEL, o.LESS, 8),
            "host=ui": Condition(a.HOST, o.EQUAL, "ui"),
            "source=LogMonitor": Condition(a.SOURCE, o.EQUAL, 6),
            "instance=i": Condition(a.INSTANCE, o.EQUAL, "i"),
            "event_type=17": Condition(a.EVENT_TYPE, o.EQUAL, 17),
            "event_type=RegJob": Condition(a.EVENT_TYPE, o.EQUAL, BY_NAME["RegJob"].code),
            f"time@{NOON} {NOON + 1}": Condition(a.TIME, o.WITHIN, NOON, NOON + 1),
            "status=done": Condition(a.USERTAG, o.EQUAL, "done", name="status"),
        }.items():
            with self.subTest(text):
                self.assertEqual(read_line(text, EVENTS), (condition,))

    def test_wrong(self) -> None:
        """What is no condition is refused with what would be one, and by its line."""
        for text in (
            "",
            "status",
            "=done",
            "status=",
            "status==done",
            "status=bogus",
            "status=done running",
            "status@done",
            "status=done;",
            'owner="/CN=a',
            "jobid=nothing",
            "time>noon running",
            f"time>{NOON}",
            f"time>{NOON} bogus",
            "jdl_attr=VOCE",
            "exit_code=x",
        ):
            with self.subTest(text), self.assertRaises(LBError) as caught:
                read_line(text, JOBS)
            self.assertEqual(caught.exception.code, errno.EINVAL)
        blocks = list(read_blocks(["", "owner=NULL", "", "", "status=done", "status=x", ""]))
        self.assertEqual([[number for number, _ in block] for block in blocks], [[2], [5, 6]])
        with self.assertRaises(LBError) as caught:
            read_block(blocks[1], JOBS)
        self.assertTrue(caught.exception.description.startswith("line 6: "))


class CommandTests(TestCase):
    """The command against a query port that answers with what it is told to."""

    def setUp(self) -> None:
        self.answer = http.response(404, b"".join(results.write_jobs([], LBError(2, "no matching jobs found"))))
        self.server = peers.query_peer(reactor, lambda request: self.answer)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))

    def lb(self, *arguments: str) -> Deferred[Outcome]:
        environ = {"LB_STATE_DIR": str(peers.state_directory()), "GLITE_WMS_QUERY_SERVER": str(self.server.address)}
        return deferToThread(lb, "query", *arguments, environ=environ)

    def asked(self) -> list[Query]:
        """The queries that came."""
        return [
            (requests.read_events if each.path == "/queryEvents" else requests.read_jobs)(each.body)
            for each in self.server.messages
        ]

    def file(self, text: str) -> str:
        """A file with that in it."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    async def test_arguments(self) -> None:
        """All conditions, flags and limits reach the server; that nothing matches is no failure."""
        outcome = await self.lb(
            "status=done|=running", "--where", "colour=red;colour=blue", "--limit", "7", "-r", "limited", "-s"
        )
        self.assertEqual((outcome.code, outcome.stdout.splitlines()[-1], outcome.stderr), (0, "Found 0 jobs", ""))
        (query,) = self.asked()
        self.assertEqual([[each.value for each in group] for group in query.jobs], [[6, 5], ["red", "blue"]])
        self.assertEqual((query.soft_limit, query.results), (7, Results.LIMITED))
        self.assertEqual(query.flags, Flag.CLASSADD | Flag.CHILDREN | Flag.CHILDSTAT)

    async def test_files(self) -> None:
        """Blocks of a file are queries one after another, each with the conditions of the arguments."""
        name = self.file("owner=NULL\nstatus=done\n\nexit_code>0\n")
        self.assertEqual((await self.lb("-i", name, "--where", "location=x", "--json")).json, [])
        self.assertEqual(
            [[group[0].attribute for group in query.jobs] for query in self.asked()],
            [[Attribute.LOCATION, Attribute.OWNER, Attribute.STATUS], [Attribute.LOCATION, Attribute.EXITCODE]],
        )

    async def test_jobs(self) -> None:
        """Jobs are shown as a table, as states, as ids, as JSON, and as query_ext shows them."""
        self.answer = received("04-user_jobs")
        ids = [job["jobId"] for job in (await self.lb("owner=/CN=a", "--json")).json]
        self.assertGreater(len(ids), 0)
        table = (await self.lb("owner=/CN=a")).stdout
        self.assertTrue(table.endswith(f"\n\nFound {len(ids)} jobs\n"))
        self.assertEqual((await self.lb("owner=/CN=a", "-n")).stdout.split(), ids)
        self.assertEqual((await self.lb("owner=/CN=a", "-n", "--json")).json, ids)
        self.assertIn("stateEnterTime", (await self.lb("owner=/CN=a", "--states")).stdout)
        shown = (await self.lb("owner=/CN=a", "--compat")).stdout
        self.assertEqual(shown, "".join(f"jobId: {each}\n" for each in ids))
        shown = (await self.lb("owner=/CN=a", "--compat", "-s")).stdout
        self.assertRegex(shown, rf"\AjobId: {ids[0]}\nSTATUS:\t\w+\n\nstate : \w+\njobId : {ids[0]}\n")

    async def test_events(self) -> None:
        """Events are found by conditions on jobs and on events, also by a file, where these stand in turns."""
        site = Site()
        site.register(ulm.parse(registration(JOB), peers.IDENTITY))
        job = jobid.parse(JOB)
        self.answer = http.response(200, b"".join(results.write_events(site.find(job))))
        outcome = await self.lb("owner=/CN=a", "--event", "event_type=RegJob; event_type=Running")
        self.assertRegex(outcome.stdout, rf"{JOB} +\S+ +UserInterface +RegJob ")
        self.assertTrue(outcome.stdout.endswith("\nFound 1 events\n"))
        (query,) = self.asked()
        self.assertEqual([each.value for each in query.events[0]], [17, BY_NAME["Running"].code])
        shown = await self.lb("--compat", "-e", "-i", self.file("owner=NULL\n\nlevel<8\n\nstatus=done\n"))
        self.assertEqual(shown.stdout, f"event: RegJob      (jobid {JOB})\n" * 2)
        _, second, third = self.asked()
        self.assertEqual((second.events[0][0].value, third.events), (8, ()))
        self.assertEqual([each["type"] for each in (await self.lb("-e", "owner=/CN=a", "--json")).json], ["RegJob"])

    async def test_cut(self) -> None:
        """What came of an answer that was cut is shown beside the error, and the exit code tells."""
        (response,) = http.ResponseReader().feed(received("04-user_jobs"))
        told = b'<edg_wll_QueryJobsResult code="7" desc="result size limit reached">'
        self.answer = http.response(401, response.body.replace(b"<edg_wll_QueryJobsResult>", told))
        outcome = await self.lb("owner=/CN=a", "--compat")
        self.assertEqual(outcome.code, 1)
        self.assertRegex(outcome.stdout, r"\A(jobId: \S+\n)+\Z")
        self.assertRegex(outcome.stderr, r"\Alb query: edg_wll_QueryJobs: Argument list too long \([^\n]+\)\n\Z")
        self.answer = received("30c-queryjobs-limit")
        outcome = await self.lb("owner=/CN=a")
        self.assertEqual((outcome.code, outcome.stdout), (1, ""))
        self.assertIn("Argument list too long", outcome.stderr)

    async def test_mistakes(self) -> None:
        """What cannot be asked is wrong usage, and nothing is sent."""
        for arguments in (
            (),
            ("status",),
            ("bogus=1",),
            ("--where", "status=bogus"),
            ("--event", "status"),
            ("--where", "owner@a b"),
            ("owner=a", "--limit", "0"),
            ("owner=a", "-s", "-n"),
            ("owner=a", "--json", "--compat"),
            ("status=done", "--results", "all"),
            ("-i", self.file("status=done\nnothing\n")),
            ("-i", self.file("")),
        ):
            outcome = await self.lb(*arguments)
            self.assertEqual((outcome.code, outcome.stdout), (2, ""), arguments)
            self.assertRegex(outcome.stderr, r"\Alb query: [^\n]+\n\Z", arguments)
        self.assertEqual(self.server.messages, [])
