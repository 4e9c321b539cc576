"""Who may read a job and how much of it: the rows of security.md §11.1 in their order, what each view leaves out."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lb.model.status import JobStatus, State
from lb.security.acl import ACL, Entry, IdType, Permission, PermissionType
from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import Action, Policy
from lb.server.access import Access, access, anonymised, hashed, of_everybody, reduced, without_descriptions

OWNER, PEER = "/CN=owner", Identity("/CN=peer")
OPEN = Policy.open()


class Reading(SynchronousTestCase):
    """One job of OWNER, read by PEER."""

    def _access(self, *actions: Action, acl: ACL | None = None, payload_owner: str | None = None) -> Access:
        policy = OPEN.permitting("/CN=peer", *actions)
        return access(policy, PEER, OWNER, payload_owner, None if acl is None else str(acl))

    def test_rows(self) -> None:
        """P7: owner, payload owner, ACL, and each action give what the table says; nothing gives nothing."""
        readers = ACL().add(Entry("/CN=Peer", IdType.DN, Permission.READ, PermissionType.ALLOW))
        taggers = ACL().add(Entry("/CN=Peer", IdType.DN, Permission.TAG, PermissionType.ALLOW))
        self.assertIs(access(OPEN, Identity("/CN=OWNER"), OWNER, None, None), Access.FULL)
        self.assertIs(self._access(payload_owner="/CN=peer"), Access.FULL)
        self.assertIs(self._access(acl=readers), Access.FULL)
        self.assertIs(self._access(acl=taggers), Access.NONE)
        self.assertIs(self._access(Action.ADMIN_ACCESS), Access.FULL)
        self.assertIs(self._access(Action.READ_ALL, Action.STATUS_FOR_MONITORING), Access.FULL)
        self.assertIs(self._access(Action.READ_ANONYMIZED, Action.STATUS_FOR_MONITORING), Access.ANONYMISED)
        self.assertIs(self._access(Action.STATUS_FOR_MONITORING), Access.REDUCED)
        self.assertIs(self._access(), Access.NONE)

    def test_anonymous_peers(self) -> None:
        """P7: who has no name reads nothing, whatever the policy lets everybody read."""
        policy = OPEN.permitting(".*", Action.READ_ALL)
        self.assertIs(of_everybody(policy, ANONYMOUS), Access.NONE)

    def test_views(self) -> None:
        """Hashed names are stable and salted; the reduced view has the listed attributes and no others."""
        status = JobStatus(
            state=State.Running,
            jobId="https://h:9000/u",
            owner=OWNER,
            reason="secret",
            location="x",
            destination="ce",
            jdl='[ VirtualOrganisation = "v\\"o"; Executable = "x"; Type = "job" ]',
        )
        self.assertEqual(anonymised(status, "s").owner, hashed(OWNER, "s"))
        self.assertIsNone(anonymised(status, "s").payload_owner)
        self.assertNotEqual(hashed(OWNER, "s"), hashed(OWNER, "t"))
        self.assertEqual(
            reduced(status),
            JobStatus(
                state=State.Running,
                jobId="https://h:9000/u",
                destination="ce",
                jdl='[ VirtualOrganisation = "v\\"o"; Type = "job"; ]',
            ),
        )
        self.assertIsNone(without_descriptions(status).jdl)
        self.assertEqual(without_descriptions(status).reason, "secret")
