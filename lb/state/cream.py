"""CREAM: jobs of its own, and the events that CREAM logs for gLite jobs.

Spec: state-machine.md §§6 and 7. Of the events that look like progress only CREAMStatus, CREAMStore, CREAMCall,
CREAMCancel and CREAMAbort move a job (S47).
"""

from __future__ import annotations

import re
from typing import Final

from lb.model.catalogue import BY_NAME, EventType, Source
from lb.model.status import BY_NAME as STATUS
from lb.model.status import State
from lb.state.actions import enter, keep, keep_text, put, take, user_tag
from lb.state.plain import Family
from lb.state.rules import Action, Actions, Row, Table, explain, on, together
from lb.state.turn import Turn

SOURCES: Final = frozenset({Source.CREAMInterface, Source.CREAMExecutor})
_LOCATION: Final = "this is CREAM"
_STATUS = BY_NAME["CREAMStatus"]
#: Text may hold a number of any length; what follows the digits read here cannot bring it back into 32 bits.
_LEADING_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,18})")
_LARGEST = 2**31 - 1


# --- actions ----------------------------------------------------------------------------------------------


def _succeeded(*actions: Action) -> Action:
    """`actions`, for a command that CREAM has carried out."""

    def guarded(turn: Turn) -> None:
        event = turn.event
        if event.number("result") == event.type.by_name["result"].codes["OK"]:
            for action in actions:
                action(turn)

    return explain(guarded, f"{{{together(actions)}}} if OK", *actions)


def _towards_lrms(*actions: Action) -> Action:
    """`actions`, for a command handed to the batch system."""

    def guarded(turn: Turn) -> None:
        if turn.event.number("callee") == Source.LRMS:
            for action in actions:
                action(turn)

    return explain(guarded, f"{together(actions)} towards LRMS", *actions)


def _named_status(turn: Turn) -> None:
    """Follow the state that CREAM reports; a name it does not have leaves the job where it is."""
    actions = _STATUSES.get((turn.event.text("new_state") or "").lower())
    if actions is None:
        turn.status.cream_state = STATUS["cream_state"].null or 0
        return
    for action in actions:
        action(turn)


def _owner(turn: Turn) -> None:
    """`cream_owner` ?= the owner."""
    turn.status.cream_owner = turn.status.owner or turn.status.cream_owner


def _exit_code(turn: Turn) -> None:
    """`exit_code`, `cream_exit_code` := leading number of `exit_code` unless N/A."""
    text = turn.event.text("exit_code")
    if text is None or text == "N/A":
        return
    found = _LEADING_INTEGER.match(text)
    number = int(found[1]) if found else 0
    turn.status.exit_code = turn.status.cream_exit_code = max(-_LARGEST - 1, min(number, _LARGEST))


def _failure(turn: Turn) -> None:
    """`failure_reasons`, `cream_failure_reason` := `failure_reason`; a line end tells that there were others (S16)."""
    reason, status = turn.event.text("failure_reason"), turn.status
    if reason is not None:
        status.cream_failure_reason = reason
        status.failure_reasons = reason if status.failure_reasons is None else reason + "\n"


def _only_when_done(*actions: Action) -> Action:
    """`actions`, for a status that has been reached and not only heard of."""

    def guarded(turn: Turn) -> None:
        if turn.event.number("result") == _STATUS.by_name["result"].codes["DONE"]:
            for action in actions:
                action(turn)

    return explain(guarded, f"{{{together(actions)}}} if DONE", *actions)


# --- tables -----------------------------------------------------------------------------------------------

_keep_reasons = (keep("cream_reason", "reason"), keep("reason"))
_take_reasons = (take("cream_reason", "reason"), take("reason"))
_aborted = put("cream_state", "CREAM_ABORTED")

#: What a reported state means, by its name in lower case.
_STATUSES: Final[dict[str, Actions]] = {
    "registered": (put("cream_state", "CREAM_REGISTERED"),),
    "pending": (put("cream_state", "CREAM_PENDING"), enter(State.Waiting)),
    "idle": (put("cream_state", "CREAM_IDLE"), enter(State.Scheduled)),
    "running": (put("cream_state", "CREAM_RUNNING"), enter(State.Running), put("jw_status", "WRAPPER_RUNNING")),
    "really-running": (
        put("cream_state", "CREAM_REALLY-RUNNING"),
        enter(State.Running),
        put("jw_status", "PAYLOAD_RUNNING"),
    ),
    "held": (put("cream_state", "CREAM_HELD"),),
    "done-ok": (
        put("cream_state", "CREAM_DONE-OK"),
        enter(State.Done),
        put("done_code", "OK"),
        put("cream_done_code", STATUS["done_code"].codes["OK"]),
    ),
    "done-failed": (
        put("cream_state", "CREAM_DONE-FAILED"),
        enter(State.Done),
        put("done_code", "FAILED"),
        put("cream_done_code", STATUS["done_code"].codes["FAILED"]),
    ),
    "aborted": (_aborted, enter(State.Aborted)),
    "cancelled": (put("cream_state", "CREAM_CANCELLED"), enter(State.Cancelled)),
    "purged": (put("cream_state", "CREAM_PURGED"), enter(State.Cleared)),
}

