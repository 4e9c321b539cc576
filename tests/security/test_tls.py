"""TLS between our own ends: who is let in, as whom, and why others are not."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from lb.security.credentials import CredentialError, Surroundings, trust_directory
from lb.security.identity import ANONYMOUS, UnverifiedPeerError, identity_of
from lb.security.tls import LOOK_INTERVAL, RETRY_INTERVAL, EndpointCredentials
from tests.security.grid import (
    CLIENT_ONLY,
    LIMITED,
    SERVER_ONLY,
    Holder,
    Side,
    authority,
    endpoint,
    meet,
    trust,
)

ALICE = "/C=CZ/O=Test/CN=Alice"
LOCALHOST = x509.DNSName("localhost")


class TLSCase(SynchronousTestCase):
    """A server for localhost, an authority, and a clock."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.clock = Clock()
        self.ca = authority()
        self.anchors = trust(self.directory / "ca", self.ca)
        self.host = self.ca.host("localhost", LOCALHOST)
        self.user = self.ca.issue(ALICE)
        self.logged: list[str] = []

    def log(self) -> list[str]:
        """Collect the texts of warnings and errors from now on."""

        def observe(event: dict[str, object]) -> None:
            if event["log_level"] in (LogLevel.warn, LogLevel.error):
                self.logged.append(str(event["log_format"]).format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return self.logged

    def end(self, holder: Holder | None, *, stem: str = "client", at: float | None = None) -> EndpointCredentials:
        return endpoint(holder, self.anchors, self.directory, self.clock, stem=stem, at=at)

    def server_end(self) -> EndpointCredentials:
        return self.end(self.host, stem="server")

    def visit(self, holder: Holder | None, *, required: bool = False, at: float | None = None) -> tuple[Side, Side]:
        """Connect to the server as the holder of a certificate, or anonymously."""
        client = self.end(holder, at=at).client("localhost", max_version=0)
        return meet(self.server_end().server(certificate_required=required), client, self.clock)

    def assert_refused(self, side: Side, *words: str) -> None:
        """The side ended the connection before it was established, for a reason with these words."""
        self.assertIsNone(side.identity)
        for word in words:
            self.assertIn(word, side.reason)


class IdentityTests(TLSCase):
    """The identity of a peer comes from its verified chain (P7)."""

    def test_user(self) -> None:
        """A plain user certificate gives its subject, not its issuer's, and the time it expires."""
        server, client = self.visit(self.user)
        assert server.identity is not None and client.identity is not None
        self.assertEqual(ALICE, server.identity.name)
        self.assertEqual(int(self.user.certificate.not_valid_after_utc.timestamp()), server.identity.expires)
        self.assertEqual("/C=CZ/O=Test/CN=localhost", client.identity.name)
        self.assertEqual((b"hello", b"hello"), (server.received, client.received))

    def test_proxies(self) -> None:
        """lb-generate-fake-proxy: proxies of one and two levels and limited ones act for their owner, expire first."""
        proxy = self.user.proxy()
        for holder in (proxy, proxy.proxy(), self.user.proxy(LIMITED), proxy.proxy(LIMITED)):
            server, _ = self.visit(holder, required=True)
            assert server.identity is not None
            self.assertEqual(ALICE, server.identity.name)
            self.assertEqual(int(proxy.certificate.not_valid_after_utc.timestamp()), server.identity.expires)

    def test_unverified(self) -> None:
        """A connection that does not demand verification gives no identity, though OpenSSL keeps its chain."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.load_verify_locations(None, str(self.anchors))
        client = SSL.Connection(context, None)
        client.set_connect_state()
        server = self.server_end().server(certificate_required=False).serverConnectionForTLS(None)
        server.set_accept_state()
        _shake(client, server)
        self.assertIsNotNone(client.get_peer_certificate(as_cryptography=True))
        self.assertRaises(UnverifiedPeerError, identity_of, client)
        self.assertIs(ANONYMOUS, identity_of(server))

    def test_person_called_proxy(self) -> None:
        """A certificate that an authority issued to somebody with CN=proxy is not Alice's proxy."""
        server, _ = self.visit(self.ca.issue(ALICE + "/CN=proxy"))
        assert server.identity is not None
        self.assertEqual(ALICE + "/CN=proxy", server.identity.name)

    def test_anonymous(self) -> None:
        """Without a certificate a client is anonymous where that is allowed, and refused where it is not."""
        server, client = self.visit(None)
        self.assertIs(ANONYMOUS, server.identity)
        self.assertEqual(b"hello", client.received)
        server, client = self.visit(None, required=True)
        self.assert_refused(server, "peer did not return a certificate")
        self.assertEqual(b"", client.received)

    def test_intermediate(self) -> None:
        """A user of an authority below the root is known, the intermediate certificate coming with his own or not."""
        below = self.ca.issue("/C=CZ/O=Test/CN=Sub CA", authority=True)
        user = below.issue(ALICE)
        self.assertEqual(1, len(user.chain))
        server, _ = self.visit(user)
        assert server.identity is not None
        self.assertEqual(ALICE, server.identity.name)
        root_only = trust(self.directory / "root", self.ca)
        trust(self.anchors, below)
        bare = endpoint(Holder(user.certificate, user.key), root_only, self.directory, self.clock)
        server, _ = meet(self.server_end().server(certificate_required=True), bare.client("localhost"), self.clock)
        assert server.identity is not None
        self.assertEqual(ALICE, server.identity.name)

    def test_own_chain_completed(self) -> None:
        """An end sends the intermediate certificates that its directory holds, so peers with the root alone know it."""
        below = self.ca.issue("/C=CZ/O=Test/CN=Sub CA", authority=True)
        user = below.issue(ALICE)
        full = trust(self.directory / "full", self.ca, below)
        holder = Holder(user.certificate, user.key)
        client = endpoint(holder, full, self.directory, self.clock).client("localhost")
        server, _ = meet(self.server_end().server(certificate_required=True), client, self.clock)
        assert server.identity is not None
        self.assertEqual(ALICE, server.identity.name)

    def test_either_key_usage(self) -> None:
        """Extended key usage does not matter: client-only certificates serve, server-only ones visit."""
        self.host = self.ca.host("localhost", LOCALHOST, usage=CLIENT_ONLY)
        server, client = self.visit(self.ca.issue(ALICE, usage=SERVER_ONLY))
        self.assertIsNotNone(client.identity)
        self.assertIsNotNone(server.identity)


class RefusalTests(TLSCase):
    """Certificates that do not stand up to verification end the connection with a reason (P7)."""

    def test_foreign_authority(self) -> None:
        """A certificate of an unknown authority is refused, and the log says whose."""
        logged = self.log()
        server, client = self.visit(authority("/O=Elsewhere/CN=CA").issue("/O=Elsewhere/CN=Mallory"))
        self.assert_refused(server, "unable to get issuer cert locally", "/O=Elsewhere/CN=Mallory")
        self.assertEqual(b"", client.received)
        self.assertEqual(1, len(logged))
        self.assertIn("/O=Elsewhere/CN=Mallory", logged[0])

    def test_namesake_authority(self) -> None:
        """An authority of the same name with another key vouches for nobody."""
        server, _ = self.visit(authority().issue(ALICE))
        self.assert_refused(server, ALICE)

    def test_user_as_authority(self) -> None:
        """A user cannot issue certificates."""
        server, _ = self.visit(self.user.issue("/C=CZ/O=Test/CN=Bob"))
        self.assert_refused(server, "no authority, yet it issued another certificate", ALICE)

    def test_proxy_with_foreign_name(self) -> None:
        """A proxy whose subject does not extend its issuer's is refused."""
        bob = self.ca.issue("/C=CZ/O=Test/CN=Bob")
        server, _ = self.visit(self.user.proxy(named_after=bob))
        self.assert_refused(server, "proxy subject name violation")

    def test_weak_digests(self) -> None:
        """Signatures with SHA-1 are refused; a server that is told to takes them of proxies, and of nothing else."""
        proxy, strong = self.user.proxy().weakly_signed(self.user), self.user.proxy()
        issued = self.ca.issue(ALICE).weakly_signed(self.ca)
        old = self.user.proxy(days=(-3, -1)).weakly_signed(self.user)
        for taken in (False, True):
            own = endpoint(self.host, self.anchors, self.directory, self.clock, stem="server", sha1_proxies=taken)
            for holder in (proxy, proxy.proxy(), strong.proxy().weakly_signed(strong)):
                server, _ = self._meet(own, holder)
                if taken:
                    assert server.identity is not None
                    self.assertEqual(server.identity.name, ALICE)
                else:
                    self.assert_refused(server, "too weak a digest", "--sha1-proxies", ALICE)
            for holder in (issued, issued.proxy()):
                server, _ = self._meet(own, holder)
                self.assert_refused(server, "too weak a digest", ALICE)
                self.assertNotIn("--sha1-proxies", server.reason)
            server, _ = self._meet(own, old, time.time() - 2 * 86400)
            self.assert_refused(server, "cert has expired" if taken else "too weak a digest")

    def _meet(self, server: EndpointCredentials, holder: Holder, at: float | None = None) -> tuple[Side, Side]:
        """Connect to a server's end as the holder of a certificate, whose own end lives at another time."""
        client = self.end(holder, at=at).client("localhost")
        return meet(server.server(certificate_required=True), client, self.clock)

    def test_expired(self) -> None:
        """An expired certificate and an expired proxy are refused."""
        past = time.time() - 2 * 86400
        for holder in (self.ca.issue(ALICE, days=(-3, -1)), self.user.proxy(days=(-3, -1))):
            server, _ = self.visit(holder, at=past)
            self.assert_refused(server, "cert has expired", ALICE)

    def test_not_yet_valid(self) -> None:
        """A certificate of tomorrow is refused."""
        server, _ = self.visit(self.ca.issue(ALICE, days=(1, 3)), at=time.time() + 2 * 86400)
        self.assert_refused(server, "cert not yet valid", ALICE)

    def test_server_refused(self) -> None:
        """The client's side knows why it refused a server, and the server learns nothing of the client."""
        self.host = authority().host("localhost", LOCALHOST)
        server, client = self.visit(self.user)
        self.assert_refused(client, "/C=CZ/O=Test/CN=localhost")
        self.assertIsNone(server.identity)


class RevocationTests(TLSCase):
    """CRLs count when they are there."""

    def put_crl(self, crl: bytes) -> None:
        (self.anchors / f"{self.ca.hash}.r0").write_bytes(crl)

    def test_revoked(self) -> None:
        """A revoked user and his proxies are refused, others are not."""
        self.put_crl(self.ca.crl(self.user))
        for holder in (self.user, self.user.proxy(), self.user.proxy().proxy()):
            server, _ = self.visit(holder)
            self.assert_refused(server, "cert revoked", ALICE)
        server, _ = self.visit(self.ca.issue("/C=CZ/O=Test/CN=Bob"))
        self.assertIsNotNone(server.identity)

    def test_revoked_server(self) -> None:
        """A revoked host is refused by clients."""
        self.put_crl(self.ca.crl(self.host))
        _, client = self.visit(self.user)
        self.assert_refused(client, "cert revoked")

    def test_expired_crl(self) -> None:
        """An expired CRL refuses everybody of its authority."""
        self.put_crl(self.ca.crl(days=(-3, -1)))
        server, client = self.visit(self.user)
        self.assert_refused(client, "crl has expired")
        self.assertIsNone(server.identity)

    def test_unusable_crl(self) -> None:
        """A CRL that is there but cannot be read does not count as none."""
        self.put_crl(b"not a CRL")
        _, client = self.visit(self.user)
        self.assert_refused(client, "unable to get crl")

    def test_crl_of_another_authority(self) -> None:
        """The CRL of one authority does not make one necessary for the others."""
        other = authority("/O=Other/CN=CA")
        trust(self.anchors, other)
        (self.anchors / f"{other.hash}.r0").write_bytes(other.crl())
        server, _ = self.visit(self.user)
        self.assertIsNotNone(server.identity)


class SigningPolicyTests(TLSCase):
    """Signing policies of authorities are honoured when present."""

    def put_policy(self, subjects: str) -> None:
        (self.anchors / f"{self.ca.hash}.signing_policy").write_text(
            "access_id_CA X509 '/C=CZ/O=Test/CN=Test CA'\n"
            f"pos_rights globus CA:sign\ncond_subjects globus '{subjects}'\n"
        )

    def test_covered(self) -> None:
        """Subjects that the policy covers are let in, their proxies as well."""
        self.put_policy('"/C=CZ/O=Test/*"')
        for holder in (self.user, self.user.proxy()):
            server, _ = self.visit(holder)
            self.assertIsNotNone(server.identity)

    def test_not_covered(self) -> None:
        """Subjects outside the policy are refused, their proxies as well."""
        self.put_policy('"/C=CZ/O=Test/CN=l*"')
        for holder in (self.user, self.user.proxy()):
            server, _ = self.visit(holder)
            self.assert_refused(server, "signing policy", ALICE)

    def test_unusable(self) -> None:
        """A policy that cannot be read refuses."""
        (self.anchors / f"{self.ca.hash}.signing_policy").write_text("gibberish")
        _, client = self.visit(self.user)
        self.assert_refused(client, "signing policy", "line 1")


class HostTests(TLSCase):
    """A client reaches the host it meant."""

    def reach(self, host: str) -> Side:
        client = self.end(self.user).client(host)
        return meet(self.server_end().server(certificate_required=False), client, self.clock)[1]

    def test_name(self) -> None:
        """The right name passes; a wrong one is refused with both names in the reason."""
        self.assertIsNotNone(self.reach("localhost").identity)
        self.assert_refused(self.reach("lb.example.org"), "lb.example.org", "it is for localhost")

    def test_address(self) -> None:
        """A server is reached by an address only if its certificate has the address."""
        self.assert_refused(self.reach("127.0.0.1"), "not the host 127.0.0.1")
        self.host = self.ca.host("localhost", LOCALHOST, x509.IPAddress(ipaddress.ip_address("::1")))
        self.assertIsNotNone(self.reach("[::1]").identity)

    def test_proxy_as_server(self) -> None:
        """A server may use a proxy of its host certificate; the host certificate's name counts."""
        self.host = self.host.proxy()
        self.assertIsNotNone(self.reach("localhost").identity)
        self.assert_refused(self.reach("elsewhere"), "not the host elsewhere")

    def test_person(self) -> None:
        """A notification receiver is known by its owner's name in any spelling, with a proxy or without."""
        owner = self.ca.issue("/C=CZ/O=Test/CN=Alice/emailAddress=Alice@example.org")
        for self.host in (owner, owner.proxy(), owner.proxy().proxy()):
            receiver = self.end(self.host, stem="server").server(certificate_required=True)
            for dn, welcome in ((ALICE + "/Email=alice@example.org", True), (ALICE, False)):
                _, client = meet(receiver, self.end(self.user).client_of(dn), self.clock)
                if welcome:
                    self.assertIsNotNone(client.identity)
                else:
                    self.assert_refused(client, "not the expected " + ALICE)


class ProtocolTests(TLSCase):
    """Versions, application protocols and sessions."""

    def test_versions(self) -> None:
        """Outgoing connections end at TLS 1.2 unless asked for more."""
        server = self.server_end().server(certificate_required=False)
        _, client = meet(server, self.end(self.user).client("localhost"), self.clock)
        self.assertEqual("TLSv1.2", client.version)
        _, client = meet(server, self.end(self.user).client("localhost", max_version=0), self.clock)
        self.assertEqual("TLSv1.3", client.version)

    def test_old_version(self) -> None:
        """TLS 1.1 is answered with the alert protocol_version."""
        hello = bytes.fromhex("1603010031 0100002d 0302 " + "aa" * 32 + " 00 0006 c009 c013 002f 0100".ljust(0))
        server = self.server_end().server(certificate_required=False)
        connection = server.serverConnectionForTLS(None)
        connection.set_accept_state()
        connection.bio_write(hello)
        error = self.assertRaises(SSL.Error, connection.do_handshake)
        self.assertIn("unsupported protocol", str(error))
        self.assertEqual(bytes((2, 70)), connection.bio_read(100)[-2:])

    def test_alpn(self) -> None:
        """The server selects the first of its protocols that the client offers; without a common one there is none."""
        server = self.server_end().server(certificate_required=False, alpn=[b"lb/2", b"lb/1"])
        for offer, selected in (
            ([b"lb/1", b"lb/2"], b"lb/2"),
            ([b"h2", b"lb/1"], b"lb/1"),
            ([b"h2"], None),
            ([], None),
        ):
            ends = meet(server, self.end(self.user).client("localhost", alpn=offer), self.clock)
            self.assertEqual([selected, selected], [end.alpn for end in ends])
            self.assertEqual(b"hello", ends[0].received)

    def test_no_resumption(self) -> None:
        """A session offered again is not resumed, so the chain is verified again."""
        for version in (SSL.TLS1_2_VERSION, 0):
            server = self.server_end().server(certificate_required=True)
            creator = self.end(self.user).client("localhost", max_version=version)
            session = None
            kept = []  # OpenSSL gives up the session of a connection that goes without a farewell
            for _ in range(2):
                ours, theirs = creator.clientConnectionForTLS(None), server.serverConnectionForTLS(None)
                kept += [ours, theirs]
                ours.set_connect_state()
                theirs.set_accept_state()
                if session is not None:
                    ours.set_session(session)
                _shake(ours, theirs)
                self.assertIsNotNone(theirs.get_verified_chain(as_cryptography=True))
                session = ours.get_session()


def _shake(client: SSL.Connection, server: SSL.Connection) -> None:
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            for step in (one.do_handshake, lambda one=one: one.recv(1)):
                with contextlib.suppress(SSL.WantReadError):
                    step()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(1 << 16))


