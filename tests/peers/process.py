"""A real program run privately for tests: in its own directory, known to be ready by what it prints, gone at the end.

It must never outlive the process that started it in good order, nor use a port or a file of the machine's own service.
"""

import atexit
import contextlib
import functools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

READY_LIMIT = 90  # seconds: brokers take 4 to 5 on an idle machine
STOP_LIMIT = 20  # seconds from the signal to the kill
PORTS_FROM = 20_000


class StartError(Exception):
    """The program ended, or did not become ready in time; the text is what it printed last."""


def private_directory() -> Path:
    """A new directory for one program, removed when this process exits."""
    path = Path(tempfile.mkdtemp(prefix="lb-peer-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def outgoing_ports_from() -> int:
    """The first of the ports that the kernel gives to outgoing connections.

    They could take a port again that was found free before a slowly starting program binds it.
    """
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that nobody listens on, below those of outgoing connections."""
    until = outgoing_ports_from()
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(PORTS_FROM, until)
            candidate = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                candidate.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


class PrivateProcess:
    """A program from its start to its end.

    ``ready`` is sought in each line of its standard output and error, which go to one log; its match is
    kept. ``end`` is the signal that ends the program quickly and leaves nothing behind on the machine.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: str,
        directory: Path,
        environment: dict[str, str] | None = None,
        user: str | None = None,
        end: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._ready_line = re.compile(ready)
        self._end = end
        self.log = directory / "output"
        self._popen = functools.partial(
            subprocess.Popen,
            [str(word) for word in command],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            user=user,
            group=user,
            extra_groups=[] if user else None,
            start_new_session=True,  # an interrupt at the terminal is the tests' to handle
        )
        self.start()

    def start(self) -> None:
        """Start it; the constructor does, so this is for a program that was stopped."""
        self._ready = threading.Event()
        self._match: re.Match[str] | None = None
        self._process = self._popen()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        atexit.register(self.stop)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """While it lasts the program does nothing, as behind a network that was cut."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def wait_until_ready(self) -> re.Match[str]:
        """Return the match of the line that says so; StartError if it does not come."""
        self._ready.wait(READY_LIMIT)
        if self._match is None:
            self.stop()
            raise StartError(self.log.read_text()[-3000:])
        return self._match

    def stop(self) -> None:
        """End the program and its process group, and wait until it has ended. A second call does nothing."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._process.send_signal(self._end)
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join()

    def _read(self) -> None:
        """Copy what the program prints to the log until it ends; its pipe never fills up."""
        assert self._process.stdout is not None
        with self.log.open("w") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                if self._match is None and (match := self._ready_line.search(line)):
                    self._match = match
                    self._ready.set()
        self._process.stdout.close()
        self._ready.set()
