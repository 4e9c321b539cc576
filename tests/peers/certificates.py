"""Throw-away certificates for the private brokers and their clients, made without the code under test."""

import datetime
import functools
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from tests.peers.process import private_directory

VALID = datetime.timedelta(days=1)
STORE_PASSWORD = "changeit"  # Java insists on one


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM files of a certificate and its unencrypted key."""

    certificate: Path
    key: Path


class Certificates:
    """A certification authority, a host certificate for the loopback names, and a user's, as files.

    ``java_keys`` and ``java_trust`` hold the host's key and the authority for programs in Java.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._authority_name = _name("Test CA")
        authority = self._issue(self._authority_name, self._authority_key, x509.BasicConstraints(True, 0))
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(authority.public_bytes(Encoding.PEM))
        host_key, host = self._pair("localhost")
        self.host = self._write("host", host_key, host)
        self.user = self._write("user", *self._pair("Test User"))
        password = BestAvailableEncryption(STORE_PASSWORD.encode())
        self.java_keys = directory / "keys.p12"
        self.java_keys.write_bytes(pkcs12.serialize_key_and_certificates(b"host", host_key, host, None, password))
        self.java_trust = directory / "trust.p12"
        trusted = pkcs12.PKCS12Certificate(authority, b"ca")
        self.java_trust.write_bytes(pkcs12.serialize_java_truststore([trusted], password))

    def _pair(self, common_name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses])
        return key, self._issue(_name(common_name), key, x509.BasicConstraints(False, None), names)

    def _issue(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._authority_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID)
            .not_valid_after(now + VALID)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._authority_key, SHA256())

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> KeyPair:
        pair = KeyPair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair


def _name(common_name: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@functools.cache
def shared_certificates() -> Certificates:
    """Those of the shared brokers of this test process."""
    return Certificates(private_directory())
