"""What a connection demands of its peer's certificates beyond OpenSSL's own checks, and the reason when it refuses.

One value verifies all connections of a context: proxies, any key usage, CRLs where there are some, signing policies,
and on client connections the host name or the person expected. A failed check must end the handshake, its reason kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from OpenSSL import SSL, crypto
from OpenSSL.SSL import X509VerificationCodes
from twisted.logger import Logger

from lb.model.subject import same_person
from lb.security.anchors import TrustAnchors
from lb.security.hostname import host_name_mismatch
from lb.security.identity import is_proxy
from lb.security.names import issuer_slash_form, slash_form

# Takes the end entity's certificate, returns None or why it is not the peer that was meant.
Expectation = Callable[[x509.Certificate], str | None]

_DIGEST_TOO_WEAK = 68  # of x509_vfy.h; pyOpenSSL has no name for it
_FAILURES = {
    getattr(X509VerificationCodes, name): name.removeprefix("ERR_").replace("_", " ").lower()
    for name in dir(X509VerificationCodes)
    if name.startswith("ERR_")
} | {
    # Codes of x509_vfy.h without a name in pyOpenSSL that grid certificates run into.
    66: "key of end entity or proxy too small",
    67: "key of authority too small",
    _DIGEST_TOO_WEAK: "signature of too weak a digest",
    72: "proxy subject name violation",
    X509VerificationCodes.ERR_INVALID_CA: "no authority, yet it issued another certificate, perhaps a proxy older than"
    " RFC 3820",
}
# The grids use certificates of either extended key usage in both roles (spec/security.md §6.1, §17).
_IGNORED = frozenset({X509VerificationCodes.ERR_INVALID_PURPOSE})
_REMEMBERED = 256  # certificates, a few kB each


class PeerRefusedError(SSL.Error):
    """The peer's certificate failed a check; the text says which check and whose certificate.

    It is an OpenSSL error so that the TLS transport of Twisted hands it to `connectionLost` as the reason.
    """

    def __init__(self, text: str) -> None:
        super().__init__([("lb", "certificate verification", text)])
        self.text = text

    def __str__(self) -> str:
        return self.text


def expect_host(host: str) -> Expectation:
    """Expect the certificate of a host, by name or address (spec/security.md §6.1)."""

    def mismatch(certificate: x509.Certificate) -> str | None:
        found = host_name_mismatch(certificate, host)
        return None if found is None else f"not the host {host}: {found}"

    return mismatch


def expect_person(dn: str) -> Expectation:
    """Expect the certificate, or a proxy, of the person with this name in slash form (spec/security.md §6.2)."""

    def mismatch(certificate: x509.Certificate) -> str | None:
        return None if same_person(slash_form(certificate), dn) else f"not the expected {dn}"

    return mismatch


@dataclass(frozen=True, slots=True)
class _Examined:
    """What is to be known of one certificate whatever connection it comes by."""

    certificate: x509.Certificate
    proxy: bool
    objection: str | None


class ChainVerification:
    """The verify callback of a context; it must not outlive the trust anchors it was made for."""

    _log = Logger()

    def __init__(self, anchors: TrustAnchors, *, sha1_proxies: bool = False) -> None:
        """`sha1_proxies`: whether proxies, and nothing else, may be signed with SHA-1."""
        self._anchors = anchors
        self._sha1_proxies = sha1_proxies
        self._expectations: WeakKeyDictionary[SSL.Connection, Expectation] = WeakKeyDictionary()
        self._end_entities: WeakKeyDictionary[SSL.Connection, x509.Certificate] = WeakKeyDictionary()
        # Authorities and regular visitors come again with each connection.
        self._examined = lru_cache(_REMEMBERED)(self._examine)

    def expect(self, connection: SSL.Connection, expectation: Expectation) -> None:
        """Demand something of the end entity at the other side of a new connection."""
        self._expectations[connection] = expectation

    def __call__(self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """Judge one certificate. OpenSSL asks for each failed check, then from root to leaf for each verified one."""
        if not ok and error in _IGNORED:
            return True
        try:
            examined = self._examined(crypto.dump_certificate(crypto.FILETYPE_ASN1, shown))
        except ValueError as problem:
            objection: str | None = f"certificate at depth {depth} cannot be read: {problem}"
        else:
            objection = self._objection(connection, examined, depth) if ok else self._failure(examined, error)
        if objection is None:
            return True
        self._log.warn("TLS peer {peer} refused: {reason}", peer=_address(connection), reason=objection)
        raise PeerRefusedError(objection)

    def _examine(self, der: bytes) -> _Examined:
        certificate = x509.load_der_x509_certificate(der)
        proxy = is_proxy(certificate)
        issued = not proxy and certificate.issuer != certificate.subject
        return _Examined(certificate, proxy, self._anchors.signing_policy_objection(certificate) if issued else None)

    def _failure(self, examined: _Examined, error: int) -> str | None:
        """Say which of OpenSSL's checks failed; None for the lack of a CRL where the authority has none."""
        certificate = examined.certificate
        if error == X509VerificationCodes.ERR_UNABLE_TO_GET_CRL and not self._anchors.has_crl(certificate):
            return None
        advice = ""
        if error == _DIGEST_TOO_WEAK and examined.proxy and isinstance(certificate.signature_hash_algorithm, SHA1):
            # Whoever signs a proxy signs for himself: nobody else prepares a second text with the same digest.
            if self._sha1_proxies:
                return None
            advice = " (a proxy signed with SHA-1: make it with newer tools, or give the server --sha1-proxies)"
        failure = _FAILURES.get(error, f"verification error {error}")
        return f"{failure}: certificate {slash_form(certificate)} issued by {issuer_slash_form(certificate)}{advice}"

    def _objection(self, connection: SSL.Connection, examined: _Examined, depth: int) -> str | None:
        """Apply our own checks to a certificate that OpenSSL verified."""
        certificate = examined.certificate
        if examined.objection is not None:
            return f"certificate {slash_form(certificate)}: {examined.objection}"
        if connection not in self._expectations:
            return None
        if not examined.proxy:
            self._end_entities[connection] = certificate  # the last one that is no proxy, as leaves come last
        if depth:
            return None
        end_entity = self._end_entities.pop(connection, None)
        if end_entity is None:
            return "a chain of proxy certificates only"
        mismatch = self._expectations.pop(connection)(end_entity)
        return None if mismatch is None else f"certificate {slash_form(end_entity)} is {mismatch}"


def _address(connection: SSL.Connection) -> str:
    """Return the peer's address for a log line; the TLS transport is the connection's application data."""
    transport = getattr(connection.get_app_data(), "transport", None)
    return str(transport.getPeer()) if transport is not None else "(unknown address)"