class ReloadTests(TLSCase):
    """Changed files are used by new connections, bad ones are not (P5)."""

    def setUp(self) -> None:
        super().setUp()
        self.ours = self.server_end()
        self.server = self.ours.server(certificate_required=False)

    def knock(self, host: str = "localhost") -> tuple[Side, Side]:
        return meet(self.server, self.end(self.user).client(host), self.clock)

    def test_new_certificate(self) -> None:
        """A new certificate serves new connections once the files are looked at; the old connection goes on."""
        _, before = self.knock()
        self.ca.host("second", LOCALHOST).save(self.directory, "server")
        assert before.identity is not None
        self.assertEqual(before.identity, self.knock()[1].identity)
        self.clock.advance(LOOK_INTERVAL)
        after = self.knock()[1].identity
        assert after is not None
        self.assertEqual("/C=CZ/O=Test/CN=second", after.name)
        before.transport.write(b"still here")
        self.assertIsNone(before.lost)

    def test_new_authority_and_crl(self) -> None:
        """An authority added to the directory is trusted, and a new CRL counts."""
        other = authority("/C=CZ/O=Test/CN=Other CA")
        stranger = other.issue("/C=CZ/O=Test/CN=Carol")
        self.user = stranger
        self.assertIsNone(self.knock()[0].identity)
        trust(self.anchors, other)
        self.clock.advance(LOOK_INTERVAL)
        self.assertIsNotNone(self.knock()[0].identity)
        (self.anchors / f"{other.hash}.r0").write_bytes(other.crl())
        self.clock.advance(LOOK_INTERVAL)
        self.assertIsNotNone(self.knock()[0].identity)
        (self.anchors / f"{other.hash}.r0").write_bytes(other.crl(stranger))
        self.clock.advance(LOOK_INTERVAL)
        self.assert_refused(self.knock()[0], "cert revoked")

    def test_bad_reload(self) -> None:
        """Files that do not fit keep the former credential, with one error in the log; fitting ones replace it."""
        logged = self.log()
        other = self.ca.host("second", LOCALHOST)
        (self.directory / "server.pem").write_bytes(other.pem())
        for _ in range(3):
            self.clock.advance(LOOK_INTERVAL)
            identity = self.knock()[1].identity
            assert identity is not None
            self.assertEqual("/C=CZ/O=Test/CN=localhost", identity.name)
        self.assertEqual(1, len(logged))
        self.assertIn("does not belong to the certificate", logged[0])
        (self.directory / "server.key").write_bytes(other.key_pem())
        self.clock.advance(LOOK_INTERVAL)
        identity = self.knock()[1].identity
        assert identity is not None
        self.assertEqual("/C=CZ/O=Test/CN=second", identity.name)

    def test_crl_beside_bad_credential(self) -> None:
        """P7: a new CRL counts although our own files cannot be used, and connections go on with the former ones."""
        self.assertIsNotNone(self.knock()[0].identity)
        (self.directory / "server.pem").write_bytes(b"half a certif")
        (self.anchors / f"{self.ca.hash}.r0").write_bytes(self.ca.crl(self.user))
        self.clock.advance(LOOK_INTERVAL)
        self.assert_refused(self.knock()[0], "cert revoked")
        (self.anchors / f"{self.ca.hash}.r0").write_bytes(self.ca.crl())
        self.clock.advance(LOOK_INTERVAL)
        self.assertIsNotNone(self.knock()[0].identity)

    def test_clock_put_back(self) -> None:
        """P7: files are looked at also while the clock shows a time that was before."""
        self.clock.advance(3600)
        self.assertIsNotNone(self.knock()[0].identity)
        (self.anchors / f"{self.ca.hash}.r0").write_bytes(self.ca.crl(self.user))
        self.clock.advance(-3600)
        self.assert_refused(self.knock()[0], "cert revoked")

    def test_valid_later(self) -> None:
        """A certificate put in place before it is valid is taken later without another change of its files."""
        now = time.time()
        moments = [now]
        tomorrow = self.ca.issue("/C=CZ/O=Test/CN=second", x509.SubjectAlternativeName([LOCALHOST]), days=(-0.1, 1))
        ours = EndpointCredentials(
            self.host.save(self.directory, "early"), self.anchors, self.clock, now=lambda: moments[-1]
        )
        self.server = ours.server(certificate_required=False)
        tomorrow.save(self.directory, "early")
        moments.append(now - 86400 / 2)
        self.clock.advance(LOOK_INTERVAL)
        self.knock()
        moments.append(now)
        for delay, expected in ((LOOK_INTERVAL, "localhost"), (RETRY_INTERVAL, "second")):
            self.clock.advance(delay)
            identity = self.knock()[1].identity
            assert identity is not None
            self.assertEqual(f"/C=CZ/O=Test/CN={expected}", identity.name)


class ConstructionTests(TLSCase):
    """Credentials that cannot be used are known at the start."""

    def test_authority_file(self) -> None:
        """One PEM file of authorities serves instead of a directory."""
        self.anchors = self.anchors / f"{self.ca.hash}.0"
        server, client = self.visit(self.user)
        self.assertIsNotNone(server.identity)
        self.assertIsNotNone(client.identity)

    def test_missing_authorities(self) -> None:
        """No authorities at all is an error that names the place."""
        self.anchors = self.directory / "nowhere"
        error = self.assertRaises(CredentialError, self.end, self.user)
        self.assertIn(str(self.anchors), str(error))
        self.anchors = self.directory / ("long" * 100)  # not even the question whether it is there can be asked
        self.assertRaises(CredentialError, self.end, self.user)
        self.assertRaises(CredentialError, trust_directory, Surroundings({}, Path(), 0), explicit=self.anchors)

    def test_empty_authority_file(self) -> None:
        """A CA file without certificates is an error when the first context is made of it."""
        self.anchors = self.directory / "empty.pem"
        self.anchors.touch()
        error = self.assertRaises(CredentialError, self.end(self.user).client, "localhost")
        self.assertIn("no CA certificates", str(error))
