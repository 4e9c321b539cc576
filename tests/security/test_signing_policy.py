"""Signing policies of authorities (spec/security.md §3)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lb.security.signing_policy import parse

CA = "/C=CZ/O=Test/CN=Test CA"
EXAMPLE = """
# An authority of two name spaces

access_id_CA   X509     '/C=CZ/O=Test/CN=Test CA'
pos_rights     globus   CA:sign
cond_subjects  globus   '"/C=CZ/O=Test/*" "/DC=cz/*"'

access_id_CA\tX509\t"/CN=Single"
pos_rights globus CA:sign
cond_subjects globus '/O=One/CN=?b*'
"""


class SigningPolicyTests(SynchronousTestCase):
    """What is permitted and what is a mistake."""

    def test_permits(self) -> None:
        """An authority may sign what one of its patterns covers, and nothing else."""
        policy = parse(EXAMPLE)
        for issuer, subject, expected in (
            (CA, "/C=CZ/O=Test/CN=Alice", True),
            (CA, "/c=cz/o=test/CN=Alice", True),
            (CA, "/DC=cz/anything", True),
            (CA, "/DC=sk/anything", False),
            (CA, "/C=CZ/O=Tes", False),
            (CA, "/O=Evil/C=CZ/O=Test/CN=Alice", False),
            ("/CN=Single", "/O=One/CN=abc", True),
            ("/CN=Single", "/O=One/CN=acb", False),
            ("/CN=Single", "/C=CZ/O=Test/CN=Alice", False),
            ("/CN=Unknown", "/C=CZ/O=Test/CN=Alice", False),
        ):
            self.assertEqual(expected, policy.permits(issuer, subject), (issuer, subject))

    def test_mail_spelling(self) -> None:
        """The type of an e-mail address may be spelled in any way, and other characters stand for themselves."""
        policy = parse("access_id_CA X509 '/Email=ca@x'\npos_rights globus CA:sign\ncond_subjects globus '/E=.@(x)'\n")
        self.assertTrue(policy.permits("/emailAddress=ca@x", "/emailAddress=.@(x)"))
        self.assertFalse(policy.permits("/emailAddress=ca@x", "/emailAddress=a@(x)"))

    def test_other_rights(self) -> None:
        """Conditions without the right to sign permit nothing."""
        policy = parse("access_id_CA X509 '/CN=A'\npos_rights globus CA:other\ncond_subjects globus '*'\n")
        self.assertFalse(policy.permits("/CN=A", "/CN=B"))

    def test_mistakes(self) -> None:
        """A file that is not understood is an error that names the line, never an empty policy."""
        for text, words in (
            ("", "no access_id_CA"),
            ("gibberish", "line 1: expected"),
            ("\ncond_subjects globus '*'", "line 2: cond_subjects before"),
            ("access_id_CA X509 '/CN=A'\nneg_rights globus CA:sign", "line 2: negative"),
            ("access_id_CA X509 '/CN=A'\nother globus x", "line 2: unknown keyword 'other'"),
            ("access_id_CA X509 '/CN=A' more", "line 1: expected"),
        ):
            self.assertIn(words, str(self.assertRaises(ValueError, parse, text)))
