"""File transfers and collections of them. Spec: state-machine.md §§10 and 11; no state of theirs is final."""

from __future__ import annotations

from typing import Final

from lb.model.status import State
from lb.state.actions import enter_named_state, keep_job, put, take
from lb.state.plain import Family
from lb.state.registration import count_children, link_parent
from lb.state.rules import Row, Table, on

_LOCATION: Final = "this is FILE TRANSFER"

_SANDBOX: Final[tuple[Row, ...]] = tuple(
    on(
        "Sandbox",
        when="sandbox_type",
        is_=kind,
        ok=(put("ft_sandbox_type", kind), keep_job("ft_compute_job", "compute_job")),
    )
    for kind in ("INPUT", "OUTPUT")
)

TRANSFER: Final = Family(
    Table(
        (
            on("RegJob", to=State.Submitted, ok=(link_parent,)),
            on("FileTransferRegister", ok=(take("ft_src", "src"), take("ft_dest", "dest"))),
            on("FileTransfer", when="result", is_="START", to=State.Running),
            on("FileTransfer", when="result", is_="OK", to=State.Done, ok=(put("done_code", "OK"),)),
            on(
                "FileTransfer",
                when="result",
                is_="FAIL",
                to=State.Done,
                ok=(put("done_code", "FAILED"), take("failure_reasons", "reason")),
            ),
            on(
                "Abort",
                to=State.Aborted,
                ok=(put("remove_from_proxy", True), take("reason"), put("location", "none")),
            ),
            *_SANDBOX,
            on("Resubmission", when="result", is_="WONTRESUB", ok=(take("reason"),)),
        )
    ),
    location=_LOCATION,
)

COLLECTION: Final = Family(
    Table(
        (
            on("RegJob", to=State.Submitted, ok=(count_children,)),
            *_SANDBOX,
            on("CollectionState", ok=(enter_named_state,)),
        )
    ),
    location=_LOCATION,
)
