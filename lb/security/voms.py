"""VOMS attributes of a peer: what the attribute certificates in its proxies give it, once they are verified.

Whom a virtual organisation (VO) lets sign is said by files VO/HOST.lsc or VO/HOST.pem in a directory; the signer must
besides be vouched for by a trusted authority (spec/security.md §14). What cannot be verified gives no attributes and a
line in the log; it must never cost the peer its name or its connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from lb.model.subject import fold
from lb.security import attribute_certificate, der
from lb.security.anchors import TrustAnchors
from lb.security.attribute_certificate import AttributeCertificate
from lb.security.credentials import CredentialError
from lb.security.identity import Attributes, end_entity, is_proxy
from lb.security.names import slash_form

_DEFAULT: Final = Path("/etc/grid-security/vomsdir")

# Seconds for which a finding stands: changed files of VOs count after that, new CRLs at once.
_STANDS: Final = 60
_REMEMBERED: Final = 128  # certificates, some ten kB each
# Seconds by which the clock of a VOMS server may be ahead; it signs for the very moment it is asked.
_SKEW: Final = 300

# Signature algorithms; SHA-1 is left out, as OpenSSL refuses it in certificates, too.
_RSA: Final[Mapping[bytes, HashAlgorithm]] = {
    der.identifier("1.2.840.113549.1.1.11"): SHA256(),
    der.identifier("1.2.840.113549.1.1.12"): SHA384(),
    der.identifier("1.2.840.113549.1.1.13"): SHA512(),
}
_ECDSA: Final[Mapping[bytes, HashAlgorithm]] = {
    der.identifier("1.2.840.10045.4.3.2"): SHA256(),
    der.identifier("1.2.840.10045.4.3.3"): SHA384(),
    der.identifier("1.2.840.10045.4.3.4"): SHA512(),
}

_NEXT_CHAIN: Final = re.compile(r"-+ *NEXT CHAIN *-+", re.IGNORECASE)


class _UnverifiedError(Exception):
    """An attribute certificate that gives nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What one verified attribute certificate gives, until when."""

    fqans: tuple[str, ...]
    not_after: int


def voms_directory(environ: Mapping[str, str], explicit: Path | None = None) -> Path:
    """Return the directory that describes the VOs: the option, then X509_VOMS_DIR, then the customary one."""
    if explicit is not None:
        return explicit
    return Path(environ.get("X509_VOMS_DIR") or _DEFAULT)


class VOMSAttributes:
    """An `AttributeSource` (`lb.security.identity`): one for each state of the trust anchors."""

    _log = Logger()

    def __init__(self, directory: Path, anchors: TrustAnchors, now: Callable[[], float]) -> None:
        """Nothing is read before somebody shows attributes; `now` gives seconds since the epoch."""
        self._directory = directory
        self._anchors = anchors
        self._now = now
        self._examined = lru_cache(_REMEMBERED)(self._examine)
        # A store does not outlive its context, so both are kept.
        self._stores: dict[int, tuple[SSL.Context, crypto.X509Store]] = {}

    def __call__(self, chain: Sequence[x509.Certificate]) -> Attributes:
        """Return the attributes of a verified chain, leaf first: those of the proxy with some that is nearest to it."""
        for certificate in chain:
            try:
                value = der.certificate_extension(certificate.tbs_certificate_bytes, attribute_certificate.EXTENSION)
            except ValueError:
                value = b""  # malformed: said when it is examined, and proxies above it do not count either
            if value is not None:
                now = self._now()
                given = self._examined(certificate, end_entity(chain), int(now // _STANDS))
                valid = [each for each in given if now < each.not_after]
                fqans = dict.fromkeys(fqan for each in valid for fqan in each.fqans)
                return Attributes(tuple(fqans), min((each.not_after for each in valid), default=None))
            if not is_proxy(certificate):
                break
        return Attributes()

    def _examine(self, shown: x509.Certificate, holder: x509.Certificate, _moment: int) -> tuple[_Given, ...]:
        """Verify the attribute certificates in a certificate for the end entity `holder`."""
        given = []
        try:
            value = der.certificate_extension(shown.tbs_certificate_bytes, attribute_certificate.EXTENSION)
            for encoded in attribute_certificate.read_extension(value or b""):
                try:
                    certificate = attribute_certificate.parse(encoded)
                    self._verify(certificate, holder)
                except (_UnverifiedError, ValueError) as error:
                    self._ignore(holder, error)
                else:
                    given.append(_Given(certificate.fqans, certificate.not_after))
        except ValueError as error:
            self._ignore(holder, error)
        return tuple(given)

    def _ignore(self, holder: x509.Certificate, error: Exception) -> None:
        self._log.warn("VOMS attributes of {peer} ignored: {reason}", peer=slash_form(holder), reason=str(error))

    def _verify(self, certificate: AttributeCertificate, holder: x509.Certificate) -> None:
        """Raise _UnverifiedError, or ValueError, unless everything speaks for an attribute certificate."""
        now = self._now()
        if now < certificate.not_before - _SKEW:
            raise _UnverifiedError("not valid yet")
        if now >= certificate.not_after:
            raise _UnverifiedError("expired")
        if not _holds(holder, certificate):
            raise _UnverifiedError("given to somebody else")
        place = self._directory / certificate.vo / certificate.host
        kept = x509.load_pem_x509_certificates(pem) if (pem := _read(Path(f"{place}.pem"))) else []
        described = _chains(_read(Path(f"{place}.lsc")).decode("utf-8", "surrogateescape"))
        if not kept and not described:
            raise _UnverifiedError(f"VO {certificate.vo} has no {certificate.host}.lsc or .pem in {self._directory}")
        if certificate.algorithm not in _RSA.keys() | _ECDSA.keys():
            raise _UnverifiedError("signed with SHA-1, or an algorithm that nobody uses")
        shown = [x509.load_der_x509_certificate(signer) for signer in certificate.signers]
        signer = next((each for each in (*kept, *shown) if _signed(certificate, each)), None)
        if signer is None:
            raise _UnverifiedError(f"not signed by any VOMS server that it shows or that {place}.pem holds")
        chain = self._chain(signer, shown)
        names = [fold(slash_form(each)) for each in chain]
        if signer not in kept and not any(names[: len(each)] == each for each in described):
            raise _UnverifiedError(f"{slash_form(signer)} is not described by {place}.lsc")

    def _chain(self, signer: x509.Certificate, others: list[x509.Certificate]) -> list[x509.Certificate]:
        """Return the chain from a signer to a trusted root, once it is verified."""
        if not _may_sign(signer):
            raise _UnverifiedError(f"{slash_form(signer)} is an authority, or its key is not for signatures")
        chain = self._verified(signer, others, 0)
        for certificate in chain:
            if self._anchors.has_crl(certificate):
                self._verified(certificate, others, crypto.X509StoreFlags.CRL_CHECK)
            issued = certificate.issuer != certificate.subject
            if issued and (objection := self._anchors.signing_policy_objection(certificate)) is not None:
                raise _UnverifiedError(f"certificate {slash_form(certificate)}: {objection}")
        return chain

    def _verified(
        self, certificate: x509.Certificate, others: list[x509.Certificate], flags: int
    ) -> list[x509.Certificate]:
        untrusted = list(map(crypto.X509.from_cryptography, others))
        try:
            asked = crypto.X509StoreContext(self._store(flags), crypto.X509.from_cryptography(certificate), untrusted)
            return [each.to_cryptography() for each in asked.get_verified_chain()]
        except (crypto.X509StoreContextError, CredentialError) as error:
            raise _UnverifiedError(f"certificate {slash_form(certificate)} of the VOMS server: {error}") from error

    def _store(self, flags: int) -> crypto.X509Store:
        if flags not in self._stores:
            context = SSL.Context(SSL.TLS_METHOD)
            self._anchors.load_into(context)
            store = context.get_cert_store()
            assert store is not None
            store.set_flags(flags)
            self._stores[flags] = context, store
        return self._stores[flags][1]


def _holds(holder: x509.Certificate, certificate: AttributeCertificate) -> bool:
    """Tell whether an attribute certificate is for an end entity, by all that it says of its holder."""
    encoded = holder.tbs_certificate_bytes
    said = []
    if certificate.holder_certificate is not None:
        issuer = attribute_certificate.name(der.issuer(encoded))
        said.append(certificate.holder_certificate == (issuer, holder.serial_number))
    if certificate.holder_name is not None:
        said.append(certificate.holder_name == attribute_certificate.name(der.subject(encoded)))
    return bool(said) and all(said)


def _may_sign(signer: x509.Certificate) -> bool:
    """Tell whether a certificate may sign attribute certificates by what it says of its use (RFC 5755 §4.5)."""
    extensions = signer.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        pass
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        return True


def _signed(certificate: AttributeCertificate, signer: x509.Certificate) -> bool:
    """Tell whether an attribute certificate names a signer as its issuer and bears its signature."""
    if certificate.issuer != attribute_certificate.name(der.subject(signer.tbs_certificate_bytes)):
        return False
    try:
        key = signer.public_key()
        if isinstance(key, rsa.RSAPublicKey) and (digest := _RSA.get(certificate.algorithm)):
            key.verify(certificate.signature, certificate.signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and (digest := _ECDSA.get(certificate.algorithm)):
            key.verify(certificate.signature, certificate.signed, ec.ECDSA(digest))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _read(path: Path) -> bytes:
    """Return what is in a file, nothing when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _UnverifiedError(f"{path}: {error.strerror}") from error


def _chains(text: str) -> list[list[str]]:
    """Return the chains that an .lsc file describes: names from the signer upwards, folded to be compared.

    A chain of one name says nothing of who issued it and does not count.
    """
    chains: list[list[str]] = [[]]
    for line in map(str.strip, text.splitlines()):
        if _NEXT_CHAIN.fullmatch(line):
            chains.append([])
        elif line and not line.startswith("#"):
            chains[-1].append(fold(line))
    return [chain for chain in chains if len(chain) > 1]
