"""Where settings and credentials come from."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.client.session import find_trust
from lb.client.settings import Address, Settings, find_settings, read_address
from lb.model.errors import LBError
from lb.model.query import Results
from lb.security import pki
from lb.security.credentials import CredentialError, Surroundings
from tests.client import peers

NOW = 1_800_000_000.0


class SettingsTests(SynchronousTestCase):
    """Options, environment, defaults."""

    def test_defaults(self) -> None:
        """With nothing given the defaults of the spec hold."""
        found = find_settings({})
        self.assertEqual(found, Settings())
        self.assertEqual(found.logger, Address("localhost", 9002))
        self.assertEqual((found.log_timeout, found.log_sync_timeout, found.query_timeout), (120, 120, 120))
        self.assertEqual(found.connections, 50)

    def test_environment(self) -> None:
        """Every variable is read, with either prefix, the newer one first."""
        values: dict[str, tuple[str, str, Any]] = {
            "LOG_DESTINATION": ("log.example.org", "logger", Address("log.example.org", 9002)),
            "QUERY_SERVER": ("lb.example.org:9100", "query_server", Address("lb.example.org", 9100)),
            "NOTIF_SERVER": ("[2001:db8::1]:9001", "notification_server", Address("[2001:db8::1]", 9001)),
            "QUERY_SERVER_OVERRIDE": ("YES", "query_server_override", True),
            "LOG_TIMEOUT": ("1.5", "log_timeout", 1.5),
            "LOG_SYNC_TIMEOUT": ("600", "log_sync_timeout", 600.0),
            "QUERY_TIMEOUT": ("30", "query_timeout", 30.0),
            "NOTIF_TIMEOUT": ("40", "notification_timeout", 40.0),
            "QUERY_JOBS_LIMIT": ("5", "jobs_limit", 5),
            "QUERY_EVENTS_LIMIT": ("6", "events_limit", 6),
            "QUERY_RESULTS": ("Limited", "results", Results.LIMITED),
            "CONNPOOL_SIZE": ("3", "connections", 3),
            "JOBID": ("https://lb.example.org/x", "jobid", "https://lb.example.org/x"),
            "SEQUENCE_CODE": ("UI=1", "sequence_code", "UI=1"),
        }
        for name, (text, field, value) in values.items():
            for prefix in ("GLITE_WMS_", "EDG_WL_"):
                self.assertEqual(getattr(find_settings({prefix + name: text}), field), value)
        both = {"EDG_WL_QUERY_TIMEOUT": "1", "GLITE_WMS_QUERY_TIMEOUT": "2"}
        self.assertEqual(find_settings(both).query_timeout, 2.0)
        self.assertEqual(find_settings({"GLOBUS_HOSTNAME": "ui.example.org"}).host, "ui.example.org")

    def test_explicit(self) -> None:
        """What is given explicitly wins; None is not given."""
        environ = {"GLITE_WMS_LOG_TIMEOUT": "nonsense", "GLITE_WMS_QUERY_TIMEOUT": "7"}
        found = find_settings(environ, {"log_timeout": 3.0, "query_timeout": None})
        self.assertEqual((found.log_timeout, found.query_timeout), (3.0, 7.0))

    def test_nonsense(self) -> None:
        """A value that makes no sense is an error that names its variable."""
        for name, text in (
            ("LOG_TIMEOUT", "-1"),
            ("LOG_TIMEOUT", "nan"),
            ("LOG_TIMEOUT", "86401"),
            ("QUERY_TIMEOUT", "soon"),
            ("QUERY_SERVER", "host:port:99999"),
            ("QUERY_SERVER", "two words"),
            ("QUERY_RESULTS", "Some"),
            ("QUERY_JOBS_LIMIT", "-5"),
        ):
            with self.assertRaises(LBError) as raised:
                find_settings({f"EDG_WL_{name}": text})
            self.assertEqual(raised.exception.code, errno.EINVAL)
            self.assertIn(f"EDG_WL_{name}", raised.exception.description)

    @given(st.text(max_size=30))
    def test_addresses(self, text: str) -> None:
        """Any text is an address that reads back as itself, or EINVAL."""
        try:
            address = read_address(text, 9000)
        except LBError as error:
            self.assertEqual(error.code, errno.EINVAL)
        else:
            self.assertEqual(read_address(str(address), 9000), address)

    def test_written_addresses(self) -> None:
        """Addresses may be given as URLs, and IPv6 without brackets when there is no port."""
        self.assertEqual(read_address("https://lb.example.org:9000/", 1), Address("lb.example.org", 9000))
        self.assertEqual(read_address("[::1]", 9000), Address("[::1]", 9000))
        self.assertEqual(Address("h", 9000).store, Address("h", 9001))


class TrustTests(SynchronousTestCase):
    """Own credentials and the authorities."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()

    def surroundings(self, **environ: str) -> Surroundings:
        return Surroundings(environ, self.home, 12345, root=self.home)

    def test_development(self) -> None:
        """When nothing else is there, the development PKI of the state directory serves."""
        found = find_trust(self.surroundings(), peers.state_directory(), _now())
        self.assertEqual(found, peers.trust())

    def test_proxy_first(self) -> None:
        """X509_USER_PROXY and X509_CERT_DIR come before the development PKI."""
        ours = pki.DevelopmentPKI(peers.state_directory() / "pki")
        proxy = self.home / "proxy.pem"
        proxy.write_bytes(ours.user.certificate.read_bytes() + ours.user.key.read_bytes())
        proxy.chmod(0o600)
        surroundings = self.surroundings(X509_USER_PROXY=str(proxy), X509_CERT_DIR=str(self.home))
        found = find_trust(surroundings, peers.state_directory(), _now())
        self.assertEqual((found.credential.certificate, found.authorities), (proxy, self.home))

    def test_nothing(self) -> None:
        """Without any credential the error says so."""
        with self.assertRaises(CredentialError):
            find_trust(self.surroundings(), self.home, NOW)


def _now() -> float:
    certificate = pki.DevelopmentPKI(peers.state_directory() / "pki").user.certificate
    return certificate.stat().st_mtime
