"""Daemons of one row: started privately on free ports and a state directory of their own, gone when the row is done.

Nothing of a row is left for the next one: neither its memory nor its jobs.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from time import time

from cryptography import x509

from bench.frame import CLIENT, LOGGER, SERVER, Measurement, measuring
from lb.model import jobid
from lb.model.jobid import JobId
from lb.security.names import slash_form
from lb.wire import il
from lb.wire.ulm import write_date
from tests.processes.daemon import Daemon, connect, free_port, replies

#: A sequence code, to be formatted with the number of the event.
SEQCODE = "UI=000001:NS=0000000001:WM={:06d}:BH=0000000000:JSS=000000:LM=000000:LRMS=000000:APP=000000:LBS=000000"
#: Bytes that bring an event to the 700 or so of the budget.
_PADDING = "x" * 330


class Site:
    """Where a row runs: ports, a state directory, the processes whose use is taken, events made now."""

    def __init__(self, state: Path, stack: ExitStack) -> None:
        self.state = state
        self.pki = state / "pki"
        self.port, self.logger_port = free_port(), free_port()
        self.processes: dict[str, int] = {CLIENT: os.getpid()}
        self._stack = stack
        self._user: str | None = None

    def start(self, name: str, *options: str) -> None:
        """Start a daemon and wait until it is ready."""
        port = self.logger_port if name == LOGGER else self.port
        daemon = Daemon(name, self.state, "--port", str(port), *options)
        self._stack.callback(daemon.kill)
        daemon.start()
        self.processes[name] = daemon.pid

    def measuring(self) -> AbstractContextManager[Measurement]:
        """Take time, CPU and memory while a block runs."""
        return measuring(self.processes)

    def to_store(self) -> ssl.SSLSocket:
        return connect(self.port + 1, self.pki)

    def to_queries(self) -> ssl.SSLSocket:
        return connect(self.port, self.pki)

    def to_logger(self) -> ssl.SSLSocket:
        return connect(self.logger_port, self.pki)

    @property
    def user(self) -> str:
        """The name in the certificate of the development user."""
        if self._user is None:
            self._user = slash_form(x509.load_pem_x509_certificate((self.pki / "user.pem").read_bytes()))
        return self._user

    def line(self, job: JobId, number: int, event: str, attributes: str, *, user: bool = True) -> bytes:
        """An event made now; without its user as producers send it to a logger."""
        named = f'DG.USER="{self.user}" ' if user else ""
        return (
            f'DATE={write_date(int(time() * 1_000_000))} HOST="bench.example.org" PROG=edg-wms LVL=SYSTEM '
            f'DG.PRIORITY=16 DG.SOURCE="WorkloadManager" DG.SRC_INSTANCE="{number}" DG.EVNT="{event}" '
            f'DG.JOBID="{job}" DG.SEQCODE="{SEQCODE.format(number)}" {named}{attributes}'
        ).encode()

    def registration(self, job: JobId) -> bytes:
        attributes = 'DG.REGJOB.JDL="[]" DG.REGJOB.NS="bench" DG.REGJOB.PARENT="" DG.REGJOB.JOBTYPE="SIMPLE" '
        return self.line(job, 0, "RegJob", attributes + 'DG.REGJOB.NSUBJOBS="0" DG.REGJOB.SEED="" DG.REGJOB.WMS_DN="" ')

    def pending(self, job: JobId, number: int, *, user: bool = True) -> bytes:
        """An event of about 700 bytes that leaves a state of constant size."""
        return self.line(job, number, "Pending", f'DG.PENDING.REASON="{_PADDING}" ', user=user)

    def new_id(self) -> JobId:
        return jobid.create(f"localhost:{self.port}")

    def jobs(self, count: int) -> list[JobId]:
        """Registered jobs."""
        made = [self.new_id() for _ in range(count)]
        with self.to_store() as connection:
            connection.sendall(b"".join(il.frame(self.registration(job)) for job in made))
            came = iter(replies(connection))
            for _ in made:
                check(next(came))
        return made


def check(reply: il.Reply) -> None:
    """End the run at a refusal: its numbers would mean nothing."""
    if reply != il.OK:
        raise SystemExit(f"bench: the server replied {reply}")


@contextmanager
def site(daemons: tuple[str, ...]) -> Iterator[Site]:
    """A site with daemons that are ready."""
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as directory, ExitStack() as stack:
        made = Site(Path(directory), stack)
        for name in sorted(daemons, key=(SERVER, LOGGER).index):
            made.start(name)
        yield made
