"""Conditions as files for the C command query_ext hold them: ``attr op value``, a line a group (spec: cli.md §2.3).

Alternatives on a line are separated by ``;``, queries by an empty line. Gives a group or refuses it; nothing is asked.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from lb.client.cli.attributes import read_time
from lb.model.errors import LBError, invalid
from lb.model.query import FORMS, NAMED, Attribute, Condition, Group, Kind, Operator, Value, read_value

_OPERATORS: Final = {
    "=": Operator.EQUAL,
    "<": Operator.LESS,
    ">": Operator.GREATER,
    "<>": Operator.UNEQUAL,
    "@": Operator.WITHIN,
}
_TIMES: Final = {
    "time": Attribute.TIME,
    "state_enter_time": Attribute.STATEENTERTIME,
    "last_update_time": Attribute.LASTUPDATETIME,
    "jdl_attr": Attribute.JDL_ATTR,
}
#: What conditions on jobs and on events may be about, by their words; any other word is the name of a user tag.
JOBS: Final[Mapping[str, Attribute]] = {
    **_TIMES,
    "jobid": Attribute.JOBID,
    "parent_job": Attribute.PARENT,
    "owner": Attribute.OWNER,
    "status": Attribute.STATUS,
    "location": Attribute.LOCATION,
    "destination": Attribute.DESTINATION,
    "done_code": Attribute.DONECODE,
    "exit_code": Attribute.EXITCODE,
    "job_type": Attribute.JOB_TYPE,
    "vm_status": Attribute.VM_STATUS,
}
EVENTS: Final[Mapping[str, Attribute]] = {
    **_TIMES,
    "level": Attribute.LEVEL,
    "host": Attribute.HOST,
    "source": Attribute.SOURCE,
    "instance": Attribute.INSTANCE,
    "event_type": Attribute.EVENT_TYPE,
}
#: Stands for the asker, as owner.
_SELF: Final = "NULL"

_BEGIN = re.compile(r'\s*([^\s=<>@;"]+)\s*(<>|[=<>@])')
_VALUE = re.compile(r'\s*(?:"([^"]*)"|([^\s;"]+))')
_END = re.compile(r"\s*(;|\Z)")


def read_line(text: str, words: Mapping[str, Attribute]) -> Group:
    """The alternatives of one line; `words` is `JOBS` or `EVENTS`. Raises EINVAL."""
    group: list[Condition] = []
    at = 0
    while True:
        begin = _BEGIN.match(text, at)
        if begin is None:
            raise invalid(f"no condition in {text[at:][:80]!r}: give ATTRIBUTE OPERATOR VALUE")
        at = begin.end()
        values: list[str] = []
        while (value := _VALUE.match(text, at)) is not None:
            values.append(value[2] if value[1] is None else value[1])
            at = value.end()
        group.append(_condition(words, begin[1], _OPERATORS[begin[2]], values))
        end = _END.match(text, at)
        if end is None:
            raise invalid(f"cannot read {text[at:][:80]!r}: a quotation mark too many")
        if not end[1]:
            return tuple(group)
        at = end.end()


def read_blocks(lines: Iterable[str]) -> Iterator[list[tuple[int, str]]]:
    """Numbered lines, block by block, as empty lines separate them."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            block.append((number, line.strip()))
        elif block:
            yield block
            block = []
    if block:
        yield block


def read_block(block: Iterable[tuple[int, str]], words: Mapping[str, Attribute]) -> tuple[Group, ...]:
    """The groups of a block; raises EINVAL that names the line."""
    groups: list[Group] = []
    for number, line in block:
        try:
            groups.append(read_line(line, words))
        except LBError as error:
            raise LBError(error.code, f"line {number}: {error.description}") from None
    return tuple(groups)


def _condition(words: Mapping[str, Attribute], word: str, operator: Operator, values: list[str]) -> Condition:
    attribute = words.get(word, Attribute.USERTAG)
    named, timed = attribute in NAMED and word in words, attribute is Attribute.TIME and words is JOBS
    wanted = 1 + (operator is Operator.WITHIN) + (named or timed)
    if len(values) != wanted:
        raise invalid(f"{word} takes {wanted} value{'s' if wanted > 1 else ''} here, not {len(values)}")
    name = values.pop() if named else word if word not in words else None
    state = read_value(Attribute.STATUS, values.pop()) if timed else None
    if attribute is Attribute.OWNER and values == [_SELF]:
        return Condition(attribute, operator, None)
    first, *rest = (_value(attribute, text) for text in values)
    return Condition(
        attribute, operator, first, rest[0] if rest else None, name, state if isinstance(state, int) else None
    )


def _value(attribute: Attribute, text: str) -> Value:
    if FORMS[attribute].kind is not Kind.SECONDS:
        return read_value(attribute, text)
    try:
        return read_time(text) // 1_000_000
    except argparse.ArgumentTypeError as error:
        raise invalid(str(error)) from None
