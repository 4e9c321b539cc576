"""Queries for jobs and events as values: conditions, flags, limits (spec: wire-query.md §5, model.md §6.10 to §6.12).

A query says what is asked for, never how it is found. What may not be asked is refused here,
in the words of the protocol, whatever syntax the query came in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, IntEnum, IntFlag
from typing import Final, NamedTuple

import msgspec

from lb.model import catalogue, status
from lb.model.errors import LBError, invalid
from lb.model.jobid import JobId, parse_cached


class Attribute(IntEnum):
    """What a condition is about."""

    JOBID = 1
    OWNER = 2
    STATUS = 3
    LOCATION = 4
    DESTINATION = 5
    DONECODE = 6
    USERTAG = 7
    TIME = 8
    LEVEL = 9
    HOST = 10
    SOURCE = 11
    INSTANCE = 12
    EVENT_TYPE = 13
    CHKPT_TAG = 14
    RESUBMITTED = 15
    PARENT = 16
    EXITCODE = 17
    JDL_ATTR = 18
    STATEENTERTIME = 19
    LASTUPDATETIME = 20
    NETWORK_SERVER = 21
    JOB_TYPE = 22
    VM_STATUS = 23


class Operator(IntEnum):
    """How a value is compared; WITHIN includes both its ends."""

    EQUAL = 0
    LESS = 1
    GREATER = 2
    WITHIN = 3
    UNEQUAL = 4
    CHANGED = 5


class Results(IntEnum):
    """What the asker wants when more match than the limit allows (wire-query.md §5.6)."""

    UNDEFINED = 0
    NONE = 1
    ALL = 2
    LIMITED = 3


class Flag(IntFlag):
    """What a job's state carries in the answer; the lower-case names are those of the wire."""

    CLASSADD = 1
    CHILDREN = 2
    CHILDSTAT = 4
    CHILDHIST_FAST = 8
    CHILDHIST_THOROUGH = 16
    ANONYMIZED = 32
    TERMINAL_STATES = 64
    HISTORY = 128
    BOOTSTRAP = 256
    VOLATILE = 512
    NO_JOBS = 1024
    NO_STATES = 2048


NO_FLAGS: Final = Flag(0)

_FLAG_NAMES: Final[dict[str, Flag]] = {str(flag.name).lower(): flag for flag in Flag}


def read_flags(text: str) -> Flag:
    """The flags of ``name+name``; names that nobody knows are passed over."""
    flags = NO_FLAGS
    for name in text.split("+"):
        flags |= _FLAG_NAMES.get(name.strip().lower(), NO_FLAGS)
    return flags


def write_flags(flags: Flag) -> str:
    return "+".join(name for name, flag in _FLAG_NAMES.items() if flag in flags)


class Kind(Enum):
    """Types of a condition's value: `JobId`, `str`, or `int` (a code, a number, seconds since the epoch)."""

    JOBID = "job id"
    TEXT = "text"
    NUMBER = "number"
    SECONDS = "seconds since the epoch"


class AttributeForm(NamedTuple):
    """How conditions on one attribute look and what may be asked of it."""

    element: str  #: name in the query XML, spelled as clients write it
    kind: Kind
    job_operators: frozenset[Operator]
    event_operators: frozenset[Operator]
    noun: str  #: what it is called in errors
    codes: Mapping[str, int] = {}  #: lower-case name → number
    names: Mapping[int, str] = {}  #: number → the name that travels in place of the number


_NONE: Final[frozenset[Operator]] = frozenset()
_ALL: Final = frozenset(Operator)
#: CHANGED asks nothing of a single state; it means something in registrations, which use the same groups.
_SAME: Final = frozenset({Operator.EQUAL, Operator.UNEQUAL, Operator.CHANGED})
_SAME_EVENT: Final = _SAME - {Operator.CHANGED}


def _codes(*names: Mapping[str, int]) -> dict[str, int]:
    return {name.lower(): number for mapping in names for name, number in mapping.items()}


