"""Conditions as they are written in addresses, ``status=done|=running&owner=/CN=A`` (spec: wire-web.md §4).

Gives a `Query`, or refuses in the words of the protocol. What a condition finds is not known here.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from typing import Final

from lb.model.errors import LBError, invalid
from lb.model.jobid import parse
from lb.model.query import (
    BY_ELEMENT,
    FORMS,
    NO_FLAGS,
    Attribute,
    AttributeForm,
    Condition,
    Flag,
    Group,
    Kind,
    Operator,
    Query,
    Value,
    check_jobs,
)

_OPERATORS: Final = {
    "=": Operator.EQUAL,
    "<": Operator.LESS,
    ">": Operator.GREATER,
    "<>": Operator.UNEQUAL,
    "><": Operator.UNEQUAL,
}
#: Attributes whose conditions addresses cannot express.
UNSUPPORTED: Final = frozenset({Attribute.LEVEL, Attribute.EVENT_TYPE, Attribute.CHKPT_TAG})
#: Attributes whose values are names only; other numbers are given in digits.
_NAMES_ONLY: Final = frozenset({Attribute.STATUS, Attribute.JOB_TYPE, Attribute.VM_STATUS, Attribute.SOURCE})

_GROUP = re.compile(r"([^=<>]*)([=<>].*)?", re.DOTALL)
_ALTERNATIVE = re.compile(r"([=<>]*)(.*)", re.DOTALL)
_NUMBER = re.compile(r"\s*([+-]?\d+)\s*", re.ASCII)
_AGO = re.compile(r"\s*(?:last|past)(\d+)\s*", re.ASCII | re.IGNORECASE)
#: Nothing that is counted here outgrows a 64-bit number.
_MAX_DIGITS: Final = 18


def read_query(text: str, now: int, flags: Flag = NO_FLAGS) -> Query:
    """The query in a decoded text; `now` is in seconds. EINVAL for what is wrong, ENOSYS for what cannot be asked."""
    return read_conditions(text.split("&"), now, flags)


def read_conditions(groups: Iterable[str], now: int, flags: Flag = NO_FLAGS) -> Query:
    """`read_query` of groups that were told apart already, whose values may hold any ``&``."""
    query = Query(jobs=tuple(_group(group, now) for group in groups), flags=flags)
    check_jobs(query)
    return query


def _group(text: str, now: int) -> Group:
    found = _GROUP.fullmatch(text)
    if found is None or found[2] is None:
        raise invalid(f'Missing operator in condition "{text}"')
    name = found[1].strip()
    attribute = BY_ELEMENT.get(name.lower())
    if attribute is None:
        raise invalid(f'Unknown argument "{name}" in query')
    if attribute in UNSUPPORTED:
        raise LBError(errno.ENOSYS, f'Value conversion for attribute "{name}" not supported in current implementation')
    return tuple(_condition(attribute, name, alternative, now) for alternative in found[2].split("|"))


def _condition(attribute: Attribute, name: str, text: str, now: int) -> Condition:
    found = _ALTERNATIVE.fullmatch(text)
    sign, value = (found[1], found[2]) if found is not None else ("", text)
    if not sign:
        raise invalid(f'Missing operator before "{value}"')
    operator = _OPERATORS.get(sign)
    if operator is None:
        raise invalid(f'Unknown operator "{sign}" in query')
    if not value:
        raise invalid(f'No value given for attribute "{name}"')
    return Condition(attribute, operator, _value(attribute, FORMS[attribute], value, now))


def _value(attribute: Attribute, form: AttributeForm, text: str, now: int) -> Value:
    if form.kind is Kind.TEXT:
        return text
    if form.kind is Kind.JOBID:
        try:
            return parse(text.strip())
        except LBError:
            raise invalid(f'Cannot parse jobid "{text}" in query') from None
    if attribute in _NAMES_ONLY:
        code = form.codes.get(text.strip().lower())
        if code is None:
            raise invalid(f'Unknown {form.noun} "{text}" in query')
        return code
    ago = _AGO.fullmatch(text) if form.kind is Kind.SECONDS else None
    if ago is not None:
        return now - _number(form, text, ago[1])
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise invalid(f'Cannot parse numeric value "{text}" for attribute {form.element.lower()} in query')
    return _number(form, text, found[1])


def _number(form: AttributeForm, text: str, digits: str) -> int:
    if len(digits.lstrip("+-0")) > _MAX_DIGITS:
        raise invalid(f'Numeric value "{text}" for attribute {form.element.lower()} in query exceeds range')
    return int(digits)
