"""``make debs``: installs the Debian packages of the programs that tests run, only those that are not there.

It must never leave a service running or change which services the machine may start.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.peers.packages import Program, missing

POLICY = Path("/usr/sbin/policy-rc.d")  # asked by Debian's maintainer scripts before they start a service
# 101: the action is forbidden by policy
DENY = "#!/bin/sh\n# Put here by lb's make debs while it installs; it may be removed.\nexit 101\n"
LOCK_WAIT = 300  # seconds that apt waits for another apt

Run = Callable[[Sequence[str]], object]


@contextlib.contextmanager
def services_denied(policy: Path = POLICY) -> Iterator[None]:
    """While it lasts, packages install without starting what they bring; then the machine's own policy is back.

    The machine's policy waits beside ours, so that a call after one that was killed finds it.
    """
    saved = policy.with_name(policy.name + ".before-lb")
    if not saved.exists() and policy.exists() and policy.read_text() != DENY:
        policy.rename(saved)
    try:
        policy.write_text(DENY)
        policy.chmod(0o755)
        yield
    finally:
        if saved.exists():
            saved.replace(policy)
        else:
            policy.unlink()


def install(programs: Sequence[Program], run: Run, policy: Path = POLICY) -> None:
    """Install the packages; CalledProcessError when apt-get fails."""
    wait = ("-o", f"DPkg::Lock::Timeout={LOCK_WAIT}")
    with services_denied(policy):
        run(("apt-get", *wait, "-q", "update"))
        packages = (program.package for program in programs)
        run(("apt-get", *wait, "-q", "install", "--yes", "--no-install-recommends", *packages))


def _run(command: Sequence[str]) -> None:
    print("$", *command, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)


def main() -> str | None:
    """What to tell the shell: nothing when all programs are there, else what is missing and what to do."""
    wanted = missing()
    if not wanted:
        return None
    names = " ".join(program.package for program in wanted)
    by_hand = f"tests need these Debian packages: {names}\n  apt-get install --no-install-recommends {names}"
    if shutil.which("apt-get") is None:
        return f"debs: no apt-get here; {by_hand}"
    if os.geteuid() != 0:
        return f"debs: only root can install; {by_hand}"
    with open("/run/lock/lb-debs", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two trees may be set up at once
        try:
            if wanted := missing():
                install(wanted, _run)
        except subprocess.CalledProcessError as error:
            return f"debs: {' '.join(error.cmd)} ended with {error.returncode}; {by_hand}"
    still = missing()
    return f"debs: installed, yet not found: {' '.join(p.pattern for p in still)}" if still else None


if __name__ == "__main__":
    sys.exit(main())
