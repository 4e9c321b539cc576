"""The table of gLite jobs (SIMPLE, DAG, COLLECTION): what each kind of event does to them.

Spec: state-machine.md §5.3. Which events are in order is decided in `lb.state.glite`; events that CREAM logs for such
jobs have their rows in `lb.state.cream`.
"""

from __future__ import annotations

from typing import Final

from lb.model.catalogue import SOURCE_NAMES, Source
from lb.model.seqcode import compare
from lb.model.status import State
from lb.state import branches, cream, payload
from lb.state.actions import (
    append,
    enter_named_state,
    failure,
    first_text,
    glue,
    keep_job,
    keep_text,
    place,
    put,
    suspect,
    take,
    take_number,
    take_text,
    user_tag,
)
from lb.state.registration import change_type, count_children, link_parent
from lb.state.rules import Action, Position, Row, Table, explain, explanation, on
from lb.state.turn import MICROSECONDS, Outcome, Standing, Turn, location, named_location, shown

_UI, _NS, _WM = Source.UserInterface, Source.NetworkServer, Source.WorkloadManager
_JC, _LM, _LRMS = Source.JobController, Source.LogMonitor, Source.LRMS


# --- actions ----------------------------------------------------------------------------------------------


def _late_if_running(turn: Turn) -> None:
    """Late after Running and Done, for LogMonitor and the worker node report side by side."""
    if turn.old in (State.Running, State.Done):
        turn.outcome = Outcome.LATE


def _late_transfer(turn: Turn) -> None:
    """Late after Running and Done, but the time of the transfer is kept."""
    if turn.old in (State.Running, State.Done):
        turn.outcome = Outcome.LATE
        turn.status.stateEnterTimes[State.Scheduled] = turn.event.timestamp // MICROSECONDS


def _only_data(turn: Turn) -> None:
    """Only its data are taken."""
    turn.outcome = Outcome.IGNORE


def _in_any_state(turn: Turn) -> None:
    """In order whatever the job's state (S4)."""
    turn.outcome = Outcome.OK


def _cancel_order(turn: Turn) -> None:
    """Ordered among cancellations (§5.4)."""
    cancel = turn.hidden.cancel
    if cancel is not None and compare(turn.event.seqcode, cancel) < 0:
        turn.outcome = Outcome.LATE


def _at(component: str, host: str, instance: str) -> Action:
    """The job is at the component, host and instance that the event names."""

    def action(turn: Turn) -> None:
        event = turn.event
        turn.status.location = location(event.number(component), event.text(host), event.text(instance))

    return explain(action, f"`location` := `{component}`/`{host}`/`{instance}`")


def _in(name: str) -> Action:
    """The job is in the queue or with the helper that the event names."""

    def action(turn: Turn) -> None:
        event = turn.event
        turn.status.location = named_location(event.text(name), event.host, event.src_instance)

    return explain(action, f"`location` := `{name}`/host/instance")


def _at_wm(turn: Turn) -> None:
    """`location` := WorkloadManager/host/instance."""
    event = turn.event
    turn.status.location = location(_WM, event.host, event.src_instance)


def _on_node(turn: Turn) -> None:
    """`location` := LRMS/worknode/`node`."""
    turn.status.location = f"{SOURCE_NAMES[_LRMS]}/worknode/{shown(turn.event.text('node'))}"


def _unless_stray(action: Action) -> Action:
    """`action`, but not for an event of a given-up or losing attempt."""

    def guarded(turn: Turn) -> None:
        if turn.standing not in (Standing.OTHER, Standing.TOO_OLD):
            action(turn)

    return explain(guarded, f"{explanation(action).text} unless its attempt is given up", action)


def _while_running(action: Action) -> Action:
    def guarded(turn: Turn) -> None:
        if turn.status.state == State.Running:
            action(turn)

    return explain(guarded, f"while Running: {explanation(action).text}", action)


def _end_payload(turn: Turn) -> None:
    """`payload_running` = False on the active attempt."""
    if turn.standing is Standing.ACTIVE:
        turn.status.payload_running = False


def _delayed_failure(turn: Turn) -> None:
    """`failure_reasons` += the reason of a late event, as delayed."""
    if turn.outcome is not Outcome.OK:
        piece = f"{shown(turn.event.text('reason'))} [delayed event, destination unreliable]"
        turn.status.failure_reasons = glue(turn.status.failure_reasons, piece)


