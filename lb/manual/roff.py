"""Pages in the language of man(1)."""

from __future__ import annotations

from lb.manual.page import Block, Example, Heading, Page, Paragraph, Synopsis, Terms


def write(page: Page, version: str) -> str:
    """The source of a page; without a date, so that the same tables always give the same bytes."""
    head = f'.TH {_quoted(page.name.upper())} {page.section} "" {_quoted(version)} "Logging and Bookkeeping"\n'
    name = f".SH NAME\n{_escape(page.name)} \\- {_escape(page.about)}\n"
    return head + name + "".join(_block(block) for block in page.blocks)


def _block(block: Block) -> str:
    match block:
        case Heading(text, within):
            # Names of commands stay as they are called.
            shown = text if within or text[0].islower() else text.upper()
            return f"{'.SS' if within else '.SH'} {_quoted(shown)}\n"
        case Paragraph(text):
            return f".PP\n{_line(text)}\n"
        case Synopsis(program, rest):
            return f".PP\n\\fB{_escape(program)}\\fR {_escape(rest)}\n"
        case Example(text):
            lines = "".join(f"{_line(line)}\n" for line in text.splitlines())
            return f".PP\n.RS 4\n.nf\n{lines}.fi\n.RE\n"
        case Terms(entries):
            return "".join(f".TP\n.B {_quoted(term)}\n{_line(text)}\n" for term, text in entries)


def _line(text: str) -> str:
    """Text that begins a line: a dot or an apostrophe there would be a request."""
    escaped = _escape(" ".join(text.split()) if "\n" in text else text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) or not escaped else escaped


def _escape(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def _quoted(text: str) -> str:
    """One argument of a request."""
    return '"' + _escape(text).replace('"', '""') + '"'
