"""A job's state as brokers carry it: the JSON object of the C plugin, CloudEvents 1.0 around it, headers beside it.

Spec: wire-notification.md §5.2; docs/protocol.md. Bytes that were no UTF-8 become U+FFFD: JSON cannot hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final

import msgspec

from lb.model.errors import LBError
from lb.model.jdl import attribute_of
from lb.model.jobid import parse_cached
from lb.model.status import JobStatus
from lb.wire.documents import clean, state_name

#: What the C plugin says that its object is; it says so in a property of this name.
CONTENT_TYPE: Final = "text/javascript"
_CONTENT_TYPE_PROPERTY: Final = "Content-type"
CLOUD_EVENT_TYPE: Final = "application/cloudevents+json"
#: The type attribute of our CloudEvents.
EVENT_TYPE: Final = "org.glite.lb.job.state"

#: Headers: the job, its state, its owner, the registration, and the number of this notification.
JOB_HEADER, STATE_HEADER, OWNER_HEADER = "lb-job", "lb-state", "lb-owner"
NOTIFICATION_HEADER, SEQUENCE_HEADER = "lb-notification", "lb-sequence"
#: Characters of a header's value; a longer name would fill a frame of AMQP.
_MAX_HEADER: Final = 1_024


class Format(Enum):
    """How a body is written; the values are what options and addresses call it."""

    PLAIN = "plain"  #: the C plugin's object
    CLOUDEVENTS = "cloudevents"  #: the same object as the data of a CloudEvent in structured mode


class Told(msgspec.Struct, frozen=True):
    """A state as it is told to whoever may read so much of it: `body` is the C plugin's object."""

    body: str
    jobid: str
    state: str
    owner: str | None
    updated: int  #: microseconds since the epoch, 0: never


def tell(status: JobStatus) -> Told:
    """A state in the form that all its receivers share."""
    members = ", ".join(
        f'"{name}" : {text}' for name, read in _MEMBERS if (text := read(status)) is not None
    )  # spaced as the C plugin does
    return Told(
        clean(f"{{{members}}}"),
        clean(status.jobId or ""),
        state_name(status.state),
        None if status.owner is None else clean(status.owner),
        status.lastUpdateTime,
    )


def cloud_event(told: Told, notification: str, sequence: int) -> str:
    """A CloudEvent around a state; `notification`: the id of the registration, which is the event's source."""
    members: list[tuple[str, str | None]] = [
        ("specversion", "1.0"),
        ("id", str(sequence)),
        ("source", notification),
        ("type", EVENT_TYPE),
        ("subject", told.jobid or None),
        ("time", _moment(told.updated)),
        ("datacontenttype", "application/json"),
        ("jobstate", told.state),
        # The extension compares them as texts, so that they have to be of one length.
        ("sequence", f"{sequence:020}"),
    ]
    written = ", ".join(f'"{name}" : {encode_basestring(text)}' for name, text in members if text is not None)
    return f'{{{written}, "data" : {told.body}}}'


def headers(told: Told, notification: str, sequence: int, form: Format) -> Mapping[str, str]:
    """What stands beside the body, for those who choose or sort without reading it."""
    found = {
        JOB_HEADER: told.jobid,
        STATE_HEADER: told.state,
        NOTIFICATION_HEADER: notification,
        SEQUENCE_HEADER: str(sequence),
    }
    if told.owner is not None:
        found[OWNER_HEADER] = told.owner[:_MAX_HEADER]
    if form is Format.PLAIN:
        found[_CONTENT_TYPE_PROPERTY] = CONTENT_TYPE
    return found


def _moment(microseconds: int) -> str | None:
    """``2014-05-13T16:53:20Z``; None for no time, and for what no calendar holds."""
    return _second(microseconds // 1_000_000) if microseconds else None


@lru_cache(maxsize=256)
def _second(seconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return None


def _text(text: str | None) -> str | None:
    return None if text is None else encode_basestring(text)


def _host(jobid: str | None) -> str | None:
    if jobid is None:
        return None
    try:
        return parse_cached(jobid).host
    except LBError:
        return None


def _vo(status: JobStatus) -> str | None:
    return None if status.jdl is None else attribute_of(status.jdl, "VirtualOrganisation")


#: Members in the order of the C plugin; None: left out.
_MEMBERS: Final[tuple[tuple[str, Callable[[Any], str | None]], ...]] = (
    ("jobid", lambda status: _text(status.jobId)),
    ("ownerDn", lambda status: _text(status.owner)),
    ("VirtualOrganisation", lambda status: _text(_vo(status))),
    ("bkHost", lambda status: _text(_host(status.jobId))),
    ("networkHost", lambda status: _text(status.network_server)),
    ("lastUpdateTime", lambda status: _text(_moment(status.lastUpdateTime))),
    ("stateName", lambda status: _text(state_name(status.state))),
    ("stateStartTime", lambda status: _text(_moment(status.stateEnterTime))),
    ("condorId", lambda status: _text(status.condorId)),
    ("destSite", lambda status: _text(status.destination)),
    ("exitCode", lambda status: str(status.exit_code)),
    ("doneCode", lambda status: str(status.done_code)),
    ("statusReason", lambda status: _text(status.reason)),
    ("history", lambda status: status.history),
)
