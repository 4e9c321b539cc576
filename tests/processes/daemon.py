"""A daemon as its users start it, on free ports of the loopback address, and a plain TLS peer of it."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509

from lb.security.names import slash_form
from lb.wire import il
from tests.peers.process import PORTS_FROM, outgoing_ports_from

#: Seconds after which a test gives up waiting.
PATIENCE = 60
#: Offsets of the ports that a server takes.
_TAKEN_BESIDE: Final = (0, 1, 3)
_given: set[int] = set()


class Daemon:
    """``twistd -n NAME`` with its state in a directory."""

    def __init__(self, name: str, state: Path, *options: str, level: str = "warn") -> None:
        self.name = name
        self.state = state
        self.log = state / f"{name}.log"
        self._options = options
        self._level = level
        self._process: subprocess.Popen[str] | None = None
        self.ready = ""

    def start(self) -> str:
        """Start it and wait until it says that it is ready; returns that line."""
        command = [sys.executable, "-m", "twisted", f"--log-level={self._level}", self.name]
        command += ["--state-dir", str(self.state), *self._options]
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("X509_", "LB_"))}
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.PIPE, text=True, env=environ)
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if f"{self.name} ready:" in line:
                self.ready = line
                return line
        raise AssertionError("".join(lines) or "it ended without a word")

    @property
    def user(self) -> str:
        """The name in the user's certificate that it has made."""
        return slash_form(x509.load_pem_x509_certificate((self.state / "pki/user.pem").read_bytes()))

    def end(self, number: int) -> None:
        """Send it a signal and wait for its end."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(PATIENCE)
            assert process.stderr is not None
            process.stderr.close()

    @property
    def pid(self) -> int:
        """Its process id while it runs."""
        assert self._process is not None
        return self._process.pid

    def memory(self) -> int:
        """The most memory that it had since the last call, bytes."""
        peak = next(line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmHWM" in line)
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak begins anew: proc(5)
        return int(peak.split()[1]) << 10

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        self.end(signal.SIGTERM)


def free_port() -> int:
    """A port that is free together with the others that a server takes: the next one, and the third after it.

    No outgoing connection takes any of them meanwhile, and none is given twice in this process.
    """
    until = outgoing_ports_from() - max(_TAKEN_BESIDE)
    while True:
        port = random.randrange(PORTS_FROM, until)
        row = {port + offset for offset in _TAKEN_BESIDE}
        if row.isdisjoint(_given) and all(map(_is_free, row)):
            _given.update(row)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def connect(port: int, pki: Path, name: str = "user") -> ssl.SSLSocket:
    """A TLS connection with a user certificate of a development PKI."""
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    return context.wrap_socket(socket.create_connection(("localhost", port), PATIENCE), server_hostname="localhost")


def replies(connection: ssl.SSLSocket) -> Iterable[il.Reply]:
    """Replies as they come, until the connection is gone."""
    reader = il.FrameReader()
    while True:
        try:
            data = connection.recv(65536)
        except (OSError, ssl.SSLError):
            return
        if not data:
            return
        for body in reader.feed(data):
            yield il.read_reply(body)
