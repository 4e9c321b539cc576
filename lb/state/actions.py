"""What rules are made of: actions that several families use, and makers of simple ones.

An action changes the job of a turn and nothing else; it never fails on what an event lacks.
"""

from __future__ import annotations

from typing import Final

from lb.model import jobid
from lb.model.seqcode import compare
from lb.model.status import BY_NAME as STATUS
from lb.model.status import STATE_CODES, JobStatus, State
from lb.state.job import Tag
from lb.state.rules import Action, explain
from lb.state.turn import Outcome, Turn, shown

_NULLS: Final = JobStatus()


def _assigned(name: str, how: str, given: str) -> str:
    return f"`{name}` {how} `{given}`"


def put(name: str, value: str | int) -> Action:
    """Set an attribute to a constant; a coded attribute takes the name of the code."""
    codes = STATUS[name].codes
    constant = codes[str(value)] if codes else value

    def action(turn: Turn) -> None:
        setattr(turn.status, name, constant)

    return explain(action, f"`{name}` = {value}")


def take(name: str, given: str = "") -> Action:
    """``name := given`` (by default the attribute of the same name): absent in the event makes it null."""
    given = given or name
    null = getattr(_NULLS, name)

    def action(turn: Turn) -> None:
        setattr(turn.status, name, turn.given.get(given, null))

    return explain(action, _assigned(name, ":=", given))


def take_number(name: str, given: str = "") -> Action:
    """`take` for a number: events always have one, be it their null value, e.g. -1."""
    given = given or name

    def action(turn: Turn) -> None:
        setattr(turn.status, name, turn.event.number(given))

    return explain(action, _assigned(name, ":=", given))


def keep(name: str, given: str = "") -> Action:
    """``name ?= given``: absent in the event leaves it alone."""
    given = given or name

    def action(turn: Turn) -> None:
        value = turn.given.get(given)
        if value is not None:
            setattr(turn.status, name, value)

    return explain(action, _assigned(name, "?=", given))


def first(name: str, given: str) -> Action:
    """Set an attribute only if it is null."""

    def action(turn: Turn) -> None:
        if getattr(turn.status, name) is None:
            setattr(turn.status, name, turn.event.text(given))

    return explain(action, f"`{name}` := `{given}` if null")


def keep_job(name: str, given: str) -> Action:
    """`keep` for the id of another job; what is no id counts as absent."""

    def action(turn: Turn) -> None:
        text = turn.event.text(given)
        job = jobid.canonical(text) if text else None
        if job is not None:
            setattr(turn.status, name, job)

    return explain(action, _assigned(name, "?=", given))


#: Entries of a list that is only added to: a state is stored and told whole, a job that runs on for ever must not make
#: it grow for ever. The events keep what the list forgets.
LISTED: Final = 256


def append(name: str, given: str) -> Action:
    """Add a text to a list, which keeps the last `LISTED`; the same text may be there already."""

    def action(turn: Turn) -> None:
        text = turn.event.text(given)
        if text is None:
            return
        held = getattr(turn.status, name)
        if held is None:
            setattr(turn.status, name, [text])
        else:
            held.append(text)
            del held[:-LISTED]

    return explain(action, f"`{name}` += `{given}` (the last {LISTED})")


def pairs(name: str, given: str) -> Action:
    """Replace a list of names and values."""

    def action(turn: Turn) -> None:
        value = turn.given.get(given)
        setattr(turn.status, name, list(value) if isinstance(value, tuple) else None)

    return explain(action, _assigned(name, ":=", given))


def take_text(name: str, given: str) -> Action:
    """`take` for a long text."""

    def action(turn: Turn) -> None:
        turn.job.set_text(name, turn.event.text(given))

    return explain(action, _assigned(name, ":=", given))


def keep_text(name: str, given: str) -> Action:
    """`keep` for a long text."""

    def action(turn: Turn) -> None:
        text = turn.event.text(given)
        if text is not None:
            turn.job.set_text(name, text)

    return explain(action, _assigned(name, "?=", given))


def first_text(name: str, given: str) -> Action:
    """`first` for a long text."""

    def action(turn: Turn) -> None:
        if getattr(turn.job.texts, name) is None:
            turn.job.set_text(name, turn.event.text(given))

    return explain(action, f"`{name}` := `{given}` if null")


def enter(state: State) -> Action:
    """Move the job, for rules whose new state depends on more than a table can say."""

    def action(turn: Turn) -> None:
        turn.status.state = state

    return explain(action, f"state {state.name}", to=(state,))


def place(turn: Turn) -> None:
    """`location` := where the event was logged."""
    turn.status.location = turn.place()


def suspect(turn: Turn) -> None:
    """The event is not allowed here."""
    turn.outcome = Outcome.SUSPECT


def enter_named_state(turn: Turn) -> None:
    """State that the event names; one that names none is not allowed (S20)."""
    state = STATE_CODES.get((turn.event.text("state") or "").lower())
    if not state:
        suspect(turn)
        return
    turn.status.state = state
    if state == State.Done:
        turn.status.done_code = turn.event.number("done_code")


#: Characters of a text that grows by lines, beside its last piece.
GLUED: Final = 65_536


def glue(old: str | None, piece: str) -> str:
    """`piece` on a line of its own below `old`, of which the lines that fit into `GLUED` characters stay."""
    if old is None:
        return piece
    if len(old) > GLUED:
        _, _, old = old[-GLUED - 1 :].partition("\n")
    return f"{old}\n{piece}"


def failure(turn: Turn) -> None:
    """`failure_reasons` += the reason and the place of the attempt."""
    status = turn.status
    piece = f"{shown(turn.event.text('reason'))} [{shown(status.destination)}]"
    status.failure_reasons = glue(status.failure_reasons, piece)


def user_tag(turn: Turn) -> None:
    """`user_tags` gets name and value unless a newer value is there; names are kept in lower case (§5.7, S10)."""
    name = turn.event.text("name")
    if name is None:
        return
    name, value, code = name.lower(), turn.event.text("value") or "", turn.event.seqcode
    tags, known = turn.hidden.tags, turn.hidden.tags.get(name)
    held = turn.status.user_tags
    if known is None or held is None:
        if held is None:
            held = turn.status.user_tags = []
        tags[name] = Tag(len(held), code)
        held.append((name, value))
    elif compare(code, known.seqcode) > 0:
        tags[name] = Tag(known.place, code)
        held[known.place] = (name, value)
