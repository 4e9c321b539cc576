"""Who may store what: the checks of an event before it changes anything (spec: security.md §9, state-machine.md §16).

Pure decisions over values. A refusal is an `LBError` whose text goes to the sender; nothing is refused silently (P7).
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from typing import Final

from lb.model.catalogue import BY_NAME, EventType, Priority, Source
from lb.model.errors import LBError, exists, forbidden, invalid, missing
from lb.model.event import Event
from lb.model.subject import same_person
from lb.security.acl import ACL, Entry, IdType, Operation, Permission, PermissionType
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.store.interface import StoredJob

REGISTRATION: Final = BY_NAME["RegJob"]
CHANGE_ACL: Final = BY_NAME["ChangeACL"]
USER_TAG: Final = BY_NAME["UserTag"]
GRANT: Final = BY_NAME["GrantPayloadOwnership"]
TAKE: Final = BY_NAME["TakePayloadOwnership"]

#: What the policy has to permit for an event to be stored; anything else is a workload manager's event.
_ACTIONS: Final[dict[EventType, Action]] = {
    REGISTRATION: Action.REGISTER_JOBS,
    GRANT: Action.GRANT_OWNERSHIP,
    **dict.fromkeys((BY_NAME["CurDescr"], USER_TAG, CHANGE_ACL), Action.LOG_GENERAL_EVENTS),
    **dict.fromkeys((BY_NAME["Running"], BY_NAME["ReallyRunning"], BY_NAME["Done"]), Action.LOG_CE_EVENTS),
}

#: Sources that speak for the owner of a job.
_OWNERS_SOURCES: Final = frozenset({Source.UserInterface, Source.LRMS, Source.Application})
#: Events by which rights are given away: only the owner's, whatever source they name (security.md §18, 1).
_OWNERS_EVENTS: Final = frozenset({CHANGE_ACL, GRANT, USER_TAG})

ANONYMOUS_USER: Final = "anonymous"
GREY_OWNER: Final = "GREY JOB"

#: Error text of a refused author; the C server's, which its users know.
_NOT_AUTHOR: Final = "check_auth()"


def check_peer(event: Event, peer: Identity, policy: Policy) -> None:
    """The peer may send this kind of event at all."""
    if peer.name is None:
        raise forbidden("LB server can't store using unauthenticated connection")
    if not policy.allows(_ACTIONS.get(event.type, Action.LOG_WMS_EVENTS), peer):
        raise forbidden("Not allowed to log events here")


def check_new(event: Event, peer: Identity, policy: Policy, *, grey_jobs: bool) -> None:
    """The first event of a job that is not registered yet; who may bring those of others may bring them early (S3)."""
    if grey_jobs or policy.allows(Action.REGISTER_FOREIGN, peer):
        return
    if event.type is not REGISTRATION:
        raise missing("job not registered")
    if not same_person(event.user, peer.name):
        raise forbidden("job registration must go directly")


def check_known(event: Event, peer: Identity, policy: Policy, job: StoredJob, *, grey_jobs: bool) -> None:
    """An event of a known job: it names the same server, and a registration comes from the same owner."""
    check_place(event, job)
    if event.type is not REGISTRATION:
        return
    if job.grey:
        check_new(event, peer, policy, grey_jobs=grey_jobs)
        return
    if not same_person(event.user, job.owner):
        raise forbidden("Job already registered with different owner. Rejecting event.")
    if event.priority & Priority.EXCL:
        raise exists("Job with given jobid already exists. Rejecting event.")


def check_unused(event: Event, purged: Collection[str]) -> None:
    """A registration that asks for a new id does not get that of a purged job."""
    if event.type is REGISTRATION and event.jobid.unique in purged:
        raise exists("Zombie job with given jobid already exists. Rejecting event.")


def check_place(event: Event, job: StoredJob) -> None:
    """An event names its job by the id that it has here."""
    if job.jobid.port != event.jobid.port or job.jobid.host.lower() != event.jobid.host.lower():
        raise missing(f"job not registered (it is known here as {job.jobid})")


def check_author(event: Event, job: StoredJob, peer: Identity, policy: Policy) -> None:
    """The user named in the event may log it to this job."""
    user = event.user
    if policy.allows(Action.ADMIN_ACCESS, peer):
        return
    if user is None or user == ANONYMOUS_USER:
        raise forbidden(_NOT_AUTHOR)
    if job.grey:
        return  # nobody owns it yet (S52)
    if event.type is TAKE:
        return  # the owner's grant decides
    if (event.source in _OWNERS_SOURCES or event.type in _OWNERS_EVENTS) and not same_person(user, job.owner):
        if event.type is USER_TAG and job.acl and ACL.parse(job.acl).allows(Permission.TAG, Identity(user)):
            return
        raise forbidden(_NOT_AUTHOR)


def changed_acl(event: Event, acl: str | None) -> str | None:
    """The ACL after a ChangeACL event."""
    permission = event.number("permission")
    if permission not in (Permission.READ, Permission.TAG):
        raise invalid("Unknown permission for ACL")
    entry = Entry(
        str(event.text("user_id")),
        IdType(event.number("user_id_type")),
        Permission(permission),
        PermissionType(event.number("permission_type")),
    )
    return _with(acl, entry, Operation(event.number("operation")))


def with_permission(acl: str | None, user: str, permission: Permission) -> str | None:
    """The ACL with one more person allowed something."""
    return _with(acl, Entry(user, IdType.DN, permission, PermissionType.ALLOW), Operation.ADD)


def _with(acl: str | None, entry: Entry, operation: Operation) -> str | None:
    before = ACL.parse(acl) if acl else ACL()
    try:
        after = before.add(entry) if operation is Operation.ADD else before.remove(entry)
    except ValueError as error:
        raise LBError(errno.EINVAL, str(error)) from None
    return None if acl is None and not after.entries else str(after)  # one that was emptied stays, as the C server's
