"""VOMS attributes: who has them over a connection, and who only says so (spec/security.md §14)."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.security import attribute_certificate, der
from lb.security.acl import ACL, Entry, IdType, Permission, PermissionType
from lb.security.anchors import TrustAnchors
from lb.security.identity import Identity
from lb.security.policy import Action, parse
from lb.security.tls import EndpointCredentials
from lb.security.voms import VOMSAttributes, voms_directory
from tests.security.grid import Holder, authority, endpoint
from tests.security.test_tls import ALICE, TLSCase
from tests.security.vo import FQANS, HOST, RSA_SHA256, VO, Draft, carried, describe, extension

PLAIN = ("/vo.example", "/vo.example/prod/Role=manager")
SERVER = "/C=CZ/O=Test/CN=voms"


class VOMSCase(TLSCase):
    """A VOMS server that is described and trusted, and what it says of Alice."""

    def setUp(self) -> None:
        super().setUp()
        self.vomsdir = self.directory / "vomsdir"
        self.log()
        self.voms = self.ca.issue(SERVER)
        self.draft = Draft(self.user.certificate, self.voms)
        describe(self.vomsdir, [self.voms.certificate, self.ca.certificate])

    def server_end(self) -> EndpointCredentials:
        return endpoint(self.host, self.anchors, self.directory, self.clock, stem="server", voms=self.vomsdir)

    def peer(self, *shown: Draft | bytes, holder: Holder | None = None) -> Identity:
        """Who connects with a proxy in which attribute certificates stand."""
        certificates = [each.signed() if isinstance(each, Draft) else each for each in shown]
        proxy = (holder or self.user).proxy(extensions=(carried(*certificates),))
        return self.visited(proxy)

    def visited(self, proxy: Holder) -> Identity:
        """Who connects with a proxy; it is always Alice."""
        server, _ = self.visit(proxy, required=True)
        self.assertEqual(b"hello", server.received)
        assert server.identity is not None
        self.assertEqual(ALICE, server.identity.name)
        return server.identity

    def assert_nothing(self, *words: str, shown: Draft | bytes) -> None:
        """What is shown gives no attributes, and one line in the log with some words; the peer keeps its name."""
        self.logged.clear()
        self.assertEqual((), self.peer(shown).fqans)
        self.assertEqual(1, len(self.logged), self.logged)
        for word in (ALICE, *words):
            self.assertIn(word, self.logged[0])


class GivenTests(VOMSCase):
    """Attributes that are believed."""

    def test_attributes(self) -> None:
        """§18, 6: both attributes are the peer's, the primary first, parts that say nothing dropped; they end first."""
        before = self.peer(self.draft.but(hours=(-1, 1)))
        self.assertEqual(PLAIN, before.fqans)
        assert before.expires is not None
        later = self.peer(self.draft.but(hours=(-1, 24 * 9)))
        assert later.expires is not None
        self.assertTrue(3500 < later.expires - before.expires < 12 * 3600, "the proxy ends half a day from now")

    def test_forms(self) -> None:
        """A holder named by subject, a list that is not wrapped, and a chain beside another in the .lsc all count."""
        self.assertEqual(PLAIN, self.peer(self.draft.but(by_name=True)).fqans)
        flat = self.user.proxy(extensions=(carried(self.draft.signed(), wrapped=False),))
        self.assertEqual(PLAIN, self.visited(flat).fqans)
        describe(self.vomsdir, ["/CN=a", "/CN=b"], [self.voms.certificate, self.ca.certificate])
        self.assertEqual(PLAIN, self.peer(self.draft).fqans)

    def test_kept_certificate(self) -> None:
        """A certificate in the directory stands for an .lsc, also when the attribute certificate shows none."""
        (self.vomsdir / VO / f"{HOST}.lsc").rename(self.vomsdir / VO / "elsewhere.lsc")
        (self.vomsdir / VO / f"{HOST}.pem").write_bytes(self.voms.certificate.public_bytes(Encoding.PEM))
        self.assertEqual(PLAIN, self.peer(self.draft.but(signers=())).fqans)
        impostor = self.ca.issue(SERVER)
        self.assert_nothing("not signed by", shown=self.draft.but(key=impostor.key))
        self.assert_nothing("not described by", shown=self.draft.but(signer=impostor))

    def test_rsa(self) -> None:
        """Signatures of RSA keys are verified as well, and refused when they are another's."""
        key = rsa.generate_private_key(65537, 2048)
        other = rsa.generate_private_key(65537, 2048)
        made = self.ca.issue(SERVER).certificate
        builder = x509.CertificateBuilder().subject_name(made.subject).issuer_name(made.issuer).serial_number(77)
        builder = builder.not_valid_before(made.not_valid_before_utc).not_valid_after(made.not_valid_after_utc)
        signer = Holder(builder.public_key(key.public_key()).sign(self.ca.key, SHA256()), self.ca.key)
        self.assertEqual(PLAIN, self.peer(self.draft.but(signer=signer, key=key)).fqans)
        self.assert_nothing("not signed", shown=self.draft.but(signer=signer, key=other))
        self.assert_nothing("not signed", shown=self.draft.but(algorithm=RSA_SHA256))

    def test_intermediate(self) -> None:
        """An authority between server and root may come with the attribute certificate."""
        between = self.ca.issue("/C=CZ/O=Test/CN=Between", authority=True)
        voms = between.issue(SERVER)
        describe(self.vomsdir, [voms.certificate, between.certificate])
        draft = self.draft.but(signer=voms)
        self.assertEqual(PLAIN, self.peer(draft.but(signers=[voms.certificate, between.certificate])).fqans)
        self.assert_nothing("unable to get local issuer", shown=draft)

    def test_proxies(self) -> None:
        """Attributes are found above further proxies; of two proxies with some the nearer one counts."""
        proxy = self.user.proxy(extensions=(carried(self.draft.signed()),))
        self.assertEqual(PLAIN, self.visited(proxy.proxy()).fqans)
        less = self.draft.but(fqans=FQANS[:1])
        self.assertEqual(PLAIN[:1], self.peer(less, holder=proxy).fqans)

    def test_many(self) -> None:
        """A thousand attributes are all there; with one more there are none."""
        many = [f"/vo.example/group{number}" for number in range(1001)]
        self.assertEqual(tuple(many[:1000]), self.peer(self.draft.but(fqans=many[:1000])).fqans)
        self.assert_nothing("more than 1000", shown=self.draft.but(fqans=many))

    def test_several(self) -> None:
        """A wrong attribute certificate takes nothing from the right one beside it."""
        self.assertEqual(PLAIN, self.peer(self.draft.but(serial=5), self.draft).fqans)
        self.assertEqual(1, len(self.logged))

    def test_asked(self) -> None:
        """P7: a policy and an ACL that name an attribute let in who has it, and nobody else."""
        policy = parse('resource "LB" { action "PURGE" { rule permit { fqan = "/vo.example" } } }', "p")
        entry = Entry("/vo.example/prod/Role=manager", IdType.FQAN, Permission.READ, PermissionType.ALLOW)
        acl = ACL().add(entry)
        for peer, permitted in ((self.peer(self.draft), True), (self.visited(self.user.proxy()), False)):
            self.assertEqual(permitted, policy.allows(Action.PURGE, peer))
            self.assertEqual(permitted, acl.allows(Permission.READ, peer))

    def test_without_directory(self) -> None:
        """Servers without a directory of VOs see no attributes."""
        proxy = self.user.proxy(extensions=(carried(self.draft.signed()),))
        self.patch(self, "server_end", lambda: self.end(self.host, stem="server"))
        self.assertEqual((), self.visited(proxy).fqans)


