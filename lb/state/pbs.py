"""PBS jobs. Spec: state-machine.md §8."""

from __future__ import annotations

from typing import Final

from lb.model.catalogue import BY_NAME, Source
from lb.model.seqcode import compare_pbs
from lb.model.status import State
from lb.state.actions import first, glue, keep, pairs, put, take, take_number, user_tag
from lb.state.plain import Family
from lb.state.rules import Table, on
from lb.state.turn import Turn

_SERVER: Final = Source.PBSServer
_MOM: Final = (Source.PBSMom, Source.PBSMomSuperior)

#: State letters by the number in PBSInternalStateChange.
_LETTERS: Final = "TQHWREC"
_TRANSFERRED: Final = BY_NAME["PBSTransfer"].by_name["result"].codes["OK"]


def _letter(turn: Turn) -> None:
    """`pbs_state` := letter of `newstate`; a number without a letter leaves the one that was there (S2)."""
    number = turn.event.number("newstate")
    if 0 <= number < len(_LETTERS):
        turn.status.pbs_state = _LETTERS[number]


def _arrive(turn: Turn) -> None:
    """If OK: `location` or `ce_node` := `dest_instance`, by the kind of daemon that took the job."""
    event = turn.event
    if event.number("result") != _TRANSFERRED:
        return
    if event.number("destination") == _SERVER:
        turn.status.location = event.text("dest_instance")
    elif event.number("destination") in _MOM:
        turn.status.ce_node = event.text("dest_instance")


def _at_server(turn: Turn) -> None:
    """`location` := instance."""
    turn.status.location = turn.event.src_instance


def _at_mom(turn: Turn) -> None:
    """`ce_node` := instance."""
    turn.status.ce_node = turn.event.src_instance


def _error(turn: Turn) -> None:
    """`pbs_error_desc` += `error_desc`."""
    turn.status.pbs_error_desc = glue(turn.status.pbs_error_desc, "\t" + (turn.event.text("error_desc") or ""))


_run = (keep("pbs_scheduler", "scheduler"), keep("pbs_dest_host", "dest_host"), take_number("pbs_pid", "pid"))
_exit = (take_number("pbs_exit_status", "exit_status"),)

FAMILY: Final = Family(
    Table(
        (
            on("RegJob", to=State.Submitted, data=(take("network_server", "ns"),)),
            on("PBSInternalStateChange", ok=(_letter, take_number("pbs_substate", "newsubstate"))),
            on("PBSTransfer", data=(_arrive,)),
            on("PBSAccepted", source=_SERVER, to=State.Submitted, ok=(_at_server,)),
            on("PBSAccepted", source=_MOM, to=State.Scheduled, ok=(_at_mom,)),
            on(
                "PBSQueued",
                source=_SERVER,
                to=State.Waiting,
                data=(take("pbs_queue", "queue"), first("pbs_owner", "owner"), first("pbs_name", "name")),
            ),
            on("PBSQueued", to=State.Waiting),
            on("PBSMatch", to=State.Ready, data=(keep("pbs_dest_host", "dest_host"),)),
            on("PBSPending", to=State.Waiting, data=(keep("pbs_reason", "reason"),)),
            # From elsewhere these three ended the C server; here they bring their data and move nothing (S2).
            on("PBSRun", source=_SERVER, to=State.Scheduled, data=_run),
            on("PBSRun", source=_MOM, to=State.Running, data=_run),
            on("PBSRun", data=_run),
            on("PBSRerun", source=(_SERVER, *_MOM), to=State.Waiting),
            on("PBSDone", source=_SERVER, to=State.Done, ok=(put("done_code", "OK"),), data=_exit),
            on("PBSDone", data=_exit),
            on("PBSResourceUsage", when="usage", is_="REQUESTED", data=(pairs("pbs_resource_requested", "resources"),)),
            on("PBSResourceUsage", when="usage", is_="USED", data=(pairs("pbs_resource_usage", "resources"),)),
            on("PBSError", to=State.Done, ok=(put("done_code", "FAILED"), put("pbs_state", "C")), data=(_error,)),
            on("UserTag", data=(user_tag,)),
        )
    ),
    location="this is PBS",
    compare=compare_pbs,
)
