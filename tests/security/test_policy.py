"""The policy file: its grammar, its mistakes, and what it permits (spec/security.md §8)."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import Action, Policy, PolicyError, load, parse

ALICE = Identity("/C=CZ/O=Test/CN=Alice")
BOB = Identity("/C=CZ/O=Test/CN=Bob", ("/vo/group/Role=NULL/Capability=NULL", "/vo/Role=admin"))

EXAMPLE = """
# what the set-up script writes
resource "LB" {
action "ADMIN_ACCESS" {
\trule permit {
\t\tsubject = "/C=CZ/O=Test/CN=Alice/CN=proxy"   # any spelling
\t}
}
action "REGISTER_JOBS" { rule permit { subject = ".*" } }
action "READ_ALL" {
	rule permit { subject = "/CN=Carol" }
	rule permit { fqan = "/vo/group" subject = "/C=CZ/O=Test/CN=bob" }
}
action "PURGE" { rule permit { fqan = "/vo/group" subject = "/CN=Carol" } rule permit { } }
action "GET_STATISTICS" { rule permit { fqan = "/vo/Role=admin/Capability=NULL" } }
action "READ_ALL" { rule permit { subject = "/CN=Dave" } }
action "STATUS_FOR_MONITORING" { }
}
"""


class MatchingTests(SynchronousTestCase):
    """Rules of an action add up, attributes of a rule must all hold, and nothing else is permitted."""

    def test_example(self) -> None:
        """A table of who may do what under the example."""
        policy = parse(EXAMPLE, "example")
        permitted = {
            (Action.ADMIN_ACCESS, ALICE.name),
            *((Action.REGISTER_JOBS, name) for name in (ALICE.name, BOB.name, "/CN=Carol", "/CN=Dave", None)),
            *((Action.READ_ALL, name) for name in (BOB.name, "/CN=Carol", "/CN=Dave")),
            (Action.GET_STATISTICS, BOB.name),
        }
        peers = [ALICE, BOB, Identity("/CN=Carol"), Identity("/CN=Dave"), ANONYMOUS]
        found = {(action, peer.name) for action in Action for peer in peers if policy.allows(action, peer)}
        self.assertEqual(permitted, found)

    def test_fqans_are_exact(self) -> None:
        """VOMS attributes are compared with their case, and not by their beginnings."""
        policy = parse('resource "LB" { action "PURGE" { rule permit { fqan = "/vo/group" } } }', "p")
        for fqan, expected in (("/vo/group", True), ("/vo/Group", False), ("/vo/group/sub", False), ("/vo", False)):
            self.assertEqual(expected, policy.allows(Action.PURGE, Identity("/CN=A", (fqan,))))

    def test_patterns(self) -> None:
        """No value but .* is a pattern."""
        policy = parse('resource "LB" { action "PURGE" { rule permit { subject = "/CN=.*" } } }', "p")
        self.assertFalse(policy.allows(Action.PURGE, Identity("/CN=A")))
        self.assertTrue(policy.allows(Action.PURGE, Identity("/CN=.*")))

    def test_without_a_file(self) -> None:
        """Without a file the authenticated may register and log, and nobody anything else (P7)."""
        policy = Policy.open()
        expected = {
            Action.REGISTER_JOBS,
            Action.LOG_WMS_EVENTS,
            Action.LOG_CE_EVENTS,
            Action.LOG_GENERAL_EVENTS,
            Action.GRANT_OWNERSHIP,
        }
        self.assertEqual(expected, {action for action in Action if policy.allows(action, ALICE)})
        self.assertEqual(set(), {action for action in Action if policy.allows(action, ANONYMOUS)})

    def test_more_subjects(self) -> None:
        """Super-users and the server itself are added to a policy without changing the former one."""
        before = Policy.open()
        policy = before.permitting("/CN=Server", Action.READ_ALL, Action.PURGE)
        policy = policy.permitting("FQAN:/vo/Role=admin", Action.ADMIN_ACCESS)
        server = Identity("/cn=server")
        self.assertTrue(policy.allows(Action.READ_ALL, server) and policy.allows(Action.PURGE, server))
        self.assertFalse(policy.allows(Action.ADMIN_ACCESS, server) or before.allows(Action.PURGE, server))
        self.assertTrue(policy.allows(Action.ADMIN_ACCESS, BOB))
        self.assertFalse(policy.allows(Action.ADMIN_ACCESS, ALICE))
        self.assertFalse(policy.allows(Action.REGISTER_JOBS, ANONYMOUS))


class GrammarTests(SynchronousTestCase):
    """A mistake stops the start with the file, the line and what is wrong."""

    def test_mistakes(self) -> None:
        """A table of mistakes; comment lines count as lines."""
        for text, message in (
            ("", "f:1: 'resource' expected, not the end of the file"),
            ("# only this\n", "f:2: 'resource' expected, not the end of the file"),
            ('resource "XX" {\n}', "f:1: unknown resource 'XX'"),
            ('# c\nresource "LB" {\naction "READ"\n{ } }', "f:3: unknown action 'READ', there are ADMIN_ACCESS"),
            ('resource "LB" {\naction READ', "f:2: cannot be understood: 'READ'"),
            ('resource "LB" {\naction read', "f:2: an action in double quotes expected, not 'read'"),
            ('resource "LB" {\n"PURGE"', "f:2: '}' expected, not '\"PURGE\"'"),
            ('resource "LB" { action "PURGE" { rule deny', "f:1: 'permit' expected, not 'deny'"),
            ('resource "LB" { action "PURGE" {\nrule permit { group = "x"', "f:2: unknown attribute 'group'"),
            ('resource "LB" { action "PURGE" {\nrule permit { subject "x"', "f:2: '=' expected"),
            ('resource "LB" { action "PURGE" {\nrule permit { subject = x', "f:2: a subject in double quotes expected"),
            ('resource "LB" { action "PURGE" {\nrule permit {\n', "f:3: '}' expected, not the end of the file"),
            ('resource "LB" { action "PURGE" {\nrule permit { subject = "a\n" }', "f:2: cannot be understood: '\"a'"),
            ('resource "LB" {}\nresource "LB" {}', "f:2: nothing may follow the resource, found 'resource'"),
            ('resource "LB" {\r\n}', "f:1: cannot be understood"),
        ):
            error = self.assertRaises(PolicyError, parse, text, "f")
            self.assertIn(message, str(error))

    @given(st.text(alphabet='resourcactinulpmbjfq"LBPURGE{}= \n#\r\t', max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever the text, it is read or refused with a line of it."""
        try:
            parse(text, "f")
        except PolicyError as error:
            line = int(str(error).split(":")[1])
            self.assertTrue(1 <= line <= text.count("\n") + 1)

    def test_file(self) -> None:
        """A file is read with whatever bytes are in its names; one that cannot be read is an error."""
        path = Path(self.mktemp())
        error = self.assertRaises(PolicyError, load, path)
        self.assertIn(str(path), str(error))
        path.write_bytes(b'resource "LB" { action "PURGE" { rule permit { subject = "/CN=\xff" } } }')
        self.assertTrue(load(path).allows(Action.PURGE, Identity("/CN=\udcff")))