class RefusedTests(VOMSCase):
    """Attributes that are not believed: no attribute, a line in the log, and never a denial."""

    def test_times(self) -> None:
        """Expired ones and those of the future give nothing; a clock that is minutes ahead is borne."""
        self.assert_nothing("expired", shown=self.draft.but(hours=(-2, -1)))
        self.assert_nothing("not valid yet", shown=self.draft.but(hours=(1, 2)))
        self.assertEqual(PLAIN, self.peer(self.draft.but(hours=(0.05, 2))).fqans)

    def test_holders(self) -> None:
        """Those of another person give nothing, whether issuer, serial number or subject differ."""
        bob = self.ca.issue("/C=CZ/O=Test/CN=Bob").certificate
        namesake = authority("/C=CZ/O=Test/CN=Other CA").issue(ALICE).certificate
        self.assert_nothing("somebody else", shown=self.draft.but(holder=bob))
        self.assert_nothing("somebody else", shown=self.draft.but(holder=bob, by_name=True))
        serial = self.user.certificate.serial_number
        self.assert_nothing("somebody else", shown=self.draft.but(holder=namesake, serial=serial))

    def test_signers(self) -> None:
        """A person, another server, and a server of an authority that nobody trusts sign for nobody."""
        self.assert_nothing("not described", shown=self.draft.but(signer=self.user))
        stranger = authority("/C=CZ/O=Test/CN=Test CA").issue(SERVER)
        self.assert_nothing("of the VOMS server", shown=self.draft.but(signer=stranger))
        self.assert_nothing("not signed", shown=self.draft.but(key=stranger.key))
        self.assert_nothing("not signed", shown=self.draft.but(issuer=self.user.certificate.subject))
        late = self.ca.issue(SERVER, days=(-5, -1))
        self.assert_nothing("expired", shown=self.draft.but(signer=late))

    def test_use_of_signers(self) -> None:
        """RFC 5755 §4.5: an authority does not sign attributes, nor does a key that is for other things."""
        above = self.ca.issue(SERVER, authority=True)
        self.assert_nothing("is an authority", shown=self.draft.but(signer=above))
        use = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
        self.assert_nothing("not for signatures", shown=self.draft.but(signer=self.ca.issue(SERVER, use)))

    def test_revoked(self) -> None:
        """A server whose certificate is revoked signs no more."""
        (self.anchors / f"{self.ca.hash}.r0").write_bytes(self.ca.crl())
        self.assertEqual(PLAIN, self.peer(self.draft).fqans)
        (self.anchors / f"{self.ca.hash}.r0").write_bytes(self.ca.crl(self.voms))
        self.assert_nothing("revoked", shown=self.draft)

    def test_signing_policy(self) -> None:
        """A server that the signing policy of its authority does not cover signs nothing."""
        (self.anchors / f"{self.ca.hash}.signing_policy").write_text(
            "access_id_CA X509 '/C=CZ/O=Test/CN=Test CA'\npos_rights globus CA:sign\n"
            f'cond_subjects globus \'"{ALICE}" "/C=CZ/O=Test/CN=localhost"\'\n'
        )
        self.assert_nothing("signing policy", shown=self.draft)

    def test_descriptions(self) -> None:
        """Without an .lsc that names signer and authority there is nothing; one name alone is no description."""
        for chain in ([SERVER], [SERVER, "/CN=another CA"], ["/CN=x", self.ca.certificate]):
            describe(self.vomsdir, chain)
            self.assert_nothing(HOST, shown=self.draft)
        path = describe(self.vomsdir)
        path.unlink()
        self.assert_nothing(f"no {HOST}.lsc", shown=self.draft)
        path.mkdir()
        self.assert_nothing("directory", shown=self.draft)

    def test_names(self) -> None:
        """An organisation speaks for itself only, and its name leads nowhere else in the file system."""
        self.assert_nothing("none of VO", shown=self.draft.but(fqans=["/vo.example", "/other/Role=admin"]))
        self.assert_nothing("none of VO", shown=self.draft.but(fqans=["/vo.example2"]))
        self.assert_nothing("none of VO", shown=self.draft.but(fqans=["/vo.example/a\nb"]))
        for wrong in (f"../{VO}://{HOST}:1", f"{VO}://../{HOST}:1", f"{VO}:/{HOST}", f"{VO}://a/b", f".://{HOST}"):
            self.assert_nothing("policy authority", shown=self.draft.but(authority=wrong))

    def test_extensions(self) -> None:
        """Ones that are confined to services, or have a critical part that we do not know, give nothing."""
        for dotted, critical, word in (
            ("2.5.29.55", False, "confined"),
            ("1.2.3.4", True, "1.2.3.4"),
        ):
            part = extension(dotted, b"\x30\0", critical=critical)
            self.assert_nothing(word, shown=self.draft.but(extensions=[part]))
        harmless = [extension("1.2.3.4", b"\x30\0"), extension("2.5.29.56", b"\5\0", critical=True)]
        self.assertEqual(PLAIN, self.peer(self.draft.but(extensions=harmless)).fqans)

    def test_version(self) -> None:
        """Another version gives nothing."""
        self.assert_nothing("version", shown=self.draft.but(version=0))

    def test_tampered(self) -> None:
        """An attribute that was changed after the signature gives nothing."""
        changed = self.draft.signed().replace(b"Role=manager", b"Role=admin12")
        self.assert_nothing("not signed", shown=changed)

    def test_garbage(self) -> None:
        """Bytes that are no attribute certificate give nothing, and cost nothing else."""
        for garbage in (b"\x30\x02\x30\x00", b"\x04\x01x", b"\x30\x82\xff\xff", self.draft.signed()[:-3]):
            self.assert_nothing(shown=garbage)
        self.assert_nothing("more than 10", shown=self.draft.signed() * 11)


