"""Who may read the state of a job, and how much of it (spec: security.md §11, §12).

The one place that decides; queries and notifications both ask here. Pure: values in, values out.
"""

from __future__ import annotations

from enum import Enum
from hashlib import sha256
from typing import Final

import msgspec

from lb.model.event import Event
from lb.model.jdl import attribute_of
from lb.model.status import JDL_ATTRIBUTES, JobStatus
from lb.model.subject import same_person
from lb.security.acl import ACL, Permission
from lb.security.identity import Identity
from lb.security.policy import Action, Policy


class Access(Enum):
    """How much of a job somebody may read."""

    FULL = "full"
    ANONYMISED = "anonymised"
    REDUCED = "reduced"
    NONE = "none"


#: What lets somebody read jobs of everybody, in the order in which it counts.
_OF_EVERYBODY: Final = (
    (Action.READ_ALL, Access.FULL),
    (Action.READ_ANONYMIZED, Access.ANONYMISED),
    (Action.STATUS_FOR_MONITORING, Access.REDUCED),
)


def of_everybody(policy: Policy, peer: Identity) -> Access:
    """What the peer may read of any job at all, whoever owns it."""
    if policy.allows(Action.ADMIN_ACCESS, peer):
        return Access.FULL
    if peer.name is None:
        return Access.NONE
    return next((access for action, access in _OF_EVERYBODY if policy.allows(action, peer)), Access.NONE)


def access(policy: Policy, peer: Identity, owner: str, payload_owner: str | None, acl: str | None) -> Access:
    """What the peer may read of a job."""
    if peer.name is not None and (
        same_person(peer.name, owner)
        or same_person(peer.name, payload_owner)
        or (acl is not None and ACL.parse(acl).allows(Permission.READ, peer))
    ):
        return Access.FULL
    return of_everybody(policy, peer)


def hashed(name: str, salt: str) -> str:
    """What stands for a name where names are not told: the same for the same name on one server (§12)."""
    return sha256((name + salt).encode("utf-8", "surrogateescape")).hexdigest()


def anonymised(status: JobStatus, salt: str) -> JobStatus:
    """A status without the names of its owners."""
    return msgspec.structs.replace(
        status,
        owner=None if status.owner is None else hashed(status.owner, salt),
        payload_owner=None if status.payload_owner is None else hashed(status.payload_owner, salt),
    )


#: Attributes of events that name persons: one each, or one on each line.
_NAMES: Final = ("user_id", "payload_owner")
_LISTS: Final = ("wms_dn",)


def told(event: Event, allowed: Access, salt: str) -> Event:
    """An event of a history without the names that are not to be told; it is changed in place."""
    if allowed is Access.FULL:
        return event
    name = event.user
    event.user = None if name is None or allowed is Access.REDUCED else hashed(name, salt)
    for attribute in (*_NAMES, *_LISTS):
        names = event.text(attribute)
        if names is None:
            continue
        if allowed is Access.REDUCED:
            del event.attributes[attribute]
        elif attribute in _NAMES:
            event.attributes[attribute] = hashed(names, salt)
        else:
            event.attributes[attribute] = "\n".join(hashed(each, salt) if each else "" for each in names.split("\n"))
    return event


#: Attributes that those who only watch may read (§11.2).
_WATCHED: Final = (
    "state",
    "jobId",
    "jobtype",
    "destination",
    "network_server",
    "stateEnterTime",
    "stateEnterTimes",
    "lastUpdateTime",
    "ui_host",
)
WATCHED_JDL: Final = ("VirtualOrganisation", "JobType", "Type")


def reduced(status: JobStatus) -> JobStatus:
    """What those who only watch may read of a status; of the job description no more than VO and types."""
    kept = {name: getattr(status, name) for name in _WATCHED}
    return JobStatus(jdl=None if status.jdl is None else _reduced_jdl(status.jdl), **kept)


def _reduced_jdl(description: str) -> str | None:
    found = [(name, attribute_of(description, name)) for name in WATCHED_JDL]
    lines = [f"{name} = {_quoted(value)};" for name, value in found if value is not None]
    return "[ " + " ".join(lines) + " ]" if lines else None


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def without_descriptions(status: JobStatus) -> JobStatus:
    """A status without its job descriptions, as it is told to those who did not ask for them."""
    if all(getattr(status, name) is None for name in JDL_ATTRIBUTES):
        return status
    return msgspec.structs.replace(status, **dict.fromkeys(JDL_ATTRIBUTES))
