"""Many receivers of notifications in a process of their own, each with its port: ``python -m tests.processes.crowd``.

Plain non-blocking sockets and `ssl`: each reads on before its answers are taken, as ours do, and notes what came when.
"""

from __future__ import annotations

import json
import re
import resource
import selectors
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from lb.wire import il

_ANSWER: Final = il.write_reply(il.OK)

#: Index of a receiver, when it came (`time.perf_counter`), and the number that the pattern found in it.
Arrival = tuple[int, float, int]


class Crowd:
    """The receivers, as those who started them see them."""

    def __init__(self, pki: Path, count: int, pattern: str) -> None:
        """`pattern` finds a number in each notification."""
        command = [sys.executable, "-m", "tests.processes.crowd", str(pki), str(count), pattern]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports: list[int] = self._read()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, count: int) -> list[Arrival]:
        """All that came, once so many did."""
        self._say(str(count))
        return [tuple(arrival) for arrival in self._read()]

    def freeze(self) -> None:
        """Stop the process where it stands."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("the receivers have ended")
        return json.loads(line)


class _Connection:
    """One that a server made to the receiver with this index."""

    def __init__(self, index: int, connection: ssl.SSLSocket) -> None:
        self.index = index
        self.connection = connection
        self.reader = il.FrameReader()
        self.ready = False


class _Receivers:
    def __init__(self, pki: Path, count: int, pattern: bytes) -> None:
        self._pattern = re.compile(pattern)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pki / "user.pem", pki / "user.key")
        self._context.load_verify_locations(pki / "ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.set_alpn_protocols([il.ALPN.decode()])
        self._selector = selectors.DefaultSelector()
        self._wanted: int | None = None
        self._arrived: list[Arrival] = []
        self.ports = []
        for index in range(count):
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            self.ports.append(listening.getsockname()[1])
            self._watch(listening, self._accept, index)
        self._watch(sys.stdin, self._asked, 0)

    def _watch(self, file: Any, act: Callable[[Any, Any], None], about: Any) -> None:
        self._selector.register(file, selectors.EVENT_READ, (act, about))

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                act, about = key.data
                act(key.fileobj, about)
            if self._wanted is not None and len(self._arrived) >= self._wanted:
                print(json.dumps(self._arrived), flush=True)
                self._wanted = None

    def _asked(self, stdin: Any, _: int) -> None:
        line = stdin.readline()
        if not line:
            raise SystemExit
        self._wanted = int(line)

    def _accept(self, listening: socket.socket, index: int) -> None:
        plain, _ = listening.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setblocking(False)
        made = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._watch(made, self._readable, _Connection(index, made))

    def _readable(self, made: ssl.SSLSocket, about: _Connection) -> None:
        try:
            if not about.ready:
                made.do_handshake()
                about.ready = True
            data = made.recv(65_536)
            while made.pending():
                data += made.recv(65_536)
        except ssl.SSLWantReadError:
            return
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(made)
            made.close()
            return
        moment = perf_counter()
        bodies = about.reader.feed(data)
        for body in bodies:
            found = self._pattern.search(body)
            if found is not None:
                self._arrived.append((about.index, moment, int(found[1])))
        made.sendall(_ANSWER * len(bodies))


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    receivers = _Receivers(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode())
    print(json.dumps(receivers.ports), flush=True)
    receivers.run()
