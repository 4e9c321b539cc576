"""The access control list of a job: its GACL document, its changes and what it grants (spec/security.md §10).

A list is a value: changing it gives another one. A matching denial always wins.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree as ET

from lb.model.subject import same_person
from lb.security.identity import Identity
from lb.security.names import plain_fqan


class IdType(IntEnum):
    """Whom an entry names (spec/model.md §6.9)."""

    DN = 0
    GROUP = 1
    FQAN = 2


class Permission(IntEnum):
    """What an entry is about: reading the job, or adding user tags to it."""

    READ = 1
    TAG = 2


class PermissionType(IntEnum):
    """Whether an entry grants or takes away."""

    ALLOW = 0
    DENY = 1


class Operation(IntEnum):
    """What a ChangeACL event does with its entry."""

    ADD = 0
    REMOVE = 1


class ACLError(ValueError):
    """A change that cannot be made, or a document that is no GACL; `code` is the errno for the sender."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


_ELEMENTS: Final = {Permission.READ: "read", Permission.TAG: "write"}
_PERMISSIONS: Final = {element: permission for permission, element in _ELEMENTS.items()}
_KINDS: Final = {IdType.DN: "dn", IdType.FQAN: "fqan"}
#: Bytes that stay as they are in an `auri`, beside letters and digits.
_UNCHANGED: Final = "-./=@_"


class Entry(NamedTuple):
    """One person or group, one permission, allowed or denied."""

    user: str
    id_type: IdType
    permission: Permission
    permission_type: PermissionType

    @property
    def credential(self) -> str:
        """``dn:NAME`` or ``fqan:NAME``; a group ``vo:group`` is the FQAN ``/vo/group``."""
        if self.id_type is IdType.GROUP:
            vo, colon, group = self.user.partition(":")
            if not colon or not vo or not group:
                raise ACLError(errno.EINVAL, f"group {self.user} is not of the form VO:group")
            return f"fqan:/{vo}/{group}"
        return f"{_KINDS[self.id_type]}:{self.user}"

    def stored(self) -> _Stored:
        """The entry as the document holds it."""
        return _Stored(self.credential, self.permission, self.permission_type)


class _Stored(NamedTuple):
    """An entry as the document holds it."""

    credential: str
    permission: Permission
    permission_type: PermissionType


@dataclass(frozen=True, slots=True)
class ACL:
    """A job's list; `entries` in the order in which they were added."""

    entries: tuple[_Stored, ...] = ()

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(document: str) -> ACL:
        """Read the document of `str()`; ACLError when it is none, or brings definitions of its own."""
        if "<!" in document:
            raise ACLError(errno.EINVAL, "ACL with a document type definition")
        try:
            return ACL(tuple(_stored(ET.fromstring(document))))
        except ET.ParseError as error:
            raise ACLError(errno.EINVAL, f"ACL cannot be read: {error}") from error

    def __str__(self) -> str:
        return '<?xml version="1.0"?><gacl version="0.9.0">' + "".join(map(_element, self.entries)) + "</gacl>"

    def add(self, entry: Entry) -> ACL:
        """The list with one more entry; an entry that is there already changes nothing.

        Raises ACLError (EINVAL) for a group that is not of the form VO:group.
        """
        stored = entry.stored()
        return self if stored in self.entries else ACL((*self.entries, stored))

    def remove(self, entry: Entry) -> ACL:
        """The list without an entry, however the person's name is spelled in it.

        Removing from an empty list changes nothing; ACLError (EINVAL) when there are other entries but not this one.
        """
        stored = entry.stored()
        kept = tuple(other for other in self.entries if not _same(other, stored))
        if self.entries and len(kept) == len(self.entries):
            raise ACLError(errno.EINVAL, "ACL entry doesn't exist")
        return ACL(kept)

    def allows(self, permission: Permission, peer: Identity) -> bool:
        """Whether some matching entry allows and none denies."""
        types = {e.permission_type for e in self.entries if e.permission is permission and _names(e.credential, peer)}
        return types == {PermissionType.ALLOW}

    @property
    def persons(self) -> Iterator[str]:
        """Names of the persons that the list says anything about."""
        return (entry.credential[3:] for entry in self.entries if entry.credential.startswith("dn:"))

    def access_rights(self) -> str:
        """The list for people, as the status attribute of this name shows it."""
        return "".join(self._rights(permission) for permission in Permission)

    def _rights(self, permission: Permission) -> str:
        lines = []
        for type_, label in ((PermissionType.ALLOW, "allowed: "), (PermissionType.DENY, "denied:  ")):
            names = [e.credential for e in self.entries if e.permission is permission and e.permission_type is type_]
            lines += ["\t" + ("\t " if number else label) + name + "\n" for number, name in enumerate(names)]
        return f"{permission.name}:\n{''.join(lines)}" if lines else ""


def _names(credential: str, peer: Identity) -> bool:
    kind, _, value = credential.partition(":")
    if kind == "dn":
        return same_person(value, peer.name)
    return kind == "fqan" and plain_fqan(value) in map(plain_fqan, peer.fqans)


def _same(a: _Stored, b: _Stored) -> bool:
    if (a.permission, a.permission_type) != (b.permission, b.permission_type):
        return False
    return a.credential == b.credential or (
        a.credential.startswith("dn:")
        and b.credential.startswith("dn:")
        and same_person(a.credential[3:], b.credential[3:])
    )


def _element(entry: _Stored) -> str:
    kind, _, value = entry.credential.partition(":")
    # Surrogates stand for bytes that are no UTF-8.
    quoted = (
        quote(value.encode("utf-8", "surrogateescape"), safe=_UNCHANGED + " ").replace(" ", "+").replace("~", "%7E")
    )
    verb = entry.permission_type.name.lower()
    return f"<entry><cred><auri>{kind}:{quoted}</auri></cred><{verb}><{_ELEMENTS[entry.permission]}/></{verb}></entry>"


def _stored(root: ET.Element) -> Iterator[_Stored]:
    for entry in root.iter("entry"):
        kind, _, value = (entry.findtext("cred/auri") or "").partition(":")
        credential = f"{kind}:{unquote_plus(value, 'utf-8', 'surrogateescape')}"
        for type_ in PermissionType:
            for element in entry.iterfind(f"{type_.name.lower()}/*"):
                if element.tag in _PERMISSIONS:
                    yield _Stored(credential, _PERMISSIONS[element.tag], type_)
