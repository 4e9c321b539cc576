"""What commands print: JSON documents, and tables that are drawn on a terminal and plain elsewhere.

Text of peers is shown without the control characters that would act on a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from lb.wire.documents import clean


def write_json(stream: TextIO, document: Any) -> None:
    """One document, ended by a line feed; in ASCII where the stream is not in UTF-8."""
    plain = (stream.encoding or "utf-8").lower() not in ("utf-8", "utf8")
    stream.write(json.dumps(document, ensure_ascii=plain, indent=2 if stream.isatty() else None) + "\n")


def write_bytes(stream: TextIO, data: bytes) -> None:
    """Bytes as they are, where the stream can take them."""
    below = getattr(stream, "buffer", None)
    if below is None:
        stream.write(data.decode("utf-8", "replace"))
    else:
        stream.flush()
        below.write(data)


def visible(text: str) -> str:
    """The text with control characters written as escapes; line feeds stay."""
    shown = clean(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in shown)


def write_table(stream: TextIO, heads: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """A table: drawn on a terminal, else columns separated by two blanks with their heads."""
    shown = [[visible(cell) for cell in row] for row in rows]
    if stream.isatty():
        _draw(stream, heads, shown, title)
        return
    lines = [list(heads), *([cell.replace("\n", " ") for cell in row] for row in shown)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    if title:
        stream.write(f"{visible(title)}\n")
    for line in lines:
        cells = [f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)]
        stream.write("  ".join(cells).rstrip() + "\n")


def _draw(stream: TextIO, heads: Sequence[str], rows: list[list[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=stream)
    if title:
        console.print(Text(visible(title)), soft_wrap=True)  # an id that is broken cannot be copied
    console.print(table)
