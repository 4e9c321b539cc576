"""The answer to ``POST /indexedAttrs``: what queries may start from (spec: wire-query.md §7.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lb.model.errors import LBError
from lb.model.indexing import Column, Index
from lb.model.query import Attribute
from lb.model.status import STATE_CODES, STATE_NAMES
from lb.wire.lbxml.status import error_attributes, error_of
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import ANSWER_LIMITS, Limits, Node, broken, parse

_REQUEST: Final = b"<edg_wll_IndexedAttrsRequest>\r\n</edg_wll_IndexedAttrsRequest>\r\n"
_RESULT: Final = "edg_wll_GetIndexedAttributesResult"
_PREFIX: Final = "EDG_WLL_QUERY_ATTR_"
#: A name, not a number, says where a column's value is.
_IDENTIFIERS: Final = {f"{_PREFIX}{attribute.name}": attribute for attribute in Attribute}


def write_request() -> bytes:
    """The document that asks; servers pass over what is in it."""
    return _REQUEST


def _record(column: Column) -> bytes:
    name = b"" if column.name is None else b"\t\t\t<name>%b</name>\r\n" % escape(column.name)
    state = b""
    if column.attribute is Attribute.TIME:
        state = b"\t\t\t<state>%b</state>\r\n" % STATE_NAMES[column.state or 0].encode("ascii")
    attribute = f"{_PREFIX}{column.attribute.name}".encode("ascii")
    return b"\t\t<QueryRec>\r\n\t\t\t<attribute>%b</attribute>\r\n%b%b\t\t</QueryRec>\r\n" % (attribute, name, state)


def write_result(indices: Iterable[Index], error: LBError | None = None) -> bytes:
    """The answer."""
    written = [b"\t<index>\r\n%b\t</index>\r\n" % b"".join(map(_record, index)) for index in indices]
    tag, attributes = _RESULT.encode("ascii"), b"" if error is None else error_attributes(error)
    return b"<%b%b>\r\n%b</%b>\r\n" % (tag, attributes, b"".join(written), tag)


def _read_record(node: Node) -> Column:
    fields = {child.tag: unescape(child.text).strip() for child in node.children}
    attribute = _IDENTIFIERS.get(fields.get("attribute", ""))
    if attribute is None:
        raise broken(f"index on the unknown attribute {fields.get('attribute', '')[:80]!r}")
    state = STATE_CODES.get(fields.get("state", "").lower()) if attribute is Attribute.TIME else None
    return Column(attribute, fields.get("name"), state)


def read_result(data: bytes, limits: Limits = ANSWER_LIMITS) -> list[Index]:
    """The indices in an answer; raises the error it carries, or 1407 when it is no such document."""
    root = parse(data, limits)
    if root.tag != _RESULT:
        raise broken(f"<{root.tag[:80]}> where <{_RESULT}> was expected")
    error = error_of(root)
    if error is not None:
        raise error
    return [tuple(map(_read_record, index.children)) for index in root.children if index.tag == "index"]
