"""P5 from outside: destinations that refuse connections, accept and say nothing, or take events and never reply."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

from lb.model import jobid
from lb.model.jobid import JobId
from tests.processes.daemon import PATIENCE, connect
from tests.processes.house import House, answers

EVENTS = 30


class Mute:
    """A TLS server that reads what comes and never replies; `reading` is set when something came."""

    def __init__(self, pki: str) -> None:
        self.reading = threading.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(f"{pki}/host.pem", f"{pki}/host.key")
        self._listening = listening_socket()
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            accepted, _ = self._listening.accept()
            with self._context.wrap_socket(accepted, server_side=True) as connection:
                while connection.recv(65536):
                    self.reading.set()

    def close(self) -> None:
        """End it; the peer has to be gone."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(PATIENCE)


def listening_socket() -> socket.socket:
    """A listening socket whose connections nobody accepts."""
    return socket.create_server(("127.0.0.1", 0))


class Destinations(House):
    """One logger, a running server, and three that are no use."""

    # Longer than the tests wait: a destination that had to wait for another would be seen.
    logger_options = (
        *("--connect-timeout", "600", "--reply-timeout", "600", "--first-pause", "600", "--longest-pause", "600"),
    )

    def setUp(self) -> None:
        super().setUp()
        self.mute = Mute(str(self.state / "pki"))
        self.addCleanup(self.mute.close)
        self.addCleanup(self.logger.kill)  # before the mute server waits for its end
        silent = listening_socket()
        self.addCleanup(silent.close)
        refusing = socket.socket()  # bound, so that nobody else listens there
        refusing.bind(("127.0.0.1", 0))
        self.addCleanup(refusing.close)
        ports = [refusing.getsockname()[1], silent.getsockname()[1], self.mute.port]
        # A job's id names the main port; events go to the next one.
        self.useless = [jobid.create(f"localhost:{port - 1}") for port in ports]

    def _log(self, jobs: list[JobId]) -> None:
        """Log events of the jobs in turn; the logger takes them all."""
        connection = connect(self.logger_port, self.state / "pki")
        messages = [self.message(job, number) for number in range(1, EVENTS + 1) for job in jobs]
        connection.sendall(b"".join(messages))
        came = iter(answers(connection))
        self.assertEqual([next(came) for _ in messages], [0] * len(messages))
        connection.close()

    def test_no_delay(self) -> None:
        """Events for a good destination arrive while the others refuse, are silent and never reply."""
        self._log(self.useless)
        self.assertTrue(self.mute.reading.wait(PATIENCE), "the mute destination got nothing")
        job = self.register()
        self._log([*self.useless, job])
        nodes = [f"wn{number}" for number in range(1, EVENTS + 1)]
        self.assertEqual(self.wait_for(job, EVENTS), nodes)

    def test_restart(self) -> None:
        """P2: with useless destinations in its spool a logger starts, and serves the good one at once."""
        self._log(self.useless)
        self.logger.kill()
        self.logger.start()
        job = self.register()
        self._log([job])
        self.assertEqual(len(self.wait_for(job, EVENTS)), EVENTS)
