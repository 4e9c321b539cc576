"""Pages of a running server, asked for as the C implementation's own tests do (lb-test-https.sh)."""

from __future__ import annotations

import io
import json
import re

from lb.client.cli import main
from tests.processes.daemon import Daemon, connect
from tests.processes.served import ServedTestCase


class Pages(ServedTestCase):
    """One server; a user with a certificate, one job, one registration."""

    def _lb(self, *arguments: str) -> str:
        printed = io.StringIO()
        environ = {
            "X509_USER_CERT": str(self.state / "pki/user.pem"),
            "X509_USER_KEY": str(self.state / "pki/user.key"),
            "X509_CERT_DIR": str(self.state / "pki/ca"),
            "GLITE_WMS_QUERY_SERVER": f"localhost:{self.port}",
            "GLITE_WMS_NOTIF_SERVER": f"localhost:{self.port}",
        }
        self.assertEqual(main(arguments, stdout=printed, stderr=io.StringIO(), environ=environ), 0, arguments)
        return printed.getvalue()

    def _get(self, uri: str) -> str:
        """Status line and body, as curl shows them."""
        connection = connect(self.port, self.state / "pki")
        connection.sendall(
            f"GET {uri} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: t\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while data := connection.recv(65536):
            answer += data
        connection.close()
        head, _, body = answer.decode().partition("\r\n\r\n")
        return f"{head.splitlines()[0]}\n{body}"

    def test_original(self) -> None:
        """lb-test-https 1 to 8, and that counters outlive a restart."""
        job = json.loads(self._lb("register", "--json"))["jobId"]
        unique = job.rpartition("/")[2]
        self.assertIn(job, self._get("/"), "lb-test-https 1")
        self.assertIn(job, self._get(f"/{unique}"), "lb-test-https 2")
        made = re.search(r"NOTIF:([\w-]+)", self._lb("notify", "new", "--job", job, "--address", "127.0.0.1:9"))
        assert made is not None
        page = self._get(f"/NOTIF:{made[1]}")
        self.assertIn(made[1], page, "lb-test-https 3")
        self.assertRegex(page, r"Valid until:?</th><td>[0-9 :-]+</td>", "lb-test-https 3")
        dropped = self._lb("notify", "drop", f"https://localhost:{self.port}/NOTIF:{made[1]}")
        self.assertEqual(dropped, "", "lb-test-https 3")
        self.assertRegex(self._get(f"/NOTIF:{made[1]}"), r"^HTTP/1\.1 404 ", "lb-test-https 3")
        self.assertRegex(self._get("/" + "x" * 9_000), r"^HTTP/1\.1 400 ", "lb-test-https 4")
        self.assertRegex(self._get("/nosuchjob"), r"^HTTP/1\.1 404 Not Found", "lb-test-https 5")
        configuration = self._get("/?configuration?text")
        for item in ("msg_brokers=", "msg_prefixes="):
            self.assertIn(f"\n{item}", configuration, "lb-test-https 6")
        for row in ("gLite job regs", "Notification regs.*legacy", "HTML accesses", "Plain text accesses"):
            self._positive(row)
        self.assertNotIn("<b>WARNING", self._get("/?stats"), "lb-test-https 8")
        self.server.stop()
        self.server.start()
        self._positive("gLite job regs")

    def _positive(self, row: str) -> None:
        found = re.search(rf"{row}[^<]*</td><td>(\d+)</td>", self._get("/?stats"))
        assert found is not None, row
        self.assertGreater(int(found[1]), 0, f"lb-test-https 7: {row}")

    def test_administrators(self) -> None:
        """P7: users are told less; who the policy names is told all, the policy included."""
        self.assertNotIn("admins=", self._get("/?configuration?text"))
        self.server.stop()
        name = re.search("client_identity=(.*)", self._ask_again())
        assert name is not None
        policy = self.state / "policy"
        everybody = "".join(
            f'action "{action}" {{ rule permit {{ subject = ".*" }} }}\n'
            for action in ("REGISTER_JOBS", "LOG_WMS_EVENTS")
        )
        admins = f'action "ADMIN_ACCESS" {{ rule permit {{ subject = "{name[1]}" }} }}\n'
        policy.write_text(f'resource "LB" {{\n{everybody}{admins}}}\n')
        self.server.stop()
        again = Daemon("lb", self.state, "--port", str(self.port), "--policy", str(policy))
        self.addCleanup(again.kill)
        again.start()
        text = self._get("/?configuration?text")
        self.assertIn(f"\nadmins={name[1]}\n", text)
        self.assertIn('\\"ADMIN_ACCESS\\"', text)
        self.assertIn(f"\ndump_prefix={self.state}/dump\n", text)

    def _ask_again(self) -> str:
        self.server.start()
        return self._get("/?configuration?text")
