"""Subjects of certificates: which spellings mean one person."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model import subject


class ComparisonTests(SynchronousTestCase):
    """The rules of spec/security.md §5.2 and §5.3 with their fixes, state-machine.md §16.4."""

    def test_normalise(self) -> None:
        """Owners are stored with /Email= and without trailing proxies; only these exact spellings change."""
        for dn, normal in (
            ("/CN=A/emailAddress=a@x", "/CN=A/Email=a@x"),
            ("/CN=A/EMAILADDRESS=a@x", "/CN=A/EMAILADDRESS=a@x"),
            ("/CN=A/CN=proxy/CN=proxy", "/CN=A"),
            ("/CN=proxy/CN=A", "/CN=proxy/CN=A"),
            ("/CN=A/CN=limited proxy", "/CN=A/CN=limited proxy"),
            ("/CN=A/CN=12345", "/CN=A/CN=12345"),
            ("/CN=A/CN=proxy\n", "/CN=A/CN=proxy\n"),
        ):
            self.assertEqual(normal, subject.normalise(dn))

    def test_same_person(self) -> None:
        """Case, the spelling of e-mail and user id, and trailing proxies do not matter."""
        for a, b in (
            ("/CN=Alice", "/cn=ALICE"),
            ("/CN=A/emailAddress=a@x", "/CN=A/EMAILADDRESS=A@X"),
            ("/CN=A/emailAddress=a@x", "/CN=A/E=a@x"),
            ("/CN=A/Email=a@x", "/CN=A/e=a@x"),
            ("/UID=a/CN=A", "/USERID=a/CN=A"),
            ("/CN=A", "/CN=A/CN=proxy/CN=Proxy"),
        ):
            self.assertTrue(subject.same_person(a, b), (a, b))
            self.assertEqual(subject.comparable(a), subject.comparable(b))

    def test_others(self) -> None:
        """Other differences do matter, letters outside ASCII included."""
        for a, b in (
            ("/CN=Alice", "/CN=Alice/CN=limited proxy"),
            ("/CN=Alice", "/CN=Alice/CN=1234"),
            ("/CN=É", "/CN=é"),
            ("/CN=K", "/CN=\u212a"),  # the Kelvin sign, k in full Unicode case folding
            ("/CN=A/Email=a", "/CN=A/UID=a"),
            ("/CN=A/O=e=a", "/CN=A/O=email=a"),
        ):
            self.assertFalse(subject.same_person(a, b), (a, b))

    def test_nobody(self) -> None:
        """No name equals nothing, itself included (P7)."""
        self.assertFalse(subject.same_person(None, None))
        self.assertFalse(subject.same_person(None, ""))
        self.assertFalse(subject.same_person("/CN=A", None))

    @given(st.text(alphabet="/CN=proxyeEmail@ é\udcff", max_size=40))
    def test_idempotent(self, dn: str) -> None:
        """Normal forms are normal, whatever the bytes."""
        for form in (subject.normalise, subject.comparable):
            self.assertEqual(form(dn), form(form(dn)))
