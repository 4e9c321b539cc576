"""lb notify and lb watch, in this process and as one of their own, against a server that notifies over real TLS."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.cli.arrivals import field_text
from lb.client.cli.subscription import Place, passing_address, server_for, shown
from lb.client.settings import Address, Settings
from lb.model import jobid
from lb.model.query import Attribute, Condition, Flag, Operator
from lb.model.status import JobStatus
from lb.wire import il
from lb.wire.lbxml.registrations import ChangeOp, Function, Request
from tests.client import peers
from tests.client.subscriptions import NOW, NotificationServer
from tests.client.test_cli import Outcome, lb

JOB = "https://localhost:9000/msw8BK0qi8up4XWiw6utvA"
UNKNOWN = "https://{}/NOTIF:unknown"
VALID = re.compile(r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC' \((\d+)\)\n")


def equal(attribute: Attribute, *values: Any, name: str | None = None) -> tuple[Condition, ...]:
    return tuple(Condition(attribute, Operator.EQUAL, value, name=name) for value in values)


class OptionTests(SynchronousTestCase):
    """What needs no server."""

    def test_help(self) -> None:
        """lb notify lists its actions, each has its help."""
        listed = lb("notify", "help").stdout
        for action in ("new", "bind", "change", "refresh", "drop", "receive"):
            self.assertIn(f"  {action}", listed)
            self.assertIn(f"usage: lb notify {action}", lb("notify", action, "--help").stdout)

    def test_mistakes(self) -> None:
        """Wrong usage is exit code 2 and one line that says where help is."""
        for arguments in (
            ["notify"],
            ["notify", "now"],
            ["notify", "new"],
            ["notify", "new", "-c"],
            ["notify", "new", "-j", "job"],
            ["notify", "new", "-O", "-S", "Dancing"],
            ["notify", "new", "-O", "-E", "simple,odd"],
            ["notify", "new", "-O", "-f", "9999"],
            ["notify", "new", "-O", "-t", "-5"],
            ["notify", "new", "-O", "-a", "h:1", "-s", "3"],
            ["notify", "new", "-O", "-a", "h:99999"],
            ["notify", "bind"],
            ["notify", "refresh"],
            ["notify", "receive", "-f", "owner,colour"],
            ["watch", "--query", "colour=blue"],
            ["watch", "job"],
        ):
            outcome = lb(*arguments)
            self.assertEqual((outcome.code, outcome.stdout), (2, ""), arguments)
            self.assertRegex(outcome.stderr, r"\Alb[^\n]+\n\Z", arguments)

    def test_malformed(self) -> None:
        """What is no notification id is told as the C command tells it: Invalid."""
        for arguments in (["drop", JOB], ["refresh", "x"], ["bind", JOB], ["change", JOB, JOB], ["receive", JOB]):
            outcome = lb("notify", *arguments)
            self.assertEqual(outcome.code, 1)
            self.assertRegex(outcome.stderr, r"\Alb notify: Invalid argument: Malformed notification ID [^\n]+\n\Z")

    def test_places(self) -> None:
        """Nobody listens on a URL or on what is no socket."""
        for arguments in (["-a", "x-msg://grid.a"], ["-s", "999"]):
            outcome = lb("notify", "receive", *arguments)
            self.assertEqual(outcome.code, 1)
            self.assertIn("lb notify: Invalid argument: ", outcome.stderr)

    def test_passing_address(self) -> None:
        """Without an address a registration gets a free port of this machine; a socket's is its own."""
        self.assertRegex(passing_address(Place(None, None)), r"\A(::|0\.0\.0\.0):[1-9]\d*\Z")
        self.assertEqual(passing_address(Place("x-msg://grid.a", None)), "x-msg://grid.a")
        with socket.create_server(("127.0.0.1", 0)) as mine:
            address = f"127.0.0.1:{mine.getsockname()[1]}"
            self.assertEqual(passing_address(Place(None, mine.fileno())), address)
            self.assertEqual(mine.getsockname()[0], "127.0.0.1")

    def test_servers(self) -> None:
        """A registration goes to the server that is given, else set, else the job's, else that for queries."""
        job = jobid.parse(JOB)
        given, set_, usual = Address("a", 1), Address("b", 2), Address("c", 3)
        settings = Settings(notification_server=set_, query_server=usual)
        bare = Settings(query_server=usual)
        self.assertEqual(server_for(given, [job], settings), given)
        self.assertEqual(server_for(None, [job], settings), set_)
        self.assertEqual(server_for(None, [job], bare), Address("localhost", 9000))
        self.assertEqual(server_for(None, [], bare), usual)

    def test_times(self) -> None:
        """Validities are shown as the C command shows them, whatever a server says."""
        self.assertEqual(shown(1795425063), "'2026-11-23 09:11:03 UTC' (1795425063)")
        self.assertIn(str(10**18), shown(10**18))

    def test_fields(self) -> None:
        """Fields are printed as they stand in the document; null text is nothing."""
        status = JobStatus(
            owner="/CN=a", stateEnterTime=1_400_000_000_001_234, exit_code=3, cancelling=True,
            pbs_resource_usage=[("a", "1"), ("b", "2")],
        )  # fmt: skip
        names = ("owner", "stateEnterTime", "exit_code", "cancelling", "pbs_resource_usage", "reason")
        texts = [field_text(status, name) for name in names]
        self.assertEqual(texts, ["/CN=a", "1400000000.001234", "3", "1", "a=1,b=2", ""])


