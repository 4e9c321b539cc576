"""Attempts of a gLite job: what was seen under each WM counter value, and which of them runs the payload.

Spec: state-machine.md §5.6. A reset forgets attempts, it never undoes what they left in the status.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Final

import msgspec

from lb.model.seqcode import WM, component
from lb.state.job import Branch
from lb.state.turn import Turn

_number = attrgetter("number")

#: Match, EnQueued and Running of one attempt carry three consecutive WM values.
_WINDOW = 3

#: WM values remembered, some eighty attempts: a job that is resubmitted for ever must not slow down.
KEPT: Final = 256


def note(turn: Turn, **seen: str | None) -> int | None:
    """Remember `destination` or `ce_node` under the WM value of the event.

    Returns that value, None if so many higher ones are known that it is not kept.
    """
    number = component(turn.event.seqcode, WM)
    branches = turn.hidden.branches
    place = bisect_left(branches, number, key=_number)
    if place < len(branches) and branches[place].number == number:
        given = {name: value for name, value in seen.items() if value is not None}
        branches[place] = msgspec.structs.replace(branches[place], **given)
        return number
    branches.insert(place, Branch(number, **seen))
    if len(branches) <= KEPT:
        return number
    oldest = branches.pop(0).number
    texts = turn.job.texts
    if oldest in texts.branches:
        left = {kept: jdl for kept, jdl in texts.branches.items() if kept != oldest}
        turn.job.texts = msgspec.structs.replace(texts, branches=left)
    return number if number != oldest else None


def note_destination(turn: Turn) -> None:
    """The attempt remembers `dest_id`."""
    note(turn, destination=turn.event.text("dest_id"))


def note_node(turn: Turn) -> None:
    """The attempt remembers `node`."""
    note(turn, ce_node=turn.event.text("node"))


def note_jdl(turn: Turn) -> None:
    """The attempt remembers `job`."""
    number, jdl = note(turn), turn.event.text("job")
    if number is not None and jdl is not None:
        texts = turn.job.texts
        turn.job.texts = msgspec.structs.replace(texts, branches=texts.branches | {number: jdl})


def reset(turn: Turn) -> None:
    """Forget all attempts, older WM values are too old from now on."""
    status, hidden = turn.status, turn.hidden
    status.possible_destinations = None
    status.possible_ce_nodes = None
    status.payload_running = False
    hidden.branches = []
    hidden.tag = None
    hidden.deep = turn.event.seqcode
    if turn.job.texts.branches:
        turn.job.texts = msgspec.structs.replace(turn.job.texts, branches={})


def reload(turn: Turn, tag: str) -> None:
    """Show the data of the attempt that runs the payload, whatever later attempts have left."""
    branches, status = turn.hidden.branches, turn.status
    number = component(tag, WM)
    end = bisect_left(branches, number, key=_number)
    if end == len(branches) or branches[end].number != number:
        end = len(branches)
    for branch in branches[max(end - _WINDOW + 1, 0) : end + 1]:
        if branch.destination is not None:
            status.destination = branch.destination
        if branch.ce_node is not None:
            status.ce_node = branch.ce_node
        jdl = turn.job.texts.branches.get(branch.number)
        if jdl is not None:
            turn.job.set_text("matched_jdl", jdl)
