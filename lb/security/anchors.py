"""The authorities a service trusts: a hashed directory of CA certificates, CRLs and signing policies, or one CA file.

One value is what was there at one moment; when the files change, a new one is made. A CRL or signing policy that
exists but cannot be used must count as a refusal, never as absent.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from OpenSSL import SSL

from lb.security import signing_policy
from lb.security.credentials import CredentialError
from lb.security.names import issuer_hash, issuer_slash_form, slash_form, subject_hash
from lb.security.signing_policy import SigningPolicy

_CRL = re.compile(r"([0-9a-f]{8})\.r[0-9]+")
_LONGEST_CHAIN = 10  # certificates; a bound for loops of mutually issued authorities

Signature = tuple[tuple[str, int, int, int], ...]


def signature(paths: list[Path]) -> Signature:
    """Return a value that changes when one of the files, or a file in one of the directories, changes.

    A change is a new inode, size or status time, so a file written in place counts as well as a replaced one.
    """
    return tuple(sorted(_file_signatures(paths)))


def _file_signatures(paths: list[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in paths:
        try:
            with os.scandir(path) as entries:
                names = [entry.path for entry in entries]
        except OSError:
            names = [str(path)]
        for name in names:
            try:
                status = os.stat(name)
            except OSError:
                yield name, 0, 0, 0
            else:
                yield name, status.st_ino, status.st_size, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """A trust directory or CA file as it was when it was read."""

    path: Path
    crl_hashes: frozenset[str]
    policy_hashes: frozenset[str]
    _policies: dict[str, SigningPolicy | str] = field(default_factory=dict, compare=False)

    @classmethod
    def read(cls, path: Path) -> "TrustAnchors":
        """List what a directory holds. Raises CredentialError when there is none."""
        try:
            if path.is_file():
                return cls(path, frozenset(), frozenset())
            names = os.listdir(path)
        except OSError as error:
            raise CredentialError(
                f"cannot read trust directory ({error.strerror})", str(path), "Give a directory of CA certificates"
            ) from error
        crls = {match[1] for name in names if (match := _CRL.fullmatch(name))}
        policies = {name.removesuffix(".signing_policy") for name in names if name.endswith(".signing_policy")}
        return cls(path, frozenset(crls), frozenset(policies))

    def load_into(self, context: SSL.Context) -> None:
        """Make a context trust these authorities. Raises CredentialError when a CA file holds none."""
        try:
            if self.path.is_dir():
                context.load_verify_locations(None, str(self.path))
            else:
                context.load_verify_locations(str(self.path))
        except SSL.Error as error:
            raise CredentialError("no CA certificates", str(self.path), "Give CA certificates in PEM form") from error

    def has_crl(self, certificate: x509.Certificate) -> bool:
        """Tell whether a CRL of the certificate's issuer lies in the directory."""
        return bool(self.crl_hashes) and issuer_hash(certificate) in self.crl_hashes

    def signing_policy_objection(self, certificate: x509.Certificate) -> str | None:
        """Return None when the issuer's signing policy permits the certificate or there is none, else the objection.

        To be asked about certificates that an authority issued, so neither about proxies nor about self-signed ones.
        """
        if not self.policy_hashes:
            return None
        digits = issuer_hash(certificate)
        if digits not in self.policy_hashes:
            return None
        policy = self._policies.get(digits)
        if policy is None:
            policy = self._policies[digits] = self._read_policy(digits)
        if isinstance(policy, str):
            return policy
        issuer = issuer_slash_form(certificate)
        if policy.permits(issuer, slash_form(certificate)):
            return None
        return f"signing policy of {issuer} does not cover it"

    def _read_policy(self, digits: str) -> SigningPolicy | str:
        name = f"{digits}.signing_policy"
        try:
            return signing_policy.parse((self.path / name).read_text("utf-8", "surrogateescape"))
        except (OSError, ValueError) as error:
            return f"signing policy {name} cannot be used ({error})"

    def intermediates(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """Return the authorities between a certificate and its root, nearest first, as far as the directory knows them.

        OpenSSL would otherwise search and verify them again at each handshake.
        """
        chain: list[x509.Certificate] = []
        issuer = self._issuer(certificate)
        while issuer is not None and issuer.issuer != issuer.subject and len(chain) < _LONGEST_CHAIN:
            chain.append(issuer)
            issuer = self._issuer(issuer)
        return chain

    def _issuer(self, certificate: x509.Certificate) -> x509.Certificate | None:
        digits = issuer_hash(certificate)
        for candidate in self._authorities(digits):
            if subject_hash(candidate) != digits:
                continue
            try:
                certificate.verify_directly_issued_by(candidate)
            except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                continue  # a namesake with another key
            return candidate
        return None

    def _authorities(self, digits: str) -> Iterator[x509.Certificate]:
        paths = sorted(self.path.glob(f"{digits}.[0-9]")) if self.path.is_dir() else [self.path]
        for path in paths:
            try:
                yield from x509.load_pem_x509_certificates(path.read_bytes())
            except (OSError, ValueError):
                continue  # OpenSSL will not find it either; the peer is told by the failing handshake
