"""Job ACLs: documents as recorded from the C server, changes, and what they grant (spec/security.md §10)."""

from __future__ import annotations

import errno
from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.security.acl import ACL, ACLError, Entry, IdType, Operation, Permission, PermissionType
from lb.security.identity import ANONYMOUS, Identity

READ, TAG = Permission.READ, Permission.TAG
ALLOW, DENY = PermissionType.ALLOW, PermissionType.DENY
DN, GROUP, FQAN = IdType.DN, IdType.GROUP, IdType.FQAN
HEAD = '<?xml version="1.0"?><gacl version="0.9.0">'
OTHER = "/C=CZ/O=LB Reference Test/CN=Other User"


def element(auri: str, verb: str, permission: str) -> str:
    return f"<entry><cred><auri>{auri}</auri></cred><{verb}><{permission}/></{verb}></entry>"


# Entries, and the document and rights that the C server showed for them: recorded job states, and the spec's example.
RECORDED = [
    (
        [(OTHER, DN, READ, ALLOW), ("/CN=z", DN, READ, ALLOW)],
        element("dn:/C=CZ/O=LB+Reference+Test/CN=Other+User", "allow", "read") + element("dn:/CN=z", "allow", "read"),
        f"READ:\n\tallowed: dn:{OTHER}\n\t\t dn:/CN=z\n",
    ),
    ([("/CN=Carol", DN, READ, DENY)], element("dn:/CN=Carol", "deny", "read"), "READ:\n\tdenied:  dn:/CN=Carol\n"),
    ([("vo:grp", DN, TAG, ALLOW)], element("dn:vo%3Agrp", "allow", "write"), "TAG:\n\tallowed: dn:vo:grp\n"),
    ([("vo:grp", FQAN, READ, ALLOW)], element("fqan:vo%3Agrp", "allow", "read"), "READ:\n\tallowed: fqan:vo:grp\n"),
    (
        [("/emailAddress=x@y/CN=D", DN, TAG, ALLOW), ("/CN=Bob/CN=proxy", DN, TAG, ALLOW)],
        element("dn:/emailAddress=x@y/CN=D", "allow", "write") + element("dn:/CN=Bob/CN=proxy", "allow", "write"),
        "TAG:\n\tallowed: dn:/emailAddress=x@y/CN=D\n\t\t dn:/CN=Bob/CN=proxy\n",
    ),
    (
        [("/CN=bob & co", DN, TAG, ALLOW), ("/vo/grp", FQAN, READ, DENY)],
        element("dn:/CN=bob+%26+co", "allow", "write") + element("fqan:/vo/grp", "deny", "read"),
        "READ:\n\tdenied:  fqan:/vo/grp\nTAG:\n\tallowed: dn:/CN=bob & co\n",
    ),
]


def acl(*entries: tuple[str, IdType, Permission, PermissionType]) -> ACL:
    result = ACL()
    for entry in entries:
        result = result.add(Entry(*entry))
    return result


class DocumentTests(SynchronousTestCase):
    """The GACL text."""

    def test_recorded(self) -> None:
        """Entries give the documents and rights of the C server byte for byte, and the documents give the entries."""
        for entries, elements, rights in RECORDED:
            made = acl(*entries)
            self.assertEqual(HEAD + elements + "</gacl>", str(made))
            self.assertEqual(rights, made.access_rights())
            self.assertEqual(made, ACL.parse(str(made)))

    def test_both_kinds(self) -> None:
        """Of one permission, those allowed are shown before those denied."""
        made = acl(("/CN=c", DN, READ, DENY), ("/CN=a", DN, READ, ALLOW), ("/CN=d", DN, READ, DENY))
        self.assertEqual("READ:\n\tallowed: dn:/CN=a\n\tdenied:  dn:/CN=c\n\t\t dn:/CN=d\n", made.access_rights())

    def test_bytes(self) -> None:
        """Bytes outside ASCII and those of markup are written as their values."""
        made = acl(("/CN=Jiří~<\udcff+%", DN, READ, ALLOW))
        self.assertIn("<auri>dn:/CN=Ji%C5%99%C3%AD%7E%3C%FF%2B%25</auri>", str(made))

    @given(
        st.lists(
            st.tuples(
                st.text(), st.sampled_from([DN, FQAN]), st.sampled_from(Permission), st.sampled_from(PermissionType)
            )
        )
    )
    def test_round_trip(self, entries: list[tuple[str, IdType, Permission, PermissionType]]) -> None:
        """Any names survive the document, which is ASCII and holds each byte exactly once."""
        entries = [(user.encode("utf-8", "replace").decode(), *rest) for user, *rest in entries]
        made = acl(*entries)
        self.assertTrue(str(made).isascii())
        self.assertEqual(made, ACL.parse(str(made)))
        for user, *_ in entries:
            self.assertIn(user.encode(), unquote_to_bytes(str(made).replace("+", " ")))

    def test_several_permissions(self) -> None:
        """An entry of a foreign document may hold several permissions; unknown ones count for nothing."""
        text = f"{HEAD}<entry><cred><auri>dn:/CN=a</auri></cred><allow><read/><list/><write/></allow></entry></gacl>"
        self.assertEqual(acl(("/CN=a", DN, READ, ALLOW), ("/CN=a", DN, TAG, ALLOW)), ACL.parse(text))

    def test_damaged(self) -> None:
        """Text that is no document, or defines entities, is an error."""
        for text in ("", "<gacl>", HEAD, '<!DOCTYPE a [<!ENTITY b "c">]><gacl>&b;</gacl>'):
            self.assertEqual(errno.EINVAL, self.assertRaises(ACLError, ACL.parse, text).code)


