"""A small grid for tests: authorities, certificates, proxies and CRLs made on the spot, and connections in memory."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from OpenSSL import crypto
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect
from zope.interface import implementer

from lb.security.credentials import Credential
from lb.security.identity import Identity, identity_of
from lb.security.names import subject_hash
from lb.security.tls import EndpointCredentials

DAY = timedelta(days=1)
PROXY_CERT_INFO = ObjectIdentifier("1.3.6.1.5.5.7.1.14")
INHERIT_ALL = bytes.fromhex("300c300a06082b06010505071501")
LIMITED = bytes.fromhex("300f300d060b2b060104019b5001010109")
CLIENT_ONLY = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_ONLY = ExtendedKeyUsageOID.SERVER_AUTH

_TYPES = {
    "C": NameOID.COUNTRY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "CN": NameOID.COMMON_NAME,
    "DC": NameOID.DOMAIN_COMPONENT,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "UID": NameOID.USER_ID,
}


def name(dn: str) -> x509.Name:
    """A subject from slash form without slashes in its values."""
    pairs = [component.partition("=")[::2] for component in dn.split("/")[1:]]
    return x509.Name([x509.NameAttribute(_TYPES[type_], value) for type_, value in pairs])


class Holder:
    """A certificate, its key, and the certificates between it and the root."""

    def __init__(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...] = ()
    ) -> None:
        self.certificate, self.key, self.chain = certificate, key, chain

    def issue(
        self,
        dn: str | x509.Name,
        *extensions: x509.ExtensionType,
        days: tuple[float, float] = (-5, 30),
        usage: ObjectIdentifier | None = None,
        authority: bool = False,
    ) -> Holder:
        """A certificate signed by this one, valid between two days counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = name(dn) if isinstance(dn, str) else dn
        builder = _builder(subject, self.certificate.subject, key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        above = () if self.is_root else (self.certificate, *self.chain)
        return Holder(builder.sign(self.key, SHA256()), key, above)

    def host(self, common_name: str, *names: x509.GeneralName, usage: ObjectIdentifier | None = None) -> Holder:
        """A host certificate with alternative names."""
        extensions = [x509.SubjectAlternativeName(names)] if names else []
        return self.issue(f"/C=CZ/O=Test/CN={common_name}", *extensions, usage=usage)

    def proxy(
        self,
        policy: bytes = INHERIT_ALL,
        days: tuple[float, float] = (-0.5, 0.5),
        named_after: Holder | None = None,
        extensions: tuple[x509.ExtensionType, ...] = (),
    ) -> Holder:
        """An RFC 3820 proxy, its subject extending this one's unless another is given."""
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.NameAttribute(NameOID.COMMON_NAME, str(x509.random_serial_number())[:9])
        subject = x509.Name([*(named_after or self).certificate.subject, serial])
        builder = _builder(subject, self.certificate.subject, key, days)
        builder = builder.add_extension(x509.UnrecognizedExtension(PROXY_CERT_INFO, policy), critical=True)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return Holder(builder.sign(self.key, SHA256()), key, (self.certificate, *self.chain))

    def weakly_signed(self, issuer: Holder) -> Holder:
        """The same with a signature of SHA-1, which cryptography does not make any more."""
        certificate = crypto.X509.from_cryptography(self.certificate)
        certificate.sign(crypto.PKey.from_cryptography_key(issuer.key), "sha1")
        return Holder(certificate.to_cryptography(), self.key, self.chain)

    @property
    def is_root(self) -> bool:
        return self.certificate.subject == self.certificate.issuer

    def crl(self, *revoked: Holder, days: tuple[float, float] = (-1, 1)) -> bytes:
        """A CRL of this authority in PEM form."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(now + days[0] * DAY).next_update(now + days[1] * DAY)
        for holder in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(holder.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now + days[0] * DAY).build())
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)

    @property
    def hash(self) -> str:
        return subject_hash(self.certificate)

    def pem(self) -> bytes:
        return b"".join(c.public_bytes(Encoding.PEM) for c in (self.certificate, *self.chain))

    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def save(self, directory: Path, stem: str = "holder") -> Credential:
        """Certificate with chain, and key, in two files."""
        credential = Credential(directory / f"{stem}.pem", directory / f"{stem}.key")
        credential.certificate.write_bytes(self.pem())
        write_key(credential.key, self.key_pem())
        return credential

    def save_proxy(self, path: Path) -> Credential:
        """Certificate, key and chain in one file."""
        certificate, *chain = (c.public_bytes(Encoding.PEM) for c in (self.certificate, *self.chain))
        write_key(path, certificate + self.key_pem() + b"".join(chain))
        return Credential(path, path)


def write_key(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[float, float]
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
    )


def authority(dn: str = "/C=CZ/O=Test/CN=Test CA") -> Holder:
    """A self-signed authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name(dn), name(dn), key, (-10, 100))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Holder(builder.sign(key, SHA256()), key)


def trust(directory: Path, *authorities: Holder) -> Path:
    """A hashed directory of authorities."""
    directory.mkdir(exist_ok=True)
    for holder in authorities:
        (directory / f"{holder.hash}.0").write_bytes(holder.certificate.public_bytes(Encoding.PEM))
    return directory


def endpoint(
    holder: Holder | None,
    anchors: Path,
    directory: Path,
    clock: Clock,
    *,
    stem: str = "holder",
    at: float | None = None,
    voms: Path | None = None,
    sha1_proxies: bool = False,
) -> EndpointCredentials:
    """Credentials of one side; `at` is the time at which its own certificate is judged."""
    credential = None if holder is None else holder.save(directory, stem)
    return EndpointCredentials(
        credential,
        anchors,
        clock,
        now=lambda: time.time() if at is None else at,
        voms=voms,
        sha1_proxies=sha1_proxies,
    )


@implementer(IHandshakeListener)
class Side(Protocol):
    """One end of a connection: what became of it."""

    identity: Identity | None = None
    lost: Failure | None = None
    version: str | None = None
    alpn: bytes | None = None

    def __init__(self) -> None:
        self.received = b""

    def handshakeCompleted(self) -> None:
        handle = self.transport.getHandle()
        self.identity = identity_of(handle)
        self.version = handle.get_protocol_version_name()
        self.alpn = self.transport.negotiatedProtocol

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure) -> None:
        self.lost = reason

    @property
    def reason(self) -> str:
        """Why the connection ended, empty while it has not."""
        return "" if self.lost is None else str(self.lost.value)


def meet(
    server: IOpenSSLServerConnectionCreator, client: IOpenSSLClientConnectionCreator, clock: Clock
) -> tuple[Side, Side]:
    """Connect two ends in memory, each sending a greeting, and return the server's and the client's side."""
    sides = Side(), Side()
    protocols = [
        TLSMemoryBIOFactory(creator, is_client, Factory.forProtocol(lambda side=side: side), clock).buildProtocol(None)
        for creator, is_client, side in zip((server, client), (False, True), sides, strict=True)
    ]
    transports = [FakeTransport(protocol, isServer=not number) for number, protocol in enumerate(protocols)]
    pump = connect(protocols[0], transports[0], protocols[1], transports[1])
    pump.flush()
    for side in sides:
        side.transport.write(b"hello")
    clock.advance(0)
    pump.flush()
    return sides
