"""Distinguished names and VOMS attributes: their written form, and the names of files in hashed directories."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL.crypto import X509
from twisted.trial.unittest import SynchronousTestCase

from lb.security import der, names
from lb.security.anchors import TrustAnchors
from tests.security.grid import Holder, authority, trust

CA = authority()


def subject(*relative_names: list[x509.NameAttribute]) -> x509.Certificate:
    """A certificate with a subject of these relative names."""
    return CA.issue(x509.Name([x509.RelativeDistinguishedName(r) for r in relative_names])).certificate


def attribute(oid: ObjectIdentifier, value: str, type_: _ASN1Type | None = None) -> x509.NameAttribute:
    return x509.NameAttribute(oid, value, type_)


class SlashFormTests(SynchronousTestCase):
    """The form of spec/security.md §5.1."""

    def test_types(self) -> None:
        """Types have OpenSSL's short names, in encoded order; unknown ones are dotted."""
        for dn in (
            "/C=CZ/O=LB Reference Test/CN=Test User",
            "/DC=cz/DC=cesnet-ca/O=CESNET/CN=host.example.org",
            "/C=CZ/O=Test/CN=Alice User/emailAddress=alice@example.org",
            "/C=CZ/O=Test/UID=alice/CN=Alice",
        ):
            self.assertEqual(dn, names.slash_form(CA.issue(dn).certificate))
        unknown = subject([attribute(ObjectIdentifier("1.3.6.1.4.1.99999.1"), "x")])
        self.assertEqual("/1.3.6.1.4.1.99999.1=x", names.slash_form(unknown))

    def test_issuer(self) -> None:
        """The issuer is written in the same form."""
        self.assertEqual("/C=CZ/O=Test/CN=Test CA", names.issuer_slash_form(subject()))

    def test_bytes(self) -> None:
        """Bytes outside printable ASCII appear as they are encoded; a slash and a backslash as themselves."""
        for value, type_, written in (
            ("host/ldap.example.org", None, "host/ldap.example.org"),
            ("Jiří\x7f~ \\", _ASN1Type.UTF8String, r"Ji\xC5\x99\xC3\xAD\x7F~ " + "\\"),
            ("é", _ASN1Type.BMPString, r"\x00\xE9"),
            ("é", _ASN1Type.T61String, r"\xC3\xA9"),
        ):
            certificate = subject([attribute(NameOID.COMMON_NAME, value, type_)])
            self.assertEqual("/CN=" + written, names.slash_form(certificate))

    def test_multiple_values(self) -> None:
        """Values of one relative name look like separate components."""
        both = [attribute(NameOID.COMMON_NAME, "Alice"), attribute(NameOID.USER_ID, "alice")]
        found = names.slash_form(subject([attribute(NameOID.ORGANIZATION_NAME, "Test")], both))
        self.assertIn(found, ("/O=Test/CN=Alice/UID=alice", "/O=Test/UID=alice/CN=Alice"))

    def test_empty(self) -> None:
        """A subject without components is an empty name and has no CN."""
        self.assertEqual("", names.slash_form(subject()))
        self.assertIsNone(names.first_common_name(subject()))


class AttributeTests(SynchronousTestCase):
    """VOMS attributes (spec/security.md §14)."""

    def test_plain_fqan(self) -> None:
        """Absent parts of VOMS attributes vanish, others stay."""
        for fqan, plain in (
            ("/vo/g/Role=NULL/Capability=NULL", "/vo/g"),
            ("/vo/Role=admin/Capability=NULL", "/vo/Role=admin"),
            ("/vo/Role=NULLX", "/vo/Role=NULLX"),
        ):
            self.assertEqual(plain, names.plain_fqan(fqan))


