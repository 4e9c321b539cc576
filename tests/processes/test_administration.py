"""The commands of administrators against a running server; the server's own certificate asks, a user may not."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lb.client.cli import main
from lb.model.status import STATES
from lb.wire import http, il
from lb.wire.lbxml import purge
from lb.wire.lbxml.purge import PurgeFlag
from tests.processes.daemon import PATIENCE, Daemon, connect, free_port
from tests.processes.test_vectors import Peer
from tests.server.fixture import OWNER
from tests.server.test_ingest import line, registration, running

CE = "ce.example.org:2119/queue"
FILE = """[ JobIndices = {
    [ type = "system"; name = "owner" ],
    { [ type = "user"; name = "color"; prefixlen = 50 ], [ type = "time"; name = "Running" ] }
} ]
"""


def _at(moment: datetime, text: str) -> str:
    return text.replace("DATE=20240102030405", f"DATE={moment:%Y%m%d%H%M%S}")


def _of(user: str, text: str) -> bytes:
    return text.replace(str(OWNER.name), user).encode()


class Commands(SynchronousTestCase):
    """One server with some jobs."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.port = free_port()
        self.options = ("--port", str(self.port), "--count-statistics", "2", "--retain", "Cleared=1d")
        self.server = Daemon("lb", self.state, *self.options)
        self.addCleanup(lambda: self.server.kill())
        self.server.start()
        self.jobs = [f"https://localhost:{self.port}/job{number}" for number in range(5)]
        self._log([each for job in self.jobs for each in (registration(job=job), running(2, job=job))])

    def _log(self, lines: list[str]) -> None:
        peer = Peer(self.port, self.state / "pki", "user")
        for each in lines:
            peer.events.sendall(il.frame(each.replace(str(OWNER.name), peer.name).encode()))
            self.assertEqual(next(peer.replies), il.OK)
        peer.close()

    def _lb(self, *arguments: str, name: str = "host", code: int = 0) -> str:
        pair = ["--cert", str(self.state / f"pki/{name}.pem"), "--key", str(self.state / f"pki/{name}.key")]
        authorities = ["--ca-dir", str(self.state / "pki/ca.pem")]
        out, errors = io.StringIO(), io.StringIO()
        environ = {"GLITE_WMS_QUERY_SERVER": f"localhost:{self.port}"}
        ended = main([*arguments, *pair, *authorities], stdout=out, stderr=errors, environ=environ)
        self.assertEqual(ended, code, errors.getvalue())
        return out.getvalue() + errors.getvalue()

    def _json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self._lb(*arguments, "--json", code=code))

    def _file(self, name: str, text: str) -> str:
        path = self.state / name
        path.write_text(text)
        return str(path)

    def test_dump_purge_load(self) -> None:
        """lb-test-dump-load: dump, purge, load over the commands, the words that scripts look for; restarts between."""
        before = self._json("status", *self.jobs)
        dumped = self._lb("dump").splitlines()
        self.assertEqual(dumped[0], "Dump result:")
        self.assertRegex(
            dumped[1], r"^- The jobs were dumped to the file '/.*/dump/dump_\d{14}\.\d{6}' at the server\.$"
        )
        self.assertEqual(dumped[2], "- from: 0 (i.e. 19700101000000.000000).")
        self.assertRegex(dumped[3], r"^- to: \d{10} \(i\.e\. \d{14}\.000000\)\.$")
        listed = self._file("jobs", "\n".join(self.jobs[:2]) + "\n\n")
        dry = self._lb("purge", "-l", "-r", "-j", listed)
        words = "The jobs were not dumped.\nThe following jobs would be purged:\n"
        self.assertEqual(dry, words + "".join(f"{job}\n" for job in self.jobs[:2]))
        self.assertEqual(self._lb("purge", "-l", "-j", listed), dry.replace("would be", "were"))
        self.assertIn("Identifier removed: matching job already purged", self._lb("status", self.jobs[0], code=1))
        purged = self._json("purge", "--other", "0s", "--return-list", "--server-dump")
        self.assertEqual(purged["jobs"], self.jobs[2:])
        self.server.stop()
        self.server = Daemon("lb", self.state, *self.options)
        self.server.start()
        loaded = self._lb("load", "-f", dumped[1].split("'")[1]).splitlines()
        self.assertEqual((loaded[0], len(loaded)), ("Load result:", 3))
        self.assertEqual(self._json("status", *self.jobs), before)
        self.assertIsNone(self._json("load", "--file", purged["server_dumps"][0])["unloaded"])
        self.assertEqual(self._json("status", *self.jobs), before)
        rubbish = self.state / "dump/rubbish"
        rubbish.write_text("nonsense\n")
        self.assertIn("Unloaded events were stored", self._lb("load", "--file", "rubbish", code=1))
        self.assertIn("background", self._lb("purge", "-b", "--other", "31d"))

    def test_killed(self) -> None:
        """P2: kill -9 in the middle of a purge: each job is there, or in the dump that load brings back."""
        more = [f"https://localhost:{self.port}/killed{number:04}" for number in range(600)]
        peer = Peer(self.port, self.state / "pki", "user")
        peer.events.sendall(b"".join(il.frame(_of(peer.name, registration(job=job))) for job in more))
        self.assertEqual({next(peer.replies) for _ in more}, {il.OK})
        peer.close()
        request = purge.Request(timeouts=(0,) * STATES, flags=PurgeFlag.REALLY_PURGE | PurgeFlag.SERVER_DUMP)
        connection = connect(self.port, self.state / "pki", "host")
        connection.sendall(http.request("POST", "/purgeRequest", purge.write_request(request)))
        give_up = monotonic() + PATIENCE
        while not any(file.stat().st_size for file in self.state.glob("purge/*")):
            self.assertLess(monotonic(), give_up)
        self.server.kill()
        connection.close()
        self.server = Daemon("lb", self.state, *self.options)
        self.server.start()
        (file,) = self.state.glob("purge/*")
        left = {each["job"] for each in self._all_jobs()}
        dumped = re.findall(r'DG\.EVNT="RegJob" DG\.JOBID="([^"]+)"', file.read_text())
        self.assertEqual(left | set(dumped), {*self.jobs, *more})
        self.assertIsNone(self._json("load", "--file", str(file))["unloaded"])
        self.assertEqual({each["job"] for each in self._all_jobs()}, {*self.jobs, *more})

    def _all_jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._lb("jobs", "--json", name="user"))
        return [{"job": each["jobId"]} for each in found]

    def test_index(self) -> None:
        """What is indexed is shown as a file, changed by one, used when filled, kept over a restart."""
        self.assertIn('name = "owner"', self._lb("index", name="user"))
        done = self._lb("index", "-r", self._file("index", FILE), "--wait", "--verbose")
        self.assertIn("Adding columns ...\n\tTIME_Running\n\tUSR_color\n", done)
        self.server.kill()
        self.server = Daemon("lb", self.state, *self.options)
        self.server.start()
        found = self._json("index")
        self.assertEqual(found["indices"], [[["system", "owner"]], [["user", "color"], ["time", "Running"]]])
        self.assertIn("index file", self._lb("index", "-r", self._file("bad", "[ x ]"), code=1))
        self.assertEqual(self._json("index", "-R"), {"indices": [], "filling": False})

    def test_stats(self) -> None:
        """lb-test-statistics: rates and durations in the words, and at the places, that scripts take them from."""
        now = datetime.now(UTC) - timedelta(seconds=1)  # a slot of counts has nothing to tell in its first second
        for number, job in enumerate(f"https://localhost:{self.port}/timed{number}" for number in range(10)):
            match = line("Match", f'DG.MATCH.DEST_ID="{CE}" ', job=job, number=1)
            lines = registration(job=job), match, running(2, job=job)
            ago = (now - timedelta(seconds=50 + number), now, now)
            self._log([_at(moment, each) for moment, each in zip(ago, lines, strict=True)])
        rate = self._lb("stats", "-n", "30m", CE, "5").splitlines()
        # Words and places as lb-test-statistics takes them apart.
        self.assertEqual(
            (rate[0].split()[:5], rate[0].split()[6]), (["Average", "failure", "rate", "at", f'"{CE}":'], "jobs/s")
        )
        self.assertAlmostEqual(float(rate[0].split()[5]), 10 / 1800, places=4)
        self.assertRegex(rate[1], r"^  Measuered from \w{3} \w{3} .* to ")
        self.assertEqual(rate[2], "  With resolution from 60 to 60 s")
        way = self._lb("stats", "ALL", "Submitted", "--to", "Running", name="user").splitlines()
        self.assertAlmostEqual(float(way[0].split()[4]), 54.5, places=0)
        self.assertGreater(float(way[1].split()[2]), 0)
        self.assertEqual(self._json("stats", CE, "running")["figures"][0]["destination"], CE)
        self.assertIn("no matching group", self._lb("stats", "nowhere", "Running", code=1))
        self.assertIn("no matching state counter", self._lb("stats", "ALL", "1", "--to", "2", code=1))

    def test_top(self) -> None:
        """lb top shows the own jobs by state and those that changed last; as JSON, too."""
        shown = json.loads(self._lb("top", "--json", name="user"))
        self.assertEqual((shown["total"], shown["states"], shown["cut"]), (5, {"Running": 5}, False))
        self.assertEqual({each["job"] for each in shown["latest"]}, set(self.jobs))
        text = self._lb("top", "--once", name="user")
        self.assertIn("Running  5", text)
        self.assertEqual(json.loads(self._lb("top", "--json"))["total"], 0)

    def test_refused(self) -> None:
        """P7: a user without rights is refused by each, in one line that says what to do."""
        index = self._file("index", FILE)
        for command in (("purge",), ("dump",), ("load", "-f", "x"), ("index", "-r", index)):
            self.assertRegex(
                self._lb(*command, name="user", code=1), r"^lb \w+: Operation not permitted[^\n]*superusers"
            )
