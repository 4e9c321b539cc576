"""A virtual organisation for tests: a VOMS server that signs attribute certificates, right ones and wrong ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

from lb.security import der
from lb.security.names import slash_form
from tests.security.grid import Holder

VO = "vo.example"
HOST = "voms.example.org"
FQANS = ("/vo.example/Role=NULL/Capability=NULL", "/vo.example/prod/Role=manager/Capability=NULL")
EXTENSION = ObjectIdentifier("1.3.6.1.4.1.8005.100.100.5")
SIGNERS = "1.3.6.1.4.1.8005.100.100.10"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
RSA_SHA256 = "1.2.840.113549.1.1.11"
HOUR = 3600


def sequence(*parts: bytes) -> bytes:
    return der.encode(der.SEQUENCE, b"".join(parts))


def oid(dotted: str) -> bytes:
    return der.encode(der.OBJECT_IDENTIFIER, der.identifier(dotted))


def directory_name(name: x509.Name) -> bytes:
    """GeneralNames of one directory name, without their tag."""
    return der.encode(0xA4, name.public_bytes())


def moment(seconds: float) -> bytes:
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%SZ")
    return der.encode(der.GENERALIZED_TIME, text.encode())


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    flag = der.encode(der.BOOLEAN, b"\xff") if critical else b""
    return sequence(oid(dotted), flag, der.encode(der.OCTET_STRING, value))


@dataclass(frozen=True)
class Draft:
    """What goes into an attribute certificate; the defaults make a right one."""

    holder: x509.Certificate
    signer: Holder
    fqans: Sequence[str] = FQANS
    hours: tuple[float, float] = (-1, 12)
    authority: str = f"{VO}://{HOST}:15000"
    issuer: x509.Name | None = None
    serial: int | None = None
    by_name: bool = False
    signers: Sequence[x509.Certificate] | None = None
    extensions: Sequence[bytes] = ()
    version: int = 1
    algorithm: str | None = None
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = field(default=None, compare=False)

    def but(self, **changes: object) -> Draft:
        """The same with changes."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def _holder(self) -> bytes:
        if self.by_name:
            return sequence(der.encode(0xA1, directory_name(self.holder.subject)))
        serial = self.holder.serial_number if self.serial is None else self.serial
        number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
        issuer = sequence(directory_name(self.holder.issuer))
        return sequence(der.encode(0xA0, issuer + der.encode(der.INTEGER, number)))

    def _attributes(self) -> bytes:
        authority = der.encode(0xA0, der.encode(0x86, self.authority.encode()))
        values = sequence(*(der.encode(der.OCTET_STRING, fqan.encode()) for fqan in self.fqans))
        attribute = der.encode(der.SET, sequence(authority, values))
        return sequence(sequence(oid("1.3.6.1.4.1.8005.100.100.4"), attribute))

    def signed(self) -> bytes:
        """The attribute certificate in DER."""
        key = self.key or self.signer.key
        is_rsa = isinstance(key, rsa.RSAPrivateKey)
        algorithm = sequence(oid(self.algorithm or (RSA_SHA256 if is_rsa else ECDSA_SHA256)))
        shown = (self.signer.certificate,) if self.signers is None else self.signers
        certificates = sequence(sequence(*(each.public_bytes(Encoding.DER) for each in shown)))
        now = time.time()
        info = sequence(
            der.encode(der.INTEGER, bytes((self.version,))),
            self._holder(),
            der.encode(0xA0, sequence(directory_name(self.issuer or self.signer.certificate.subject))),
            algorithm,
            der.encode(der.INTEGER, b"\x01"),
            sequence(*(moment(now + hours * HOUR) for hours in self.hours)),
            self._attributes(),
            sequence(extension(SIGNERS, certificates), *self.extensions),
        )
        if isinstance(key, rsa.RSAPrivateKey):
            signature = key.sign(info, padding.PKCS1v15(), SHA256())
        else:
            signature = key.sign(info, ec.ECDSA(SHA256()))
        return sequence(info, algorithm, der.encode(der.BIT_STRING, b"\0" + signature))


def carried(*certificates: bytes, wrapped: bool = True) -> x509.UnrecognizedExtension:
    """The extension of a proxy that holds attribute certificates."""
    listed = sequence(*certificates)
    return x509.UnrecognizedExtension(EXTENSION, sequence(listed) if wrapped else listed)


def describe(directory: Path, *chains: Sequence[x509.Certificate | str]) -> Path:
    """Describe the server of the VO by the chains that it may have."""
    (directory / VO).mkdir(parents=True, exist_ok=True)
    lines = ("\n".join(one if isinstance(one, str) else slash_form(one) for one in chain) for chain in chains)
    path = directory / VO / f"{HOST}.lsc"
    path.write_text("\n------ NEXT CHAIN ------\n".join(lines) + "\n")
    return path
