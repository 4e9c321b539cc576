"""Payload of a gLite job: who owns it, and which attempt really runs it.

Spec: state-machine.md §5.5 and §5.8. Subjects are compared, never trusted: who may log is the server's matter.
"""

from __future__ import annotations

from lb.model.catalogue import Source
from lb.model.seqcode import WM, component, parse_normal
from lb.model.status import BY_NAME, State
from lb.model.subject import same_person
from lb.state import branches
from lb.state.actions import suspect
from lb.state.rules import explain, explanation
from lb.state.turn import Outcome, Standing, Turn

_PAYLOAD_RUNNING = BY_NAME["jw_status"].codes["PAYLOAD_RUNNING"]


def grant(turn: Turn) -> None:
    """The payload is given: `payload_owner` is who has taken it, too. A wrong taker loses the claim (S15)."""
    hidden, to = turn.hidden, turn.event.text("payload_owner")
    if hidden.pay_pending is None:
        hidden.pay_unconfirmed = to
        return
    if same_person(hidden.pay_pending, to):
        turn.status.payload_owner = hidden.pay_pending
    hidden.pay_pending = None


def take(turn: Turn) -> None:
    """The payload is taken: `payload_owner` is who was given it, too."""
    hidden, by = turn.hidden, turn.event.user
    if same_person(hidden.pay_unconfirmed, by):
        turn.status.payload_owner = hidden.pay_unconfirmed
        hidden.pay_unconfirmed = None
    else:
        hidden.pay_pending = by


def really_running(turn: Turn) -> None:
    """The payload runs: this attempt is the active one, its data are the job's (told late as well, S13)."""
    if turn.standing in (Standing.OTHER, Standing.TOO_OLD):
        return
    if turn.event.source == Source.LRMS:
        _choose(turn, turn.event.seqcode)
    elif turn.event.source == Source.LogMonitor and not _choose_reported(turn):
        suspect(turn)
        return
    hidden, status = turn.hidden, turn.status
    if turn.outcome is Outcome.LATE and hidden.lastbr is None and _same_attempt(hidden.last, hidden.tag):
        hidden.lastbr = hidden.last
    status.jw_status = _PAYLOAD_RUNNING
    status.payload_running = True
    if hidden.tag is not None:
        branches.reload(turn, hidden.tag)


explain(really_running, explanation(really_running).text, to=(State.Running,))


def _same_attempt(a: str | None, b: str | None) -> bool:
    """Whether two codes have one WM value; the C server crashed where there was no code to compare (S1)."""
    return a is not None and b is not None and component(a, WM) == component(b, WM)


def _choose(turn: Turn, code: str) -> None:
    """The job wrapper itself says that it runs the payload."""
    turn.hidden.tag = code
    _advance(turn, code)


def _choose_reported(turn: Turn) -> bool:
    """LogMonitor passes on the wrapper's code; what is known already is kept. False if a needed code is unreadable."""
    hidden, code = turn.hidden, turn.event.text("wn_seq") or ""
    if hidden.tag is not None and hidden.lastbr is not None:
        return True
    if parse_normal(code) is None:
        return False
    if hidden.tag is None:
        hidden.tag = code
    if hidden.lastbr is None:
        _advance(turn, code)
    return True


def _advance(turn: Turn, code: str) -> None:
    if turn.outcome is Outcome.OK:
        turn.hidden.lastbr = code
        turn.status.state = State.Running
