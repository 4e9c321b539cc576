"""The lb command, in this process and as one of its own, against peers over real TLS."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.cli import COMMANDS, attributes, main
from lb.client.cli.output import visible, write_json, write_table
from lb.model import jobid
from lb.model.catalogue import BY_NAME, TYPES, Attribute, Kind
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.status import JobStatus
from lb.wire import http, il, ulm
from tests.client import peers
from tests.client.site import Server
from tests.client.test_recording import line, registration

NULL = "UI=000000:NS=0000000000:WM=000000:BH=0000000000:JSS=000000:LM=000000:LRMS=000000:APP=000000:LBS=000000"


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def lb(*arguments: str, environ: dict[str, str] | None = None) -> Outcome:
    """Run a command in this thread."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = main(list(arguments), stdout=stdout, stderr=stderr, environ=environ or {})
    return Outcome(code, stdout.getvalue(), stderr.getvalue())


class UsageTests(SynchronousTestCase):
    """Help and mistakes, without a network."""

    def test_version(self) -> None:
        """lb --version names the program and its version."""
        self.assertRegex(lb("--version").stdout, r"\Alb \d+\.\d+\.\d+\n\Z")

    def test_help(self) -> None:
        """Every command is listed and has its own help, which goes to standard output."""
        listed = lb("--help").stdout
        for name in COMMANDS:
            self.assertIn(name, listed)
            outcome = lb(name, "--help")
            self.assertEqual((outcome.code, outcome.stderr), (0, ""))
            self.assertIn("usage: lb", outcome.stdout)

    def test_mistakes(self) -> None:
        """Wrong usage is exit code 2 and one line that says where help is."""
        for arguments in (
            [],
            ["frobnicate"],
            ["status"],
            ["status", "no-job-id"],
            ["status", "https://h:99999/x"],
            ["register", "--type", "bag"],
            ["register", "--subjobs", "-1"],
            ["register", "--source", "Nobody"],
            ["log"],
            ["log", "Nothing"],
            ["log", "Running", "--node", "n"],
            ["log", "Done", "--jobid", "https://h/x", "--status_code", "OK"],
            ["log", "Done", "--jobid", "https://h/x", "--status_code", "PERHAPS", "--exit_code", "0"],
            ["log", "Done", "--jobid", "https://h/x", "--status_code", "OK", "--exit_code", "zero"],
            ["events", "https://h/x", "--ulm", "--json"],
            ["replay"],
            ["replay", "--copies", "0", "file"],
            ["pki", "issue"],
            ["jobs", "--timeout", "0"],
        ):
            outcome = lb(*arguments)
            self.assertEqual((outcome.code, outcome.stdout), (2, ""), arguments)
            self.assertRegex(outcome.stderr, r"\Alb[^\n]+\n\Z", arguments)

    def test_types(self) -> None:
        """lb log help lists every event type; each has an option for every attribute, with the names of its codes."""
        listed = lb("log", "help").stdout
        for type_ in TYPES:
            self.assertIn(f"{type_.name} ", listed)
            shown = lb("log", type_.name.upper(), "--help").stdout
            for attribute in type_.attributes:
                self.assertIn(f"--{attribute.name} ", shown)
                for name in attribute.codes:
                    self.assertIn(name, shown)

    def test_values(self) -> None:
        """Values are parsed, not guessed: what fits no attribute of its kind is refused."""
        times = {
            "20081005221141.155455": 1223244701155455,
            "1223244701.155455": 1223244701155455,
            "1223244701": 1223244701000000,
            "2008-10-05T22:11:41.155455Z": 1223244701155455,
            "2008-10-06 00:11:41.155455+02:00": 1223244701155455,
        }
        for text, moment in times.items():
            self.assertEqual(attributes.read_time(text), moment)
        for kind, texts in {
            Kind.INT: ["", "1.5", "0x1", "99999999999", "2147483648"],
            Kind.PORT: ["-1", "65536", "http"],
            Kind.DOUBLE: ["", "nan", "inf", "1e999"],
            Kind.LOGSRC: ["", "Nobody", "Undefined"],
            Kind.JOBID: ["x", "https://h"],
            Kind.TIMEVAL: ["now", "20081399000000", "2008-13-01"],
            Kind.TAGLIST: ["x", "a=", "a=b,,c=d"],
            Kind.CODED: ["", "UNDEFINED", "7"],
        }.items():
            attribute = Attribute("a", "A", kind, False, None, {"OK": 1}, {1: "OK"}, None)
            for text in texts:
                self.assertRaises(argparse.ArgumentTypeError, attributes.reader(attribute), text)

    def test_terminal(self) -> None:
        """What a peer sent cannot act on the terminal, in drawn tables and plain ones."""
        evil = "a\x1b[2J\x07\x9b1m\udc80é\nb"
        self.assertEqual(visible(evil), "a\\x1b[2J\\x07\\x9b1m\ufffdé\nb")
        for drawn in (False, True):
            stream = io.StringIO()
            self.patch(stream, "isatty", lambda drawn=drawn: drawn)
            write_table(stream, ("HEAD",), [(evil,)], title="t\x1b")
            self.assertNotIn("\x1b[2J", stream.getvalue())
            self.assertIn("HEAD", stream.getvalue())

    def test_narrow(self) -> None:
        """The job's id above a table stays in one piece on a terminal of any width, to be copied."""
        stream = io.StringIO()
        self.patch(stream, "isatty", lambda: True)
        self.patch(os, "environ", {**os.environ, "COLUMNS": "30"})
        job = "https://lb.example.org:9000/" + "x" * 22
        write_table(stream, ("ATTRIBUTE", "VALUE"), [("jobId", job)], title=job)
        self.assertEqual(stream.getvalue().splitlines()[0], job)

    def test_light_start(self) -> None:
        """Help and version load neither the reactor nor TLS."""
        program = (
            "import sys; from lb.client.cli import main; main(['--version']); main(['log', 'help']);"
            "assert not {'twisted', 'OpenSSL', 'cryptography', 'rich'} & set(sys.modules), sorted(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

    def test_encoding(self) -> None:
        """Text that the locale has no letters for is written as escapes, in JSON as those of JSON."""
        plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        command = [sys.executable, "-m", "lb.client.cli", "status", "--help"]
        done = subprocess.run(command, check=False, capture_output=True, env=plain)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"NAME+\\u2026", done.stdout)
        below = io.BytesIO()
        stream = io.TextIOWrapper(below, encoding="latin-1")
        write_json(stream, {"x": "\xfc\u2603"})
        stream.flush()
        self.assertEqual(json.loads(below.getvalue().decode("ascii")), {"x": "\xfc\u2603"})

    def test_output_refused(self) -> None:
        """Help that cannot be written is one line and exit code 1; a closed output is no failure."""
        for arguments in (["--help"], ["jobs", "--help"], ["log", "help"]):
            with open("/dev/full", "wb") as full:
                command = [sys.executable, "-m", "lb.client.cli", *arguments]
                done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rb"\Alb[^\n]*: No space left on device\n\Z")
        closed = ["sh", "-c", 'exec "$0" -m lb.client.cli log help >&-', sys.executable]
        done = subprocess.run(closed, check=False, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_pki(self) -> None:
        """lb pki init makes the development PKI, again without harm; issue adds users; errors say what to do."""
        state = self.mktemp()
        self.assertEqual(lb("pki", "issue", "alice", "--state-dir", state).code, 1)
        made = lb("pki", "init", "--state-dir", state, "--json").json
        self.assertEqual(lb("pki", "init", environ={"LB_STATE_DIR": state}).code, 0)
        self.assertTrue(all(Path(path).exists() for path in made.values()))
        issued = lb("pki", "issue", "alice", "--state-dir", state, "--json").json
        self.assertEqual(Path(issued["key"]).stat().st_mode & 0o777, 0o600)
        again = lb("pki", "issue", "alice", "--state-dir", state)
        self.assertEqual(again.code, 1)
        self.assertRegex(again.stderr, r"\Alb pki: [^\n]*alice[^\n]*\n\Z")

    def test_no_credentials(self) -> None:
        """Without credentials the error says how to get some."""
        empty = self.mktemp()
        self.patch(Path, "home", lambda: Path(empty))
        outcome = lb("jobs", environ={"LB_STATE_DIR": empty, "X509_CERT_DIR": "/nonexistent"})
        self.assertEqual(outcome.code, 1)
        self.assertRegex(outcome.stderr, r"\Alb jobs: [^\n]+\n\Z")

    def test_bad_variable(self) -> None:
        """A variable that makes no sense is named."""
        outcome = lb("jobs", environ={"GLITE_WMS_QUERY_TIMEOUT": "soon"})
        self.assertEqual(outcome.code, 1)
        self.assertIn("GLITE_WMS_QUERY_TIMEOUT", outcome.stderr)


def sample_text(attribute: Attribute) -> str:
    """A text for each kind of attribute."""
    return {
        Kind.STRING: 'some "text"\nwith \\ and é',
        Kind.INT: "12",
        Kind.PORT: "9000",
        Kind.DOUBLE: "1.5",
        Kind.CODED: next(reversed(attribute.codes), "").lower(),
        Kind.LOGSRC: "networkserver",
        Kind.JOBID: "https://lb.example.org/abc",
        Kind.NOTIFID: "https://lb.example.org:9000/NOTIF:abc",
        Kind.TIMEVAL: "2008-10-05T22:11:41Z",
        Kind.TAGLIST: "a=b,c=d",
    }[attribute.kind]


class CommandTests(TestCase):
    """Commands against a site behind real ports."""

    def setUp(self) -> None:
        self.server = Server(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))

    def lb(self, *arguments: str, **environ: str) -> Deferred[Outcome]:
        return deferToThread(lb, *arguments, environ={**self.server.environ, **environ})

    def file(self, content: bytes) -> str:
        """A file with that in it."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    @property
    def logged(self) -> list[Event]:
        return self.server.site.logged

    async def test_register(self) -> None:
        """Registration prints the fresh id, variables for shells, and the code for the next event."""
        outcome = await self.lb("register", "--type", "collection", "-n", "2", "--seed", "s")
        self.assertEqual((outcome.code, outcome.stderr), (0, ""))
        found = re.fullmatch(
            r'new jobid: (\S+)\n\nEDG_WL_COLLECTION_JOBID="(\S+)"\nEDG_WL_SEQUENCE="(\S+)"\n'
            r'EDG_WL_SUB_JOBID\[0\]="(\S+)"\nEDG_WL_SUB_JOBID\[1\]="(\S+)"\n',
            outcome.stdout,
        )
        assert found is not None
        parent = jobid.parse(found[1])
        self.assertEqual(found[2], found[1])
        self.assertEqual(found[3], NULL.replace("UI=000000", "UI=000002"))
        self.assertEqual([found[4], found[5]], [str(job) for job in jobid.subjobs(parent, 2, "s")])
        self.assertEqual(parent.server, str(self.server.address))
        (event, *_) = self.server.site.events[parent]
        self.assertEqual((event.host, event.number("nsubjobs")), ("ui.example.org", 2))

    async def test_register_subjobs(self) -> None:
        """Subjobs without a type make a DAG, as with the C command: a simple job has none."""
        outcome = await self.lb("register", "-n", "2")
        found = re.search(r'^EDG_WL_DAG_JOBID="(\S+)"$', outcome.stdout, re.MULTILINE)
        assert found is not None
        (event, *_) = self.server.site.events[jobid.parse(found[1])]
        self.assertEqual((event.number("jobtype"), event.number("nsubjobs")), (2, 2))

    async def test_register_details(self) -> None:
        """Every option of a registration reaches the server; with an id given none is announced."""
        job = f"https://{self.server.address}/one"
        jdl = self.file(b'[ Executable = "\xe9" ]')
        arguments = ["--jobid", job, "--type", "pbs", "--jdl", jdl, "--ns", "n", "--parent", "https://h/p"]
        outcome = await self.lb(
            "register", *arguments, "--reader", "/CN=a", "--reader", "/CN=b", "--source", "pbsserver"
        )
        self.assertTrue(outcome.stdout.startswith(f'EDG_JOBID="{job}"\nEDG_WL_SEQUENCE="CLIENT='))
        (event,) = self.server.site.events[jobid.parse(job)]
        self.assertEqual(event.text("jdl"), '[ Executable = "\udce9" ]')
        self.assertEqual((event.text("ns"), event.text("parent")), ("n", "https://h:9000/p"))
        self.assertEqual(event.text("wms_dn"), "/CN=a\n/CN=b\n")
        self.assertEqual((await self.lb("register", "--json")).json["subjobs"], [])

    async def test_refused(self) -> None:
        """A refusal is one line with what, where and what to do, and exit code 1."""
        self.server.site.register = lambda event: il.Reply(700, 17, "exists\x1b[2J")  # type: ignore[method-assign]
        outcome = await self.lb("register", "--exclusive")
        self.assertEqual((outcome.code, outcome.stdout), (1, ""))
        self.assertRegex(outcome.stderr, r"\Alb register: File exists: 127\.0\.0\.1:\d+: exists \[2J: [^\n]+\n\Z")

    async def test_every_event(self) -> None:
        """Every event type with all its attributes reaches the logger as it was given."""
        for type_ in TYPES:
            options = [text for a in type_.attributes for text in (f"--{a.name}", sample_text(a))]
            outcome = await self.lb("log", type_.name, "--jobid", "https://h/x", *options)
            self.assertEqual((outcome.code, outcome.stderr), (0, ""), type_.name)
            event = self.logged[-1]
            self.assertIs(event.type, type_)
            for attribute in type_.attributes:
                text = sample_text(attribute)
                self.assertEqual(event.attributes[attribute.name], attributes.reader(attribute)(text))
                if attribute.kind is Kind.STRING:
                    self.assertEqual(event.attributes[attribute.name], text)

    async def test_spelling(self) -> None:
        """Names of attributes may be written with hyphens and in any case, and with an equals sign."""
        outcome = await self.lb("log", "done", "-j", "https://h/x", "--Status-Code=ok", "--EXIT-CODE", "-5")
        self.assertEqual(outcome.code, 0)
        self.assertEqual((self.logged[0].code_name("status_code"), self.logged[0].number("exit_code")), ("OK", -5))

    async def test_sequence(self) -> None:
        """The printed code is the one to give next time; own counters are then 1, 3, 5, as with the C command."""
        arguments = ("log", "UserTag", "--source", "Application", "--name", "n", "--value", "v")
        code = ""
        for _ in range(3):
            outcome = await self.lb(
                *arguments, GLITE_WMS_JOBID="https://h/x", **({"GLITE_WMS_SEQUENCE_CODE": code} if code else {})
            )
            code = outcome.stdout.strip()
        self.assertEqual(
            [event.seqcode for event in self.logged], [NULL.replace("APP=000000", f"APP=00000{n}") for n in (1, 3, 5)]
        )
        self.assertEqual(code, NULL.replace("APP=000000", "APP=000006"))
        await self.lb(*arguments, "-j", "https://h/x", "-I", "-c", code)
        self.assertEqual(self.logged[-1].seqcode, code)

    async def test_flavours(self) -> None:
        """Codes are of the kind that the event's family uses; CREAM events take codes that are none."""
        await self.lb("log", "PBSWaiting", "-j", "https://h/x", "-s", "PBSServer")
        self.assertEqual(self.logged[-1].seqcode, "CLIENT=000000:SERVER=0000000001:SCHED=000000:SMOM=000000:MOM=000000")
        outcome = await self.lb(
            "log", "CREAMStart", "-j", "https://h/x", "-s", "CREAMExecutor", "-c", "no_seqcodes_with_CREAM"
        )
        self.assertEqual((outcome.code, self.logged[-1].seqcode), (0, NULL))
        outcome = await self.lb("log", "Running", "--node", "n", "-j", "https://h/x", "-c", "no_seqcodes_with_CREAM")
        self.assertEqual(outcome.code, 1)
        self.assertIn("syntax error in sequence code", outcome.stderr)

    async def test_log_details(self) -> None:
        """Priority, time, instance and logger are as told."""
        other = Server(reactor)
        try:
            arguments = ["--sync", "--time", "2008-10-05T22:11:41Z", "--instance", "i", "--json"]
            outcome = await self.lb(
                "log", "Running", "--node", "n", "-j", "https://h/x", "-m", str(other.logger.address), *arguments
            )
            self.assertEqual(outcome.json["type"], "Running")
            (event,) = other.site.logged
            self.assertEqual((event.priority, event.src_instance), (6, "i"))
            self.assertEqual(
                event.timestamp, int(datetime(2008, 10, 5, 22, 11, 41, tzinfo=UTC).timestamp()) * 1_000_000
            )
        finally:
            await other.close()

    async def test_status(self) -> None:
        """States are shown as text and as JSON; a job that is not there does not hide the others."""
        job = (await self.lb("register", "--json")).json["jobId"]
        await self.lb("log", "UserTag", "-j", job, "--name", "colour", "--value", "blue")
        nowhere = f"https://{self.server.address}/nowhere"
        outcome = await self.lb("status", nowhere, job)
        self.assertEqual(outcome.code, 1)
        self.assertRegex(outcome.stdout, r"state +Submitted\n")
        self.assertRegex(outcome.stdout, r"user_tags +colour: blue\n")
        self.assertRegex(outcome.stderr, rf"\Alb status: {nowhere}: No such file or directory[^\n]*\n\Z")
        outcome = await self.lb("status", job, "--json")
        (document,) = outcome.json
        self.assertEqual((outcome.code, document["state"], document["jobId"]), (0, "Submitted", job))
        self.assertEqual((document["jobtype"], document["user_tags"]), ("Simple", {"colour": "blue"}))
        await self.lb("log", "Match", "-j", job, "-s", "WorkloadManager", "--dest_id", "ce1")
        parent = (await self.lb("register", "--json", "--type", "dag", "--subjobs", "1")).json["jobId"]
        self.assertEqual((await self.lb("status", parent, "--flags", "history")).code, 0)
        self.assertRegex(document["stateEnterTimes"]["Submitted"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z\Z")

    async def test_events(self) -> None:
        """Events are shown as a table, as JSON, and as lines that read back as the same events."""
        job = (await self.lb("register", "--json")).json["jobId"]
        await self.lb("log", "Running", "-j", job, "-s", "LogMonitor", "--node", "worker 1")
        shown = (await self.lb("events", job)).stdout
        self.assertRegex(shown, r"LogMonitor +Running +node=worker 1\n")
        self.assertTrue(shown.endswith("\nFound 2 events\n"))
        documents = (await self.lb("events", job, "--json")).json
        self.assertEqual([each["type"] for each in documents], ["RegJob", "Running"])
        self.assertEqual((documents[1]["node"], documents[1]["level"]), ("worker 1", "SYSTEM"))
        lines = (await self.lb("events", job, "--ulm")).stdout.splitlines(keepends=True)
        self.assertEqual([ulm.parse(each.encode()) for each in lines], self.server.site.events[jobid.parse(job)])

    async def test_jobs(self) -> None:
        """Own jobs are listed; having none is no failure."""
        outcome = await self.lb("jobs")
        self.assertEqual((outcome.code, outcome.stdout.splitlines()[-1]), (0, "Found 0 jobs"))
        job = (await self.lb("register", "--json")).json["jobId"]
        self.assertIn(f"{job}  Simple  Submitted", (await self.lb("jobs")).stdout)
        self.assertEqual([each["jobId"] for each in (await self.lb("jobs", "--json")).json], [job])

    async def test_replay(self) -> None:
        """A replay ends with success when everything is visible, and shows the final states."""
        with resources.as_file(resources.files("lb").joinpath("samples")) as samples:
            files = [str(Path(samples) / f"{name}.ulm.xz") for name in ("job-typical", "collection-100")]
            outcome = await self.lb("replay", *files)
            self.assertEqual((outcome.code, outcome.stderr), (0, ""))
            self.assertRegex(outcome.stdout, r"Simple +Cleared")
            self.assertRegex(outcome.stdout, r"subjobs of https\S+: 78 Done, 22 Cleared\n")
            self.assertIn("2 jobs registered, 1800 events logged, all visible after ", outcome.stdout)
            document = (await self.lb("replay", files[0], "--json", "--copies", "2")).json
        self.assertEqual((document["registered"], document["logged"], document["complete"]), (2, 38, True))
        self.assertEqual([state["state"] for state in document["states"]], ["Cleared", "Cleared"])

    async def test_replay_on_a_terminal(self) -> None:
        """On a terminal a bar shows the stages, on standard error only; --no-progress leaves it out."""
        stderr = io.StringIO()
        stderr.isatty = lambda: True  # type: ignore[method-assign]
        file = self.file(b"\n".join([registration(), line("Running", NODE="a")]))
        for options, shown in ((["--no-progress"], False), ([], True)):
            stdout = io.StringIO()
            code = await deferToThread(
                main, ["replay", file, *options], stdout=stdout, stderr=stderr, environ=self.server.environ
            )
            self.assertEqual(code, 0)
            self.assertEqual("register" in stderr.getvalue(), shown)
            self.assertIn("1 jobs registered, 1 events logged", stdout.getvalue())

    async def test_replay_incomplete(self) -> None:
        """P5: unreadable and refused lines are reported one by one, and the exit code tells."""
        lines = [registration(), b"garbage", line("Running", NODE="a"), line("Match", DEST_ID="b")]
        self.server.site.refuse = lambda event: errno.EPERM if event.type is BY_NAME["Match"] else 0
        outcome = await self.lb("replay", self.file(b"\n".join(lines)))
        self.assertEqual(outcome.code, 1)
        self.assertEqual(len(outcome.stderr.splitlines()), 2)
        self.assertIn(":2: line not replayed: Unknown or missing event type", outcome.stderr)
        self.assertIn("refused by the logger", outcome.stderr)
        missing = await self.lb("replay", "/nonexistent.ulm")
        self.assertEqual(
            (missing.code, missing.stderr), (1, "lb replay: No such file or directory: /nonexistent.ulm\n")
        )

    async def test_nobody_there(self) -> None:
        """Without a service the error names the address and what to do."""
        await self.server.logger.close()
        outcome = await self.lb("log", "Running", "--node", "n", "-j", "https://h/x")
        self.assertEqual(outcome.code, 1)
        self.assertRegex(outcome.stderr, r"\Alb log: Connection refused: 127\.0\.0\.1:\d+: [^\n]+\n\Z")

    async def test_time_out(self) -> None:
        """--timeout bounds the wait for a service that does not answer."""
        silent = peers.Peer(reactor, lambda: lambda data: [], lambda message: None)
        try:
            outcome = await self.lb("jobs", "--server", str(silent.address), "--timeout", "0.2")
        finally:
            await silent.close()
        self.assertEqual(outcome.code, 1)
        self.assertRegex(outcome.stderr, r"\Alb jobs: Connection timed out: [^\n]+\n\Z")


class ProcessTests(TestCase):
    """The command as a process."""

    def run_process(self, *arguments: str, **environ: str) -> Deferred[subprocess.CompletedProcess[bytes]]:
        command = [sys.executable, "-m", "lb.client.cli", *arguments]
        return deferToThread(
            subprocess.run, command, capture_output=True, env={**os.environ, **environ}, check=False, timeout=60
        )

    def begin(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "lb.client.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environ},
        )

    async def test_whole_way(self) -> None:
        """The process prints what the function does, and ends by itself."""
        server = Server(reactor, ours=False)
        try:
            done = await self.run_process("register", "--json", **server.environ)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            shown = await self.run_process("status", json.loads(done.stdout)["jobId"], **server.environ)
            self.assertIn(b"Submitted", shown.stdout)
        finally:
            await server.close()

    async def test_interrupt(self) -> None:
        """Ctrl-C ends a waiting command at once, with one line."""
        started: Deferred[None] = Deferred()
        silent = peers.query_peer(reactor, lambda request: (started.callback(None), http.response(400)[:10])[1])
        environ = {"LB_STATE_DIR": str(peers.state_directory()), "GLITE_WMS_QUERY_SERVER": str(silent.address)}
        process = self.begin("jobs", **environ)
        try:
            await started
            process.send_signal(signal.SIGINT)
            stdout, stderr = await deferToThread(process.communicate, timeout=30)
        finally:
            process.kill()
            await silent.close()
        self.assertEqual((process.returncode, stdout, stderr), (130, b"", b"lb jobs: interrupted\n"))

    async def test_reader_gone(self) -> None:
        """A reader that has seen enough, such as head, causes no complaint."""

        def first_line_only() -> tuple[int, bytes]:
            command = [
                sys.executable,
                "-c",
                "from lb.client.cli import main; [main(['log', 'help']) for _ in range(50)]",
            ]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                assert process.stdout is not None and process.stderr is not None
                process.stdout.readline()
                process.stdout.close()
                return process.wait(60), process.stderr.read()

        code, stderr = await deferToThread(first_line_only)
        self.assertEqual((code, stderr), (0, b""))


class DocumentTests(SynchronousTestCase):
    """What becomes of odd values on their way to JSON."""

    def test_odd_values(self) -> None:
        """Bytes that are no text, times no calendar holds and unknown codes make valid JSON all the same."""
        from lb.wire.documents import event_document, status_document

        status = JobStatus(
            state=77, jobId="x\udc80", stateEnterTime=10**18, jobtype=55, done_code=1, children=["a"],
            children_hist=[0] * 11 + [5], children_states=[JobStatus(state=6)], user_tags=[("a", "b")],
        )  # fmt: skip
        document = json.loads(json.dumps(status_document(status)))
        self.assertEqual((document["state"], document["jobId"], document["jobtype"]), ("77", "x\ufffd", 55))
        self.assertEqual((document["done_code"], document["children_hist"]), ("Failed", {"Purged": 5}))
        self.assertEqual(document["children_states"], [{"state": "Done"}])
        event = ulm.parse(line("Running", "https://h/x", NODE="a"), "u")
        event.timestamp = 10**18
        event.user = None
        event.attributes["node"] = "\udcff"
        document = json.loads(json.dumps(event_document(event)))
        self.assertEqual((document["node"], document["timestamp"]), ("\ufffd", str(10**18)))
        self.assertNotIn("user", document)

    def test_errors(self) -> None:
        """Failures of the world become one line; mistakes of the program stay what they are."""
        from lb.client.cli.errors import message_of

        self.assertEqual(message_of(LBError(2, "a\nb")), "No such file or directory: a b")
        self.assertIsNone(message_of(ValueError("x")))
