"""Condor jobs. Spec: state-machine.md §9, with sequence codes as they were meant (S23)."""

from __future__ import annotations

from typing import Final

from lb.model.seqcode import compare_condor
from lb.model.status import State
from lb.state.actions import enter, keep, put, take, take_number, take_text
from lb.state.plain import Family
from lb.state.rules import Action, Table, explain, on, together
from lb.state.turn import Turn

_SHADOW, _SCHEDD, _STARTD, _STARTER = "H", "C", "S", "s"


def _log_of(letter: str, *actions: Action) -> Action:
    """`actions`, for an event read from the log of one daemon: the letter at the end of the code."""

    def guarded(turn: Turn) -> None:
        if turn.event.seqcode.partition(":SRC=")[2][:1] == letter:
            for action in actions:
                action(turn)

    return explain(guarded, f"{{{together(actions)}}} from log {letter}", *actions)


_idle = put("condor_status", "Idle")
_completed = put("condor_status", "Completed")
_starter_pid = take_number("condor_starter_pid", "starter_pid")

FAMILY: Final = Family(
    Table(
        (
            on("RegJob", to=State.Submitted, ok=(_idle,), data=(take_text("jdl", "jdl"),)),
            on("CondorMatch", to=State.Ready, ok=(_idle,), data=(keep("condor_dest_host", "dest_host"),)),
            on(
                "CondorReject",
                when="status_code",
                is_="NOMATCH",
                to=State.Aborted,
                ok=(put("condor_status", "Unexpanded"),),
                data=(put("condor_reason", "No match found."),),
            ),
            on("CondorReject", when="status_code", to=State.Aborted, ok=(put("condor_status", "Unexpanded"),)),
            on(
                "CondorShadowStarted",
                to=State.Ready,
                ok=(_idle,),
                data=(_log_of(_SCHEDD, take_number("condor_shadow_pid", "shadow_pid")),),
            ),
            on(
                "CondorShadowExited",
                to=State.Done,
                ok=(_completed,),
                data=(_log_of(_SHADOW, take_number("condor_shadow_exit_status", "shadow_exit_status")),),
            ),
            on(
                "CondorStarterStarted",
                ok=(
                    _log_of(_STARTD, enter(State.Scheduled), _idle),
                    _log_of(_STARTER, enter(State.Running), put("condor_status", "Running")),
                ),
                data=(_log_of(_STARTER, take("condor_universe", "universe"), _starter_pid),),
            ),
            on(
                "CondorStarterExited",
                to=State.Done,
                ok=(_completed,),
                data=(
                    _log_of(_STARTD, _starter_pid, take_number("condor_starter_exit_status", "starter_exit_status")),
                    _log_of(
                        _STARTER,
                        _starter_pid,
                        take_number("condor_job_pid", "job_pid"),
                        take_number("condor_job_exit_status", "job_exit_status"),
                    ),
                ),
            ),
        )
    ),
    location="this is CONDOR",
    compare=compare_condor,
)