class FindingTests(VOMSCase):
    """How long a finding stands."""

    def setUp(self) -> None:
        super().setUp()
        self.now = self.user.certificate.not_valid_before_utc.timestamp() + 5 * 24 * 3600
        self.source = VOMSAttributes(self.vomsdir, TrustAnchors.read(self.anchors), lambda: self.now)
        self.proxy = self.user.proxy(extensions=(carried(self.draft.signed()),))
        self.chain = [self.proxy.certificate, *self.proxy.chain, self.ca.certificate]

    def test_once(self) -> None:
        """A certificate is examined once, for a minute; then a description that is gone counts, and is logged once."""
        self.now = self.now // 60 * 60 + 60
        parsed = attribute_certificate.parse
        with patch.object(attribute_certificate, "parse", side_effect=parsed) as parse_again:
            self.assertEqual(PLAIN, self.source(self.chain).fqans)
            describe(self.vomsdir).unlink()
            self.now += 59
            self.assertEqual(PLAIN, self.source(self.chain).fqans)
            self.assertEqual(1, parse_again.call_count)
            self.now += 1
            self.assertEqual([(), ()], [self.source(self.chain).fqans for _ in range(2)])
            self.assertEqual(1, len(self.logged))

    def test_end(self) -> None:
        """Attributes end at their second, also within the minute for which the finding stands."""
        expires = self.source(self.chain).expires
        assert expires is not None
        self.now = expires - 0.5
        self.assertEqual(PLAIN, self.source(self.chain).fqans)
        self.now = expires
        self.assertEqual(((), None), (self.source(self.chain).fqans, self.source(self.chain).expires))

    def test_plain_certificates(self) -> None:
        """An end entity's own attributes count; those in the certificate of an authority do not."""
        value = carried(self.draft.signed())
        above = self.ca.issue("/C=CZ/O=Test/CN=Sub", value, authority=True)
        under = above.issue(ALICE)
        self.assertEqual((), self.source([under.certificate, above.certificate, self.ca.certificate]).fqans)
        own = self.ca.issue(ALICE, value)
        self.assertEqual((), self.source([own.certificate, self.ca.certificate]).fqans)
        self.assertIn("somebody else", self.logged[0])


