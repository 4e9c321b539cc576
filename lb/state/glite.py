"""The fold of gLite jobs (SIMPLE, DAG, COLLECTION): the order that sequence codes give their events.

Spec: state-machine.md §§5.1 and 5.2. What each kind of event does is in the table of `lb.state.glite_rules`.
"""

from __future__ import annotations

from typing import Final

from lb.model.catalogue import BY_NAME, Source
from lb.model.event import Event
from lb.model.seqcode import NS, UI, WM, compare, component, lower_lm
from lb.model.status import BY_NAME as STATUS
from lb.model.status import State
from lb.state import cream
from lb.state.glite_rules import TABLE
from lb.state.job import Job
from lb.state.rules import Position
from lb.state.turn import Outcome, Standing, Turn

_CANCEL: Final = BY_NAME["Cancel"]
_COLLECTION_STATE: Final = BY_NAME["CollectionState"]
_JW_UNKNOWN: Final = STATUS["jw_status"].codes["UNKNOWN"]
_BACK_IN_THE_QUEUE: Final = frozenset({State.Waiting, State.Ready, State.Scheduled})


def fold(job: Job, event: Event) -> Outcome:
    """Apply one event to a typed gLite job."""
    turn = Turn(job, event)
    _judge(turn)
    if event.source in cream.SOURCES:
        cream.take_data(turn)
    rule = TABLE.find(event)
    if rule is None:
        return Outcome.SUSPECT
    for action in rule.guards:
        action(turn)
    if turn.outcome is Outcome.OK:
        if rule.to is not None:
            job.status.state = rule.to
        for action in rule.ok:
            action(turn)
    if turn.outcome is not Outcome.SUSPECT:
        for action in rule.data:
            action(turn)
    if turn.outcome is not Outcome.SUSPECT:
        _close(turn, rule.position)
    return turn.outcome


def _judge(turn: Turn) -> None:
    """Where the event stands among those seen: in order or late, on the active attempt or astray (§5.1)."""
    hidden, event = turn.hidden, turn.event
    code, last = event.seqcode, hidden.last
    if _is_over(turn):
        turn.outcome = Outcome.LATE
    if last is not None and event.type is not _CANCEL and _is_reentry(code, last):
        hidden.tag = hidden.deep = hidden.lastbr = None
    if hidden.deep is not None and component(code, WM) < component(hidden.deep, WM):
        turn.outcome, turn.standing = Outcome.LATE, Standing.TOO_OLD
    elif hidden.tag is not None:
        if component(code, WM) != component(hidden.tag, WM):
            turn.outcome, turn.standing = Outcome.LATE, Standing.OTHER
        else:
            turn.standing = Standing.ACTIVE
            if hidden.lastbr is not None and compare(code, hidden.lastbr) < 0:
                turn.outcome = Outcome.LATE
    elif last is not None and compare(code, last) < 0:
        turn.outcome = Outcome.LATE


def _is_over(turn: Turn) -> bool:
    if turn.old == State.Aborted:
        return turn.event.type is not _COLLECTION_STATE
    return turn.old in (State.Cancelled, State.Cleared)


def _is_reentry(code: str, last: str) -> bool:
    """Whether the job has come in anew: what was decided about its attempts no longer holds."""
    return component(code, NS) > component(last, NS) or component(code, UI) > component(last, UI)


def _close(turn: Turn, position: Position) -> None:
    """What every event leaves besides its own rule (§5.2)."""
    status, hidden, event = turn.status, turn.hidden, turn.event
    if turn.outcome is Outcome.OK:
        turn.record_time()
        if status.state != turn.old and status.state in _BACK_IN_THE_QUEUE:
            status.jw_status = _JW_UNKNOWN
        _move_on(turn, position)
        if status.state != State.Running:
            status.suspended = False
            status.suspend_reason = None
        if turn.standing is Standing.ACTIVE:
            hidden.lastbr = event.seqcode
    if event.source == Source.NetworkServer and status.network_server is None:
        instance = event.src_instance
        status.network_server = f"{event.host} " if instance is None else f"{event.host}:{instance}"


def _move_on(turn: Turn, position: Position) -> None:
    code = turn.event.seqcode
    # An empty code orders nothing; kept as the last one it would make every event after it look new (S31).
    if position is Position.KEEP or not code:
        return
    if position is Position.ADVANCE:
        turn.hidden.last = code
    elif position is Position.LM_ZERO:
        turn.hidden.last = lower_lm(code)
    else:
        turn.hidden.cancel = code
