"""VOMS attributes before a running server: what a proxy carries counts in its policy file, as `--voms-dir` says."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from lb.wire import http
from tests.processes.daemon import PATIENCE, Daemon
from tests.security.grid import Holder, authority, trust
from tests.security.vo import Draft, carried, describe

POLICY = """
resource "LB" {
action "ADMIN_ACCESS" { rule permit { fqan = "/vo.example/prod/Role=manager" } }
}
"""


class VOMS(SynchronousTestCase):
    """A server, a virtual organisation, and one person with several proxies."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.ca = authority()
        self.anchors = trust(self.directory / "ca", self.ca)
        self.user = self.ca.issue("/C=CZ/O=Test/CN=Alice")
        self.voms = self.ca.issue("/C=CZ/O=Test/CN=voms.example.org")
        describe(self.directory / "vomsdir", [self.voms.certificate, self.ca.certificate])
        names = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        host = self.ca.host("localhost", *names).save(self.directory, "host")
        policy = self.directory / "policy"
        policy.write_text(POLICY)
        options = ["--port", "0", "--cert", host.certificate, "--key", host.key, "--ca-dir", self.anchors]
        options += ["--voms-dir", self.directory / "vomsdir", "--policy", policy]
        self.daemon = Daemon("lb", self.directory / "state", *map(str, options))
        self.addCleanup(self.daemon.stop)
        found = re.search(r"https://[^:]+:(\d+)/", self.daemon.start())
        assert found is not None
        self.port = int(found[1])

    def _is_administrator(self, holder: Holder) -> bool:
        """Whether the server tells the holder of a certificate what only administrators are told."""
        path = self.directory / f"{holder.certificate.serial_number}.pem"
        holder.save_proxy(path)
        context = ssl.create_default_context(capath=str(self.anchors))
        context.load_cert_chain(path)
        raw = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        with context.wrap_socket(raw, server_hostname="localhost") as connection:
            connection.sendall(http.page_request("/?configuration", "localhost"))
            reader = http.ResponseReader()
            responses: list[http.Response] = []
            while not responses:
                data = connection.recv(65_536)
                self.assertTrue(data)
                responses = reader.feed(data)
        self.assertEqual(responses[0].status, 200)
        return str(self.directory / "state" / "lb.sqlite").encode() in responses[0].body

    def test_policy(self) -> None:
        """P7: attributes of a described server count; a proxy without, and one of an unknown server, is just a name."""
        draft = Draft(self.user.certificate, self.voms)
        stranger = self.ca.issue("/C=CZ/O=Test/CN=voms.elsewhere.org")
        given = self.user.proxy(extensions=(carried(draft.signed()),))
        made_up = self.user.proxy(extensions=(carried(draft.but(signer=stranger).signed()),))
        asked = [self._is_administrator(holder) for holder in (given, self.user.proxy(), made_up, self.user)]
        self.assertEqual(asked, [True, False, False, False])
        self.assertIn("voms.elsewhere.org", self.daemon.log.read_text())
