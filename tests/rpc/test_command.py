"""Commands over Perspective Broker, where no other port of the server is there to be asked."""

from __future__ import annotations

import io
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from lb.client.cli import INTERRUPTED, USAGE, main
from tests.client import peers
from tests.rpc.served import USER, Served, reactor
from tests.server.test_ingest import JOB, registration, running


class Printed(io.StringIO):
    """What a command prints in its thread: `waiting` fires with the first; `last` interrupts it."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self._last = last
        self.waiting: Deferred[str] = Deferred()

    def flush(self) -> None:
        text = self.getvalue()
        reactor.callFromThread(lambda: self.waiting.called or self.waiting.callback(text))
        if self._last in text:
            raise KeyboardInterrupt


class Commands(Served):
    """The `lb` command in a thread of its own."""

    def run_command(self, *arguments: str, stdout: io.StringIO | None = None) -> Deferred[Any]:
        directory = peers.state_directory()
        environ = {
            "LB_STATE_DIR": str(directory),
            "GLITE_WMS_QUERY_SERVER": str(self.address),
            "GLITE_WMS_QUERY_SERVER_OVERRIDE": "yes",
            "GLITE_WMS_NOTIF_SERVER": str(self.address),
        }
        printed, complained = stdout or io.StringIO(), io.StringIO()
        done = deferToThread(main, arguments, stdout=printed, stderr=complained, environ=environ)
        return done.addCallback(lambda code: (code, printed.getvalue(), complained.getvalue()))

    async def test_status(self) -> None:
        """`--pb` asks over Perspective Broker and not over HTTPS, where nobody listens here."""
        self.server.send(registration(user=USER.name), USER)
        code, printed, complained = await self.run_command("status", JOB, "--pb", "--json")
        self.assertEqual((code, complained), (0, ""))
        self.assertEqual(json.loads(printed)[0]["jobId"], JOB)
        code, _, complained = await self.run_command("status", JOB)
        self.assertEqual(code, 1)
        self.assertIn("refused", complained)

    async def test_watch(self) -> None:
        """`lb watch --pb` prints the present state, then changes of it, without a registration."""
        self.server.send(registration(user=USER.name), USER)
        printed = Printed("Running")
        watching = self.run_command("watch", "--own", "--pb", "--for", "30", "--fields", "ce_node", stdout=printed)
        self.assertEqual(await printed.waiting, f"{JOB}\tSubmitted\t\t\n")
        self.server.send(running(1, "wn1", user=USER.name), USER)
        code, text, _ = await watching
        self.assertEqual((code, text), (INTERRUPTED, f"{JOB}\tSubmitted\t\t\n{JOB}\tRunning\twn1\t\n"))
        self.assertEqual(self.feed.followers, 0)

    async def test_watch_json(self) -> None:
        """One document a change; a job that meets the conditions no longer has none."""
        self.server.send(registration(user=USER.name), USER)
        printed = Printed("null")
        watching = self.run_command(
            "watch", "--own", "--state", "submitted", "--pb", "--for", "30", "--json", stdout=printed
        )
        first = await printed.waiting
        told = json.loads(first)
        self.assertEqual((told["jobId"], told["status"]["state"]), (JOB, "Submitted"))
        self.server.send(running(1, "wn1", user=USER.name), USER)
        code, text, _ = await watching
        self.assertEqual(code, INTERRUPTED)
        self.assertEqual(json.loads(text.removeprefix(first)), {"jobId": JOB, "status": None})

    async def test_watch_ends(self) -> None:
        """After the time that it was given it ends by itself; jobs of two servers are one too many."""
        self.assertEqual(await self.run_command("watch", "--own", "--pb", "--new", "--for", "0.1"), (0, "", ""))
        other = JOB.replace("localhost", "elsewhere.example.org")
        code, _, complained = await self.run_command("watch", JOB, other, "--pb")
        self.assertEqual(code, USAGE)
        self.assertIn("one server", complained)
