"""The main job, for ``make run``: both services on an embedded store, sample streams replayed, the resulting states.

Then it serves until it is interrupted; with ``ONCE=1`` it stops after the states are printed, and the exit code tells
whether every event arrived. ``STATE`` names the state directory, ``BROKER`` the URL of a broker, which both services
then know as ``site``; over AMQP events are collected there. It must leave no process behind.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from lb.client.cli import FAILURE, INTERRUPTED, main
from lb.security import pki
from lb.security.credentials import CredentialError, load
from lb.security.identity import end_entity
from lb.security.names import slash_form

_SAMPLES: Final = ("job-typical.ulm.xz", "job-resubmitted.ulm.xz", "collection-100.ulm.xz")
#: Places of the ports relative to the first one: queries, events, logger, Perspective Broker.
_OFFSETS: Final = (0, 1, 2, 3)
_BASES: Final[tuple[int, ...]] = (9000, *range(9100, 10000, 10))
#: Seconds for a service to listen, and to end when it is asked to.
_START: Final = 30.0
_STOP: Final = 15.0
#: Variables that would make services or client use credentials or servers other than those made here.
_FOREIGN: Final = re.compile(r"X509_|GLITE_WMS_|EDG_WL_|GLOBUS_")
#: Browsers import a certificate with its key only under a password.
_PASSWORD: Final = "lb"


class _FailedError(Exception):
    """What did not work, for the user."""


def free_base() -> int:
    """The first of a row of free loopback ports, the usual ones if they are free."""
    for base in _BASES:
        if all(_is_free(base + offset) for offset in _OFFSETS):
            return base
    raise _FailedError(f"no free ports from {_BASES[0]} to {_BASES[-1]}: end what listens there")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Service:
    """A child process with a log file."""

    def __init__(self, name: str, arguments: list[str], state: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.log = state / f"{name}.log"
        self._offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            # A session of its own: an interrupt from the terminal reaches us alone, and we end it in order.
            self.process = subprocess.Popen(
                [_twistd(), "--nodaemon", "--pidfile=", name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait for its readiness line; raises `_FailedError` when it ends before, or takes too long."""
        deadline = time.monotonic() + _START
        while f"{self.name} ready:".encode() not in self._said():
            if self.process.poll() is not None:
                raise _FailedError(f"{self.name} ended with {self.process.returncode}:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise _FailedError(f"{self.name} is not ready after {_START:.0f} s: see {self.log}")
            time.sleep(0.02)

    def _said(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._offset)
            return log.read()

    def _last_words(self) -> str:
        return "\n".join(self._said().decode(errors="replace").splitlines()[-5:])

    def stop(self) -> None:
        """End the process, by force if it does not follow."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _twistd() -> str:
    beside = Path(sys.executable).with_name("twistd")
    found = str(beside) if beside.exists() else shutil.which("twistd")
    if found is None:
        raise _FailedError("twistd is not installed: make venv")
    return found


@contextmanager
def services(state: Path, base: int, broker: str | None = None) -> Iterator[list[Service]]:
    """Both services, ready, with the development PKI of `state` and a broker's URL; ended at the end."""
    made = pki.ensure(state / "pki")
    environ = _own_environment(state)
    common = ["--state-dir", str(state), "--cert", str(made.host.certificate), "--key", str(made.host.key)]
    common += ["--ca-dir", str(made.authorities)]
    collecting: list[str] = []
    if broker:
        common += ["--broker", f"site={broker}"]
        collecting = _collecting(broker, made)
    with ExitStack() as stack:
        started = []
        for name, offset, more in (("lb", 0, collecting), ("lb-logger", 2, [])):
            service = Service(name, [*common, "--port", str(base + offset), *more], state, environ)
            stack.callback(service.stop)
            started.append(service)
        for service in started:
            service.wait_ready()
        yield started


def _collecting(broker: str, made: pki.DevelopmentPKI) -> list[str]:
    """Options by which the server collects events at a broker of which it knows who sent them: over AMQP it does."""
    url = urlsplit(broker)
    if not url.scheme.startswith("amqp"):
        return []
    pair = load(made.user, time.time())
    user = slash_form(end_entity([pair.certificate, *pair.chain]))
    return ["--collect", "site:/queue/lb.events", "--broker-user", f"site:{url.username or 'guest'}={user}"]


def _own_environment(state: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if _FOREIGN.match(name) is None}
    return {**kept, "LB_STATE_DIR": str(state), "PYTHONUNBUFFERED": "1"}


def replay_samples(state: Path, base: int) -> int:
    """Replay the packaged streams and print the states; returns the exit code of ``lb replay``."""
    made = pki.DevelopmentPKI(state / "pki")
    with resources.as_file(resources.files("lb").joinpath("samples")) as samples:
        files = [str(samples / name) for name in _SAMPLES]
        arguments = ["--server", f"localhost:{base}", "--logger", f"localhost:{base + 2}"]
        arguments += ["--cert", str(made.user.certificate), "--key", str(made.user.key)]
        arguments += ["--ca-dir", str(made.authorities)]
        return main(["replay", *files, *arguments], environ=_own_environment(state))


def write_browser_certificate(state: Path) -> Path:
    """The user's certificate in the form that browsers import; returns the file."""
    pair = load(pki.DevelopmentPKI(state / "pki").user, time.time())
    data = pkcs12.serialize_key_and_certificates(
        b"lb development user",
        pair.key,  # type: ignore[arg-type]  # the development PKI makes keys of a kind that fits
        pair.certificate,
        list(pair.chain),
        BestAvailableEncryption(_PASSWORD.encode()),
    )
    path = state / "browser.p12"
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def _tell_how_to_look(state: Path, base: int) -> None:
    made = pki.DevelopmentPKI(state / "pki")
    browser = write_browser_certificate(state)
    print(
        f"""
Web pages: https://localhost:{base}/
  in a browser: import {browser} (password: {_PASSWORD}) as your certificate and trust {made.authority}
  elsewhere:    curl --cacert {made.authority} --cert {made.user.certificate} --key {made.user.key} \\
                     'https://localhost:{base}/?text'
Command line:
  export LB_STATE_DIR={state} GLITE_WMS_QUERY_SERVER=localhost:{base} GLITE_WMS_LOG_DESTINATION=localhost:{base + 2}
  {Path(sys.executable).with_name("lb")} jobs
Logs: {state}/*.log
""",
        flush=True,
    )


def run(state: Path, *, once: bool, broker: str | None = None) -> int:
    """The whole job; returns the exit code."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    base = free_base()
    with services(state, base, broker) as started:
        print(f"lb on port {base} (events {base + 1}), lb-logger on port {base + 2}, state in {state}\n", flush=True)
        code = replay_samples(state, base)
        _tell_how_to_look(state, base)
        if once:
            return code
        print("Serving until Ctrl-C.", flush=True)
        while all(service.process.poll() is None for service in started):
            time.sleep(0.5)
        ended = next(service for service in started if service.process.poll() is not None)
        raise _FailedError(f"{ended.name} ended with {ended.process.returncode}: see {ended.log}")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    once = os.environ.get("ONCE", "") not in ("", "0")
    try:
        state = Path(os.environ.get("STATE") or "run").resolve()
        return run(state, once=once, broker=os.environ.get("BROKER"))
    except KeyboardInterrupt:
        print("stopped")
        return INTERRUPTED if once else 0
    except (_FailedError, CredentialError, OSError) as error:
        print(f"run: {error}", file=sys.stderr)
        return FAILURE


if __name__ == "__main__":
    sys.exit(_main())
