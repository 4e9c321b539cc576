"""A page of the manual as plain blocks, before anybody decides whether it becomes roff or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """The beginning of a part, or with `within` of a part of it."""

    text: str
    within: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Synopsis:
    """How something is called: the program, and what follows."""

    program: str
    rest: str


@dataclass(frozen=True, slots=True)
class Example:
    """Lines as they stand."""

    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Words (options, files, codes) and what they mean."""

    entries: tuple[tuple[str, str], ...]


Block = Heading | Paragraph | Synopsis | Example | Terms


@dataclass(frozen=True, slots=True)
class Page:
    """A page; `section` as in man(1): 1 commands, 5 files, 8 daemons."""

    name: str
    section: int
    about: str
    blocks: Sequence[Block]

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.{self.section}"

    @property
    def reference(self) -> str:
        """As other pages name it."""
        return f"{self.name}({self.section})"
