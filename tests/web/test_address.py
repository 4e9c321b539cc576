"""Addresses: modifiers of scripts, fields of forms, links that are read as they were meant."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.query import Flag
from lb.web import address
from lb.web.address import Address

TEXTS = st.text(max_size=30) | st.text(st.sampled_from("ab=<>&|?+%20#/ é\ud800\udc80"), max_size=20)
#: Text that came in as UTF-8, other bytes included.
ARRIVED = TEXTS.map(lambda text: text.encode("utf-8", "replace").decode("utf-8", "surrogateescape"))


class Reading(SynchronousTestCase):
    """URIs to addresses."""

    def test_modifiers(self) -> None:
        """Modifiers are separated by question marks, in any order, and end with the URI (wire-web.md §1.1)."""
        for uri, expected in {
            b"/": Address("/"),
            b"?text": Address("/", text=True),
            b"/?text": Address("/", text=True),
            b"/abc?flags=history?text": Address("/abc", text=True, flags=Flag.HISTORY),
            b"/abc?text?flags=classadd+childhist_thorough": Address(
                "/abc", text=True, flags=Flag.CLASSADD | Flag.CHILDHIST_THOROUGH
            ),
            b"/?text?query=status=done": Address("/", text=True, query="status=done"),
            b"/?query=status=done?text": Address("/", text=True, query="status=done"),
            b"/?query=status=done&owner=a?flags=children": Address(
                "/", query="status=done&owner=a", flags=Flag.CHILDREN
            ),
            b"/?textual": Address("/"),
            b"/?text=1": Address("/"),
            b"/?text&query=a=b": Address("/"),
            b"/?stats?version": Address("/", special="version"),
            b"/?configuration?text": Address("/", text=True, special="configuration"),
            b"/NOTIF:?all": Address("/NOTIF:", scope="all"),
            b"/?page=3": Address("/", page=3),
            b"/?page=0?page=2": Address("/"),
            b"/?page=9999999": Address("/"),
            b"/?text \t": Address("/", text=True),
        }.items():
            self.assertEqual(address.read(uri), expected, uri)

    def test_decoding(self) -> None:
        """Queries are percent-decoded as a whole and a plus stays a plus; paths are taken as they are (§4)."""
        self.assertEqual(address.read(b"/?query=owner=/CN=A%20B+C%3Fx").query, "owner=/CN=A B+C?x")
        self.assertEqual(address.read(b"/?query=owner=%C3%A9%FF").query, "owner=é\udcff")
        self.assertEqual(address.read(b"/?query=owner=%zz%4").query, "owner=%zz%4")
        self.assertEqual(address.read(b"/a%20b").path, "/a%20b")

    def test_forms(self) -> None:
        """What browsers make of the forms is the same query: blanks as plus, each choice a group, empty ones none."""
        for uri, query in {
            b"/?query=&status=done&jobtype=&lastupdatetime=%3Epast3600": "status=done&lastupdatetime>past3600",
            b"/?query=owner%3D%2FCN%3DA+B%2BC&status=&jobtype=": "owner=/CN=A B+C",
            b"/?query=owner%3Da%26status%3Ddone%7C%3Drunning": "owner=a&status=done|=running",
            b"/?query=&status=": "",
        }.items():
            self.assertEqual(address.read(uri).query, query, uri)

    @given(st.binary(max_size=60))
    @settings(deadline=None)
    def test_anything(self, uri: bytes) -> None:
        """Whatever the bytes of a URI are, there is an address (P10)."""
        self.assertGreaterEqual(address.read(uri).page, 1)


class Writing(SynchronousTestCase):
    """Links."""

    @given(ARRIVED, st.integers(0, 4095).map(Flag), st.integers(1, 10_000))
    @settings(deadline=None)
    def test_read_again(self, query: str, flags: Flag, page: int) -> None:
        """A link is plain ASCII without a blank, and is read as what it was written from."""
        # Grammar or not: a query has an operator, or it would look like a form's.
        query = f"owner={query}"
        link = address.write("/", query, flags, page)
        self.assertRegex(link, r"\A[!-~]*\Z")
        self.assertEqual(address.read(link.encode()), Address("/", query=query, flags=flags, page=page))
