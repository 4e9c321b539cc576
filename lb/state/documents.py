"""The chapter on job states, made of the tables that the fold walks over: ``python -m lb.state.documents docs``.

Nothing in it is written by hand but what no table says; a test keeps the files in docs up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lb.model.status import State
from lb.state.collection import BUCKETS, REMAINING
from lb.state.diagram import draw
from lb.state.families import FAMILIES, Coverage, FamilyTable, coverage
from lb.state.rules import Position, together

_HEAD: Final = """\
# Job states

Made by `python -m lb.state.documents docs` from the tables in `lb/state`; do not edit.

How to read the tables: of several rows for an event the first one that fits counts. What stands below *in order*
happens when the event is in order, what stands below *always* also when it is late. `a := b` takes attribute `b` of the
event, null when it has none; `a ?= b` leaves `a` alone then; `a += b` appends; `a = X` sets a constant. Events that no
row has are stored as well; what they do is said above each table.
"""

_COLLECTIONS: Final = """\
## Collections and DAGs

A parent counts its subjobs by class. Each subjob remembers under which class it is counted, so that any order of
events, registrations and repairs counts it once; one event of a subjob costs the same however many there are.

| state of a subjob | class |
|---|---|
{classes}

The state of a parent follows from the counts, first match; n is the number of subjobs:

| parent | Running | Cleared | Done | Aborted | else |
|---|---|---|---|---|---|
| COLLECTION | Running > 0 | Cleared = n | Done + Cleared = n | Aborted + Done + Cleared = n | Waiting |
| FILE_TRANSFER_COLLECTION | Running > 0 | - | Done = n | Done + Aborted = n | Waiting |
| DAG | by its own events only | | | | |

The parent is brought there by an event of the server's own, *CollectionState*, in the transaction of the subjob's
event. What that makes of the parent is not told to the parent's own parent until the parent has an event of its own
(S41).
"""


def document() -> str:
    """The chapter, in Markdown."""
    return "\n".join((_HEAD, *(_family(family) for family in FAMILIES), _collections()))


def _family(family: FamilyTable) -> str:
    lines = [
        f"## {family.title}",
        "",
        f"![{family.title}: states and the events that lead to them](images/state-{family.name}.svg)",
        "",
        f"{family.order} An event without a row {family.unknown}.",
        "",
        "| event | from | state | first | in order | always |",
        "|---|---|---|---|---|---|",
        *map(_row, coverage(family.table)),
        "",
    ]
    if family.data:
        lines += ["In any case, whatever the row says:", "", "| event | always |", "|---|---|"]
        lines += [f"| {name} | {_cell(together(actions))} |" for name, actions in family.data]
        lines.append("")
    return "\n".join(lines)


def _row(covered: Coverage) -> str:
    rule = covered.row.rule
    kept = "" if rule.position is Position.ADVANCE else f"last code: {rule.position.value}"
    cells = (
        f"{covered.row.type.name} {covered.codes}".strip(),
        covered.sources or "any",
        ", ".join(state.name for state in covered.states),
        together(rule.guards),
        "; ".join(filter(None, (together(rule.ok), kept))),
        together(rule.data),
    )
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _collections() -> str:
    return _COLLECTIONS.format(classes="\n".join(_classes()))


def _classes() -> Iterator[str]:
    yield "| Done, done code OK | Done |"
    for state, bucket in BUCKETS.items():
        yield f"| {State(state).name} | {bucket.name} |"
    yield f"| all others | {REMAINING.name} |"


def files() -> dict[str, str]:
    """All that is made, by path below the directory of documents."""
    drawings = {f"images/state-{family.name}.svg": draw(family) for family in FAMILIES}
    return {"state-machine.md": document(), **drawings}


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for path, content in files().items():
        place.joinpath(path).parent.mkdir(exist_ok=True)
        place.joinpath(path).write_text(content, "utf-8")