class ReadingTests(SynchronousTestCase):
    """The parser takes any bytes."""

    @settings(max_examples=200)
    @given(st.data())
    def test_mutations(self, data: st.DataObject) -> None:
        """Whatever is cut out of an attribute certificate or changed in it, ValueError is the only error."""
        encoded = bytearray(_sample())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(encoded) - 1))
            replacement = data.draw(st.binary(max_size=2))
            encoded[at : at + data.draw(st.integers(0, 2))] = replacement
        try:
            for one in attribute_certificate.read_extension(bytes(encoded)):
                attribute_certificate.parse(one)
        except ValueError:
            return

    @given(st.binary(max_size=64))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes at all are read, or are a ValueError."""
        try:
            for one in attribute_certificate.read_extension(data):
                attribute_certificate.parse(one)
        except ValueError:
            return

    def test_identifiers(self) -> None:
        """An identifier is encoded as it is read; one that is too long is refused before work is spent on it."""
        for dotted in ("1.3.6.1.4.1.8005.100.100.5", "2.5.29.55", "1.2.840.113549.1.1.11"):
            self.assertEqual(dotted, der.dotted(der.identifier(dotted)))
        self.assertRaises(ValueError, der.dotted, b"\x81" * 100_000 + b"\x01")


_SAMPLES: list[bytes] = []


def _sample() -> bytes:
    if not _SAMPLES:
        ca = authority()
        value = carried(Draft(ca.issue(ALICE).certificate, ca.issue(SERVER)).signed()).value
        _SAMPLES.append(value)
    return _SAMPLES[0]


class DirectoryTests(SynchronousTestCase):
    """Which directory describes the VOs."""

    def test_order(self) -> None:
        """§14: the option, then X509_VOMS_DIR, then the customary place."""
        environ = {"X509_VOMS_DIR": "/variable"}
        self.assertEqual(Path("/option"), voms_directory(environ, Path("/option")))
        self.assertEqual(Path("/variable"), voms_directory(environ))
        self.assertEqual(Path("/etc/grid-security/vomsdir"), voms_directory({}))
