"""``lb recompute`` against a running server that goes on storing events."""

from __future__ import annotations

import io
import json
import sqlite3

from lb.client.cli import main
from lb.wire import il
from tests.processes.served import ServedTestCase
from tests.processes.test_vectors import Peer
from tests.server.fixture import OWNER
from tests.server.test_ingest import registration, running

_JOBS = 250  # three slices


class Recompute(ServedTestCase):
    """The server's own certificate asks; a user may not."""

    def _lb(self, *arguments: str, name: str = "host") -> tuple[int, str]:
        pair = ["--cert", str(self.state / f"pki/{name}.pem"), "--key", str(self.state / f"pki/{name}.key")]
        authorities = ["--ca-dir", str(self.state / "pki/ca.pem")]
        out, errors = io.StringIO(), io.StringIO()
        command = ["recompute", "--server", f"localhost:{self.port}", *arguments, *pair, *authorities]
        code = main(command, stdout=out, stderr=errors, environ={})
        return code, out.getvalue() + errors.getvalue()

    def test_check_and_repair(self) -> None:
        """Damage is found, told by job and attribute, and repaired while the server runs; then nothing differs."""
        jobs = [f"https://localhost:{self.port}/job{number}" for number in range(_JOBS)]
        peer = Peer(self.port, self.state / "pki", "user")
        self.addCleanup(peer.close)
        for job in jobs:
            for line in (registration(job=job), running(1, job=job)):
                peer.events.sendall(il.frame(line.replace(str(OWNER.name), peer.name).encode()))
                self.assertEqual(next(peer.replies), il.OK)
        self.assertEqual(self._lb(), (0, f"{_JOBS} states checked, 0 differ from their events\n"))
        with sqlite3.connect(self.state / "lb.sqlite", timeout=20) as database:
            find = "SELECT id FROM jobs WHERE unique_part = 'job240'"
            damage = "replace(CAST(content AS TEXT), 'a = 1', 'a = 2')"
            database.execute(f"UPDATE texts SET content = CAST({damage} AS BLOB) WHERE job = ({find})")
        database.close()
        for arguments, expected in (((), 1), (("--repair",), 0)):
            code, text = self._lb("--json", *arguments)
            found = {"checked": _JOBS, "repaired": not expected}
            self.assertEqual(json.loads(text), found | {"differing": [{"job": jobs[240], "attributes": ["jdl"]}]})
            self.assertEqual(code, expected)
        self.assertEqual(self._lb(), (0, f"{_JOBS} states checked, 0 differ from their events\n"))

    def test_who_may(self) -> None:
        """P7: a user without ADMIN_ACCESS is refused."""
        code, text = self._lb(name="user")
        self.assertEqual(code, 1)
        self.assertIn("only administrators", text)
