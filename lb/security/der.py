"""A reader for the few DER structures that libraries do not show: names as encoded, extensions, attribute certificates.

It exists because a distinguished name is written from the bytes as encoded, which decoding libraries no longer show.
It must never be taken for a check: what it reads is verified elsewhere, and may be anything of bounded size.
"""

from collections.abc import Iterator

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31
EXPLICIT_VERSION = 0xA0
EXPLICIT_EXTENSIONS = 0xA3


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element of a sequence of single-byte-tag elements.

    Raises ValueError when an element is longer than the data.
    """
    position, end = 0, len(data)
    while position < end:
        if position + 2 > end:
            raise ValueError("DER: element without length")
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            octets = length & 0x7F
            if octets == 0 or octets > 4 or position + octets > end:
                raise ValueError("DER: length not in definite form")
            length = int.from_bytes(data[position : position + octets], "big")
            position += octets
        if position + length > end:
            raise ValueError("DER: element longer than its container")
        yield tag, data[position : position + length]
        position += length


def encode(tag: int, content: bytes) -> bytes:
    """Return one element with a definite length in the shortest form."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


_LONGEST_IDENTIFIER = 256  # octets; the work grows with the square


def dotted(content: bytes) -> str:
    """Return the dotted form of the content of an OBJECT IDENTIFIER; ValueError when it is too long or unfinished."""
    if len(content) > _LONGEST_IDENTIFIER:
        raise ValueError("DER: object identifier too long")
    arcs: list[int] = []
    value = 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    if not arcs or content[-1] & 0x80:
        raise ValueError("DER: truncated object identifier")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def identifier(text: str) -> bytes:
    """Return the content of the OBJECT IDENTIFIER with a dotted form."""
    first, second, *arcs = map(int, text.split("."))
    content = bytearray()
    for arc in (40 * first + second, *arcs):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.append(arc & 0x7F | 0x80)
        content += bytes(reversed(octets))
    return bytes(content)


def _fields(tbs_certificate: bytes) -> list[tuple[int, bytes]]:
    ((_, content),) = elements(tbs_certificate)
    fields = list(elements(content))
    return fields[1:] if fields[0][0] == EXPLICIT_VERSION else fields


def issuer(tbs_certificate: bytes) -> bytes:
    """Return the content of the issuer name of an encoded TBSCertificate (RFC 5280 §4.1)."""
    return _fields(tbs_certificate)[2][1]


def subject(tbs_certificate: bytes) -> bytes:
    """Return the content of the subject name of an encoded TBSCertificate (RFC 5280 §4.1)."""
    return _fields(tbs_certificate)[4][1]


def extension_oids(tbs_certificate: bytes) -> list[str]:
    """Return the dotted identifiers of the extensions of an encoded TBSCertificate, in order."""
    return [dotted(next(elements(extension))[1]) for _, extension in elements(_extensions(tbs_certificate))]


def certificate_extension(tbs_certificate: bytes, identifier: bytes) -> bytes | None:
    """Return the value of the extension with an identifier (encoded) of a TBSCertificate; None when it has none."""
    for found, _, value in extensions(_extensions(tbs_certificate)):
        if found == identifier:
            return value
    return None


def extensions(content: bytes) -> Iterator[tuple[bytes, bool, bytes]]:
    """Yield identifier (encoded), whether it is critical, and value of each of some Extensions (RFC 5280 §4.1)."""
    for _, extension in elements(content):
        (_, identifier), *critical, (_, value) = elements(extension)
        yield identifier, any(tag == BOOLEAN and flag != b"\0" for tag, flag in critical), value


def _extensions(tbs_certificate: bytes) -> bytes:
    for tag, content in _fields(tbs_certificate)[6:]:
        if tag == EXPLICIT_EXTENSIONS:
            ((_, extensions),) = elements(content)
            return extensions
    return b""


def attributes(name: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Yield type (dotted), string tag and encoded value of each attribute of a name's content, in encoded order."""
    for _, relative_name in elements(name):
        for _, attribute in elements(relative_name):
            (_, oid), (tag, value) = elements(attribute)
            yield dotted(oid), tag, value