def _advance_last(turn: Turn) -> None:
    """Its code becomes the last one."""
    turn.hidden.last = turn.event.seqcode or turn.hidden.last


def _no_exit_code(turn: Turn) -> None:
    """`exit_code` = 0."""
    turn.status.exit_code = 0


# --- the table --------------------------------------------------------------------------------------------

_reason = take("reason")
_nowhere = put("location", "none")
_ended = (put("jw_status", "DONE"), _reason, _end_payload)
_purgeable = put("remove_from_proxy", True)
_cancel_reason = take("cancelReason", "reason")
_moved = (_reason, _at("destination", "dest_host", "dest_instance"))
_failed = (_reason, place)
_refused = (_reason, _at("from", "from_host", "from_instance"))
_queued = (_reason, _in("queue"))
_transferred: Final[dict[Source, Action]] = {
    _UI: first_text("jdl", "job"),
    _JC: take_text("condor_jdl", "job"),
    _LM: take_text("rsl", "job"),
}
_enqueued: Final[dict[Source, tuple[Action, ...]]] = {
    _NS: (first_text("jdl", "job"),),
    _WM: (take_text("matched_jdl", "job"),),
    _LM: (),
}


def _cleared(reason: str, text: str) -> Row:
    return on(
        "Clear",
        when="reason",
        is_=reason,
        to=State.Cleared,
        ok=(_purgeable, _nowhere, put("reason", text)),
        data=(put("sandbox_retrieved", reason),),
    )


