"""Subjects of certificates in slash form, ``/C=CZ/O=Test/CN=Alice``: which spellings mean one person.

Two spellings of one person must compare equal everywhere; every comparison of names goes through `same_person`.
Whether a subject was verified is not known here.
"""

from __future__ import annotations

import re
import string
from typing import Final

_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SAME_TYPES: Final = re.compile(r"/(?:(emailaddress|e)|(userid))=")
_PROXY_TAIL: Final = re.compile(r"(?:/CN=proxy)+\Z")
_FOLDED_PROXY_TAIL: Final = re.compile(r"(?:/cn=proxy)+\Z")


def normalise(dn: str) -> str:
    """Return the form in which owners are stored: ``/Email=`` for ``/emailAddress=``, trailing ``/CN=proxy`` removed.

    Both spellings are matched exactly, as recorded data depend on it (spec/security.md §5.2).
    """
    return _PROXY_TAIL.sub("", dn.replace("/emailAddress=", "/Email="))


def fold(dn: str) -> str:
    """Return a name with ASCII letters in lower case and one spelling for the types of e-mail and user id."""
    lower = dn.lower() if dn.isascii() else dn.translate(_ASCII_LOWER)
    return _SAME_TYPES.sub(lambda match: "/email=" if match[1] else "/uid=", lower)


def comparable(dn: str) -> str:
    """Return the key under which every spelling of one person's name is the same (spec/security.md §5.3, fixed)."""
    return _FOLDED_PROXY_TAIL.sub("", fold(dn))


def same_person(a: str | None, b: str | None) -> bool:
    """Tell whether two names in slash form mean the same person; None (no name) equals nothing."""
    if a is None or b is None:
        return False
    return a == b or comparable(a) == comparable(b)
