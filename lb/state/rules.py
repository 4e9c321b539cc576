"""The language of the tables: a row says what one kind of event does to a job, a table finds the rule of an event.

Nothing here knows an event type or a job type by name; what rules are made of is in `lb.state.actions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from lb.model.catalogue import BY_NAME, EventType, Source
from lb.model.event import Event
from lb.model.status import State
from lb.state.turn import Turn

#: Changes the job of a turn by its event.
Action = Callable[[Turn], None]
Actions = tuple[Action, ...]


class Explanation(NamedTuple):
    """What an action does, in words, and the states it may move a job to."""

    text: str
    states: tuple[State, ...] = ()


_EXPLANATIONS: Final[dict[Action, Explanation]] = {}


def explain(action: Action, text: str, *parts: Action, to: tuple[State, ...] = ()) -> Action:
    """Say what an action does, for the documents; it may move a job `to` states, and to those of its `parts`."""
    states = dict.fromkeys((*to, *(state for part in parts for state in explanation(part).states)))
    _EXPLANATIONS[action] = Explanation(text, tuple(states))
    return action


def explanation(action: Action) -> Explanation:
    """What was said of an action, else the first sentence of its own documentation."""
    told = _EXPLANATIONS.get(action)
    if told is None:
        told = Explanation(" ".join((action.__doc__ or "").split()).split(". ")[0].removesuffix("."))
    return told


def together(actions: Actions) -> str:
    """The words for several actions."""
    return "; ".join(explanation(action).text for action in actions)


ANY_SOURCE: Final = tuple(Source)
ANY_CODE: Final = "*"


class Position(Enum):
    """What an event in order leaves as the last sequence code of the job."""

    ADVANCE = "its own code"
    LM_ZERO = "its own code with the LM counter zeroed"
    CANCEL = "what was there; its own code becomes that of the last cancellation"
    KEEP = "what was there"


class Rule(msgspec.Struct, frozen=True):
    """What one kind of event does."""

    to: State | None = None  #: new state, if the event is in order
    guards: Actions = ()  #: first and always: they may change the outcome
    ok: Actions = ()  #: if the event is in order
    data: Actions = ()  #: always, unless a guard found the event suspect
    position: Position = Position.ADVANCE


class Row(NamedTuple):
    """One line of a table: a rule for the events of a type with some codes in one attribute, from some sources."""

    type: EventType
    attribute: str
    codes: tuple[int, ...]
    sources: tuple[Source, ...]
    rule: Rule


def on(
    type_: str,
    *,
    when: str = "",
    is_: str = ANY_CODE,
    source: Source | tuple[Source, ...] = ANY_SOURCE,
    to: State | None = None,
    guards: Actions = (),
    ok: Actions = (),
    data: Actions = (),
    position: Position = Position.ADVANCE,
) -> Row:
    """A row. `when` names the coded attribute that tells events of the type apart, `is_` its values, blank-separated.

    All rows of a type must name the same attribute.
    """
    event_type = BY_NAME[type_]
    codes: tuple[int, ...] = (0,)
    if when:
        known = event_type.by_name[when].codes
        codes = (0, *known.values()) if is_ == ANY_CODE else tuple(known[name] for name in is_.split())
    sources = (source,) if isinstance(source, Source) else source
    return Row(event_type, when, codes, sources, Rule(to, guards, ok, data, position))


class _Choice(NamedTuple):
    attribute: str
    rules: dict[tuple[int, int], Rule]  #: by code and source


class Table:
    """Rules by event type, code of one attribute, and source. Of several rows that fit, the first one counts."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows: Final = tuple(rows)
        self._choices: Final[dict[EventType, _Choice]] = {}
        for row in self.rows:
            choice = self._choices.setdefault(row.type, _Choice(row.attribute, {}))
            if choice.attribute != row.attribute:
                raise ValueError(f"{row.type.name}: told apart by {choice.attribute!r} and by {row.attribute!r}")
            for code in row.codes:
                for source in row.sources:
                    choice.rules.setdefault((code, source), row.rule)

    def find(self, event: Event) -> Rule | None:
        """The rule of an event, None when the table has none for it."""
        choice = self._choices.get(event.type)
        if choice is None:
            return None
        code = event.attributes.get(choice.attribute, 0)
        return choice.rules.get((code, event.source))  # type: ignore[arg-type]  # coded attributes are numbers
