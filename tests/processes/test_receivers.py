"""P2, P5, P10 from outside: many receivers at once, one of which is frozen while much is to be told to it."""

from __future__ import annotations

from collections import defaultdict

from lb.client.blocking import Client
from lb.client.settings import Address
from lb.model import jobid
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Operator
from lb.wire import il
from tests.processes.crowd import Arrival, Crowd
from tests.processes.daemon import connect, replies
from tests.processes.served import ServedTestCase
from tests.server.test_ingest import line, registration

RECEIVERS = 50
ROUNDS = 40
#: Events of a round for the frozen receiver, and bytes of each.
GREAT, SIZE = 10, 100_000
#: The number of an event in its notification: it begins the reason why the job waits.
PATTERN = r"&lt;reason&gt;(\d+)"


class FrozenTests(ServedTestCase):
    """A server process, receivers in processes of their own."""

    def setUp(self) -> None:
        super().setUp()
        self.user = self.server.user

    def crowd(self, count: int) -> Crowd:
        made = Crowd(self.pki, count, PATTERN)
        self.addCleanup(made.close)
        return made

    def jobs(self, *ports: int) -> list[JobId]:
        """Registered jobs, each told to a receiver at a port, or to nobody at 0."""
        found = [jobid.create(f"localhost:{self.port}") for _ in ports]
        self.store([registration(job=str(job), user=self.user) for job in found])
        client = Client(
            environ={"LB_STATE_DIR": str(self.state)}, explicit={"query_server": Address("localhost", self.port)}
        )
        self.addCleanup(client.close)

        async def register(session):  # type: ignore[no-untyped-def]
            asking = session.notifications
            for job, port in zip(found, ports, strict=True):
                if port:
                    groups = ((Condition(Attribute.JOBID, Operator.EQUAL, job),),)
                    await asking.new(asking.new_id(), groups, address=f"127.0.0.1:{port}")

        client.run(register)
        return found

    def store(self, lines: list[str]) -> None:
        connection = connect(self.port + 1, self.pki)
        came = iter(replies(connection))
        for start in range(0, len(lines), 100):
            chunk = lines[start : start + 100]
            connection.sendall(b"".join(il.frame(each.encode()) for each in chunk))
            self.assertEqual([next(came) for _ in chunk], [il.OK] * len(chunk))
        connection.close()

    def event(self, job: JobId, number: int, size: int = 0) -> str:
        reason = f'DG.PENDING.REASON="{number}.{"x" * size}" '
        return line("Pending", reason, number=number, job=str(job), user=self.user)

    def test_one_is_frozen(self) -> None:
        """P2, P5, P10: the others are told everything, the server keeps its size; thawed, it is told everything too."""
        others, frozen = self.crowd(RECEIVERS), self.crowd(1)
        *jobs, great, quiet = self.jobs(*others.ports, *frozen.ports, 0)
        self.store([self.event(great, 1)])
        frozen.wait_for(1)
        # Whatever such events cost a server that tells nobody of them.
        self.store([self.event(quiet, number, SIZE) for number in range(1, ROUNDS * GREAT)])
        before = self.server.memory()
        frozen.freeze()
        for number in range(1, ROUNDS + 1):
            first = 2 + (number - 1) * GREAT
            events = [self.event(great, each, SIZE) for each in range(first, first + GREAT)]
            self.store(events + [self.event(job, number) for job in jobs])
            arrived = others.wait_for(number * RECEIVERS)
        grown = self.server.memory() - before
        self.assertLess(grown, ROUNDS * GREAT * SIZE // 4)
        self.assertEqual(_by_receiver(arrived), {key: list(range(1, ROUNDS + 1)) for key in range(RECEIVERS)})
        frozen.thaw()
        told = frozen.wait_for(1 + ROUNDS * GREAT)
        self.assertEqual(_by_receiver(told), {0: list(range(1, 2 + ROUNDS * GREAT))})


def _by_receiver(arrived: list[Arrival]) -> dict[int, list[int]]:
    """The numbers that each receiver got, in order; what came again does not count."""
    found: defaultdict[int, dict[int, None]] = defaultdict(dict)
    for index, _, number in arrived:
        found[index][number] = None
    return {index: list(numbers) for index, numbers in found.items()}
