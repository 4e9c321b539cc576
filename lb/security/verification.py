"""What a connection demands of its peer's certificates beyond OpenSSL's own checks, and the reason when it refuses.

One value verifies all connections of a context: proxies, any key usage, CRLs where there are some, signing policies,
and on client connections the host name or the person expected. A failed check must end the handshake, its reason kept.
"""

from collections.abc import Callable
from weakref import WeakKeyDictionary

from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL.SSL import X509VerificationCodes
from twisted.logger import Logger

from lb.security.anchors import TrustAnchors
from lb.security.hostname import host_name_mismatch
from lb.security.identity import is_proxy
from lb.security.names import issuer_slash_form, same_person, slash_form

# Takes the end entity's certificate, returns None or why it is not the peer that was meant.
Expectation = Callable[[x509.Certificate], str | None]

_FAILURES = {
    getattr(X509VerificationCodes, name): name.removeprefix("ERR_").replace("_", " ").lower()
    for name in dir(X509VerificationCodes)
    if name.startswith("ERR_")
} | {
    # Codes of x509_vfy.h without a name in pyOpenSSL that grid certificates run into.
    66: "key of end entity or proxy too small",
    67: "key of authority too small",
    68: "message digest of authority too weak",
    72: "proxy subject name violation",
}
# The grids use certificates of either extended key usage in both roles (spec/security.md §6.1, §17).
_IGNORED = frozenset({X509VerificationCodes.ERR_INVALID_PURPOSE})


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


class ChainVerification:
    """The verify callback of a context; it must not outlive the trust anchors it was made for."""

    _log = Logger()

    def __init__(self, anchors: TrustAnchors) -> None:
        self._anchors = anchors
        self._expectations: WeakKeyDictionary[SSL.Connection, Expectation] = WeakKeyDictionary()
        self._end_entities: WeakKeyDictionary[SSL.Connection, x509.Certificate] = WeakKeyDictionary()

    def expect(self, connection: SSL.Connection, expectation: Expectation) -> None:
        """Demand something of the end entity at the other side of a new connection."""
        self._expectations[connection] = expectation

    def __call__(self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """Judge one certificate. OpenSSL asks for each failed check, then from root to leaf for each verified one."""
        if ok:
            try:
                objection = self._objection(connection, shown.to_cryptography(), depth)
            except ValueError as problem:
                objection = f"certificate at depth {depth} cannot be read: {problem}"
        elif error in _IGNORED:
            return True
        else:
            certificate = shown.to_cryptography()
            if error == X509VerificationCodes.ERR_UNABLE_TO_GET_CRL and not self._anchors.has_crl(certificate):
                return True
            objection = (
                f"{_FAILURES.get(error, f'verification error {error}')}: certificate {slash_form(certificate)}"
                f" issued by {issuer_slash_form(certificate)}"
            )
        if objection is None:
            return True
        self._log.warn("TLS peer {peer} refused: {reason}", peer=_address(connection), reason=objection)
        raise PeerRefusedError(objection)

    def _objection(self, connection: SSL.Connection, certificate: x509.Certificate, depth: int) -> str | None:
        if is_proxy(certificate):
            if depth:
                return None
            end_entity = self._end_entities.pop(connection, None)
        else:
            if certificate.issuer != certificate.subject:
                problem = self._anchors.signing_policy_objection(certificate)
                if problem is not None:
                    return f"certificate {slash_form(certificate)}: {problem}"
            if depth:
                if connection in self._expectations:
                    self._end_entities[connection] = certificate
                return None
            self._end_entities.pop(connection, None)
            end_entity = certificate
        expectation = self._expectations.pop(connection, None)
        if expectation is None:
            return None
        if end_entity is None:
            return "a chain of proxy certificates only"
        mismatch = expectation(end_entity)
        return None if mismatch is None else f"certificate {slash_form(end_entity)} is {mismatch}"


def _address(connection: SSL.Connection) -> str:
    """Return the peer's address for a log line; the TLS transport is the connection's application data."""
    transport = getattr(connection.get_app_data(), "transport", None)
    return str(transport.getPeer()) if transport is not None else "(unknown address)"
