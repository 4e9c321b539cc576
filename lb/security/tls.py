"""TLS for every port and every outgoing connection: who we are, whom we trust, and the connections made of it.

Contexts are built once, and again when their files change, never for a connection; a connection keeps the context it
began with. A peer must never be believed before its handshake is complete (`IHandshakeListener`).
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509StoreFlags
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from lb.security.anchors import Signature, TrustAnchors, signature
from lb.security.credentials import Credential, CredentialError, KeyPair, load
from lb.security.hostname import is_address
from lb.security.identity import AttributeSource
from lb.security.verification import ChainVerification, Expectation, expect_host, expect_person
from lb.security.voms import VOMSAttributes

# Seconds between two looks at the files; a look costs about a microsecond a file.
LOOK_INTERVAL = 1.0
# Seconds after which unchanged files that were refused are tried again: a certificate may have become valid since.
RETRY_INTERVAL = 60.0

_OPTIONS = SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE
# SSL_MODE_NO_AUTO_CHAIN: the chain is put together when the context is built, not searched at each handshake.
_MODE = SSL.MODE_RELEASE_BUFFERS | 0x8
_STORE_FLAGS = X509StoreFlags.ALLOW_PROXY_CERTS | X509StoreFlags.CRL_CHECK | X509StoreFlags.CRL_CHECK_ALL


@dataclass(frozen=True, slots=True)
class _Kind:
    """What tells one context from another of the same credentials. `max_version` 0 means the newest there is."""

    server: bool
    certificate_required: bool = True
    max_version: int = 0
    alpn: tuple[bytes, ...] = ()


class _Generation:
    """Contexts made from the files as they were at one moment."""

    def __init__(
        self,
        key_pair: KeyPair | None,
        anchors: TrustAnchors,
        attributes: AttributeSource | None = None,
        *,
        sha1_proxies: bool = False,
    ) -> None:
        self.key_pair = key_pair
        self._attributes = attributes
        self._anchors = anchors
        self._sha1_proxies = sha1_proxies
        self._chain: tuple[x509.Certificate, ...] = ()
        if key_pair is not None:
            top = (key_pair.certificate, *key_pair.chain)[-1]
            self._chain = (*key_pair.chain, *anchors.intermediates(top))
        self._made: dict[_Kind, tuple[SSL.Context, ChainVerification]] = {}

    @property
    def kinds(self) -> list[_Kind]:
        """Which contexts have been asked for."""
        return list(self._made)

    @property
    def expires(self) -> float | None:
        """Return the earliest notAfter of the credential's chain, seconds since the epoch."""
        pair = self.key_pair
        if pair is None:
            return None
        return min(one.not_valid_after_utc.timestamp() for one in (pair.certificate, *pair.chain))

    def connection(self, kind: _Kind) -> tuple[SSL.Connection, ChainVerification]:
        """Return a new connection and what verifies its peer."""
        context, verification = self.context(kind)
        return SSL.Connection(context, None), verification

    def context(self, kind: _Kind) -> tuple[SSL.Context, ChainVerification]:
        """Return the context of a kind, built at the first call. Raises CredentialError when it cannot be."""
        found = self._made.get(kind)
        if found is None:
            found = self._made[kind] = self._build(kind)
        return found

    def _build(self, kind: _Kind) -> tuple[SSL.Context, ChainVerification]:
        context = SSL.Context(SSL.TLS_SERVER_METHOD if kind.server else SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(kind.max_version)
        context.set_options(_OPTIONS)
        context.set_mode(_MODE)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        if kind.server:
            context.set_app_data(self._attributes)  # for `identity_of`
        if self.key_pair is not None:
            self._use(context, self.key_pair)
        self._anchors.load_into(context)
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(_STORE_FLAGS)
        verification = ChainVerification(self._anchors, sha1_proxies=self._sha1_proxies and kind.server)
        required = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if kind.certificate_required else 0
        context.set_verify(SSL.VERIFY_PEER | required, verification)
        if kind.alpn:
            if kind.server:
                context.set_alpn_select_callback(_selection(kind.alpn))
            else:
                context.set_alpn_protos(list(kind.alpn))
        return context, verification

    def _use(self, context: SSL.Context, key_pair: KeyPair) -> None:
        try:
            context.use_certificate(key_pair.certificate)
            for certificate in self._chain:
                context.add_extra_chain_cert(certificate)
            context.use_privatekey(key_pair.key)  # type: ignore[arg-type]  # kinds OpenSSL cannot use are its error
        except (SSL.Error, TypeError) as error:
            raise CredentialError(
                f"OpenSSL does not take the credential ({error})", "certificate and key", "Use a key that TLS can use"
            ) from error


def _selection(ours: tuple[bytes, ...]) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in ours:
            if protocol in offered:
                return protocol
        return SSL.NO_OVERLAPPING_PROTOCOLS  # type: ignore[return-value]  # a sentinel of another type

    return select


class EndpointCredentials:
    """Our certificate and key, the authorities we trust, and connections that use and follow them."""

    _log = Logger()

    def __init__(
        self,
        credential: Credential | None,
        anchors: Path,
        clock: IReactorTime,
        *,
        now: Callable[[], float] = time.time,
        voms: Path | None = None,
        sha1_proxies: bool = False,
    ) -> None:
        """Read everything once. `credential` None suits anonymous clients only; `anchors` is a directory or a CA file.

        `voms` is the directory of VOMS servers that may give attributes to peers of server connections; None: none may.
        `sha1_proxies`: whether proxies of such peers may be signed with SHA-1.
        `clock` spaces the looks at the files, `now` (seconds since the epoch) judges validity. Raises CredentialError.
        """
        self._credential = credential
        self._anchors = anchors
        self._clock = clock
        self._now = now
        self._voms = voms
        self._sha1_proxies = sha1_proxies
        self._paths = [anchors] if credential is None else [credential.certificate, credential.key, anchors]
        self._seen: Signature = signature(self._paths)
        self._generation = self._read()
        self._looked = self._tried = clock.seconds()
        self._failed = False

    def server(self, *, certificate_required: bool, alpn: Sequence[bytes] = ()) -> IOpenSSLServerConnectionCreator:
        """Return the maker of server connections; of `alpn` the first that a client offers is selected.

        Without a required certificate a client may stay anonymous; one that it shows is verified all the same.
        """
        kind = _Kind(True, certificate_required, alpn=tuple(alpn))
        self._generation.context(kind)
        return _ServerConnections(self, kind)

    def client(
        self, host: str, *, alpn: Sequence[bytes] = (), max_version: int = SSL.TLS1_2_VERSION
    ) -> IOpenSSLClientConnectionCreator:
        """Return the maker of connections to a host, whose certificate must stand for the name or address.

        `max_version` is a version constant of `OpenSSL.SSL`, 0 for no limit. The default is what C servers bear: they
        stall when data arrive together with the last message of a TLS 1.3 handshake.
        """
        name = None if is_address(host) or not host.isascii() else host.removesuffix(".").encode("ascii")
        return self._client(expect_host(host), name, alpn, max_version)

    def client_of(
        self, dn: str, *, alpn: Sequence[bytes] = (), max_version: int = SSL.TLS1_2_VERSION
    ) -> IOpenSSLClientConnectionCreator:
        """Return the maker of connections to a person (slash form) who listens, with whatever host name."""
        return self._client(expect_person(dn), None, alpn, max_version)

    def _client(
        self, expectation: Expectation, server_name: bytes | None, alpn: Sequence[bytes], max_version: int
    ) -> IOpenSSLClientConnectionCreator:
        kind = _Kind(False, max_version=max_version, alpn=tuple(alpn))
        self._generation.context(kind)
        return _ClientConnections(self, kind, expectation, server_name)

    @property
    def expires(self) -> float | None:
        """Return when our certificate or one of its issuers expires, seconds since the epoch; None without one."""
        return self._generation.expires

    def connection(self, kind: _Kind) -> tuple[SSL.Connection, ChainVerification]:
        """Return a new connection of a kind made with the files as they are now, and what verifies its peer."""
        self._follow_files()
        return self._generation.connection(kind)

    def _follow_files(self) -> None:
        """Read changed files; when they cannot be used, keep what we have and say so."""
        moment = self._clock.seconds()
        # The clock may have been put back, too.
        if 0 <= moment - self._looked < LOOK_INTERVAL:
            return
        self._looked = moment
        seen = signature(self._paths)
        if seen == self._seen and not (self._failed and not 0 <= moment - self._tried < RETRY_INTERVAL):
            return
        self._tried = moment
        changed, self._seen = seen != self._seen, seen
        try:
            self._replace(self._read())
        except CredentialError as error:
            self._failed = True
            if changed:
                self._log.error("changed credentials are not used, the former ones stay: {error}", error=error)
            # Whatever is wrong with our own files: who has been revoked since must not come in.
            with suppress(CredentialError):
                self._replace(self._trusting(self._generation.key_pair))
        else:
            self._failed = False
            self._log.info("credentials and trust anchors read again")

    def _replace(self, generation: _Generation) -> None:
        """Use a generation as soon as all contexts can be made of it; raises CredentialError when one cannot."""
        for kind in self._generation.kinds:
            generation.context(kind)
        self._generation = generation

    def _read(self) -> _Generation:
        key_pair = None if self._credential is None else load(self._credential, self._now())
        return self._trusting(key_pair)

    def _trusting(self, key_pair: KeyPair | None) -> _Generation:
        anchors = TrustAnchors.read(self._anchors)
        attributes = None if self._voms is None else VOMSAttributes(self._voms, anchors, self._now)
        return _Generation(key_pair, anchors, attributes, sha1_proxies=self._sha1_proxies)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerConnections:
    def __init__(self, credentials: EndpointCredentials, kind: _Kind) -> None:
        self._credentials = credentials
        self._kind = kind

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection, _ = self._credentials.connection(self._kind)
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class _ClientConnections:
    def __init__(
        self, credentials: EndpointCredentials, kind: _Kind, expectation: Expectation, server_name: bytes | None
    ) -> None:
        self._credentials = credentials
        self._kind = kind
        self._expectation = expectation
        self._server_name = server_name

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection, verification = self._credentials.connection(self._kind)
        verification.expect(connection, self._expectation)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name)
        return connection
