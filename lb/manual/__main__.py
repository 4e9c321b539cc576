"""``python -m lb.manual DIRECTORY``: writes man pages and completion scripts where an installation looks for them.

Files that are as they should be are left alone, and nothing is removed: the directory may be anybody's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lb import __version__
from lb.manual import markdown, roff
from lb.manual.completion import script
from lb.manual.pages import pages

#: Shell → where its completion scripts stand below share/.
COMPLETIONS: Final = {
    "bash": "bash-completion/completions/lb",
    "zsh": "zsh/site-functions/_lb",
    "fish": "fish/vendor_completions.d/lb.fish",
}


def installed() -> Iterator[tuple[str, str]]:
    """Path below ``share/`` and text of each file."""
    for page in pages():
        yield f"man/man{page.section}/{page.file}", roff.write(page, f"lb {__version__}")
    for shell, path in COMPLETIONS.items():
        yield path, script(shell)


def site() -> Iterator[tuple[str, str]]:
    """Name and text of each page of the site."""
    for page in pages():
        yield f"{page.file}.md", markdown.write(page)


def keep(directory: Path, files: Iterable[tuple[str, str]]) -> None:
    """Make the directory hold these files, named by their paths in it."""
    for name, text in files:
        path = directory / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")


def main() -> None:
    """Write them into the directory that is named."""
    parser = argparse.ArgumentParser(description="Write man pages and completion scripts.")
    parser.add_argument("directory", type=Path)
    keep(parser.parse_args().directory, installed())


if __name__ == "__main__":
    main()
