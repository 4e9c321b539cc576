"""Who the peer of a TLS connection is: the name of the person or host behind a verified certificate chain.

An identity comes from the chain OpenSSL verified and from nothing else; a proxy acts for the end entity that signed it.
It must never be asked for before the handshake is complete.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL

from lb.security import der
from lb.security.names import slash_form

PROXY_CERT_INFO = "1.3.6.1.5.5.7.1.14"  # RFC 3820 §3.8


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer: its name in slash form (None for an anonymous one), its VOMS attributes, and when its chain expires.

    `expires` is the earliest notAfter of the chain and of what gave the attributes, in seconds since the epoch; None
    for an anonymous peer.
    """

    name: str | None
    fqans: tuple[str, ...] = ()
    expires: int | None = None


ANONYMOUS = Identity(None)


@dataclass(frozen=True, slots=True)
class Attributes:
    """VOMS attributes, the primary one first, and until when they hold, in seconds since the epoch; None for none."""

    fqans: tuple[str, ...] = ()
    expires: int | None = None


# Takes a verified chain, leaf first. A context carries its own as application data (`SSL.Context.set_app_data`).
AttributeSource = Callable[[Sequence[x509.Certificate]], Attributes]


class UnverifiedPeerError(Exception):
    """The peer showed a certificate, but there is no chain that OpenSSL verified on this connection."""


def is_proxy(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is an RFC 3820 proxy, limited or not."""
    return PROXY_CERT_INFO in der.extension_oids(certificate.tbs_certificate_bytes)


def end_entity(chain: Sequence[x509.Certificate]) -> x509.Certificate:
    """Return the first certificate, seen from the leaf, that is not a proxy; UnverifiedPeerError when there is none."""
    for certificate in chain:
        if not is_proxy(certificate):
            return certificate
    raise UnverifiedPeerError("the chain holds proxy certificates only")


def identity_of(connection: SSL.Connection) -> Identity:
    """Return the peer of a connection whose handshake is complete; ANONYMOUS when it showed no certificate.

    VOMS attributes are what the `AttributeSource` of the connection's context finds; without one there are none.
    Raises UnverifiedPeerError when it showed one that was not verified here, as on a resumed session, or on a
    connection that does not demand verification: OpenSSL keeps a chain of those as well.
    """
    chain = connection.get_verified_chain(as_cryptography=True)
    if not chain or not connection.get_verify_mode() & SSL.VERIFY_PEER:
        if connection.get_peer_certificate(as_cryptography=True) is None:
            return ANONYMOUS
        raise UnverifiedPeerError("the peer's certificate was not verified on this connection")
    expires = min(int(certificate.not_valid_after_utc.timestamp()) for certificate in chain)
    name = slash_form(end_entity(chain))
    source: AttributeSource | None = connection.get_context().get_app_data()
    attributes = Attributes() if source is None else source(chain)
    if attributes.expires is not None:
        expires = min(expires, attributes.expires)
    return Identity(name, attributes.fqans, expires)
