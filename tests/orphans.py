"""Processes that outlive the test that started them: taken over, found and ended, so that none stays on the machine."""

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
GRACE = 5.0  # seconds in which a process that is about to end may do so


def adopt() -> None:
    """From now on, descendants whose parent died become children of this process instead of init's."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end(grace: float = GRACE) -> list[str]:
    """End all children of this process and theirs; returns the command lines of those that had to be killed.

    To be called when no child is wanted any more; ``grace`` is in seconds.
    """
    deadline = time.monotonic() + grace
    killed: list[str] = []
    while children := _children():  # again and again: the children of an ended one come to us
        ended = _wait(children, deadline - time.monotonic())
        if not ended:
            for pid in children:
                killed.append(_command(pid))
                os.kill(pid, signal.SIGKILL)
        for pid in ended or children:
            os.waitpid(pid, 0)
    return killed


def _wait(children: Sequence[int], seconds: float) -> list[int]:
    """The children that have ended, after waiting for the first of them if none has."""
    with contextlib.ExitStack() as opened:
        poll = select.poll()
        pids: dict[int, int] = {}
        for pid in children:
            descriptor = os.pidfd_open(pid)
            opened.callback(os.close, descriptor)
            poll.register(descriptor, select.POLLIN)
            pids[descriptor] = pid
        return [pids[descriptor] for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)]


def _children() -> list[int]:
    """Children of this process, the ended ones whose exit code nobody took included."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _parent(entry) == os.getpid()]


def _parent(entry: Path) -> int:
    """The parent's id of a process in /proc, 0 if the process is gone."""
    try:
        status = (entry / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(status.rpartition(")")[2].split()[1])  # after "(name)", which may hold anything: state, parent


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