class ChangeTests(SynchronousTestCase):
    """Adding and removing (spec/security.md §10.1)."""

    def test_codes(self) -> None:
        """The codes are those of the data model (spec/model.md §6.9)."""
        self.assertEqual([0, 1, 2], [DN, GROUP, FQAN])
        self.assertEqual([1, 2, 0, 1], [READ, TAG, ALLOW, DENY])
        self.assertEqual([0, 1], [Operation.ADD, Operation.REMOVE])

    def test_add_again(self) -> None:
        """An entry that is there is not added again; the former list is not changed by an addition."""
        once = acl(("/CN=a", DN, READ, ALLOW))
        self.assertEqual(once, once.add(Entry("/CN=a", DN, READ, ALLOW)))
        self.assertEqual(2, len(once.add(Entry("/CN=a", DN, READ, DENY)).entries))
        self.assertEqual(1, len(once.entries))

    def test_remove(self) -> None:
        """Exactly the entry meant is removed."""
        entries = [("/CN=a", DN, READ, ALLOW), ("/CN=a", DN, TAG, ALLOW), ("/CN=a", DN, READ, DENY)]
        entries += [("/CN=b", DN, READ, ALLOW), ("/CN=a", FQAN, READ, ALLOW)]
        for entry in entries:
            self.assertEqual(acl(*(other for other in entries if other != entry)), acl(*entries).remove(Entry(*entry)))

    def test_remove_person(self) -> None:
        """All entries of a person go, however spelled; else the removed right would stay."""
        made = acl(("/CN=a", DN, READ, ALLOW), ("/CN=a/CN=proxy", DN, READ, ALLOW), ("/CN=b", DN, READ, ALLOW))
        self.assertEqual(acl(("/CN=b", DN, READ, ALLOW)), made.remove(Entry("/CN=A", DN, READ, ALLOW)))

    def test_remove_missing(self) -> None:
        """Nothing can be removed from a list of other entries; an empty list stays empty."""
        entry = Entry("/CN=a", DN, READ, ALLOW)
        self.assertEqual(ACL(), ACL().remove(entry))
        error = self.assertRaises(ACLError, acl(("/CN=b", DN, READ, ALLOW)).remove, entry)
        self.assertEqual((errno.EINVAL, "ACL entry doesn't exist"), (error.code, str(error)))

    def test_group(self) -> None:
        """VO:group is the VOMS attribute of that group; anything else of this type is an error."""
        self.assertEqual(acl(("/vo/group", FQAN, READ, ALLOW)), acl(("vo:group", GROUP, READ, ALLOW)))
        for group in ("vo", "", ":group", "vo:"):
            error = self.assertRaises(ACLError, ACL().add, Entry(group, GROUP, READ, ALLOW))
            self.assertEqual(errno.EINVAL, error.code)


class EvaluationTests(SynchronousTestCase):
    """What a list grants (spec/security.md §10.3)."""

    def test_granted(self) -> None:
        """Only the named permission is granted, to the named person in any spelling."""
        made = acl((OTHER, DN, READ, ALLOW))
        self.assertTrue(made.allows(READ, Identity(OTHER)))
        self.assertTrue(made.allows(READ, Identity(OTHER.upper())))
        self.assertFalse(made.allows(TAG, Identity(OTHER)))
        self.assertFalse(made.allows(READ, Identity("/CN=a")))

    def test_nobody(self) -> None:
        """An anonymous peer is nobody's namesake, and an empty list grants nothing (P7)."""
        self.assertFalse(acl(("", DN, READ, ALLOW), ("None", DN, READ, ALLOW)).allows(READ, ANONYMOUS))
        self.assertFalse(ACL().allows(READ, Identity("/CN=a")))

    def test_deny_wins(self) -> None:
        """A matching denial wins wherever it stands, by name or by attribute."""
        peer = Identity("/CN=a", ("/vo/grp",))
        for denial in (("/CN=A", DN, READ, DENY), ("/vo/grp", FQAN, READ, DENY)):
            allowed = ("/CN=a", DN, READ, ALLOW)
            self.assertFalse(acl(allowed, denial).allows(READ, peer))
            self.assertFalse(acl(denial, allowed).allows(READ, peer))
        self.assertTrue(acl(("/CN=a", DN, READ, ALLOW), ("/CN=a", DN, TAG, DENY)).allows(READ, peer))

    def test_attributes(self) -> None:
        """VOMS attributes are exact but for absent parts; an attribute is no name."""
        made = acl(("/vo/grp/Role=NULL", FQAN, READ, ALLOW))
        for peer, expected in (
            (Identity("/CN=a", ("/x", "/vo/grp/Capability=NULL")), True),
            (Identity("/CN=a", ("/vo/GRP",)), False),
            (Identity("/CN=a", ("/vo/grp/Role=admin",)), False),
            (Identity("/vo/grp"), False),
        ):
            self.assertEqual(expected, made.allows(READ, peer))

    def test_unknown_credential(self) -> None:
        """An entry of a foreign document for another kind of credential matches nobody."""
        made = ACL.parse(f"{HEAD}{element('dns:/CN=a', 'allow', 'read')}</gacl>")
        self.assertFalse(made.allows(READ, Identity("/CN=a", ("/CN=a",))))
