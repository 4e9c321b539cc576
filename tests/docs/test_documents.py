"""Documents name files, links and options that are there."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.logger.tap import Options as LoggerOptions
from lb.server.tap import Options as ServerOptions

_ROOT = Path(__file__).parents[2]
_DOCUMENTS = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_FILE = re.compile(r"`((?:lb|conf|tests|bench)/[\w./-]*)`")
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_OPTION = re.compile(r"`(?:--)?([a-z]+(?:-[a-z]+)+)`")
#: Names of programs that look like options.
_PROGRAMS = {"lb-logger"}


class DocumentTests(SynchronousTestCase):
    """What README.md and docs/ refer to."""

    def test_files(self) -> None:
        """Every file or directory of the tree that is named exists."""
        for document in _DOCUMENTS:
            for name in _FILE.findall(document.read_text("utf-8")):
                self.assertTrue((_ROOT / name).exists(), f"{document.name}: {name}")

    def test_links(self) -> None:
        """Every link within the tree leads somewhere."""
        for document in _DOCUMENTS:
            for name in _LINK.findall(document.read_text("utf-8")):
                self.assertTrue((document.parent / name).exists(), f"{document.name}: {name}")

    def test_options(self) -> None:
        """Every option that operations.md names is one of a daemon."""
        known = {parameter[0] for kind in (ServerOptions, LoggerOptions) for parameter in kind.optParameters}
        named = set(_OPTION.findall((_ROOT / "docs/operations.md").read_text("utf-8")))
        self.assertEqual(set(), named - known - _PROGRAMS)
        self.assertIn("spool-max-disk", named)