class CommandTests(TestCase):
    """Commands that talk to a server."""

    timeout = 120

    def setUp(self) -> None:
        self.server = NotificationServer(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))
        self.environ = self.server.environ

    def lb(self, *arguments: str) -> Deferred[Outcome]:
        return deferToThread(lb, *arguments, environ=self.environ)

    async def new(self, *arguments: str) -> Request:
        """Register; returns what the server was asked."""
        outcome = await self.lb("notify", "new", *arguments)
        self.assertEqual((outcome.code, outcome.stderr), (0, ""))
        found = re.fullmatch(r"notification ID: (\S+)\nvalid: (.*\n)", outcome.stdout)
        assert found is not None
        (identity,) = self.server.registered
        self.assertEqual(found[1], str(identity))
        self.assertRegex(found[2], VALID)
        return self.server.registered.pop(identity)

    async def test_new(self) -> None:
        """Each option is a group, lists are alternatives; flags, address and validity go along."""
        asked = await self.new("-j", JOB)
        self.assertEqual(asked.groups, (equal(Attribute.JOBID, jobid.parse(JOB)),))
        self.assertEqual((asked.flags, asked.validity), (Flag(0), None))
        self.assertRegex(str(asked.address), r"\A(::|0\.0\.0\.0):\d+\Z")
        asked = await self.new(
            "-o", "/CN=a", "-O", "-n", "ns", "-v", "voce", "--state", "Done,aborted", "--type", "dag", "-c",
            "-J", "-B", "-N", "-a", "x-msg://grid.a", "-t", "600",
        )  # fmt: skip
        self.assertEqual(
            asked.groups,
            (
                equal(Attribute.OWNER, "/CN=a", peers.IDENTITY),
                equal(Attribute.NETWORK_SERVER, "ns"),
                equal(Attribute.JDL_ATTR, "voce", name="VirtualOrganisation"),
                equal(Attribute.STATUS, 6, 8),
                equal(Attribute.JOB_TYPE, 1),
                (Condition(Attribute.STATUS, Operator.CHANGED, None),),
            ),
        )
        self.assertEqual(asked.flags, Flag.CLASSADD | Flag.BOOTSTRAP | Flag.ANONYMIZED)
        self.assertEqual(asked.address, "x-msg://grid.a")
        self.assertIsNotNone(asked.validity)
        self.assertEqual((await self.new("-O", "-H")).flags, Flag.HISTORY | Flag.TERMINAL_STATES)
        self.assertEqual((await self.new("-O", "-f", "256", "-T")).flags, Flag.BOOTSTRAP | Flag.TERMINAL_STATES)

    async def test_life(self) -> None:
        """A registration is made, bound, changed, extended and dropped; JSON where it is asked for."""
        made = (await self.lb("notify", "new", "-O", "--json")).json
        identity = made["notifId"]
        self.assertEqual(made["valid"], "2033-05-18T03:33:20.000000Z")
        bound = await self.lb("notify", "bind", identity, "-a", "127.0.0.1:9999")
        self.assertEqual(bound, (0, f"valid until: {shown(NOW)}\n", ""))
        self.assertEqual(self.server.asked[-1].address, "127.0.0.1:9999")
        self.assertEqual(await self.lb("notify", "change", identity, JOB), (0, "", ""))
        self.assertIs(self.server.asked[-1].change, ChangeOp.REPLACE)
        self.assertEqual(self.server.asked[-1].groups, (equal(Attribute.JOBID, jobid.parse(JOB)),))
        refreshed = await self.lb("notify", "refresh", identity, "-t", "60", "--json")
        self.assertEqual(refreshed.json["notifId"], identity)
        self.assertEqual(await self.lb("notify", "drop", identity), (0, "", ""))
        functions = [Function.NEW, Function.BIND, Function.CHANGE, Function.REFRESH, Function.DROP]
        self.assertEqual([asked.function for asked in self.server.asked], functions)

    async def test_unknown(self) -> None:
        """What the server refuses is one line with its words and the id."""
        identity = UNKNOWN.format(self.server.address)
        outcome = await self.lb("notify", "refresh", identity)
        self.assertEqual(outcome.code, 1)
        expected = f"lb notify: No such file or directory: {identity}: Unknown notification ID\n"
        self.assertEqual(outcome.stderr, expected)

    async def test_receive_nothing(self) -> None:
        """Time over is told as the C command does, with its exit code."""
        outcome = await self.lb("notify", "receive", "-a", "127.0.0.1:0", "-i", "0.05")
        self.assertEqual((outcome.code, outcome.stdout), (errno.ETIMEDOUT, ""))
        expected = "lb notify: Connection timed out (edg_wll_NotifReceive: poll() timed out)\n"
        self.assertEqual(outcome.stderr, expected)

    async def test_receive_on_socket(self) -> None:
        """An open socket is listened on."""
        with socket.create_server(("127.0.0.1", 0)) as mine:
            outcome = await self.lb("notify", "receive", "-s", str(mine.fileno()), "-i", "0.05")
        self.assertEqual(outcome.code, errno.ETIMEDOUT)

    async def test_receive_refused(self) -> None:
        """A registration that cannot be bound ends the command at once."""
        outcome = await self.lb("notify", "receive", "-a", "127.0.0.1:0", UNKNOWN.format(self.server.address))
        self.assertEqual(outcome.code, 1)
        self.assertIn("Unknown notification ID", outcome.stderr)

    async def test_watch_mistakes(self) -> None:
        """A watch without jobs is a usage error; one that is refused leaves nothing behind."""
        outcome = await self.lb("watch")
        self.assertEqual(outcome.code, 2)
        self.assertIn("say which jobs", outcome.stderr)

    async def test_watch_for(self) -> None:
        """A watch that ends by itself succeeds, and its registration is gone; conditions are those given."""
        outcome = await self.lb("watch", "--query", "status=done", "-O", "-a", "127.0.0.1:0", "--for", "0.05", "--new")
        self.assertEqual(outcome, (0, "", ""))
        new, drop = self.server.asked
        self.assertEqual((new.function, drop.function, new.flags), (Function.NEW, Function.DROP, Flag(0)))
        changed = (Condition(Attribute.STATUS, Operator.CHANGED, None),)
        expected = (equal(Attribute.OWNER, peers.IDENTITY), equal(Attribute.STATUS, 6), changed)
        self.assertEqual(new.groups, expected)
        self.assertEqual(self.server.registered, {})


