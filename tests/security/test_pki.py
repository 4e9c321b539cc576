"""The development PKI: complete or absent, idempotent, renewed in time, and good for OpenSSL."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from cryptography import x509
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lb.security import pki
from lb.security.anchors import TrustAnchors
from lb.security.credentials import CredentialError, load
from lb.security.hostname import host_name_mismatch
from lb.security.names import slash_form, subject_hash
from lb.security.tls import EndpointCredentials
from tests.security.grid import meet

DAY = 86400.0
PROGRAM = """
import sys
from pathlib import Path
from lb.security import pki
from lb.security.credentials import load
sys.stdin.readline()
made = pki.ensure(Path(sys.argv[1]))
load(made.host, __import__("time").time()), load(made.user, __import__("time").time())
print(made.authority.read_text() + made.host.certificate.read_text() + made.user.certificate.read_text())
"""


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


class PKICase(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.directory = self.state / "pki"


class MakingTests(PKICase):
    """The first start."""

    def test_files(self) -> None:
        """All promised files are there, keys for the owner alone, and nothing else is left beside them."""
        made = pki.ensure(self.directory)
        digits = subject_hash(certificate(made.authority))
        expected = {"ca.pem", "ca.key", "host.pem", "host.key", "user.pem", "user.key"}
        expected |= {f"ca/{digits}.0", f"ca/{digits}.signing_policy"}
        self.assertEqual(expected, set(contents(self.directory)))
        self.assertEqual({"pki", "pki.lock"}, set(os.listdir(self.state)))
        for key in self.directory.glob("*.key"):
            self.assertEqual(0o600, stat.S_IMODE(key.stat().st_mode))

    def test_names(self) -> None:
        """The host certificate is for localhost, the machine and the loopback addresses, the user's for a person."""
        made = pki.ensure(self.directory, ["localhost", "lb.example.org", "127.0.0.1", "0:0::1"])
        for host in ("localhost", "lb.example.org", "127.0.0.1", "::1"):
            self.assertIsNone(host_name_mismatch(certificate(made.host.certificate), host))
        self.assertEqual("/O=LB Development/CN=lb.example.org", slash_form(certificate(made.host.certificate)))
        self.assertEqual("/O=LB Development/CN=Development User", slash_form(certificate(made.user.certificate)))
        self.assertIn("localhost", pki.default_host_names())

    def test_works(self) -> None:
        """Host and user know each other over TLS with the directory as trust anchors, signing policy included."""
        made, clock = pki.ensure(self.directory), Clock()
        self.assertEqual(1, len(TrustAnchors.read(made.authorities).policy_hashes))
        server = EndpointCredentials(made.host, made.authorities, clock).server(certificate_required=True)
        for credential in (made.user, pki.issue(self.directory, "alice")):
            client = EndpointCredentials(credential, made.authorities, clock).client("localhost")
            side, _ = meet(server, client, clock)
            assert side.identity is not None
            self.assertEqual(slash_form(certificate(credential.certificate)), side.identity.name)

    def test_again(self) -> None:
        """A second call changes nothing, also when it asks for fewer names."""
        pki.ensure(self.directory, ["localhost", "::1"])
        before = contents(self.directory)
        pki.ensure(self.directory, ["0:0::1"])
        self.assertEqual(before, contents(self.directory))

    def test_openssl(self) -> None:
        """OpenSSL itself accepts the certificates, strictly read, with the directory and with the file."""
        if shutil.which("openssl") is None:
            raise SkipTest("no openssl program here")
        made = pki.ensure(self.directory)
        alice = pki.issue(self.directory, "alice")
        certificates = [str(c.certificate) for c in (made.host, made.user, alice)]
        for trust in (["-CApath", str(made.authorities)], ["-CAfile", str(made.authority)]):
            command = ["openssl", "verify", "-x509_strict", *trust, *certificates]
            self.assertEqual(0, subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode)

    def test_at_once(self) -> None:
        """Several processes that start at once on an empty directory get the same, complete PKI (P5)."""
        program = [sys.executable, "-c", PROGRAM, str(self.directory.absolute())]
        environ = {**os.environ, "PYTHONPATH": str(Path(pki.__file__).parents[2])}
        processes = [
            subprocess.Popen(program, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = {process.communicate()[0] for process in processes}
        self.assertEqual([0] * 4, [process.returncode for process in processes])
        self.assertEqual(1, len(answers))

    def test_killed_before(self) -> None:
        """What a killed process left of its work is thrown away."""
        draft = self.state / "pki.new"
        draft.mkdir(parents=True)
        (draft / "ca.key").write_text("half a k")
        made = pki.ensure(self.directory)
        load(made.host, time.time())
        self.assertFalse(draft.exists())

    def test_killed_at_any_step(self) -> None:
        """Whichever of its steps is the last, nothing half-made is visible, and the next start completes it (P2)."""
        steps = 0
        while True:
            state = self.state / str(steps)
            directory = state / "pki"
            if self._with_last_step(steps, directory):
                break
            if directory.exists():
                self.assertEqual(8, len(contents(directory)))
            made = pki.ensure(directory)
            load(made.host, time.time())
            load(made.user, time.time())
            steps += 1
        self.assertGreater(steps, 10)

    def _with_last_step(self, allowed: int, directory: Path) -> bool:
        """Make a PKI with only so many steps on stable storage; tell whether they were enough."""
        count = 0

        class KilledError(BaseException):
            pass

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def step(*args: object) -> object:
                nonlocal count
                if count >= allowed:
                    raise KilledError
                count += 1
                return real(*args)

            return step

        with (
            patch.object(os, "fsync", counted(os.fsync)),
            patch.object(os, "rename", counted(os.rename)),
            contextlib.suppress(KilledError),
        ):
            pki.ensure(directory)
            return True
        return False

    def test_foreign_directory(self) -> None:
        """A directory with other files in it is left alone; one that cannot be made is an error."""
        self.directory.mkdir(parents=True)
        (self.directory / "thesis.txt").touch()
        self.assertRaises(CredentialError, pki.ensure, self.directory)
        self.assertEqual({"thesis.txt"}, set(contents(self.directory)))
        below_a_file = self.directory / "thesis.txt" / "pki"
        error = self.assertRaises(CredentialError, pki.ensure, below_a_file)
        self.assertIn("cannot be made", str(error))


class RenewalTests(PKICase):
    """Later starts."""

    def test_renewal(self) -> None:
        """Certificates about to expire are issued again with the same subjects and keys; the authority stays."""
        made = pki.ensure(self.directory)
        before = contents(self.directory)
        end = certificate(made.user.certificate).not_valid_after_utc.timestamp()
        pki.ensure(self.directory, now=lambda: end - 31 * DAY)
        self.assertEqual(before, contents(self.directory))
        pki.ensure(self.directory, now=lambda: end - 29 * DAY)
        after = contents(self.directory)
        changed = {name for name in after if after[name] != before[name]}
        self.assertEqual({"host.pem", "user.pem"}, changed)
        for credential, name in ((made.host, "host.pem"), (made.user, "user.pem")):
            load(credential, end)
            self.assertEqual(
                slash_form(x509.load_pem_x509_certificate(before[name])),
                slash_form(certificate(credential.certificate)),
            )

    def test_more_names(self) -> None:
        """New host names are added to those the certificate has; the user's certificate stays."""
        made = pki.ensure(self.directory, ["localhost", "127.0.0.1"])
        before = contents(self.directory)
        pki.ensure(self.directory, ["lb.example.org"])
        after = contents(self.directory)
        self.assertEqual({"host.pem"}, {name for name in after if after[name] != before[name]})
        for host in ("localhost", "127.0.0.1", "lb.example.org"):
            self.assertIsNone(host_name_mismatch(certificate(made.host.certificate), host))

    def test_lost_files(self) -> None:
        """A lost certificate or key is replaced by a fitting one."""
        for lost in ("host.pem", "host.key", "user.pem", "user.key"):
            made = pki.ensure(self.directory)
            (self.directory / lost).unlink()
            pki.ensure(self.directory)
            load(made.host, time.time())
            load(made.user, time.time())

    def test_without_authority_key(self) -> None:
        """Without the authority's key all stays usable until something has to be issued; then the error says so."""
        pki.ensure(self.directory)
        (self.directory / "ca.key").unlink()
        pki.ensure(self.directory)
        error = self.assertRaises(CredentialError, pki.issue, self.directory, "alice")
        self.assertIn("ca.key", error.where)

    def test_expired_authority(self) -> None:
        """After the authority's ten years the error says what to do."""
        made = pki.ensure(self.directory)
        end = certificate(made.authority).not_valid_after_utc.timestamp()
        pki.ensure(self.directory, now=lambda: end - DAY)
        self.assertLessEqual(certificate(made.host.certificate).not_valid_after_utc.timestamp(), end)
        error = self.assertRaises(CredentialError, pki.ensure, self.directory, now=lambda: end + 1)
        self.assertIn("authority expired", str(error))


class IssueTests(PKICase):
    """Further users."""

    def test_issue(self) -> None:
        """A user certificate has the name as CN and a key for its owner alone."""
        pki.ensure(self.directory)
        credential = pki.issue(self.directory, "alice@example.org")
        load(credential, time.time())
        self.assertEqual("/O=LB Development/CN=alice@example.org", slash_form(certificate(credential.certificate)))
        self.assertEqual(self.directory / "alice@example.org.key", credential.key)

    def test_taken(self) -> None:
        """Nothing is overwritten: neither a user's certificate nor the PKI's own."""
        pki.ensure(self.directory)
        pki.issue(self.directory, "alice")
        before = contents(self.directory)
        for name in ("alice", "host", "user", "ca", "CA"):
            self.assertRaises(CredentialError, pki.issue, self.directory, name)
        self.assertEqual(before, contents(self.directory))

    def test_names(self) -> None:
        """Names that would leave the directory, mean a proxy or do not fit a CN are refused."""
        pki.ensure(self.directory)
        for name in (
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/x",
            ".hidden",
            "a\n",
            "a\0",
            "é",
            "proxy",
            "Limited Proxy",
            "a ",
            "x" * 65,
        ):
            self.assertRaises(CredentialError, pki.issue, self.directory, name)
        for name in ("a", "x" * 64, "Alice B. O-C_D"):
            pki.issue(self.directory, name)

    def test_no_pki(self) -> None:
        """Without a PKI the error says how to get one, and none is made."""
        error = self.assertRaises(CredentialError, pki.issue, self.directory, "alice")
        self.assertIn("lb pki init", error.advice)
        self.assertFalse(self.directory.exists())
