"""A store of very many realistic jobs, made through the store's own writer without a server.

Events are real lines, states what the fold makes of them; each job has its own times, owner, node and tag.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from random import Random
from time import time
from typing import Final, NamedTuple

import msgspec

from bench.site import SEQCODE
from lb.model.indexing import OWNER, Index, from_title
from lb.model.jobid import JobId, random_unique
from lb.model.subject import comparable, normalise
from lb.state import fold
from lb.state.job import Job
from lb.store.interface import NewEvent, StoredJob
from lb.store.sqlite import SQLiteStore
from lb.wire import ulm

#: What queries may start from.
INDICES: Final[tuple[Index, ...]] = (
    (OWNER,),
    (from_title("STD_status"),),
    (from_title("STD_lastUpdateTime"),),
    (from_title("USR_experiment"),),
)
EXPERIMENTS: Final = 20
OWNERS: Final = 200
#: One in so many jobs is a collection of so many of the next ones.
_COLLECTIONS: Final = 10_000
SUBJOBS: Final = 1_000
_SERVER: Final = ("localhost", 9000)
_BATCH: Final = 5_000
#: Seconds over which the jobs are spread, the last one now.
SPAN: Final = 90 * 86_400

#: Attributes of events, with what differs from job to job in braces.
_EVENTS: Final = {
    "RegJob": 'DG.REGJOB.JDL="[ Executable = \\"/bin/true\\"; VirtualOrganisation = \\"bench\\" ]" '
    'DG.REGJOB.NS="https://wms{node:02d}.example.org:7443/glite_wms_wmproxy_server" DG.REGJOB.PARENT="" '
    'DG.REGJOB.JOBTYPE="SIMPLE" DG.REGJOB.NSUBJOBS="0" DG.REGJOB.SEED="" DG.REGJOB.WMS_DN="" ',
    "UserTag": 'DG.USERTAG.NAME="experiment" DG.USERTAG.VALUE="e{experiment:02d}" ',
    "Match": 'DG.MATCH.DEST_ID="ce{node:02d}.example.org:8443/cream-pbs-long" ',
    "Running": 'DG.RUNNING.NODE="wn{node:02d}.example.org" ',
    "Done": 'DG.DONE.STATUS_CODE="OK" DG.DONE.REASON="Job terminated successfully" DG.DONE.EXIT_CODE="0" ',
    "Abort": 'DG.ABORT.REASON="no compatible resources found after three attempts" ',
}
#: Ways that jobs go, and how many of twenty go so.
_WAYS: Final = (
    (("RegJob", "UserTag", "Match", "Running", "Done"), 11),
    (("RegJob", "UserTag", "Running"), 1),
    (("RegJob", "Match", "Done"), 4),
    (("RegJob", "UserTag", "Abort"), 2),
    (("RegJob",), 2),
)


class _Made(NamedTuple):
    """What differs from job to job."""

    jobid: JobId
    owner: str
    began: int  #: seconds since the epoch
    node: int
    experiment: int
    parent: JobId | None


class _Way:
    """Jobs that go the same way: their events, and the state of one of them for the others to be made like."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        sample = _Made(JobId(*_SERVER, random_unique()), "/CN=nobody", 1_600_000_000, 0, 0, None)
        self._sample = fold.blank(sample.jobid, sample.owner)
        for line in self.lines(sample):
            fold.step(self._sample, ulm.parse(line))

    def lines(self, made: _Made) -> list[bytes]:
        """The events of a job, a minute between two."""
        return [
            (
                f"DATE={ulm.write_date((made.began + 60 * number) * 1_000_000)} "
                'HOST="bench.example.org" PROG=edg-wms LVL=SYSTEM DG.PRIORITY=0 DG.SOURCE="WorkloadManager" '
                f'DG.SRC_INSTANCE="{number}" DG.EVNT="{name}" DG.JOBID="{made.jobid}" '
                f'DG.SEQCODE="{SEQCODE.format(number)}" DG.USER="{made.owner}" '
                f"{_EVENTS[name].format(node=made.node, experiment=made.experiment)}"
            ).encode()
            for number, name in enumerate(self._names)
        ]

    def state(self, made: _Made) -> Job:
        """The state of a job: that of the sample with what differs."""
        held = self._sample.status
        shift = made.began - 1_600_000_000
        node = f"{made.node:02d}.example.org"
        status = msgspec.structs.replace(
            held,
            jobId=str(made.jobid),
            owner=made.owner,
            parent_job=None if made.parent is None else str(made.parent),
            destination=held.destination and f"ce{node}:8443/cream-pbs-long",
            ce_node=held.ce_node and f"wn{node}",
            stateEnterTime=held.stateEnterTime + shift * 1_000_000,
            lastUpdateTime=held.lastUpdateTime + shift * 1_000_000,
            stateEnterTimes=[moment and moment + shift for moment in held.stateEnterTimes],
            user_tags=held.user_tags and [("experiment", f"e{made.experiment:02d}")],
        )
        return Job(status, self._sample.hidden, self._sample.texts)


def _jobs(count: int, user: str, random: Random, now: int) -> Iterator[_Made]:
    """Half of the jobs are of `user`, the others of many owners."""
    parent: JobId | None = None
    for number in range(count):
        place = number % _COLLECTIONS
        jobid = JobId(*_SERVER, random_unique(random.randbytes))
        owner = user if random.random() < 0.5 else f"/DC=org/DC=example/CN=user {random.randrange(OWNERS)}"
        began = now - SPAN + number * SPAN // count
        below = parent if 0 < place <= SUBJOBS else None
        yield _Made(jobid, owner, began, random.randrange(100), random.randrange(EXPERIMENTS), below)
        if place == 0:
            parent = jobid


def fill(path: Path, count: int, user: str, *, seed: int = 1) -> None:
    """Make a new database of so many jobs, half of them of `user`; the same ones each time but for their ages."""
    random = Random(seed)
    ways = [way for way, share in ((_Way(names), share) for names, share in _WAYS) for _ in range(share)]
    store = SQLiteStore(path)
    writer = store.writer()
    try:
        writer.index.configure(INDICES)
        while writer.index.fill(_BATCH):
            pass
        made = _jobs(count, normalise(user), random, int(time()) - 3_600)
        while batch := list(islice(made, _BATCH)):
            jobs: list[StoredJob] = []
            events: list[NewEvent] = []
            for each in batch:
                way = random.choice(ways)
                key = writer.new_key()
                parent = None if each.parent is None else each.parent.unique
                owner_key = comparable(each.owner)
                jobs.append(StoredJob(key, each.jobid, each.owner, owner_key, way.state(each), parent=parent))
                for number, line in enumerate(way.lines(each)):
                    moment = (each.began + 60 * number) * 1_000_000
                    events.append(NewEvent(key, moment, blake2b(line, digest_size=16).digest(), line))
            writer.write(jobs, events)
    finally:
        writer.close()
        store.close()
