"""The command line over Perspective Broker, against a running server."""

from __future__ import annotations

import io
import json

from lb.client.cli import main
from tests.processes.served import ServedTestCase


class CommandLine(ServedTestCase):
    """One server."""

    def lb(self, *arguments: str) -> tuple[int, str, str]:
        """What a command returns, prints and complains about."""
        printed, complained = io.StringIO(), io.StringIO()
        environ = {
            "X509_USER_CERT": str(self.state / "pki/user.pem"),
            "X509_USER_KEY": str(self.state / "pki/user.key"),
            "X509_CERT_DIR": str(self.state / "pki/ca"),
            "GLITE_WMS_QUERY_SERVER": f"localhost:{self.port}",
        }
        code = main(arguments, stdout=printed, stderr=complained, environ=environ)
        return code, printed.getvalue(), complained.getvalue()

    def test_same_answers(self) -> None:
        """Status, events and jobs are the same over both ways; so are exit codes of what is not there."""
        code, printed, complained = self.lb("register", "--json")
        self.assertEqual((code, complained), (0, ""))
        job = json.loads(printed)["jobId"]
        for command in (["status", job], ["events", job], ["jobs"]):
            over_https = self.lb(*command, "--json")
            self.assertEqual(over_https[0], 0, command)
            self.assertEqual(self.lb(*command, "--json", "--pb"), over_https)
        unknown = job[:-3] + "xyz"
        over_https = self.lb("status", unknown)
        over_pb = self.lb("status", unknown, "--pb")
        self.assertEqual((over_pb[0], over_https[0]), (1, 1))
        self.assertIn("no matching jobs found", over_pb[2])
