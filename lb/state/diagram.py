"""Drawings of job families, made of their tables: which events bring a job to which state.

Almost every rule holds in any state, so arrows start at events; the line down the right side is the ordinary life of a
job. The same tables always give the same SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import Final

from lb.model.status import State
from lb.state.families import FamilyTable, coverage

_WIDTH: Final = 1000
_EVENTS: Final = 690  #: right end of the column of events
_BOX: Final = 800  #: left end of the boxes
_BOX_WIDTH: Final = 160
_BOX_HEIGHT: Final = 38
_LINE: Final = 18
_TOP: Final = 56
#: Characters of 12 pixels that fit into the column of events.
_CHARACTERS: Final = 96

#: The ordinary life of a job, from above; the others have no place in it.
_LIFE: Final = (
    State.Submitted,
    State.Waiting,
    State.Ready,
    State.Scheduled,
    State.Running,
    State.Done,
    State.Cleared,
)
_OTHERS: Final = (State.Aborted, State.Cancelled)
_ENDS: Final = frozenset({State.Cleared, *_OTHERS})

_STYLE: Final = """
  svg { background: #fff } text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1c2733 }
  .title { font-size: 17px; font-weight: 600 } .state { font-size: 14px; font-weight: 600; text-anchor: middle }
  .events { text-anchor: end; fill: #44525f } rect { fill: #eef4fa; stroke: #2f6fa8; stroke-width: 1.5 }
  .end { fill: none } path { stroke: #7d8b98; fill: none; stroke-width: 1.2 } .life { stroke: #2f6fa8; stroke-width: 2 }
  marker path { fill: #7d8b98; stroke: none } #down path { fill: #2f6fa8 }
  @media (prefers-color-scheme: dark) {
    svg { background: #14191f } text { fill: #e3e9ef } .events { fill: #aab6c1 } rect { fill: #1d2a36; stroke: #6aa9de }
    .end { fill: none } .life { stroke: #6aa9de } #down path { fill: #6aa9de }
  }
"""


def draw(family: FamilyTable) -> str:
    """The drawing of a family as an SVG document."""
    events = _events_by_state(family)
    states = [state for state in (*_LIFE, *_OTHERS) if state in events]
    body, y, below = [], _TOP, 0
    for state in states:
        # A label stays on one line.
        labels = [label.replace(" ", "\N{NO-BREAK SPACE}") for label in events[state]]
        lines = wrap(" · ".join(labels), _CHARACTERS, break_long_words=False, break_on_hyphens=False)
        height = max(_BOX_HEIGHT, _LINE * len(lines))
        middle = y + height // 2
        if below and state in _LIFE:
            start, end = below, middle - _BOX_HEIGHT // 2 - 4
            body.append(f'<path class="life" d="M{_BOX + _BOX_WIDTH // 2} {start}V{end}" marker-end="url(#down)"/>')
        body += _row(state, lines, middle)
        below = middle + _BOX_HEIGHT // 2
        y += height + 22
    return _document(family.title, states, body, y)


def _events_by_state(family: FamilyTable) -> dict[State, list[str]]:
    events: dict[State, list[str]] = {}
    for covered in coverage(family.table):
        for state in covered.states:
            events.setdefault(state, []).append(covered.label)
    return events


def _row(state: State, lines: list[str], middle: int) -> list[str]:
    first = middle - _LINE * (len(lines) - 1) // 2 + 4
    drawn = [
        f'<text class="events" x="{_EVENTS}" y="{first + _LINE * number}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    top = middle - _BOX_HEIGHT // 2
    drawn.append(f'<path d="M{_EVENTS + 8} {middle}H{_BOX - 8}" marker-end="url(#right)"/>')
    drawn.append(f'<rect x="{_BOX}" y="{top}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"/>')
    if state in _ENDS:
        inner = f'width="{_BOX_WIDTH - 8}" height="{_BOX_HEIGHT - 8}"'
        drawn.append(f'<rect class="end" x="{_BOX + 4}" y="{top + 4}" {inner} rx="4"/>')
    drawn.append(f'<text class="state" x="{_BOX + _BOX_WIDTH // 2}" y="{middle + 5}">{state.name}</text>')
    return drawn


def _document(title: str, states: Sequence[State], body: list[str], height: int) -> str:
    names = ", ".join(state.name for state in states)
    lines = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<desc>States {names}, and beside each the events that bring a job to it.</desc>",
        f"<style>{_STYLE}</style>",
        *(
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z"/></marker>'
            for name in ("right", "down")
        ),
        f'<text class="title" x="24" y="30">{escape(title)}</text>',
        *body,
        "</svg>",
    )
    return "\n".join(lines) + "\n"
