"""What a batch of events tells whom: content, order, bounds, and that it stands or falls with the batch."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.query import Attribute, Condition, Flag, Group, Operator
from lb.model.registration import Registration
from lb.model.status import JobStatus, State
from lb.security.policy import Action, Policy
from lb.server.access import hashed
from lb.server.notify import content
from lb.server.notify.announcement import Announcement
from lb.server.notify.limits import NotifyLimits
from lb.server.notify.registry import Registry
from lb.server.renewal import renewal
from lb.state.job import VERSION
from lb.store.interface import StoreError
from lb.wire import il
from lb.wire.history import read_history
from tests.notify.registrations import ALICE, BOB, changed, equal, registration
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_ingest import JOB, line, running
from tests.server.test_ingest import registration as registered

NOW = 1_800_000_000.0
JOBID = jobid.parse(JOB)


class Registered(SynchronousTestCase):
    """A store, its registrations, and events handed in directly."""

    limits = NotifyLimits()

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.policy = Policy.open()
        self.now = NOW
        self._open()
        self.addCleanup(lambda: self.server.close())

    def _open(self) -> None:
        self.server = Server(self.directory, announce=lambda: Announcement(self.registry, self.now, "salt"))
        self.woken: list[int] = []
        self.dropped: list[int] = []
        self.registry = Registry(
            self.server.writer,
            lambda: self.policy,
            lambda: self.now,
            "salt",
            self,
            self.limits,
            renewal=renewal(),
        )
        self.outbox = self.server.store.outbox_reader()

    def _reopen(self) -> None:
        self.server.close()
        self._open()

    def wake(self, numbers: Collection[int]) -> None:
        self.woken += sorted(numbers)

    def gone(self, numbers: Collection[int]) -> None:
        self.dropped += numbers

    def _register(self, number: int, *groups: Group, owner: str = str(OWNER.name), **more: Any) -> Registration:
        more.setdefault("valid", int(NOW) + 1_000)
        return self.registry.add(registration(number, *groups, owner=owner, **more))

    def _told(self, to: Registration) -> list[JobStatus]:
        return [content.read(notice.content) for notice in self.outbox.notices(to.number, 0, 10_000, 1 << 30)]

    def _states(self, to: Registration) -> list[str]:
        return [State(status.state).name for status in self._told(to)]


class Announcing(Registered):
    """Who is told what."""

    def test_every_step(self) -> None:
        """Each stored event of a job is told, in order, duplicates and refused ones are not (§2)."""
        everything = self._register(1)
        steps = self._register(2, changed(Attribute.STATUS))
        self.server.send_all(
            [registered(), running(1), running(1), running(2, "wn2"), running(3, user="/CN=x", source="LRMS")]
        )
        self.server.send_all([running(2, "wn2"), running(4)])
        self.assertEqual(self._states(everything), ["Submitted", "Running", "Running", "Running"])
        self.assertEqual([status.ce_node for status in self._told(everything)][1:3], ["wn1", "wn2"])
        self.assertEqual(self._states(steps), ["Submitted", "Running"])
        self.assertEqual(self.woken, [1, 2, 1])

    def test_access_list_tells_nothing(self) -> None:
        """A change of the access list is no step; from the next step on it counts (S27, S33)."""
        foreign = self._register(1, owner=str(OTHER.name))
        own = self._register(2)
        acl = line(
            "ChangeACL",
            f'DG.CHANGEACL.USER_ID="{OTHER.name}" DG.CHANGEACL.USER_ID_TYPE="DN" DG.CHANGEACL.PERMISSION="READ" '
            'DG.CHANGEACL.PERMISSION_TYPE="ALLOW" DG.CHANGEACL.OPERATION="ADD" ',
            number=1,
            source="UserInterface",
        )
        self.assertEqual(self.server.send_all([registered(), acl, running(2)]), [il.OK] * 3)
        self.assertEqual(self._states(own), ["Submitted", "Running"])
        self.assertEqual(self._states(foreign), ["Running"])

    def test_who_may_not_read(self) -> None:
        """P7: a registration never tells its owner what a query would not."""
        plain = self._register(1, owner=ALICE, jobs=(JOBID,))
        hashes = self._register(2, owner=BOB)
        self.policy = self.policy.permitting(BOB, Action.READ_ANONYMIZED)
        self.server.send(registered())
        self.assertEqual(self._told(plain), [])
        (told,) = self._told(hashes)
        self.assertEqual(told.owner, hashed(str(OWNER.name), "salt"))
        self.policy = Policy.open().permitting(BOB, Action.STATUS_FOR_MONITORING)
        self.server.send(running(1))
        watched = self._told(hashes)[1]
        self.assertEqual((watched.state, watched.owner, watched.ce_node), (State.Running, None, None))
        tagged = ((Condition(Attribute.USERTAG, Operator.UNEQUAL, "x", name="secret"),),)
        asks = [self._register(3, *tagged, owner=BOB), self._register(4, *tagged)]
        self.server.send(running(2))
        self.assertEqual([len(self._told(one)) for one in asks], [0, 1])

    def test_flags(self) -> None:
        """Descriptions, history and hashed names are told to those who asked for them (§2, steps 6 to 8)."""
        plain = self._register(1)
        full = self._register(2, flags=Flag.CLASSADD)
        history = self._register(3, flags=Flag.HISTORY)
        hashes = self._register(4, flags=Flag.ANONYMIZED | Flag.HISTORY)
        self.server.send_all([registered(), running(1)])
        self.assertEqual([status.jdl for status in self._told(plain)], [None, None])
        self.assertEqual([status.jdl for status in self._told(full)], ["[ a = 1 ]", "[ a = 1 ]"])
        events = [read_history(status.history or "") for status in self._told(history)]
        self.assertEqual([[event.type.name for event in told] for told in events], [["RegJob"], ["RegJob", "Running"]])
        self.assertEqual(events[1][0].user, OWNER.name)
        hidden = self._told(hashes)[1]
        self.assertEqual(hidden.owner, hashed(str(OWNER.name), "salt"))
        self.assertNotIn(str(OWNER.name), hidden.history or "")

    def test_terminal_states(self) -> None:
        """Flag terminal_states: the end of a job is told, being purged after it is not; Done is no end."""
        ends = self._register(1, flags=Flag.TERMINAL_STATES)
        self.server.send_all([registered(), running(1), *_cleared()])
        self.assertEqual(self._states(ends), ["Cleared"])

    def test_parents(self) -> None:
        """What an event does to the parent of its job is told as well, before the job itself (§16.7)."""
        own = self._register(1)
        self.server.send(registered(jobtype="COLLECTION", nsubjobs=2))
        children = self.server.status(JOB, "children").children or []
        self.server.send_all([running(1, job=child) for child in children])
        told = [(status.jobId, State(status.state).name) for status in self._told(own)]
        self.assertEqual(told[0], (JOB, "Submitted"))
        self.assertIn((JOB, "Running"), told)
        self.assertLess(told.index((JOB, "Running")), told.index((children[0], "Running")))

    def test_expired(self) -> None:
        """A registration that has expired is told nothing and goes at its next match (§1.4)."""
        old = self._register(1, valid=int(NOW) - 1)
        self.server.send(registered())
        self.assertEqual((self._told(old), self.registry.all(), self.dropped), ([], [], [old.number]))
        self._reopen()
        self.assertEqual(self.registry.all(), [])

    def test_told_once_for_many(self) -> None:
        """What several registrations are told alike is stored once."""
        told = [self._register(number) for number in range(1, 20)]
        self.server.send(registered())
        numbers = {self.outbox.notices(one.number, 0, 9, 9_999)[0].number for one in told}
        self.assertEqual(len(numbers), 1)

    def test_failing_transaction(self) -> None:
        """P2: notices of a batch that could not be stored are nowhere; the events come again and are told once."""
        own = self._register(1)
        self.server.send(registered())
        with mock.patch.object(
            self.server.writer, "_write_events", side_effect=StoreError(errno.ENOSPC, "database: full")
        ):
            self.server.send(running(1))
        self.assertEqual((self._states(own), self.woken), (["Submitted"], [1]))
        self.server.send(running(1))
        self.assertEqual(self._states(own), ["Submitted", "Running"])

    def test_after_a_restart(self) -> None:
        """P2: registrations, and what waits for them, are there after a restart; numbers go on."""
        own = self._register(1, equal(Attribute.STATUS, int(State.Running)))
        self.server.send_all([registered(), running(1)])
        self._reopen()
        self.server.send(running(2))
        self.assertEqual(self._states(own), ["Running", "Running"])


class Full(Registered):
    """A queue of at most four."""

    limits = NotifyLimits(waiting=4)

    def _receive(self, to: Registration, count: int) -> list[str]:
        """What the receiver gets next."""
        notices = self.outbox.notices(to.number, 0, count, 1 << 30)
        self.registry.received([(to.number, notice.number) for notice in notices])
        return [State(content.read(notice.content).state).name for notice in notices]

    def test_latest_state_is_kept(self) -> None:
        """P6: beyond its bound a queue keeps the oldest and the latest state of each job; others' queues are whole."""
        other = JOB[:-1] + "x"
        own, one_job = self._register(1), self._register(2, jobs=(jobid.parse(other),))
        self.server.send_all([registered(), registered(job=other)])
        self.server.send_all([*(running(number) for number in range(1, 6)), running(6, job=other)])
        self.server.send_all(_cleared())
        self.assertEqual(self._states(own), ["Submitted", "Submitted", "Running", "Running"])
        self.assertEqual(self._states(one_job), ["Submitted", "Running"])
        self._reopen()
        self.assertEqual(self._receive(own, 1), ["Submitted"])
        self.assertEqual(self._receive(own, 1), ["Submitted"])
        self.assertEqual(self._receive(own, 9), ["Running", "Running", "Cleared", "Running"])
        self.server.send(running(7, job=other))
        self.assertEqual(self._receive(own, 9), ["Running"])

    def test_after_a_restart(self) -> None:
        """What was missed before a restart is told after it, once there is room."""
        own = self._register(1)
        self.server.send_all([registered(), *(running(number) for number in range(1, 9))])
        self._reopen()
        self.assertEqual(self._receive(own, 9), ["Submitted", "Running", "Running", "Running"])
        self.assertEqual(self._receive(own, 9), ["Running"])
        self.assertEqual(self._receive(own, 9), [])

    def test_present_states(self) -> None:
        """P10: a new registration is told the states of more jobs than may wait for it bit by bit, each once."""
        jobs = [f"{JOB[:-1]}{number}" for number in range(6)]
        self.server.send_all([registered(job=job) for job in jobs])
        own = self._register(1)
        self.registry.tell(own.number, [jobid.parse(job).unique for job in jobs[:3]])
        self.registry.tell(own.number, [jobid.parse(job).unique for job in jobs[3:]])
        self.assertEqual([status.jobId for status in self._told(own)], jobs[:4])
        self._receive(own, 4)
        self.assertEqual([status.jobId for status in self._told(own)], jobs[4:])
        self._receive(own, 4)
        self.assertEqual(self._told(own), [])

    def test_states_of_older_rules(self) -> None:
        """P9: what older rules made is told as the present ones make it, to who catches up and to who just begins."""
        own = self._register(1)
        self.server.send_all([registered(), *(running(number, f"wn{number}") for number in range(1, 9))])
        with sqlite3.connect(self.directory / "lb.sqlite") as database:
            ((made,),) = database.execute("SELECT status FROM jobs").fetchall()
            old = made.replace(b'"version":%d,' % VERSION, b"").replace(b'"ce_node":"wn8"', b'"ce_node":"as then"')
            self.assertEqual(old.count(b"as then"), 1)
            database.execute("UPDATE jobs SET status = ?", (old,))
        database.close()
        self._reopen()
        self._receive(own, 4)
        self.assertEqual([status.ce_node for status in self._told(own)], ["wn8"])
        new = self._register(2)
        self.registry.tell(new.number, [JOBID.unique])
        self.assertEqual([status.ce_node for status in self._told(new)], ["wn8"])


def _cleared() -> list[str]:
    """Done and Clear."""
    done = 'DG.DONE.STATUS_CODE="OK" DG.DONE.REASON="" DG.DONE.EXIT_CODE="0" '
    clear = 'DG.CLEAR.REASON="USER" '
    return [
        line("Done", done, number=90, source="LogMonitor"),
        line("Clear", clear, number=91, source="NetworkServer"),
    ]
