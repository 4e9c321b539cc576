"""The markup of a tree of `twisted.web.template` tags: the same bytes as Twisted's flattening, several times cheaper.

Pages hold nothing that has to be waited for, so that a tree is walked at once. What is not a tag, text or a list of
these is refused, and every text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.web.template import Flattenable, Tag

#: Elements without content (WHATWG HTML §13.1.2), as far as Twisted knows them.
VOID: Final = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track")
)


def markup(root: Flattenable) -> bytes:
    """The markup, as UTF-8; TypeError for what is no page."""
    written: list[str] = []
    _write(root, written.append)
    return "".join(written).encode()


def _write(node: Flattenable, write: Callable[[str], object]) -> None:
    if isinstance(node, str):
        write(_escaped(node))
    elif isinstance(node, Tag):
        _write_tag(node, write)
    elif isinstance(node, list | tuple):
        for each in node:
            _write(each, write)
    else:
        raise TypeError(f"{type(node).__name__} in a page")


def _write_tag(tag: Tag, write: Callable[[str], object]) -> None:
    name = tag.tagName
    if not isinstance(name, str) or not name or tag.render is not None:
        raise TypeError(f"tag {name!r} in a page")
    write(f"<{name}")
    for key, value in tag.attributes.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"attribute {key!r} of {name}: {value!r}")
        write(f' {key}="{_quoted(value)}"')
    if name in VOID and not tag.children:
        write(" />")
        return
    write(">")
    for child in tag.children:
        _write(child, write)
    write(f"</{name}>")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', "&quot;")