class ProcessTests(TestCase):
    """Commands that print until they are interrupted, as processes."""

    timeout = 120

    def setUp(self) -> None:
        self.server = NotificationServer(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))
        self.environ = self.server.environ

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "lb.client.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **self.environ},
        )
        self.addCleanup(process.kill)
        return process

    async def line(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        read: bytes = await deferToThread(process.stdout.readline)
        return read.decode()

    async def end(self, process: subprocess.Popen[bytes], number: int) -> str:
        process.send_signal(number)
        _, stderr = await deferToThread(process.communicate, timeout=60)
        return stderr.decode()

    async def test_receive(self) -> None:
        """Notifications are printed as the C command prints them; each is acknowledged when the next is asked for."""
        await deferToThread(lb, "notify", "new", "-j", JOB, environ=self.environ)
        (identity,) = self.server.registered
        self.server.on_new = [("Waiting", 1), ("Running", 2)]
        process = self.begin("notify", "receive", "-a", "127.0.0.1:0", "-f", "owner,reason", "-r", str(identity))
        self.assertEqual(await self.line(process), f"{JOB}\tWaiting\t{peers.IDENTITY}\t1\t\n")
        self.assertEqual(await self.line(process), f"{JOB}\tRunning\t{peers.IDENTITY}\t2\t\n")
        self.server.notify(identity, "Done", 3)
        self.assertEqual(await self.line(process), f"{JOB}\tDone\t{peers.IDENTITY}\t3\t\n")
        first, second, *_ = self.server.delivering
        self.assertEqual([await first, await second], [il.OK] * 2)
        stderr = await self.end(process, signal.SIGINT)
        self.assertEqual(process.returncode, 130)
        bind = self.server.asked[1]
        self.assertEqual(stderr, f"notification is valid until: {shown(bind.validity or 0)}\nlb notify: interrupted\n")
        self.assertEqual(list(self.server.registered), [identity])

    async def test_watch(self) -> None:
        """A watch prints each change, in JSON where asked, and drops its registration on Ctrl-C and on SIGTERM."""
        for number, json_ in ((signal.SIGINT, False), (signal.SIGTERM, True)):
            self.server.on_new = [("Submitted", 1)]
            process = self.begin(
                "watch", JOB, "-m", str(self.server.address), "-a", "127.0.0.1:0", *(["--json"] if json_ else [])
            )
            printed = [await self.line(process)]
            (identity,) = self.server.registered
            self.assertIn(Flag.BOOTSTRAP, self.server.registered[identity].flags)
            self.server.notify(identity, "Running", 2)
            printed.append(await self.line(process))
            if json_:
                documents = [json.loads(line) for line in printed]
                self.assertEqual([d["status"]["state"] for d in documents], ["Submitted", "Running"])
                self.assertEqual({d["notifId"] for d in documents}, {str(identity)})
            else:
                self.assertEqual(
                    printed, [f"{JOB}\t{state}\t{peers.IDENTITY}\t\n" for state in ("Submitted", "Running")]
                )
            self.assertEqual(await self.end(process, number), "lb watch: interrupted\n")
            self.assertEqual((process.returncode, self.server.registered), (130, {}))