ROWS: Final[tuple[Row, ...]] = (
    on(
        "RegJob",
        to=State.Submitted,
        data=(
            keep_text("jdl", "jdl"),
            link_parent,
            take("network_server", "ns"),
            take("seed"),
            count_children,
            change_type,
        ),
    ),
    on("Transfer", when="result", is_="OK", source=_UI, to=State.Waiting, ok=_moved, data=(_transferred[_UI],)),
    on("Transfer", when="result", is_="OK", source=_JC, to=State.Ready, ok=_moved, data=(_transferred[_JC],)),
    on(
        "Transfer",
        when="result",
        is_="OK",
        source=_LM,
        guards=(_late_transfer,),
        to=State.Scheduled,
        ok=_moved,
        data=(_transferred[_LM],),
        position=Position.LM_ZERO,
    ),
    on("Transfer", when="result", is_="FAIL", source=_UI, to=State.Submitted, ok=_failed, data=(_transferred[_UI],)),
    *(
        on(
            "Transfer",
            when="result",
            is_="FAIL",
            source=source,
            guards=(_late_if_running,),
            to=State.Ready,
            ok=_failed,
            data=(_transferred[source],),
        )
        for source in (_JC, _LM)
    ),
    *(
        on("Transfer", when="result", source=source, guards=(_only_data,), data=(data,))
        for source, data in _transferred.items()
    ),
    on("Accepted", source=_NS, to=State.Waiting, ok=(place,), data=(take("ui_host", "from_host"),)),
    on(
        "Accepted",
        source=_LM,
        guards=(_late_if_running,),
        to=State.Ready,
        ok=(place,),
        data=(take("condorId", "local_jobid"),),
        position=Position.LM_ZERO,
    ),
    on("Accepted", source=_LRMS, to=State.Scheduled, ok=(place,), data=(take("globusId", "local_jobid"),)),
    on("Refused", source=_NS, to=State.Submitted, ok=_refused),
    on("Refused", source=(_LM, _LRMS), to=State.Ready, ok=_refused),
    on("EnQueued", when="result", is_="OK", source=_NS, to=State.Waiting, ok=_queued, data=(take_text("jdl", "job"),)),
    on(
        "EnQueued",
        when="result",
        is_="OK",
        source=_WM,
        guards=(_late_if_running,),
        to=State.Ready,
        ok=_queued,
        data=(branches.note_jdl, take_text("matched_jdl", "job")),
    ),
    on("EnQueued", when="result", is_="OK", source=_LM, to=State.Waiting, ok=(*_queued, put("resubmitted", True))),
    on("EnQueued", when="result", is_="FAIL", source=_NS, to=State.Waiting, ok=_failed, data=_enqueued[_NS]),
    on("EnQueued", when="result", is_="FAIL", source=_WM, to=State.Waiting, ok=_failed, data=_enqueued[_WM]),
    on("EnQueued", when="result", is_="FAIL", source=_LM, ok=_failed),
    *(
        on("EnQueued", when="result", source=source, guards=(_only_data,), data=data)
        for source, data in _enqueued.items()
    ),
    on("DeQueued", source=_WM, to=State.Waiting, ok=(place,)),
    on("DeQueued", source=_JC, guards=(_late_if_running,), to=State.Ready, ok=(place,)),
    on("HelperCall", to=State.Waiting, ok=(_in("helper_name"),)),
    on("HelperReturn", to=State.Waiting, ok=(_at_wm,)),
    on(
        "Match",
        to=State.Waiting,
        ok=(_at_wm,),
        data=(
            _unless_stray(take("destination", "dest_id")),
            branches.note_destination,
            append("possible_destinations", "dest_id"),
        ),
    ),
    on("Pending", to=State.Waiting, ok=(_reason, _at_wm)),
    on(
        "Running",
        to=State.Running,
        ok=(put("jw_status", "WRAPPER_RUNNING"), _on_node),
        data=(_unless_stray(take("ce_node", "node")), branches.note_node, append("possible_ce_nodes", "node")),
    ),
    on("ReallyRunning", data=(payload.really_running,)),
    on("Suspend", ok=(_while_running(put("suspended", True)), _while_running(take("suspend_reason", "reason")))),
    on("Resume", ok=(_while_running(put("suspended", False)), _while_running(take("suspend_reason", "reason")))),
    on("Resubmission", when="result", is_="WONTRESUB", ok=(_reason,)),
    on("Resubmission", when="result", is_="WILLRESUB", source=_WM, data=(branches.reset,)),
    on("Resubmission", when="result"),
    on("Done", when="status_code", source=_LRMS, ok=(put("jw_status", "DONE"), put("payload_running", False))),
    on(
        "Done",
        when="status_code",
        is_="OK",
        to=State.Done,
        ok=(*_ended, _nowhere),
        data=(take_number("exit_code"), put("done_code", "OK")),
    ),
    on(
        "Done",
        when="status_code",
        is_="CANCELLED",
        to=State.Cancelled,
        ok=(*_ended, _nowhere),
        data=(_no_exit_code, put("done_code", "CANCELLED")),
    ),
    on(
        "Done",
        when="status_code",
        is_="FAILED",
        to=State.Done,
        ok=(*_ended, place, failure),
        data=(_no_exit_code, put("done_code", "FAILED"), _delayed_failure),
    ),
    # Half of it applies, then the event counts as not allowed (S12).
    on("Done", when="status_code", is_="KILLED", to=State.Done, ok=(*_ended, place), data=(suspect,)),
    *(
        on(
            "Cancel",
            when="status_code",
            is_=code,
            to=to,
            guards=(_cancel_order,),
            ok=ok,
            data=(_cancel_reason,),
            position=Position.CANCEL,
        )
        for code, to, ok in (
            ("REQ", None, (put("cancelling", True),)),
            ("REFUSE", None, ()),
            ("DONE", State.Cancelled, (_purgeable, _reason, _advance_last, _nowhere, put("cancelling", False))),
            ("ABORT", None, (put("cancelling", False),)),
        )
    ),
    on(
        "Abort",
        source=_WM,
        guards=(_in_any_state,),
        to=State.Aborted,
        ok=(_purgeable, _reason, _nowhere, branches.reset),
    ),
    on("Abort", to=State.Aborted, ok=(_purgeable, _reason, _nowhere, branches.reset)),
    _cleared("USER", "user retrieved output sandbox"),
    _cleared("TIMEOUT", "timed out, resource purge forced"),
    _cleared("NOOUTPUT", "no output was generated"),
    on("UserTag", data=(user_tag,)),
    on("CollectionState", ok=(enter_named_state,)),
    on("Sandbox", when="sandbox_type", is_="INPUT", data=(keep_job("isb_transfer", "transfer_job"),)),
    on("Sandbox", when="sandbox_type", is_="OUTPUT", data=(keep_job("osb_transfer", "transfer_job"),)),
    on("Sandbox", when="sandbox_type"),
    on("GrantPayloadOwnership", data=(payload.grant,), position=Position.KEEP),
    on("TakePayloadOwnership", data=(payload.take,), position=Position.KEEP),
    *(on(name) for name in ("Listener", "CurDescr", "Chkpt", "ResourceUsage", "Purge")),
)

TABLE: Final = Table((*ROWS, *cream.GLITE_ROWS))
