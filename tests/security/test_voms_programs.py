"""Attribute certificates as a program of the VOMS project makes them."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lb.security import der, voms
from lb.security.anchors import TrustAnchors
from lb.security.identity import Attributes
from lb.security.names import slash_form
from lb.security.voms import VOMSAttributes
from tests.peers.packages import VOMS_PROXY_FAKE, absence, locate
from tests.security.grid import Holder, authority, name, trust, write_key
from tests.security.vo import HOST, VO

_SHA1 = der.identifier("1.2.840.113549.1.1.5")


class ProgramTests(SynchronousTestCase):
    """`voms-proxy-fake` plays the server of an organisation; it signs with SHA-1, and has no other digest."""

    skip = absence(VOMS_PROXY_FAKE)

    def setUp(self) -> None:
        """A user, the server's certificate, and a proxy of the user with attributes."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.ca = authority()
        self.anchors = trust(self.directory / "ca", self.ca)
        user, server = _saved(self.ca, self.directory / "user"), _saved(self.ca, self.directory / HOST)
        (self.directory / VO).mkdir()
        described = "\n".join(map(slash_form, (server, self.ca.certificate)))
        (self.directory / VO / f"{HOST}.lsc").write_text(described)
        (self.directory / ".rnd").touch()
        proxy = self.directory / "proxy.pem"
        command = [locate(VOMS_PROXY_FAKE), "-rfc", "-hours", "1", "-bits", "2048", "-out", proxy]
        command += ["-cert", self.directory / "user.pem", "-key", self.directory / "user.key"]
        command += ["-certdir", self.anchors, "-voms", VO, "-uri", f"{HOST}:15000", "-newformat"]
        command += ["-hostcert", self.directory / f"{HOST}.pem", "-hostkey", self.directory / f"{HOST}.key"]
        for fqan in (f"/{VO}/prod/Role=manager", f"/{VO}/Role=NULL"):
            command += ["-fqan", f"{fqan}/Capability=NULL"]
        environ = os.environ | {"HOME": str(self.directory), "X509_CERT_DIR": str(self.anchors)}
        made = subprocess.run(command, env=environ, capture_output=True)
        self.assertTrue(proxy.exists(), made)
        self.chain = x509.load_pem_x509_certificates(proxy.read_bytes())
        self.assertIn(user, self.chain)

    def _attributes(self) -> Attributes:
        return VOMSAttributes(self.directory, TrustAnchors.read(self.anchors), time.time)(self.chain)

    def test_read(self) -> None:
        """Holder, issuer, organisation, attributes, order and signature are what the program meant."""
        self.patch(voms, "_RSA", {**voms._RSA, _SHA1: SHA1()})
        self.assertEqual(self._attributes().fqans, (f"/{VO}/prod/Role=manager", f"/{VO}"))
        self.chain[1:] = [self.ca.issue("/C=CZ/O=Test/CN=Mallory").certificate]
        self.assertEqual(self._attributes().fqans, ())

    def test_refused(self) -> None:
        """SHA-1 counts for nothing, and the log says so (P7)."""
        with capturedLogs() as logged:
            self.assertEqual(self._attributes().fqans, ())
        self.assertIn("SHA-1", str(logged[-1]["reason"]))


def _saved(ca: Holder, path: Path) -> x509.Certificate:
    """A certificate for an RSA key, the only kind that the program signs with, in two files."""
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name(f"/C=CZ/O=Test/CN={path.name}")).public_key(key.public_key())
    builder = builder.issuer_name(ca.certificate.subject).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    certificate = builder.sign(ca.key, SHA256())
    Path(f"{path}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    write_key(Path(f"{path}.key"), key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return certificate
