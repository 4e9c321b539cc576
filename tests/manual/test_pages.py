"""Man pages name every command and option, and are read without complaint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from lb.bound import bounds_of
from lb.client.cli import COMMANDS
from lb.client.settings import PARAMETERS
from lb.logger.tap import Options as LoggerOptions
from lb.manual import markdown, roff
from lb.manual.__main__ import COMPLETIONS
from lb.manual.page import Example, Heading, Page, Paragraph, Synopsis, Terms
from lb.manual.pages import MEANINGS, pages
from lb.manual.tables import commands, daemons
from lb.server.options import Options as ServerOptions
from tests.peers.packages import GROFF, absence

_PAGES = {page.file: page for page in pages()}


def _terms(page: Page) -> dict[str, str]:
    return {term: text for block in page.blocks if isinstance(block, Terms) for term, text in block.entries}


class PagesTests(SynchronousTestCase):
    """What is in the pages."""

    def test_commands(self) -> None:
        """Each command has a page that names all its options, arguments, actions and choices, each explained."""
        for command in commands():
            page = _PAGES[f"lb-{command.words[-1]}.1"]
            said = markdown.write(page).replace("\\", "")
            for each in command.walk():
                for option in (*each.options, *each.arguments):
                    for part in (*option.names, *option.words, option.value):
                        self.assertIn(part, said, f"{each.name}: {part}")
                self.assertIn(each.name, said)
            overview = _terms(_PAGES["lb.1"])
            self.assertEqual(COMMANDS[command.words[-1]][1], overview[f"{page.name}(1)"])

    def test_options_are_explained(self) -> None:
        """No option of a command or a daemon is without words."""
        for command in (each for top in commands() for each in top.walk()):
            for option in command.options:
                self.assertTrue(option.about, f"{command.name}: {option.names}")
        for daemon in daemons():
            for setting in daemon.settings:
                self.assertTrue(setting.about, f"{daemon.name}: {setting.name}")

    def test_bounds(self) -> None:
        """Each bound is on the page of its daemon and of the file, with its default and what may be given (P10)."""
        file = _terms(_PAGES["lb.toml.5"])
        names = {term.split(" = ")[0]: text for term, text in file.items()}
        for page, kind in (("twistd-lb.8", ServerOptions), ("twistd-lb-logger.8", LoggerOptions)):
            terms = {term.split()[0]: text for term, text in _terms(_PAGES[page]).items()}
            for bound in (bound for each in kind.bounds for bound in bounds_of(each).values()):
                for text in (terms[f"--{bound.option}"], names[bound.option]):
                    self.assertIn(bound.shown, text)
                    self.assertIn(bound.wanted, text)
            for name in {parameter[0] for parameter in kind.optParameters} | {
                flag[0] for flag in getattr(kind, "optFlags", ())
            }:
                self.assertIn(f"--{name}", terms)
                self.assertEqual(name != "config", name in names, name)

    def test_variables(self) -> None:
        """Every variable of the environment that the client reads is explained, and no other."""
        self.assertEqual({parameter.field for parameter in PARAMETERS}, set(MEANINGS))
        terms = _terms(_PAGES["lb.1"])
        for parameter in PARAMETERS:
            self.assertIn(", ".join(parameter.variables), terms)


class WrittenTests(SynchronousTestCase):
    """How pages are written."""

    page = Page(
        "lb-x",
        1,
        "do what -x says",
        (
            Heading("Synopsis"),
            Synopsis("lb x", "[-x]"),
            Heading("lb x Done"),
            Paragraph(".dots 'and' \\back"),
            Example("'a'\n\n  b_c\n"),
            Heading("More", within=True),
            Terms((('--a "B"', "*what*"),)),
        ),
    )

    def test_roff(self) -> None:
        """Nothing in a text is taken for a request or an escape of roff."""
        self.assertEqual(
            '.TH "LB\\-X" 1 "" "lb 1" "Logging and Bookkeeping"\n'
            ".SH NAME\nlb\\-x \\- do what \\-x says\n"
            '.SH "SYNOPSIS"\n.PP\n\\fBlb x\\fR [\\-x]\n'
            '.SH "lb x Done"\n'
            ".PP\n\\&.dots 'and' \\eback\n"
            ".PP\n.RS 4\n.nf\n\\&'a'\n\\&\n  b_c\n.fi\n.RE\n"
            '.SS "More"\n.TP\n.B "\\-\\-a ""B"""\n*what*\n',
            roff.write(self.page, "lb 1"),
        )

    def test_markdown(self) -> None:
        """Nothing in a text is taken for markup; terms are definitions."""
        self.assertEqual(
            "# lb-x(1)\n\nDo what -x says.\n\n## Synopsis\n\n`lb x [-x]`\n\n## lb x Done\n\n.dots 'and' \\\\back\n"
            "\n```text\n'a'\n\n  b_c\n```\n\n### More\n\n`--a \"B\"`\n: \\*what\\*\n",
            markdown.write(self.page),
        )

    def test_files(self) -> None:
        """`python -m lb.manual` writes all pages and scripts where an installation looks for them."""
        share = Path(self.mktemp())
        subprocess.run([sys.executable, "-m", "lb.manual", share], check=True)
        found = {str(path.relative_to(share)) for path in share.rglob("*") if path.is_file()}
        self.assertEqual({f"man/man{page.section}/{page.file}" for page in pages()} | {*COMPLETIONS.values()}, found)

    @skipIf(absence(GROFF), absence(GROFF))
    def test_groff(self) -> None:
        """groff has nothing to complain of."""
        for page in pages():
            told = subprocess.run(
                ["groff", "-man", "-Tutf8", "-K", "utf8", "-ww", "-rLL=200n"],
                input=roff.write(page, "lb"),
                capture_output=True,
                check=True,
                encoding="utf-8",
            )
            self.assertEqual("", told.stderr, page.file)
            self.assertIn(page.name, told.stdout)
