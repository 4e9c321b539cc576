"""Query parameters: what a route takes beside conditions, and conditions in the grammar of addresses.

`?status=running|=done&lastupdatetime=>last3600` asks what `?query=status=running|=done&lastupdatetime>last3600` asks:
a parameter is a group of conditions, its value may begin with an operator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

from lb.model.errors import invalid
from lb.model.grammar import read_conditions
from lb.model.query import NO_FLAGS, Attribute, Condition, Flag, Operator, Query

_OPERATOR: Final = re.compile("[=<>]")
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_SEPARATORS: Final = re.compile(r"[,+\s]+")

#: Flags that change what a job's document holds.
FLAGS: Final[dict[str, Flag]] = {
    str(flag.name).lower(): flag
    for flag in (
        Flag.CLASSADD,
        Flag.CHILDREN,
        Flag.CHILDSTAT,
        Flag.CHILDHIST_FAST,
        Flag.CHILDHIST_THOROUGH,
        Flag.ANONYMIZED,
        Flag.HISTORY,
    )
}
#: Parts of an answer that are given when no limit is asked for.
DEFAULT_LIMIT: Final = 100


class Parameter(NamedTuple):
    """A parameter of the API: its JSON schema and what it means."""

    name: str
    schema: Mapping[str, Any]
    meaning: str


LIMIT: Final = Parameter(
    "limit", {"type": "integer", "minimum": 1, "default": DEFAULT_LIMIT}, "most jobs in the answer"
)
CURSOR: Final = Parameter(
    "cursor", {"type": "string"}, "where to go on: `next_cursor` of the answer before, with the same conditions"
)
FLAG: Final = Parameter(
    "flags",
    {"type": "array", "items": {"type": "string", "enum": list(FLAGS)}},
    "what a job's document holds beside its state, names separated by commas",
)
AFTER: Final = Parameter(
    "after", {"type": "string"}, "where to go on: the id of an event of the stream; `Last-Event-ID` wins over it"
)
SCOPE: Final = Parameter(
    "scope",
    {"type": "string", "enum": ["own", "all", "foreign"], "default": "own"},
    "whose registrations; those of others are shown to administrators",
)
QUERY: Final = Parameter("query", {"type": "string"}, "conditions in one text, in the grammar of the pages' addresses")


class Given(NamedTuple):
    """Parameters of one request: the named ones, and groups of conditions."""

    named: dict[str, str]
    groups: list[str]

    def flags(self) -> Flag:
        """EINVAL for a name that is none."""
        flags = NO_FLAGS
        for name in filter(None, _SEPARATORS.split(self.named.get(FLAG.name, ""))):
            if name.lower() not in FLAGS:
                raise invalid(f"unknown flag {name[:80]!r}; there are {', '.join(FLAGS)}")
            flags |= FLAGS[name.lower()]
        return flags

    def number(self, parameter: Parameter, default: int, most: int) -> int:
        """A whole number from 1; EINVAL when it is none, or more than `most`."""
        text = self.named.get(parameter.name)
        if text is None:
            return min(default, most)
        number = int(text) if _NUMBER.fullmatch(text) else 0
        if not 1 <= number <= most:
            raise invalid(f"{parameter.name}: give a whole number from 1 to {most}")
        return number

    def query(self, now: int) -> Query:
        """The question: the conditions, or for the peer's own jobs when there are none. `now`: epoch seconds."""
        if self.groups:
            return read_conditions(self.groups, now, self.flags())
        return Query(jobs=((Condition(Attribute.OWNER, Operator.EQUAL, None),),), flags=self.flags())


def read(text: str, *taken: Parameter, conditions: bool = False) -> Given:
    """The parameters in what follows the ``?``; EINVAL for one that is not `taken`, unless conditions are."""
    names = {parameter.name for parameter in taken}
    given = Given({}, [])
    for piece in filter(None, text.split("&")):
        name, _, value = map(_decoded, piece.partition("="))
        if conditions and _OPERATOR.search(name):
            given.groups.append(_decoded(piece))
        elif name in names:
            if name in given.named:
                raise invalid(f"parameter {name} is there twice")
            given.named[name] = value
        elif conditions:
            given.groups.append(f"{name}{value}" if _OPERATOR.match(value) else f"{name}={value}")
        else:
            raise invalid(f"there is no parameter {name[:80]!r} here")
    if given.named.get(QUERY.name):
        given.groups.extend(given.named[QUERY.name].split("&"))
    return given


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="surrogateescape")
