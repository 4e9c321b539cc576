"""Distinguished names of certificates in the slash form of the grid and as hashes, and VOMS attributes.

Names are never taken apart to find an identity: a value may itself contain a slash. `lb.model.subject` compares them.
"""

import hashlib
import re

from cryptography import x509

from lb.security import der

# Short names as OpenSSL prints them; types not listed appear as dotted identifiers (spec/security.md §5.1).
SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.17": "postalCode",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.3": "mail",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
}

COMMON_NAME = "2.5.4.3"

_PRINTABLE = {octet: chr(octet) if 0x20 <= octet <= 0x7E else f"\\x{octet:02X}" for octet in range(256)}


def slash_form(certificate: x509.Certificate) -> str:
    """Return the subject of a certificate as ``/C=CZ/O=Test/CN=Alice`` (spec/security.md §5.1)."""
    return _slash_form(der.subject(certificate.tbs_certificate_bytes))


def issuer_slash_form(certificate: x509.Certificate) -> str:
    """Return the issuer of a certificate in the form of `slash_form`."""
    return _slash_form(der.issuer(certificate.tbs_certificate_bytes))


def _slash_form(name: bytes) -> str:
    return "".join(
        f"/{SHORT_NAMES.get(oid, oid)}={''.join(map(_PRINTABLE.__getitem__, value))}"
        for oid, _, value in der.attributes(name)
    )


def first_common_name(certificate: x509.Certificate) -> str | None:
    """Return the first CN of the subject in encoded order, None when there is none."""
    for oid, _, value in der.attributes(der.subject(certificate.tbs_certificate_bytes)):
        if oid == COMMON_NAME:
            return value.decode("utf-8", "surrogateescape")
    return None


_ABSENT_PARTS = re.compile(r"/(?:Role|Capability)=NULL(?=/|\Z)")


def plain_fqan(fqan: str) -> str:
    """Return a VOMS attribute without the parts that stand for nothing, so that equal ones are equal text (§14)."""
    return _ABSENT_PARTS.sub("", fqan)


# How each ASN.1 string type that OpenSSL canonicalises is decoded; other types are hashed as encoded.
_CANONICAL_ENCODINGS = {
    0x0C: "utf-8",
    0x13: "latin-1",  # PrintableString
    0x14: "latin-1",  # T61String
    0x16: "latin-1",  # IA5String
    0x1A: "latin-1",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


def _canonical_value(tag: int, value: bytes) -> bytes:
    encoding = _CANONICAL_ENCODINGS.get(tag)
    if encoding is None:
        return der.encode(tag, value)
    text = value.decode(encoding, "surrogateescape").encode("utf-8", "surrogateescape")
    return der.encode(der.UTF8_STRING, b" ".join(text.split()).lower())


def _name_hash(name: bytes) -> str:
    canonical = bytearray()
    for _, relative_name in der.elements(name):
        members = []
        for _, attribute in der.elements(relative_name):
            (oid_tag, oid), (tag, value) = der.elements(attribute)
            members.append(der.encode(der.SEQUENCE, der.encode(oid_tag, oid) + _canonical_value(tag, value)))
        canonical += der.encode(der.SET, b"".join(sorted(members)))
    return hashlib.sha1(canonical, usedforsecurity=False).digest()[3::-1].hex()


def subject_hash(certificate: x509.Certificate) -> str:
    """Return the eight hexadecimal digits under which OpenSSL >= 1.0 looks for a CA in a hashed directory."""
    return _name_hash(der.subject(certificate.tbs_certificate_bytes))


def issuer_hash(certificate: x509.Certificate) -> str:
    """Return the digits of `subject_hash` for the issuer of a certificate."""
    return _name_hash(der.issuer(certificate.tbs_certificate_bytes))
