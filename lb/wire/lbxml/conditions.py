"""The ``<and>`` part of requests: groups of conditions (spec: wire-query.md §5.1, §5.4).

The same for both kinds of query and for registrations. Element names are read without case, values as
`lb.model.query` takes them: names or numbers wherever there are both.
"""

from __future__ import annotations

from typing import Final

from lb.model import query
from lb.model.query import FORMS, Attribute, Condition, Group, Kind, Operator, Query, Value
from lb.model.status import STATE_CODES, STATE_NAMES
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import Node, broken

JOB_GROUP: Final = "orJobConditions"
EVENT_GROUP: Final = "orEventConditions"
#: How a client names itself as the owner.
_SELF: Final = "NULL"

_OPERATORS: Final = {operator.name.lower(): operator for operator in Operator}

# --- writing ----------------------------------------------------------------------------------------------------


def _write_value(condition: Condition, value: Value | None) -> bytes:
    if value is None:
        return _SELF.encode("ascii")
    if isinstance(value, int):
        return FORMS[condition.attribute].names.get(value, str(value)).encode("ascii")
    return escape(str(value))


def _write_qualifier(condition: Condition) -> bytes:
    if condition.attribute is Attribute.TIME:
        # Events have one time only; C clients name the state nonetheless.
        return b' state="%b"' % STATE_NAMES[condition.state or 0].encode("ascii")
    return b"" if condition.name is None else b' name="%b"' % escape(condition.name)


def _write_condition(condition: Condition) -> bytes:
    operator = condition.operator.name.lower().encode("ascii")
    element = FORMS[condition.attribute].element.encode("ascii")
    start = element + _write_qualifier(condition)
    if condition.operator is Operator.CHANGED:
        lines = b"\t\t\t\t\t<%b/>\r\n" % start
    else:
        lines = b"\t\t\t\t\t<%b>%b</%b>\r\n" % (start, _write_value(condition, condition.value), element)
    if condition.operator is Operator.WITHIN:
        lines += b"\t\t\t<%b>%b</%b>\r\n" % (start, _write_value(condition, condition.value2), element)
    return b"\t\t\t<%b>\n%b\t\t\t</%b>\r\n" % (operator, lines, operator)


def _write_group(tag: bytes, group: Group) -> bytes:
    return b"\t\t<%b>\r\n%b\t\t</%b>\r\n" % (tag, b"".join(map(_write_condition, group)), tag)


def write(asked: Query) -> bytes:
    """The ``<and>`` element of a query, with its line end."""
    groups = [_write_group(b"orJobConditions", group) for group in asked.jobs]
    groups += [_write_group(b"orEventConditions", group) for group in asked.events]
    return b"\t<and>\r\n%b\t</and>\r\n" % b"".join(groups)


# --- reading ----------------------------------------------------------------------------------------------------


def unexpected(node: Node, parent: str) -> Exception:
    """Error 1407: an element that is not known at its place."""
    return broken(f"unexpected <{node.tag[:80]}> in <{parent}>")


def _read_value(attribute: Attribute, text: str) -> Value | None:
    if attribute is Attribute.OWNER and text == _SELF:
        return None
    # Only text is escaped; ids and numbers that would need it are none.
    return query.read_value(attribute, unescape(text) if FORMS[attribute].kind is not Kind.NUMBER else text)


def _read_state(node: Node, *, of_job: bool) -> int | None:
    name = node.attributes.get("state")
    if not of_job:
        return None
    if name is None:
        raise broken("condition on time without a state")
    state = STATE_CODES.get(name.lower())
    if state is None:
        raise broken(f"condition on time of the unknown state {name[:80]}")
    return state


def _read_condition(node: Node, *, of_job: bool) -> Condition:
    operator = _OPERATORS.get(node.tag.lower())
    if operator is None:
        raise unexpected(node, JOB_GROUP if of_job else EVENT_GROUP)
    operands = node.children
    if len(operands) != (2 if operator is Operator.WITHIN else 1):
        raise broken(f"<{node.tag}> with {len(operands)} operands")
    first = operands[0]
    attribute = query.BY_ELEMENT.get(first.tag.lower())
    if attribute is None or first.children:
        raise unexpected(first, node.tag)
    name: str | None = None
    if attribute in query.NAMED:
        if "name" not in first.attributes:
            raise broken(f"condition on {first.tag} without a name")
        name = unescape(first.attributes["name"])
    state = _read_state(first, of_job=of_job) if attribute is Attribute.TIME else None
    if operator is Operator.CHANGED:
        return Condition(attribute, operator, None, None, name, state)
    value = _read_value(attribute, first.text)
    value2: Value | None = None
    if operator is Operator.WITHIN:
        second = operands[1]
        if second.tag.lower() != first.tag.lower() or second.attributes != first.attributes or second.children:
            raise broken("the two values of <within> are of different attributes")
        value2 = _read_value(attribute, second.text)
    return Condition(attribute, operator, value, value2, name, state)


def read(node: Node) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """The job groups and the event groups of an ``<and>`` element.

    Raises 1407 for elements out of place and EINVAL for values that cannot be read; what may be
    asked is for `query.check_jobs` and `query.check_events` to say.
    """
    jobs: list[Group] = []
    events: list[Group] = []
    for group in node.children:
        tag = group.tag.lower()
        if tag == "orjobconditions":
            jobs.append(tuple(_read_condition(child, of_job=True) for child in group.children))
        elif tag == "oreventconditions":
            events.append(tuple(_read_condition(child, of_job=False) for child in group.children))
        else:
            raise unexpected(group, "and")
    return tuple(jobs), tuple(events)