def _numbered(names: tuple[str, ...]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


#: The display list spells code 3 with an underscore, queries with a hyphen (model.md §6.8): read both, write this.
_VM_CODES: Final = status.BY_NAME["vm_state"].codes
_JOB_TYPES: Final = status.BY_NAME["jobtype"].display
_EVENT_TYPES: Final = {type_.name: type_.code for type_ in catalogue.TYPES}

FORMS: Final[dict[Attribute, AttributeForm]] = {
    Attribute.JOBID: AttributeForm("jobId", Kind.JOBID, _SAME | {Operator.GREATER}, _NONE, "job id"),
    Attribute.OWNER: AttributeForm("owner", Kind.TEXT, _SAME, _NONE, "job owner"),
    Attribute.STATUS: AttributeForm(
        "status", Kind.NUMBER, _ALL, _NONE, "job state", status.STATE_CODES, dict(enumerate(status.STATE_NAMES))
    ),
    Attribute.LOCATION: AttributeForm("location", Kind.TEXT, _SAME, _NONE, "job location"),
    Attribute.DESTINATION: AttributeForm("destination", Kind.TEXT, _SAME, _NONE, "job destination"),
    Attribute.DONECODE: AttributeForm(
        "donecode", Kind.NUMBER, _ALL, _NONE, "done code", _codes(status.BY_NAME["done_code"].codes)
    ),
    Attribute.USERTAG: AttributeForm("usertag", Kind.TEXT, _ALL, _SAME_EVENT, "user tag"),
    Attribute.TIME: AttributeForm("time", Kind.SECONDS, _ALL, _ALL, "time"),
    Attribute.LEVEL: AttributeForm("level", Kind.NUMBER, _NONE, _ALL, "level", _codes(catalogue.LEVEL_CODES)),
    Attribute.HOST: AttributeForm("host", Kind.TEXT, _NONE, _SAME_EVENT, "host"),
    Attribute.SOURCE: AttributeForm("source", Kind.NUMBER, _NONE, _SAME_EVENT, "source", catalogue.SOURCE_CODES),
    Attribute.INSTANCE: AttributeForm("instance", Kind.TEXT, _NONE, _SAME_EVENT, "source instance"),
    Attribute.EVENT_TYPE: AttributeForm("type", Kind.NUMBER, _NONE, _ALL, "event type", _codes(_EVENT_TYPES)),
    Attribute.CHKPT_TAG: AttributeForm("chkpt_tag", Kind.TEXT, _NONE, _NONE, "checkpoint tag"),
    Attribute.RESUBMITTED: AttributeForm("resubmitted", Kind.NUMBER, _SAME, _NONE, "job resubmission"),
    Attribute.PARENT: AttributeForm("parent_job", Kind.JOBID, _SAME, _NONE, "parent job"),
    Attribute.EXITCODE: AttributeForm("exitcode", Kind.NUMBER, _ALL, _NONE, "exit code"),
    Attribute.JDL_ATTR: AttributeForm("jdl", Kind.TEXT, _SAME, _SAME_EVENT, "JDL attribute"),
    Attribute.STATEENTERTIME: AttributeForm("stateentertime", Kind.SECONDS, _ALL, _ALL, "state enter time"),
    Attribute.LASTUPDATETIME: AttributeForm("lastupdatetime", Kind.SECONDS, _ALL, _ALL, "last update time"),
    Attribute.NETWORK_SERVER: AttributeForm("networkserver", Kind.TEXT, _SAME, _NONE, "network server"),
    Attribute.JOB_TYPE: AttributeForm(
        "jobtype", Kind.NUMBER, _SAME, _NONE, "job type", _codes(_numbered(_JOB_TYPES)), dict(enumerate(_JOB_TYPES))
    ),
    Attribute.VM_STATUS: AttributeForm(
        "vm_status",
        Kind.NUMBER,
        _SAME,
        _NONE,
        "VM job state",
        _codes(_VM_CODES, _numbered(status.BY_NAME["vm_state"].display)),
        {number: name.capitalize() for name, number in _VM_CODES.items()},
    ),
}
BY_ELEMENT: Final[dict[str, Attribute]] = {form.element.lower(): attribute for attribute, form in FORMS.items()}

#: Attributes whose conditions name a tag or a JDL attribute.
NAMED: Final = frozenset({Attribute.USERTAG, Attribute.JDL_ATTR})

Value = JobId | str | int


class Condition(msgspec.Struct, frozen=True):
    """One comparison. `value` is None for the asker's own identity (OWNER) and with CHANGED.

    `name`: the tag or JDL attribute; `state`: with TIME, the state whose time of entry is meant.
    """

    attribute: Attribute
    operator: Operator
    value: Value | None
    value2: Value | None = None
    name: str | None = None
    state: int | None = None


#: Alternatives, of which one must hold.
Group = tuple[Condition, ...]


class Query(msgspec.Struct, frozen=True):
    """All groups must hold. `soft_limit`: at most so many answers, 0 = as many as the server gives."""

    jobs: tuple[Group, ...] = ()
    events: tuple[Group, ...] = ()
    flags: Flag = NO_FLAGS
    soft_limit: int = 0
    results: Results = Results.UNDEFINED


def of_job(jobid: JobId, flags: Flag = NO_FLAGS) -> Query:
    """The state of one job, as C clients ask for it."""
    return Query(jobs=((Condition(Attribute.JOBID, Operator.EQUAL, jobid),),), flags=flags | Flag.NO_JOBS)


def own_jobs(flags: Flag = NO_FLAGS) -> Query:
    """All jobs of whoever asks."""
    return Query(jobs=((Condition(Attribute.OWNER, Operator.EQUAL, None),),), flags=flags)


def log_of_job(jobid: JobId, level: int = catalogue.LEVEL_SYSTEM) -> Query:
    """The events of one job up to a level."""
    return Query(
        jobs=((Condition(Attribute.JOBID, Operator.EQUAL, jobid),),),
        events=((Condition(Attribute.LEVEL, Operator.LESS, level + 1),),),
    )


_INTEGER = re.compile(r"\s*([+-]?\d+)\s*", re.ASCII)
_SECONDS = re.compile(r"\s*(\d+)(?:\.\d*)?\s*", re.ASCII)


def read_value(attribute: Attribute, text: str) -> Value:
    """The value of a condition from its text: names or numbers where there are both; EINVAL says what is wrong."""
    form = FORMS[attribute]
    if form.kind is Kind.TEXT:
        return text
    if form.kind is Kind.JOBID:
        return parse_cached(text.strip())
    code = form.codes.get(text.strip().lower())
    if code is not None:
        return code
    found = (_SECONDS if form.kind is Kind.SECONDS else _INTEGER).fullmatch(text)
    if found is None:
        if form.names:
            raise invalid(f'Unknown {form.noun} "{text[:80]}" in query')
        raise invalid(f'Cannot parse numeric value "{text[:80]}" for attribute {form.element} in query')
    # Nothing that is counted here outgrows a 64-bit number.
    number = int(found[1]) if len(found[1]) <= 19 else 1 << 63
    if abs(number) >= 1 << 63:
        raise invalid(f'Numeric value "{text[:80]}" for attribute {form.element} in query exceeds range')
    return number


_SIGNS: Final = {
    Operator.EQUAL: "`='",
    Operator.LESS: "`<'",
    Operator.GREATER: "`>'",
    Operator.WITHIN: "`within'",
    Operator.UNEQUAL: "`!='",
}


def _wrong_operator(form: AttributeForm, allowed: frozenset[Operator]) -> LBError:
    *others, last = (sign for operator, sign in _SIGNS.items() if operator in allowed)
    return invalid(f"only {', '.join(others)} and {last} supported with {form.noun}")


def _check_condition(condition: Condition, form: AttributeForm, allowed: frozenset[Operator], scope: str) -> None:
    if not allowed:
        raise invalid(f"attribute {form.element} is not supported in {scope} conditions")
    if condition.operator not in allowed:
        raise _wrong_operator(form, allowed)
    if condition.operator is Operator.WITHIN and condition.value2 is None:
        raise invalid(f"within needs two values of {form.element}")
    if condition.attribute in NAMED and not condition.name:
        raise invalid(f"condition on {form.element} does not name it")


def _check_groups(groups: tuple[Group, ...], scope: str) -> None:
    for group in groups:
        if not group:
            raise invalid("empty condition list")
        first = group[0]
        form = FORMS[first.attribute]
        allowed = form.job_operators if scope == "job" else form.event_operators
        name = (first.name or "").lower()
        for condition in group:
            if condition.attribute is not first.attribute or (condition.name or "").lower() != name:
                raise invalid("only same attribute types supported in 'or' expressions")
            _check_condition(condition, form, allowed, scope)


def _check_results(query: Query, attribute: Attribute) -> None:
    if query.results is Results.ALL and not (
        len(query.jobs) == 1 and len(query.jobs[0]) == 1 and query.jobs[0][0].attribute is attribute
    ):
        raise invalid("Invalid parameter EDG_WLL_PARAM_QUERY_RESULTS")


def _check(query: Query) -> None:
    if not query.jobs and not query.events:
        raise invalid("empty condition list")
    if query.soft_limit < 0:
        raise invalid(f"a limit of {query.soft_limit} results makes no sense")
    _check_groups(query.jobs, "job")
    for group in query.jobs:
        if any(c.attribute is Attribute.TIME and c.state is None for c in group):
            raise invalid("condition on time does not say of which state")


def check_jobs(query: Query) -> None:
    """Refuse with EINVAL what cannot be asked about jobs."""
    _check(query)
    if query.events:
        raise invalid("event conditions are not supported in a query for jobs")
    _check_results(query, Attribute.OWNER)


def check_events(query: Query) -> None:
    """Refuse with EINVAL what cannot be asked about events."""
    _check(query)
    _check_groups(query.events, "event")
    _check_results(query, Attribute.JOBID)
