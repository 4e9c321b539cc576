"""``lb index``: shows what a server indexes, and changes it while the server runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.administering import add_common, ask
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser
from lb.model.indexing import Index
from lb.wire import indexfile, indexing

#: Seconds between two looks whether new indices are filled.
_PAUSE: Final = 0.5


def run(arguments: list[str], around: Surroundings) -> int:
    """Show indices as a file of the C tools, or change them."""
    about = "Show what a server indexes, as a file that it can be changed with. For administrators, but for showing."
    parser = Parser("index", about, around)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--dump", "-d", action="store_true", help="show what is configured (the default)")
    action.add_argument("--reindex", "-r", metavar="FILE", help="have what this file says indexed; - is standard input")
    action.add_argument("--remove", "-R", action="store_true", help="index nothing; ids of jobs always lead to jobs")
    parser.add_argument("--wait", "-w", action="store_true", help="until the new indices can be used")
    parser.add_argument("--verbose", "-v", action="store_true", help="say which columns come and go")
    add_common(parser)
    given = parser.parse_args(arguments)
    if given.reindex is None and not given.remove:
        shown = ask(given, around, "asking", lambda administrator: administrator.indices())
        _show(given.json, around, shown, filling=False)
        return SUCCESS
    wanted = () if given.remove else indexfile.read(_text(given.reindex))

    before = ask(given, around, "asking", lambda administrator: administrator.indices())
    answer = ask(given, around, "indexing", lambda administrator: administrator.index(wanted))
    while given.wait and answer.filling:
        time.sleep(_PAUSE)
        answer = ask(given, around, "filling", lambda administrator: administrator.index(None))
    configured = list(indexing.columns(answer.indices))
    if given.verbose:
        _tell(around, before, configured)
    _show(given.json, around, configured, filling=answer.filling)
    return SUCCESS


def _tell(around: Surroundings, before: list[Index], after: list[Index]) -> None:
    was = {column.title for index in before for column in index}
    now = {column.title for index in after for column in index}
    for what, titles in (("Dropping indices ...", was - now), ("Adding columns ...", now - was)):
        if titles:
            around.stderr.write(f"{what}\n" + "".join(f"\t{title}\n" for title in sorted(titles)))


def _show(as_json: bool, around: Surroundings, indices: list[Index], *, filling: bool) -> None:
    if as_json:
        write_json(around.stdout, {"indices": indexing.named(indices), "filling": filling})
        return
    around.stdout.write(indexfile.write(indices))
    if filling:
        around.stderr.write("lb index: the server fills the new indices; they are used when that is done (--wait)\n")


def _text(name: str) -> str:
    return sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
