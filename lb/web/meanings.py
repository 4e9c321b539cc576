"""What the states of jobs mean, in a sentence each, for who has never read of them."""

from __future__ import annotations

from typing import Final

from lb.model.status import JobStatus, State

MEANINGS: Final[dict[int, str]] = {
    State.Undefined: "Nothing is known of this job yet.",
    State.Submitted: "The job is registered; nobody has reported to have accepted it.",
    State.Waiting: "The job is accepted and waits for a place to run.",
    State.Ready: "A place to run is chosen; the job is on its way there.",
    State.Scheduled: "The job waits in the queue of the place where it will run.",
    State.Running: "The job runs.",
    State.Done: "The job has ended; its output may wait to be fetched.",
    State.Cleared: "The job has ended, and its output was fetched or removed.",
    State.Aborted: "The job was given up: it will not be tried again.",
    State.Cancelled: "The job was cancelled on request.",
    State.Unknown: "The events of this job do not tell its state.",
    State.Purged: "The job was removed from this server.",
}
#: Codes of done jobs that did not end well.
_ENDED: Final = {1: "The job has ended and failed; it may be tried again.", 2: "The job has ended: it was cancelled."}


def meaning(status: JobStatus) -> str:
    """The sentence for a job, empty for a state without a name."""
    if status.state == State.Done and status.done_code in _ENDED:
        return _ENDED[status.done_code]
    return MEANINGS.get(status.state, "")
