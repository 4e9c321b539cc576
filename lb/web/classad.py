"""A job description laid out for reading: one attribute a line, nested records and lists indented.

Only white space between tokens changes, and only in what looks like a record; nothing is evaluated or checked further.
"""

from __future__ import annotations

import re
from typing import Final

#: String, quoted name, comment, bracket or separator, run of white space, anything else.
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*+"|\'(?:[^\'\\]|\\.)*+\'|//[^\n]*|/\*.*?\*/|[\[\]{}();,]|\s+|[^\[\]{}();,\s"\'/]+|.', re.DOTALL
)
_INDENT: Final = "  "
#: A list that fits into so many characters stays on its line.
_SHORT: Final = 60
_CLOSED_BY: Final = {"[": "]", "{": "}", "(": ")"}
#: Separators that end a line: token, what closes the bracket around it, whether that is laid out over lines.
_BREAKS: Final = frozenset({(";", "]", True), (",", "}", True)})
#: Nesting beyond this is not indented further: it is no description of a job.
_DEEPEST: Final = 12


def layout(text: str) -> str | None:
    """The description over several lines, None when it is no record in brackets."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    tokens = [" " if token.isspace() else token for token in _TOKEN.findall(text)]
    written: list[str] = []
    #: What closes each open bracket, and whether its contents stand on lines of their own; how many such are open.
    inside: list[tuple[str, bool]] = []
    depth = 0

    def new_line() -> None:
        if written[-1][0] in " \n":
            written.pop()
        written.append("\n" + _INDENT * min(depth, _DEEPEST))

    for position, token in enumerate(tokens):
        if token in _CLOSED_BY:
            broken = token == "[" or (token == "{" and not _fits(tokens, position))
            inside.append((_CLOSED_BY[token], broken))
            written.append(token)
            if broken:
                depth += 1
                new_line()
        elif inside and token == inside[-1][0]:
            if inside.pop()[1]:
                depth -= 1
                new_line()
            written.append(token)
        elif token != " " or written[-1][0] != "\n":
            written.append(token)
            if token.startswith("//") or (inside and (token, *inside[-1]) in _BREAKS):
                new_line()
    return "".join(written)


def _fits(tokens: list[str], start: int) -> bool:
    """Whether the list that opens at `start` is short and flat."""
    length = 0
    for token in tokens[start + 1 : start + 1 + _SHORT]:
        if token == "}":
            return True
        length += len(token)
        if token in ("{", "[") or length > _SHORT:
            return False
    return False