class HashTests(SynchronousTestCase):
    """The names of files in hashed directories."""

    def test_as_openssl(self) -> None:
        """The hash is OpenSSL's for every string type, for blanks and letters outside ASCII."""
        values = [
            (" Two   Words ", _ASN1Type.UTF8String),
            ("Jiří ÉÀ", _ASN1Type.UTF8String),
            ("Plain Text", _ASN1Type.PrintableString),
            ("mail@EXAMPLE.org", _ASN1Type.IA5String),
            ("Čeština", _ASN1Type.BMPString),
            ("Čeština 😀", _ASN1Type.UniversalString),
            ("é", _ASN1Type.T61String),
            ("\t tab", _ASN1Type.UTF8String),
        ]
        subjects = [[[attribute(NameOID.COMMON_NAME, value, type_)]] for value, type_ in values]
        subjects.append([[attribute(NameOID.COMMON_NAME, "b"), attribute(NameOID.USER_ID, "a")], *subjects[0]])
        subjects.append([[attribute(NameOID.COUNTRY_NAME, "CZ")], [attribute(ObjectIdentifier("2.5.4.13"), "x" * 300)]])
        for parts in subjects:
            certificate = subject(*parts)
            expected = f"{X509.from_cryptography(certificate).subject_name_hash():08x}"
            self.assertEqual(expected, names.subject_hash(certificate))
        self.assertEqual(CA.hash, names.issuer_hash(subject()))

    def test_intermediates(self) -> None:
        """A trust directory finds the authorities between a certificate and its root, namesakes left out."""
        below = CA.issue("/O=Test/CN=Below", authority=True)
        lowest = below.issue("/O=Test/CN=Lowest", authority=True)
        user = lowest.issue("/O=Test/CN=User")
        namesake = CA.issue("/O=Test/CN=Lowest", authority=True)
        path = trust(Path(self.mktemp()), CA, below, namesake)
        (path / f"{lowest.hash}.1").write_bytes(lowest.pem())
        (path / f"{lowest.hash}.2").write_text("damaged")
        found = TrustAnchors.read(path).intermediates(user.certificate)
        self.assertEqual([lowest.certificate, below.certificate], found)

    def test_mutual_issuers(self) -> None:
        """Authorities that issued each other do not make the search endless (P10)."""
        one, other = authority("/CN=One"), authority("/CN=Other")
        by_other = Holder(_cross(other, one), one.key)
        by_one = Holder(_cross(one, other), other.key)
        path = trust(Path(self.mktemp()), by_other, by_one)
        found = TrustAnchors.read(path).intermediates(by_one.issue("/CN=User").certificate)
        self.assertLessEqual(len(found), 10)


def _cross(issuer: Holder, holder: Holder) -> x509.Certificate:
    from cryptography.hazmat.primitives.hashes import SHA256

    builder = x509.CertificateBuilder().subject_name(holder.certificate.subject)
    builder = builder.issuer_name(issuer.certificate.subject).public_key(holder.key.public_key())
    builder = builder.serial_number(1).not_valid_before(holder.certificate.not_valid_before_utc)
    builder = builder.not_valid_after(holder.certificate.not_valid_after_utc)
    return builder.sign(issuer.key, SHA256())


class DERTests(SynchronousTestCase):
    """The reader of encoded names stops at damage."""

    def test_damage(self) -> None:
        """Lengths beyond the data, indefinite ones and cut elements raise ValueError."""
        for damaged in (b"\x30", b"\x30\x05\x01", b"\x30\x80", b"\x30\x85\0\0\0\0\1", b"\x30\x82\x01"):
            self.assertRaises(ValueError, list, der.elements(damaged))
        for damaged in (b"", b"\x81"):
            self.assertRaises(ValueError, der.dotted, damaged)

    @given(st.binary(max_size=70000))
    def test_round_trip(self, content: bytes) -> None:
        """What is encoded is read back, whatever the length takes."""
        self.assertEqual([(0x30, content), (4, b"")], list(der.elements(der.encode(0x30, content) + b"\x04\x00")))

    def test_long_content(self) -> None:
        """Lengths of one to three octets are read back at their limits."""
        for length in (127, 128, 255, 256, 65535, 65536):
            self.assertEqual([(4, bytes(length))], list(der.elements(der.encode(4, bytes(length)))))

    @given(st.lists(st.integers(0, 2**40), max_size=5), st.integers(0, 2), st.integers(0, 39))
    def test_identifiers(self, arcs: list[int], first: int, second: int) -> None:
        """Object identifiers are read as cryptography writes them."""
        text = ".".join(map(str, (first, second, *arcs)))
        encoded = x509.NameAttribute(ObjectIdentifier(text), "x")
        content = x509.Name([encoded]).public_bytes()
        ((_, whole),) = der.elements(content)
        self.assertEqual([text], [oid for oid, _, _ in der.attributes(whole)])
