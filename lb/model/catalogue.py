"""The event catalogue: every event type with its attributes, read from the packaged `events.json`.

The tables here drive the line codec, the query XML, the command line and the documents;
no other module lists event types or attributes by hand (spec: model.md §5, §6 and §14).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from importlib import resources
from typing import Any, Final

import msgspec


class Source(IntEnum):
    """Components that log events."""

    Undefined = 0
    UserInterface = 1
    NetworkServer = 2
    WorkloadManager = 3
    BigHelper = 4
    JobController = 5
    LogMonitor = 6
    LRMS = 7
    Application = 8
    LBServer = 9
    CREAMInterface = 10
    CREAMExecutor = 11
    PBSClient = 12
    PBSServer = 13
    PBSMomSuperior = 14
    PBSMom = 15
    PBSScheduler = 16
    CloudManager = 17
    VMManager = 18
    VMSystem = 19


class Kind(Enum):
    """Value types of attributes; how each is read and written is said in model.md §3."""

    STRING = "string"
    INT = "int"
    PORT = "port"
    DOUBLE = "double"
    CODED = "coded"
    LOGSRC = "logsrc"
    JOBID = "jobid"
    NOTIFID = "notifid"
    TIMEVAL = "timeval"
    TAGLIST = "taglist"


class Attribute(msgspec.Struct, frozen=True):
    """One attribute of an event type."""

    name: str
    key: str  #: the ULM key, upper case
    kind: Kind
    mandatory: bool
    null: int | float | None  #: the value that stands for "not given"
    codes: dict[str, int]  #: CODED: upper-case name → number
    names: dict[int, str]  #: CODED: number → name
    unknown: int | None  #: CODED: what an unknown name reads as


class EventType(msgspec.Struct, frozen=True, eq=False):
    """An event type; compared by identity, there is one object for each."""

    name: str
    code: int
    flesh: str
    attributes: tuple[Attribute, ...]
    by_key: dict[str, Attribute]
    by_name: dict[str, Attribute]

    def __repr__(self) -> str:
        return f"<EventType {self.name}>"


def _attribute(raw: dict[str, Any]) -> Attribute:
    codes: dict[str, int] = raw.get("codes", {})
    kind = Kind.CODED if codes else Kind(raw["type"])
    null = raw.get("undefined") if codes else raw["null"]
    return Attribute(
        name=raw["name"],
        key=raw["ulm"],
        kind=kind,
        mandatory=not raw["optional"],
        null=null,
        codes=codes,
        names={number: name for name, number in codes.items()},
        unknown=raw.get("unknown_text_parses_to", null) if codes else None,
    )


def _event_type(raw: dict[str, Any]) -> EventType:
    attributes = tuple(_attribute(a) for a in raw["attributes"])
    return EventType(
        name=raw["name"],
        code=raw["code"],
        flesh=raw["flesh"],
        attributes=attributes,
        by_key={a.key: a for a in attributes},
        by_name={a.name: a for a in attributes},
    )


_RAW: Final[dict[str, Any]] = msgspec.json.decode(resources.files("lb.model").joinpath("events.json").read_bytes())

#: All event types in the order of their codes.
TYPES: Final[tuple[EventType, ...]] = tuple(_event_type(t) for t in _RAW["types"])
BY_NAME: Final[dict[str, EventType]] = {t.name: t for t in TYPES}
BY_FOLDED_NAME: Final[dict[str, EventType]] = {t.name.lower(): t for t in TYPES}
BY_CODE: Final[dict[int, EventType]] = {t.code: t for t in TYPES}

#: Every event-specific key of every type: a key of another type is misused, a key not here is a vendor's.
SPECIFIC_KEYS: Final[frozenset[str]] = frozenset(a.key for t in TYPES for a in t.attributes)

#: Sequence-code flavour (a name of `lb.model.seqcode.Flavour`) that the events of a flesh use by custom.
FLESH_SEQCODE: Final[dict[str, str]] = {f["name"]: f["default_seqcode"] for f in _RAW["fleshes"]}

SOURCE_NAMES: Final[dict[int, str]] = {number: name for name, number in _RAW["sources"].items()}
#: Lower-case source name → code; `JobSubmission` is what the Java client calls the job controller.
SOURCE_CODES: Final[dict[str, int]] = {
    **{name.lower(): number for name, number in _RAW["sources"].items()},
    "jobsubmission": Source.JobController,
}

LEVEL_CODES: Final[dict[str, int]] = next(a["codes"] for a in _RAW["common"] if a["name"] == "level")
LEVEL_NAMES: Final[dict[int, str]] = {0: "UNDEFINED", **{number: name for name, number in LEVEL_CODES.items()}}
LEVEL_SYSTEM: Final = LEVEL_CODES["SYSTEM"]


class Priority(IntEnum):
    """Bits of DG.PRIORITY, the flags of the logging call (model.md §6.3)."""

    SYNC_COMPAT = 1
    SYNC = 2
    LOCAL = 4
    PROXY = 8
    DIRECT = 16
    INTERNAL = 32
    EXCL = 64
    FILE = 128


#: "Priority" messages: whoever sent one waits for the server's word (wire-logging.md §2.1).
SYNCHRONOUS: Final = Priority.SYNC | Priority.SYNC_COMPAT
