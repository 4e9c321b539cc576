"""``lb stats``: how many jobs entered a state at a destination, or how long they took from one state to another."""

from __future__ import annotations

import argparse
import time
from typing import Final

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.administering import add_common, age, ask, ctime
from lb.client.cli.numbers import whole
from lb.client.cli.output import visible, write_json
from lb.client.cli.parser import Parser
from lb.model.status import STATE_CODES, STATE_NAMES, State
from lb.wire.lbxml.statistics import Figure, Function, Request, Result, by_destination

#: Word for all destinations.
_ALL: Final = "ALL"


def run(arguments: list[str], around: Surroundings) -> int:
    """Show rates, or durations with --to."""
    about = "Show how many jobs entered a state at a destination, or with --to how long they took to another state."
    parser = Parser("stats", about, around)
    parser.add_argument("destination", metavar="DESTINATION", help=f"a computing element; {_ALL}: each of them")
    parser.add_argument("state", type=_state, metavar="STATE", help="name or number of a state")
    parser.add_argument("--to", type=_state, metavar="STATE", help="the time from STATE to this one")
    parser.add_argument(
        "minor", nargs="?", metavar="MINOR", type=whole(0), default=0, help="of Done: 0 well, 1 failed (default: 0)"
    )
    parser.add_argument("--last", "-n", type=age, default=3_600, metavar="TIME", help="so far back (default: 1h)")
    add_common(parser)
    given = parser.parse_args(arguments)
    now = int(time.time())
    groups = by_destination("" if given.destination == _ALL else given.destination)
    if given.to is None:
        asked = Request(Function.RATE, given.state, now - given.last, now, minor=given.minor, groups=groups)
    else:
        way = Function.DURATION_FROM_TO
        asked = Request(way, given.state, now - given.last, now, given.to, given.minor, groups)
    result = ask(given, around, "asking", lambda administrator: administrator.statistics(asked))
    if given.json:
        _show_json(around, result)
    else:
        for figure in result.figures:
            _show(around, result, figure)
    return SUCCESS


def _state(text: str) -> State:
    code = STATE_CODES.get(text.lower(), int(text) if text.isascii() and text.isdigit() and len(text) < 3 else -1)
    if not 0 <= code < len(STATE_NAMES):
        raise argparse.ArgumentTypeError(f"{text!r} is no state: give one of {', '.join(STATE_NAMES)}, or its number")
    return State(code)


def _show(around: Surroundings, result: Result, figure: Figure) -> None:
    # The C tools' words, which their users' scripts take apart: "failure" whatever the state, and "Measuered".
    out, group = around.stdout, visible(figure.group)
    if figure.rate is not None:
        out.write(f'Average failure rate at "{group}": {figure.rate:.6f} jobs/s\n')
    else:
        out.write(f'Average duration at "{group}": {figure.duration:.6f} s\n')
        out.write(f"Dispersion index: {figure.dispersion:.6f}\n")
    out.write(f"  Measuered from {ctime(result.since)} to {ctime(result.until)}\n")
    out.write(f"  With resolution from {result.resolution_since} to {result.resolution_until} s\n")


def _show_json(around: Surroundings, result: Result) -> None:
    figures = [
        {"destination": each.group, "rate": each.rate, "duration": each.duration, "dispersion": each.dispersion}
        for each in result.figures
    ]
    known = [{name: value for name, value in each.items() if value is not None} for each in figures]
    write_json(
        around.stdout,
        {
            "from": result.since,
            "to": result.until,
            "resolution": [result.resolution_since, result.resolution_until],
            "figures": known,
        },
    )
