"""What commands of administrators read, ask and show."""

from __future__ import annotations

import argparse
import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.cli.administering import age, moment, stamp
from lb.client.cli.top import drawn, view
from lb.model.errors import LBError
from lb.model.indexing import SYSTEM, Column, column
from lb.model.status import STATE_NAMES, JobStatus, State
from lb.wire import http, indexfile
from lb.wire.lbxml import purge
from tests.client import peers
from tests.client.test_cli import lb

COLUMNS = (
    st.sampled_from(sorted(SYSTEM)).map(lambda name: column("system", name))
    | st.sampled_from(STATE_NAMES).map(lambda name: column("time", name))
    | st.text('abc "\\é;{}[]=,#/\n', min_size=1, max_size=9).map(lambda name: column("user", name))
)


class Purges(TestCase):
    """What `lb purge` asks a server."""

    async def test_classes(self) -> None:
        """lb-test-purge 3 to 5: each option means its state, --other all others; without any the server decides."""
        asked: list[purge.Request] = []

        def answer(request: http.Request) -> bytes:
            asked.append(purge.read_request(request.body))
            return http.response(200, purge.write_result())

        peer = peers.query_peer(reactor, answer)
        self.addCleanup(lambda: Deferred.fromCoroutine(peer.close()))
        environ = {"LB_STATE_DIR": str(peers.state_directory()), "GLITE_WMS_QUERY_SERVER": str(peer.address)}
        named = {
            "--aborted": {State.Aborted},
            "--cleared": {State.Cleared},
            "--cancelled": {State.Cancelled},
            "--done": {State.Done},
            "--other": {*State} - {State.Aborted, State.Cleared, State.Cancelled, State.Done},
        }
        for option, states in named.items():
            outcome = await deferToThread(lb, "purge", "--dry-run", option, "30s", environ=environ)
            self.assertEqual((outcome.code, outcome.stderr), (0, ""))
            request = asked.pop()
            self.assertEqual({state for state in State if request.timeouts[state] == 30}, states, option)
            self.assertEqual({*request.timeouts}, {30, purge.SERVER_DEFAULT})
            self.assertNotIn(purge.PurgeFlag.REALLY_PURGE, request.flags)
        await deferToThread(lb, "purge", environ=environ)
        (request,) = asked
        self.assertEqual({*request.timeouts}, {purge.SERVER_DEFAULT})
        self.assertIn(purge.PurgeFlag.REALLY_PURGE, request.flags)


class IndexFiles(SynchronousTestCase):
    """The files that say what is indexed."""

    @given(st.lists(st.lists(COLUMNS, min_size=1, max_size=3).map(tuple), max_size=4).map(tuple))
    def test_again(self, indices: tuple[tuple[Column, ...], ...]) -> None:
        """Whatever is written is read again."""
        self.assertEqual(indexfile.read(indexfile.write(indices)), indices)

    def test_of_the_tools(self) -> None:
        """The example of wire-query.md §7.6, with comments, without spaces, with what may be left out."""
        wanted = ((column("system", "owner"),), (column("user", "color"), column("time", "Done")))
        tools = """[
\tJobIndices = {
\t\t[ type = "system"; name = "owner" ],
\t\t{
\t\t\t[ type = "user"; name = "color"; prefixlen = 50 ],
\t\t\t[ type = "time"; name = "Done" ]
\t\t}
\t}
]
"""
        commented = """# why
[ JobIndices = { // all
 [ name = "owner"; type = "system" ], { [ type="user"; name="color" ], [ type="time"; name="done" ] } } ]"""
        dense = '[jobindices={[type="system";name="owner";],{[type="user";name="color"],[type="time";name="Done"]},};]'
        for text in tools, commented, dense:
            self.assertEqual(indexfile.read(text), wanted)

    def test_mistakes(self) -> None:
        """Each mistake is named; nothing is read with one."""
        for text in (
            "",
            "[ JobIndices = { { } } ]",
            '[ JobIndices = { [ type = "system" ] } ]',
            '[ JobIndices = { [ type = "system"; name = "colour" ] } ]',
            '[ JobIndices = { [ type = "system"; name = owner ] } ]',
            '[ JobIndices = { [ type = "user"; name = "a"; size = 1 ] } ]',
            "[ JobIndices = { } ] more",
            '[ JobIndices = { [ type = "user" name = "a" ] } ]',
            "[ JobIndices = { ! } ]",
            " " * (indexfile.LONGEST + 1),
        ):
            self.assertTrue(self.assertRaises(LBError, indexfile.read, text).description, text)


class Arguments(SynchronousTestCase):
    """Ages, times and mistakes."""

    def test_ages(self) -> None:
        """Ages have units; times are UTC, and shown as the C tools show them."""
        self.assertEqual([age(text) for text in ("0", "30s", "2m", "1h", "7d")], [0, 30, 120, 3_600, 604_800])
        self.assertEqual(stamp(moment("20261123071226")), "20261123071226.000000")
        for read, text in ((age, "-1"), (age, "1y"), (age, "99999d"), (moment, "tomorrow")):
            self.assertRaises(argparse.ArgumentTypeError, read, text)

    def test_mistakes(self) -> None:
        """Wrong usage is exit code 2 and one line."""
        for arguments in (
            ["purge", "--done", "1y"],
            ["purge", "--jobs", "/dev/null", "--done", "1d"],
            ["dump", "--from", "yesterday"],
            ["load"],
            ["load", "--file", "x", "--job", "y"],
            ["index", "--remove", "--dump"],
            ["stats", "CE"],
            ["stats", "CE", "12"],
            ["stats", "CE", "Sleeping"],
            ["top", "--interval", "0"],
        ):
            outcome = lb(*arguments)
            self.assertEqual((outcome.code, outcome.stdout), (2, ""), arguments)
            self.assertRegex(outcome.stderr, r"\Alb[^\n]+\n\Z", arguments)


class Top(SynchronousTestCase):
    """The live view, drawn once."""

    def test_drawn(self) -> None:
        """Jobs by state with bars, the latest ones first; what peers wrote cannot act on the terminal."""
        jobs = [
            JobStatus(
                jobId=f"https://h:9000/{number:02}",
                state=State.Done if number % 4 else State.Running,
                lastUpdateTime=number * 1_000_000,
                destination="ce\x1b[2J",
            )
            for number in range(20)
        ]
        shown = view(jobs, cut=True)
        self.assertEqual((shown.total, shown.counts), (20, {State.Done: 15, State.Running: 5}))
        self.assertEqual([str(job.jobId)[-2:] for job in shown.latest[:3]], ["19", "18", "17"])
        console = Console(file=io.StringIO(), width=120)
        console.print(drawn(shown))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        self.assertIn("20 jobs, there are more", text)
        self.assertRegex(text, "Running +5 +█{13} *\n")
        self.assertNotIn("\x1b[2J", text)
        console.print(drawn(view([])))
