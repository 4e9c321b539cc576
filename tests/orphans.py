"""Processes that outlive the test that started them: taken over, found and ended, so that none stays on the machine."""

import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
GRACE = 5  # seconds in which a process may still end by itself, or on being asked to


def adopt() -> None:
    """From now on, descendants whose parent died become children of this process instead of init's."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end() -> list[str]:
    """End all children of this process and theirs; returns the command lines of those that had to be killed.

    To be called when no child is wanted any more. What is about to end has some seconds for it.
    """
    deadline = time.monotonic() + GRACE
    while _children() and time.monotonic() < deadline:
        _reap()
        time.sleep(0.05)
    killed: list[str] = []
    while children := _children():  # the children of a killed one come to us in turn
        for pid in children:
            killed.append(_command(pid))
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)
    return killed


def _reap() -> None:
    """Take the exit codes of children that have ended."""
    for pid in _children():
        os.waitpid(pid, os.WNOHANG)


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
