"""Attribute certificates of VOMS, as they stand in proxy certificates: their parts, read from DER.

Formats: RFC 5755 §4, and for what VOMS puts into it spec/security.md §14. Nothing here is believed: whoever reads one
must have it verified (`lb.security.voms`), and whatever else the bytes are, the only error is ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lb.security import der
from lb.security.names import plain_fqan

#: The extension of a proxy certificate that holds them, as encoded.
EXTENSION: Final = der.identifier("1.3.6.1.4.1.8005.100.100.5")

_FQANS: Final = der.identifier("1.3.6.1.4.1.8005.100.100.4")
_SIGNERS: Final = der.identifier("1.3.6.1.4.1.8005.100.100.10")
# What a critical extension may be: signers, generic attributes (not used here), which key signed, no revocation.
_UNDERSTOOD: Final = {
    _SIGNERS,
    *map(der.identifier, ("1.3.6.1.4.1.8005.100.100.11", "2.5.29.35", "2.5.29.56")),
}
# Confined to services that are named in it; we do not know which of the names are ours.
_TARGETS: Final = {der.identifier("2.5.29.55"), der.identifier("1.3.6.1.4.1.8005.100.100.6")}

_BASE_CERTIFICATE, _ENTITY_NAME, _V2_FORM, _POLICY_AUTHORITY = 0xA0, 0xA1, 0xA0, 0xA0
_DIRECTORY_NAME, _URI = 0xA4, 0x86
_VERSION_2: Final = b"\1"

# Bounds of work for one peer; the chain as a whole is bounded by TLS.
_MOST_CERTIFICATES: Final = 10  # attribute certificates of a proxy, and signers of each
_MOST_FQANS: Final = 1000

# Parts of the names of files, so they must not lead anywhere else.
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)://([A-Za-z0-9][A-Za-z0-9._-]*)(?::[0-9]*)?")
_TIME: Final = re.compile(rb"[0-9]{14}Z")
_PRINTABLE: Final = re.compile(r"/[^\0-\x1f\x7f]+")

Name = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class AttributeCertificate:
    """One attribute certificate; times in seconds since the epoch, names as types (dotted) with encoded values.

    The holder is named by issuer and serial number of his certificate, by its subject, or by both. `algorithm` is the
    identifier of the signature's algorithm as encoded, `signed` what is signed, `signers` certificates in DER.
    """

    signed: bytes
    algorithm: bytes
    signature: bytes
    holder_certificate: tuple[Name, int] | None
    holder_name: Name | None
    issuer: Name
    not_before: int
    not_after: int
    vo: str
    host: str
    fqans: tuple[str, ...]
    signers: tuple[bytes, ...]


def read_extension(value: bytes) -> list[bytes]:
    """Return the attribute certificates in the value of the extension, each to be given to `parse`; or ValueError."""
    return _bounded(_signed_objects(value), _MOST_CERTIFICATES, "attribute certificates")


def name(content: bytes) -> Name:
    """Return the content of a Name in a form in which equal names are equal, however their text is tagged."""
    return tuple((oid, value) for oid, _, value in der.attributes(content))


def parse(encoded: bytes) -> AttributeCertificate:
    """Read one attribute certificate, the content of its outer sequence. Raises ValueError with what is wrong."""
    (_, info), (_, outer_algorithm), (_, signature) = der.elements(encoded)
    (_, version), (_, holder), (issuer_tag, issuer), (_, algorithm), _, (_, validity), (_, attributes), *rest = (
        der.elements(info)
    )
    if version != _VERSION_2:
        raise ValueError("not of version 2")
    if algorithm != outer_algorithm:
        raise ValueError("two signature algorithms")
    if signature[:1] != b"\0":
        raise ValueError("signature of broken octets")
    if issuer_tag != _V2_FORM:
        raise ValueError("issuer not in the form of version 2")
    (_, issuer_names), *_ = der.elements(issuer)
    (_, identifier), *_ = der.elements(algorithm)
    certificate, entity = _holder(holder)
    not_before, not_after = map(_time, der.elements(validity))
    vo, host, fqans = _attributes(attributes)
    return AttributeCertificate(
        signed=der.encode(der.SEQUENCE, info),
        algorithm=identifier,
        signature=signature[1:],
        holder_certificate=certificate,
        holder_name=entity,
        issuer=_directory_name(issuer_names),
        not_before=not_before,
        not_after=not_after,
        vo=vo,
        host=host,
        fqans=fqans,
        signers=_signers(rest),
    )


def _bounded(found: Iterator[bytes], most: int, what: str) -> list[bytes]:
    kept: list[bytes] = []
    for one in found:
        if len(kept) == most:
            raise ValueError(f"more than {most} {what}")
        kept.append(one)
    return kept


def _signed_objects(data: bytes, lists: int = 2) -> Iterator[bytes]:
    """Yield the contents of certificates of any kind that stand in a list, or in a list in a list: VOMS wrote both."""
    for tag, content in der.elements(data):
        if tag != der.SEQUENCE:
            raise ValueError("not a list of certificates")
        tags = [tag for tag, _ in der.elements(content)]
        if tags == [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
            yield content
        elif lists:
            yield from _signed_objects(content, lists - 1)
        else:
            raise ValueError("not a list of certificates")


def _directory_name(general_names: bytes) -> Name:
    """The one name of some GeneralNames."""
    ((tag, content),) = der.elements(general_names)
    if tag != _DIRECTORY_NAME:
        raise ValueError("a name that is not a directory name")
    ((_, names),) = der.elements(content)
    return name(names)


def _holder(content: bytes) -> tuple[tuple[Name, int] | None, Name | None]:
    parts = dict(der.elements(content))
    certificate = entity = None
    if _BASE_CERTIFICATE in parts:
        (_, issuer), (_, serial), *_ = der.elements(parts[_BASE_CERTIFICATE])
        certificate = (_directory_name(issuer), int.from_bytes(serial, "big", signed=True))
    if _ENTITY_NAME in parts:
        entity = _directory_name(parts[_ENTITY_NAME])
    return certificate, entity


def _time(element: tuple[int, bytes]) -> int:
    tag, text = element
    if tag != der.GENERALIZED_TIME or not _TIME.fullmatch(text):
        raise ValueError("a time that is not YYYYMMDDHHMMSSZ")
    return int(datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())


def _attributes(content: bytes) -> tuple[str, str, tuple[str, ...]]:
    """VO, host and FQANs, the one attribute that matters (its syntax: RFC 5755 §4.4)."""
    found = []
    for _, attribute in der.elements(content):
        (_, identifier), (_, values) = der.elements(attribute)
        if identifier == _FQANS:
            found += list(der.elements(values))
    if len(found) != 1:
        raise ValueError(f"{len(found)} lists of VOMS attributes")
    (authority_tag, authority), (_, values) = der.elements(found[0][1])
    ((uri_tag, uri),) = der.elements(authority)
    matched = _AUTHORITY.fullmatch(uri.decode("ascii"))
    if authority_tag != _POLICY_AUTHORITY or uri_tag != _URI or matched is None:
        raise ValueError("a policy authority that is not VO://HOST:PORT")
    vo, host = matched[1], matched[2]
    texts = _bounded((value for _, value in der.elements(values)), _MOST_FQANS, "VOMS attributes")
    fqans = tuple(dict.fromkeys(plain_fqan(text.decode("utf-8")) for text in texts))
    for fqan in fqans:
        if not _PRINTABLE.fullmatch(fqan) or not f"{fqan}/".startswith(f"/{vo}/"):
            raise ValueError(f"VOMS attribute {fqan[:255]!r} is none of VO {vo}")
    return vo, host, fqans


def _signers(rest: list[tuple[int, bytes]]) -> tuple[bytes, ...]:
    """The certificates that came along; ValueError for an extension that forbids believing."""
    signers: list[bytes] = []
    for identifier, critical, value in der.extensions(b"".join(c for tag, c in rest if tag == der.SEQUENCE)):
        if identifier in _TARGETS:
            raise ValueError("confined to certain services")
        if critical and identifier not in _UNDERSTOOD:
            raise ValueError(f"unknown critical extension {der.dotted(identifier[:32])}")
        if identifier == _SIGNERS:
            signers += _bounded(_signed_objects(value), _MOST_CERTIFICATES, "signers")
    return tuple(der.encode(der.SEQUENCE, signer) for signer in signers)
