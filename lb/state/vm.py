"""Virtual machines. Spec: state-machine.md §12, with VMImage and the usage at shutdown as they were meant (S18)."""

from __future__ import annotations

from typing import Final

from lb.model.catalogue import Source
from lb.model.status import BY_NAME as STATUS
from lb.model.status import State
from lb.state.actions import keep, put, take
from lb.state.plain import Family
from lb.state.rules import Table, on
from lb.state.turn import Turn

_CLOUD, _MANAGER, _SYSTEM = Source.CloudManager, Source.VMManager, Source.VMSystem
_CODES: Final = STATUS["vm_state"].codes
_RUNNING, _REALLY_RUNNING = _CODES["VM_RUNNING"], _CODES["VM_REALLY-RUNNING"]


def _started(turn: Turn) -> None:
    """`vm_state` = VM_RUNNING unless the machine itself has told more."""
    if turn.status.vm_state != _REALLY_RUNNING:
        turn.status.vm_state = _RUNNING


def _halting(turn: Turn) -> None:
    """`vm_state` = VM_RUNNING if it was VM_REALLY-RUNNING."""
    if turn.status.vm_state == _REALLY_RUNNING:
        turn.status.vm_state = _RUNNING


_usage = keep("vm_usage", "usage")
_halts = put("vm_system_halting", True)

FAMILY: Final = Family(
    Table(
        (
            on("RegJob", to=State.Submitted, ok=(put("vm_state", "VM_PENDING"),)),
            # The owner that the cloud names is free text: it must not become the owner that may read the job (S17).
            on(
                "VMCreate",
                ok=(
                    keep("vm_require", "require"),
                    keep("vm_id", "id"),
                    keep("vm_name", "name"),
                    keep("vm_hostname", "hostname"),
                    keep("vm_image", "image"),
                    keep("destination", "hostname"),
                ),
            ),
            on("VMHost", ok=(keep("vm_phy_hostname", "hostname"),)),
            on("VMImage", ok=(take("vm_image", "image"),)),
            on("VMRunning", source=(_CLOUD, _MANAGER), to=State.Running, ok=(_started,)),
            on("VMRunning", source=_SYSTEM, to=State.Running, ok=(put("vm_state", "VM_REALLY-RUNNING"),)),
            on("VMRunning", to=State.Running),
            on("VMShutdown", source=_CLOUD, to=State.Waiting, ok=(put("vm_state", "VM_SHUTDOWN"), _usage)),
            on("VMShutdown", source=_MANAGER, ok=(_halts, _usage)),
            on("VMShutdown", source=_SYSTEM, ok=(_halts, _halting, _usage)),
            on("VMShutdown", ok=(_usage,)),
            on("VMStop", to=State.Waiting, ok=(put("vm_state", "VM_STOPPED"),)),
            on("VMResume", to=State.Waiting, ok=(put("vm_state", "VM_PENDING"), put("vm_system_halting", False))),
            *(
                on(
                    "VMDone",
                    when="status_code",
                    is_=code,
                    to=State.Done,
                    ok=(put("vm_state", vm_state), put("done_code", done_code), _usage),
                )
                for code, vm_state, done_code in (
                    ("OK", "VM_DONE", "OK"),
                    ("DELETE", "VM_DONE", "CANCELLED"),
                    ("FAILURE", "VM_FAILURE", "FAILED"),
                )
            ),
        )
    ),
    location="this is VIRTUAL MACHINE",
    keeps_code=False,
)
