"""``lb dump``: has a server write what arrived between two times into a file there."""

from __future__ import annotations

import argparse
from typing import Final

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.administering import add_common, ask, moment, stamp
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser
from lb.wire.lbxml.dump import LAST_END, LAST_START, NOW, DumpRequest

_NAMES: Final = {"now": NOW, "last_start": LAST_START, "last_end": LAST_END}


def run(arguments: list[str], around: Surroundings) -> int:
    """Dump events."""
    about = "Write what arrived at a server between two times into a file there. For administrators."
    parser = Parser("dump", about, around)
    words = "YYYYMMDDHHmmss (UTC), now, last_start or last_end"
    parser.add_argument("--from", "-f", dest="since", type=_time, default=LAST_END, help=f"{words} (default: last_end)")
    parser.add_argument("--to", "-t", dest="until", type=_time, default=NOW, help=f"{words} (default: now)")
    add_common(parser)
    given = parser.parse_args(arguments)
    asked = DumpRequest(given.since, given.until)
    result = ask(given, around, "dumping", lambda administrator: administrator.dump(asked))
    if given.json:
        write_json(around.stdout, {"server_file": result.server_file, "from": result.since, "to": result.until})
        return SUCCESS
    out = around.stdout
    out.write("Dump result:\n")
    if result.server_file is None:
        out.write("- Nothing arrived in this time, no file was written.\n")
    else:
        out.write(f"- The jobs were dumped to the file '{result.server_file}' at the server.\n")
    for name, seconds in (("from", result.since), ("to", result.until)):
        out.write(f"- {name}: {seconds} (i.e. {stamp(seconds)}).\n")
    return SUCCESS


def _time(text: str) -> int:
    number = _NAMES.get(text.lower())
    if number is not None:
        return number
    try:
        return moment(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, {', '.join(_NAMES)}") from None
