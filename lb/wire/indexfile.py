"""The files that describe what a server indexes, as the C tools read and write them (spec: wire-query.md §7.6).

A list of indices, each one column or a list of columns in braces; `prefixlen` is read and means nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from lb.model.errors import invalid
from lb.model.indexing import Column, Index, column

#: Longest file, characters.
LONGEST: Final = 1 << 20
_TOKEN = re.compile(r'\s*(?:(?://|#)[^\n]*\s*)*("(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|\d+|[\[\]{}=;,])', re.ASCII)
_END: Final = ""


class _Tokens:
    """The words and signs of a file, one ahead."""

    def __init__(self, text: str) -> None:
        self._found = self._split(text)
        self.next = next(self._found)

    @staticmethod
    def _split(text: str) -> Iterator[str]:
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                line = text.count("\n", 0, position) + 1
                raise invalid(f"line {line} of the index file: {text[position : position + 40].strip()!r}")
            yield found[1]
            position = found.end()
        yield _END

    def take(self, wanted: str | None = None) -> str:
        """The next word; EINVAL when it is not the one that is wanted."""
        token = self.next
        if wanted is not None and token.lower() != wanted.lower():
            raise invalid(f"index file: {token or 'its end'!r} where {wanted!r} was expected")
        self.next = next(self._found, _END)
        return token

    def optional(self, wanted: str) -> bool:
        """Take the next word if it is this one."""
        if self.next != wanted:
            return False
        self.take()
        return True


def read(text: str) -> tuple[Index, ...]:
    """The indices of a file; raises EINVAL that says what is wrong."""
    if len(text) > LONGEST:
        raise invalid(f"index file of {len(text)} characters, at most {LONGEST} are read")
    tokens = _Tokens(text)
    tokens.take("[")
    tokens.take("JobIndices")
    tokens.take("=")
    indices = [tuple(_list(tokens)) if tokens.next == "{" else (_column(tokens),) for _ in _members(tokens)]
    tokens.optional(";")
    tokens.take("]")
    tokens.take(_END)
    return tuple(indices)


def _members(tokens: _Tokens) -> Iterator[None]:
    """Once for each member of a list in braces, which whoever asks has to take."""
    tokens.take("{")
    while not tokens.optional("}"):
        yield
        if not tokens.optional(","):
            tokens.take("}")
            return


def _list(tokens: _Tokens) -> list[Column]:
    found = [_column(tokens) for _ in _members(tokens)]
    if not found:
        raise invalid("index file: an index without columns")
    return found


def _column(tokens: _Tokens) -> Column:
    tokens.take("[")
    fields: dict[str, str] = {}
    while not tokens.optional("]"):
        name = tokens.take().lower()
        tokens.take("=")
        fields[name] = _value(tokens.take())
        if not tokens.optional(";"):
            tokens.take("]")
            break
    if not fields.keys() >= {"type", "name"} or fields.keys() - {"type", "name", "prefixlen"}:
        raise invalid(f"index file: a column with {', '.join(fields) or 'nothing'}; give type, name, prefixlen")
    return column(fields["type"].lower(), fields["name"])


def _value(token: str) -> str:
    if token.startswith('"'):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    if not token.isdigit():
        raise invalid(f"index file: {token!r} where a text or a number was expected")
    return token


def write(indices: Iterable[Index]) -> str:
    """A file that `read` reads."""
    lines = []
    for index in indices:
        columns = [f'[ type = "{each.kind}"; name = "{_quoted(each.label)}" ]' for each in index]
        lines.append(columns[0] if len(columns) == 1 else "{ " + ", ".join(columns) + " }")
    body = ",\n".join(f"\t\t{line}" for line in lines)
    return "[\n\tJobIndices = {\n" + (f"{body}\n" if body else "") + "\t}\n]\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
