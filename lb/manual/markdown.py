"""Pages in Markdown, for the site of the documentation."""

from __future__ import annotations

from lb.manual.page import Block, Example, Heading, Page, Paragraph, Synopsis, Terms


def write(page: Page) -> str:
    """The source of a page; terms are written as definition lists."""
    return f"# {_escape(page.reference)}\n\n{_escape(_sentence(page.about))}\n" + "".join(map(_block, page.blocks))


def _block(block: Block) -> str:
    match block:
        case Heading(text, within):
            return f"\n{'###' if within else '##'} {_escape(text)}\n"
        case Paragraph(text):
            return f"\n{_escape(text)}\n"
        case Synopsis(program, rest):
            return f"\n`{program} {rest}`\n"
        case Example(text):
            return f"\n```text\n{text.rstrip()}\n```\n"
        case Terms(entries):
            return "".join(f"\n`{term}`\n: {_escape(text) or '-'}\n" for term, text in entries)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _escape(text: str) -> str:
    """Text in which no character means anything but itself."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>#|~$" else character for character in text)
