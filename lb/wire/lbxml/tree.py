"""Documents as trees of elements, read within bounds (P10) by the XML parser of the standard library.

Document type declarations, and with them all entities but the five of XML, are refused. A bound is met while reading:
nothing is built from what lies beyond it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from xml.parsers import expat

from lb.model.errors import Code, ParseError


class Limits(NamedTuple):
    """Bounds of one document."""

    size: int  #: bytes
    depth: int  #: elements within each other, the root included
    elements: int  #: elements altogether


#: A condition makes two elements, its group one: room for some 30,000 conditions.
REQUEST_LIMITS: Final = Limits(size=8 << 20, depth=6, elements=100_000)
#: A state of a simple job makes some 50 elements; each level of `children_states` is two deep.
ANSWER_LIMITS: Final = Limits(size=1 << 30, depth=64, elements=20_000_000)


class Node:
    """An element: `text` is the character data of a leaf, as `text.unescape` takes it; of others it means nothing."""

    __slots__ = ("attributes", "children", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Node] = []
        self.text = ""


def broken(what: str) -> ParseError:
    """Error 1407: `what` in words."""
    return ParseError(Code.XML_PARSE, what)


def parse(data: bytes, limits: Limits, each: Callable[[Node], None] | None = None) -> Node:
    """The root element; raises `ParseError` 1407 for what is no document or exceeds `limits`.

    With `each`, the children of the root are handed to it one by one instead of being kept:
    the memory of a long answer is then that of its longest entry.
    """
    if len(data) > limits.size:
        raise broken(f"document of {len(data)} bytes, more than {limits.size}")
    # The parser is told that each byte is a character, so that text comes back as the bytes it was.
    parser = expat.ParserCreate("iso-8859-1")
    parser.buffer_text = True
    root: Node | None = None
    stack: list[Node] = []
    pieces: list[str] = []
    left = limits.elements
    depth = limits.depth

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal left, root
        pieces.clear()
        left -= 1
        if left < 0:
            raise broken(f"more than {limits.elements} elements")
        node = Node(tag, attributes)
        if not stack:
            root = node
        elif len(stack) >= depth:
            raise broken(f"elements nested more than {depth} deep")
        elif each is None or len(stack) > 1:
            stack[-1].children.append(node)
        stack.append(node)

    def end(_tag: str) -> None:
        node = stack.pop()
        node.text = "".join(pieces)
        pieces.clear()
        if each is not None and len(stack) == 1:
            each(node)

    def doctype(*_: object) -> None:
        raise broken("document type declarations are not accepted")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = pieces.append
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise broken(str(error)) from None
    assert root is not None
    return root
