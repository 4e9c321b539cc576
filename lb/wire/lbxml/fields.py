"""Documents that are lists of simple elements under one root: the administrators' requests and their answers.

`write_request` and `read_result` of the modules beside it are the client's side, `read_request` and `write_result` the
server's (spec: wire-query.md §8). Nothing here knows what the elements mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lb.model.errors import LBError
from lb.wire.lbxml.conditions import unexpected
from lb.wire.lbxml.status import error_attributes, error_of
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import ANSWER_LIMITS, Limits, Node, broken, parse

_INDENT: Final = b"\t\t\t"


def element(tag: str, text: str) -> bytes:
    """One line."""
    name = tag.encode("ascii")
    return b"%b<%b>%b</%b>\r\n" % (_INDENT, name, escape(text), name)


def document(tag: str, lines: Iterable[bytes], error: LBError | None = None, attributes: bytes = b"") -> bytes:
    """The root around lines, with its line end."""
    name = tag.encode("ascii")
    told = b"" if error is None else error_attributes(error)
    return b"<%b%b%b>\r\n%b</%b>\r\n" % (name, attributes, told, b"".join(lines), name)


def read_root(data: bytes, tag: str, known: Iterable[str], limits: Limits) -> tuple[Node, dict[str, Node]]:
    """The root of a request and its elements by lower-case name; raises 1407 for others and for those that repeat."""
    root = parse(data, limits)
    if root.tag.lower() != tag.lower():
        raise broken(f"<{root.tag[:80]}> where <{tag}> was expected")
    allowed = {name.lower() for name in known}
    found: dict[str, Node] = {}
    for child in root.children:
        name = child.tag.lower()
        if name not in allowed:
            raise unexpected(child, tag)
        if name in found:
            raise broken(f"<{child.tag}> twice in <{tag}>")
        found[name] = child
    return root, found


def read_answer(data: bytes, tag: str, limits: Limits = ANSWER_LIMITS) -> Node:
    """The root of an answer; raises the error it carries, or 1407 when it is no such document."""
    root = parse(data, limits)
    if root.tag != tag:
        raise broken(f"<{root.tag[:80]}> where <{tag}> was expected")
    error = error_of(root)
    if error is not None:
        raise error
    return root


def text_of(found: Mapping[str, Node], name: str) -> str | None:
    """The text of an element, None when it is missing or empty."""
    node = found.get(name)
    return None if node is None else unescape(node.text).strip() or None


def child_text(root: Node, name: str) -> str | None:
    """As `text_of`, of the first child with a name."""
    node = next((child for child in root.children if child.tag == name), None)
    return None if node is None else unescape(node.text).strip() or None