explain(
    _named_status,
    "as `new_state` says: " + ", ".join(f"*{name}* {{{together(actions)}}}" for name, actions in _STATUSES.items()),
    *(action for actions in _STATUSES.values() for action in actions),
)

#: Attributes that events of CREAM bring whatever their order (§6.2).
_DATA: Final[dict[EventType, Actions]] = {
    BY_NAME["RegJob"]: (
        _owner,
        keep_text("jdl", "jdl"),
        keep_text("cream_jdl", "jdl"),
        keep("cream_endpoint", "ns"),
        keep("destination", "ns"),
        keep("network_server", "ns"),
    ),
    BY_NAME["CREAMAccepted"]: (take("cream_id", "local_jobid"), take("globusId", "local_jobid")),
    _STATUS: (
        _only_when_done(
            _exit_code,
            keep("cream_node", "worker_node"),
            keep("ce_node", "worker_node"),
            keep("cream_lrms_id", "LRMS_jobid"),
            keep("localId", "LRMS_jobid"),
            _failure,
        ),
    ),
    BY_NAME["UserTag"]: (user_tag,),
}


def _rows(call: tuple[Row, ...]) -> tuple[Row, ...]:
    """The rows of events that move a job; the two kinds of job differ in `call`."""
    return (
        on(
            "CREAMStore",
            when="command",
            is_="CMDSTART",
            ok=(_succeeded(enter(State.Waiting), put("cream_state", "CREAM_PENDING")), *_keep_reasons),
        ),
        on("CREAMStore", when="command", is_="CMDSUSPEND", ok=(_succeeded(put("suspended", True)), *_keep_reasons)),
        on("CREAMStore", when="command", is_="CMDRESUME", ok=(_succeeded(put("suspended", False)), *_keep_reasons)),
        on("CREAMStore", when="command", ok=_keep_reasons),
        *call,
        on(
            "CREAMCall",
            when="command",
            is_="CMDCANCEL",
            ok=(_succeeded(put("cancelling", True), put("cream_cancelling", True), *_keep_reasons),),
        ),
        on("CREAMCall", when="command"),
        on("CREAMCancel", when="status_code", is_="DONE", to=State.Cancelled, ok=(_aborted, *_take_reasons)),
        on("CREAMCancel", when="status_code", ok=_take_reasons),
        on("CREAMAbort", to=State.Aborted, ok=(_aborted, *_take_reasons)),
        on("CREAMStatus", when="result", is_="DONE", ok=(_named_status,)),
        on("CREAMStatus", when="result"),
    )


def _start(*reasons: Action) -> Row:
    return on(
        "CREAMCall",
        when="command",
        is_="CMDSTART",
        source=Source.CREAMExecutor,
        ok=(_towards_lrms(_succeeded(enter(State.Scheduled), put("cream_state", "CREAM_IDLE"), *reasons)),),
    )


#: CREAM events in the table of gLite jobs; those of other types are not allowed there.
GLITE_ROWS: Final = (
    *_rows((_start(*_keep_reasons),)),
    *(on(name) for name in ("CREAMStart", "CREAMPurge", "CREAMAccepted")),
)

_PURGED = on(
    "CREAMCall",
    when="command",
    is_="CMDPURGE",
    ok=(_succeeded(enter(State.Cleared), put("cream_state", "CREAM_PURGED"), *_keep_reasons),),
)

FAMILY: Final = Family(
    Table(
        (
            on("RegJob", to=State.Submitted, ok=(put("cream_state", "CREAM_REGISTERED"),)),
            *_rows((_start(*_take_reasons), _PURGED)),
        )
    ),
    location=_LOCATION,
    data=_DATA,
)


def take_data(turn: Turn) -> None:
    """What an event of CREAM brings to a gLite job before the rule of its type is looked at."""
    for action in _DATA.get(turn.event.type, ()):
        action(turn)
    if turn.status.location is None:
        turn.status.location = _LOCATION
