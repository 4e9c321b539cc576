"""Columns of jobs that queries can be answered from, and the indices made of them (spec: wire-query.md §7.6).

A column is named as in the index files of the C tools, and in pages and errors as the C server names its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from lb.model.errors import LBError, invalid
from lb.model.query import Attribute
from lb.model.status import STATE_CODES, STATE_NAMES, JobStatus
from lb.model.subject import comparable

_MICROSECONDS: Final = 1_000_000

#: What conditions compare of a status, by attribute; tags and times of states have more than one value.
STATUS_VALUES: Final[dict[Attribute, Callable[[JobStatus], Any]]] = {
    Attribute.OWNER: lambda status: None if status.owner is None else comparable(status.owner),
    Attribute.STATUS: lambda status: int(status.state),
    Attribute.LOCATION: lambda status: status.location,
    Attribute.DESTINATION: lambda status: status.destination,
    Attribute.DONECODE: lambda status: status.done_code,
    Attribute.RESUBMITTED: lambda status: int(status.resubmitted),
    Attribute.PARENT: lambda status: status.parent_job,
    Attribute.EXITCODE: lambda status: status.exit_code,
    Attribute.STATEENTERTIME: lambda status: status.stateEnterTime // _MICROSECONDS,
    Attribute.LASTUPDATETIME: lambda status: status.lastUpdateTime // _MICROSECONDS,
    Attribute.NETWORK_SERVER: lambda status: status.network_server,
    Attribute.JOB_TYPE: lambda status: int(status.jobtype),
    Attribute.VM_STATUS: lambda status: status.vm_state,
}

#: Names of system columns; the first six are those of the C tools.
SYSTEM: Final[dict[str, Attribute]] = {
    "owner": Attribute.OWNER,
    "location": Attribute.LOCATION,
    "destination": Attribute.DESTINATION,
    "network_server": Attribute.NETWORK_SERVER,
    "stateEnterTime": Attribute.STATEENTERTIME,
    "lastUpdateTime": Attribute.LASTUPDATETIME,
    "status": Attribute.STATUS,
    "done_code": Attribute.DONECODE,
    "exit_code": Attribute.EXITCODE,
    "resubmitted": Attribute.RESUBMITTED,
    "jobtype": Attribute.JOB_TYPE,
    "vm_status": Attribute.VM_STATUS,
}
_SYSTEM_NAMES: Final = {attribute: name for name, attribute in SYSTEM.items()}
_FOLDED: Final = {name.lower(): attribute for name, attribute in SYSTEM.items()}
#: Longest name of a tag that can be indexed.
_LONGEST_NAME: Final = 200


class Column(NamedTuple):
    """One value of a job. `name`: of a user tag, in lower case; `state`: whose time of entry is meant."""

    attribute: Attribute
    name: str | None = None
    state: int | None = None

    @property
    def kind(self) -> str:
        """The type in an index file: ``system``, ``time`` or ``user``."""
        return _KINDS.get(self.attribute, "system")

    @property
    def label(self) -> str:
        """The name in an index file."""
        if self.attribute is Attribute.USERTAG:
            return self.name or ""
        return STATE_NAMES[self.state or 0] if self.attribute is Attribute.TIME else _SYSTEM_NAMES[self.attribute]

    @property
    def title(self) -> str:
        """What the C server calls the column, e.g. ``USR_color``."""
        return f"{_PREFIXES[self.kind]}_{self.label}"

    def value(self, status: JobStatus) -> Any:
        """What a job has here, None when it has nothing."""
        if self.attribute is Attribute.USERTAG:
            return tag_value(status, self.name or "")
        if self.attribute is Attribute.TIME:
            return status.stateEnterTimes[self.state or 0]
        return STATUS_VALUES[self.attribute](status)


_KINDS: Final = {Attribute.USERTAG: "user", Attribute.TIME: "time"}
_PREFIXES: Final = {"system": "STD", "time": "TIME", "user": "USR"}

OWNER: Final = Column(Attribute.OWNER)
#: The columns of one index, which conditions have to name all together.
Index = tuple[Column, ...]
#: What is indexed where nobody has said anything else.
DEFAULT_INDICES: Final[tuple[Index, ...]] = ((OWNER,),)


def tag_value(status: JobStatus, name: str) -> str | None:
    """The value of a user tag; names have no case."""
    folded = name.lower()
    return next((value for tag, value in status.user_tags or () if tag.lower() == folded), None)


def column(kind: str, label: str) -> Column:
    """The column of an entry in an index file; raises EINVAL."""
    if kind == "user" and 0 < len(label) <= _LONGEST_NAME:
        return Column(Attribute.USERTAG, name=label.lower())
    if kind == "time" and label.lower() in STATE_CODES:
        return Column(Attribute.TIME, state=STATE_CODES[label.lower()])
    if kind == "system" and label.lower() in _FOLDED:
        return Column(_FOLDED[label.lower()])
    raise _unknown(f"{kind} {label}")


def from_title(title: str) -> Column:
    """The column that `Column.title` names; raises EINVAL."""
    prefix, _, label = title.partition("_")
    kind = next((kind for kind, known in _PREFIXES.items() if known == prefix), "")
    return column(kind, label)


def _unknown(what: str) -> LBError:
    return invalid(
        f"{what[:255]!r} cannot be indexed: there are system columns ({', '.join(SYSTEM)}), "
        "time columns (a job state) and user columns (a tag)"
    )
