"""Taking in: duplicates, neighbours of bad events, a store that fails, subjobs, who may do what."""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.errors import LBError
from lb.model.query import Attribute, Condition, Flag, Operator, Query, own_jobs
from lb.model.seqcode import in_order
from lb.model.status import State
from lb.security.identity import ANONYMOUS
from lb.security.policy import Action
from lb.server import ingest
from lb.server.access import hashed
from lb.store.interface import NewEvent, StoredJob, StoreError
from lb.wire import il
from tests.server.fixture import OTHER, OWNER, Server, query_error

JOB = "https://localhost:9000/7-31F2bdWH6EFPUMCk4ztg"


def line(
    event: str,
    attributes: str = "",
    *,
    job: str = JOB,
    number: int = 0,
    source: str = "WorkloadManager",
    priority: int = 4,
    user: str | None = OWNER.name,
) -> str:
    """An event line; `number` makes its time and its sequence code."""
    return (
        f'DATE=20240102030405.{number:06d} HOST="ui.ex" PROG=edg-wms LVL=SYSTEM DG.PRIORITY={priority} '
        f'DG.SOURCE="{source}" DG.SRC_INSTANCE="" DG.EVNT="{event}" DG.JOBID="{job}" '
        f'DG.SEQCODE="UI=000001:NS=0000000000:WM={number:06d}:BH=0000000000:JSS=000000:LM=000000:LRMS=000000'
        f':APP=000000:LBS=000000" DG.USER="{user}" {attributes}'
    )


def registration(*, job: str = JOB, jobtype: str = "SIMPLE", nsubjobs: int = 0, **more: Any) -> str:
    """A RegJob line."""
    return line(
        "RegJob",
        f'DG.REGJOB.JDL="[ a = 1 ]" DG.REGJOB.NS="NS" DG.REGJOB.PARENT="" DG.REGJOB.JOBTYPE="{jobtype}" '
        f'DG.REGJOB.NSUBJOBS="{nsubjobs}" DG.REGJOB.SEED="s" DG.REGJOB.WMS_DN="" ',
        job=job,
        **{"source": "UserInterface", "priority": 16, **more},
    )


def running(number: int, node: str = "wn1", **more: Any) -> str:
    """A Running line."""
    return line("Running", f'DG.RUNNING.NODE="{node}" ', number=number, **more)


class Ingesting(SynchronousTestCase):
    """One store, events handed in directly."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.server = Server(self.directory)
        self.addCleanup(lambda: self.server.close())

    def _events(self) -> list[str]:
        return [event.type.name for event in self.server.lookup.events_of(OWNER, jobid.parse(JOB).unique)]

    def test_duplicates_vanish(self) -> None:
        """P3: the same event twice in a batch, in the next batch and after a restart is stored once."""
        self.assertEqual(self.server.send_all([registration(), running(1), running(1)]), [il.OK] * 3)
        self.assertEqual(self.server.send_all([registration(), running(1)]), [il.OK] * 2)
        self.server.close()
        self.server = Server(self.directory)
        self.assertEqual(self.server.send("DG.LLLID=7 " + running(1, priority=6)), il.OK)
        self.assertEqual(self._events(), ["RegJob", "Running"])

    def test_repeated_among_new(self) -> None:
        """P3, P4: one event that has come before leaves the new ones of its batch alone, alone or beside many."""
        self.server.send_all([registration(), running(1)])
        for number, more in ((2, 1), (3, 20)):
            lines = [running(number * 100 + each) for each in range(more)]
            self.assertEqual(self.server.send_all([*lines, running(1)]), [il.OK] * (more + 1))
        self.assertEqual(self.server.send(running(1)), il.OK)
        self.assertEqual(self._events(), ["RegJob", *["Running"] * 22])
        self.assertEqual(self.server.status(JOB).state, State.Running)

    def test_repeated_though_refused_now(self) -> None:
        """P3: an event that was stored is answered with success again, though as a new one it would be refused."""

        def access(operation: str, number: int, user: str = "/CN=x") -> str:
            attributes = (
                f'DG.CHANGEACL.USER_ID="{user}" DG.CHANGEACL.USER_ID_TYPE="DN" DG.CHANGEACL.PERMISSION="READ" '
                f'DG.CHANGEACL.PERMISSION_TYPE="ALLOW" DG.CHANGEACL.OPERATION="{operation}" '
            )
            return line("ChangeACL", attributes, number=number, source="UserInterface")

        self.server.send_all([registration(), access("ADD", 0, "/CN=y"), access("ADD", 1), access("REMOVE", 2)])
        self.assertEqual(self.server.send(access("REMOVE", 3))[:2], (400, errno.EINVAL))
        self.assertEqual(self.server.send_all([running(4), running(5)]), [il.OK] * 2)  # nothing amiss: hopeful again
        self.assertEqual(self.server.send(access("REMOVE", 2)), il.OK)

    def test_hope(self) -> None:
        """Whether events came before is asked only behind a batch that had such ones, or refused ones."""
        self.server.send(registration())
        asked: list[int] = []
        ask = self.server.writer.duplicates

        def asking(digests: Any) -> set[int]:
            asked.append(len(digests))
            return ask(digests)

        with mock.patch.object(self.server.writer, "duplicates", asking):
            for lines, expected in (
                ([running(1)], []),
                ([running(2), running(1)], [2]),
                ([running(2)], [1]),
                ([running(3)], [1]),
                ([running(4)], []),
                ([running(5, job=JOB[:-1] + "x")], [0]),
                ([running(6)], [1]),
                ([running(7)], []),
            ):
                asked.clear()
                self.server.send_all(lines)
                self.assertEqual(asked, expected, lines)

    def test_no_hope_for_subjobs(self) -> None:
        """P10: a registration that comes again costs nothing of its many subjobs, which would all be looked up."""
        collection = registration(jobtype="COLLECTION", nsubjobs=3)
        self.server.send(collection)
        self.server.close()
        self.server = Server(self.directory)
        loaded: set[str] = set()
        load = self.server.writer.load

        def loading(uniques: Collection[str]) -> dict[str, StoredJob]:
            loaded.update(uniques)
            return load(uniques)

        with mock.patch.object(self.server.writer, "load", loading):
            self.assertEqual(self.server.send(collection), il.OK)
        self.assertEqual(loaded, {jobid.parse(JOB).unique})

    def test_bad_neighbours(self) -> None:
        """P5: lines that cannot be read and events that are refused leave the others of their batch alone."""
        other = JOB[:-1] + "x"
        replies = self.server.send_all(
            [b"\xff garbage", registration(), running(1, job=other), running(2), "", registration(priority=80)]
        )
        self.assertEqual([reply.major for reply in replies], [400, 0, 700, 0, 400, 700])
        self.assertEqual([reply.minor for reply in replies], [1401, 0, 2, 0, 1401, 17])
        self.assertEqual(self._events(), ["RegJob", "Running"])

    def test_asynchronous_senders_do_not_repeat(self) -> None:
        """Errors that C loggers would repeat for ever are told to them as 400."""
        self.server.send(registration())
        bad = line(
            "ChangeACL",
            'DG.CHANGEACL.USER_ID="/CN=x" DG.CHANGEACL.USER_ID_TYPE="DN" DG.CHANGEACL.PERMISSION="NONE" '
            'DG.CHANGEACL.PERMISSION_TYPE="ALLOW" DG.CHANGEACL.OPERATION="ADD" ',
            number=3,
        )
        self.assertEqual(self.server.send(bad)[:2], (400, errno.EINVAL))

    def test_failing_store(self) -> None:
        """P1, P2: when the transaction fails nobody gets a success, and the same events are taken later."""
        self.server.send(registration())
        with mock.patch.object(
            self.server.writer, "_write_events", side_effect=StoreError(errno.ENOSPC, "database: full")
        ):
            replies = self.server.send_all([running(1), running(2)])
        self.assertEqual([reply[:2] for reply in replies], [(700, errno.ENOSPC)] * 2)
        self.assertEqual(self.server.status(JOB).state, State.Submitted)
        self.assertEqual(self.server.send_all([running(1), running(2)]), [il.OK] * 2)
        self.assertEqual(self.server.status(JOB).state, State.Running)

    def test_mistake_of_ours(self) -> None:
        """P5: an event that breaks the server's own code is refused alone; its neighbours are stored."""
        self.server.send(registration())
        step = ingest.fold.step

        def breaking(job: Any, event: Any, *more: Any) -> Any:
            if event.text("node") == "poison":
                raise ZeroDivisionError
            return step(job, event, *more)

        with mock.patch.object(ingest.fold, "step", breaking):
            replies = self.server.send_all([running(1), running(2, "poison"), running(3)])
        self.assertEqual([reply.major for reply in replies], [0, 400, 0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self._events(), ["RegJob", "Running", "Running"])

    def test_mistake_in_reading(self) -> None:
        """P5: a line that breaks the server's reader is refused alone, it does not come again with its neighbours."""
        self.server.send(registration())
        parse = ingest.ulm.parse

        def breaking(text: bytes) -> Any:
            if b"poison" in text:
                raise ZeroDivisionError
            return parse(text)

        with mock.patch.object(ingest.ulm, "parse", breaking):
            replies = self.server.send_all([running(1), running(2, "poison"), running(3)])
        self.assertEqual([reply.major for reply in replies], [0, 400, 0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self._events(), ["RegJob", "Running", "Running"])

    def test_short_memory(self) -> None:
        """P2, P4: an event that finds no memory comes again, with all behind it; nobody refuses it for good."""
        self.server.send(registration())
        step = ingest.fold.step

        def short(job: Any, event: Any, *more: Any) -> Any:
            if event.text("node") == "great":
                raise MemoryError
            return step(job, event, *more)

        events = [running(1), running(2, "great"), running(3)]
        with mock.patch.object(ingest.fold, "step", short):
            replies = self.server.send_all(events)
        self.assertEqual([reply[:2] for reply in replies], [(0, 0), (700, errno.ENOMEM), (700, errno.ENOMEM)])
        self.assertEqual(self.server.send_all(events), [il.OK] * 3)
        self.assertEqual(self._events(), ["RegJob", "Running", "Running", "Running"])

    def test_subjobs(self) -> None:
        """A collection's registration makes its subjobs, in the state that the specification gives them."""
        self.assertEqual(self.server.send(registration(jobtype="COLLECTION", nsubjobs=3)), il.OK)
        status = self.server.status(JOB, "children")
        expected = sorted(str(subjob) for subjob in jobid.subjobs(jobid.parse(JOB), 3, "s"))
        self.assertEqual(sorted(status.children or []), expected)
        child = self.server.status(expected[0])
        self.assertEqual((child.state, child.parent_job), (State.Submitted, JOB))
        self.assertEqual(self.server.send(running(1, job=expected[0])), il.OK)
        self.assertEqual(self.server.status(expected[0]).state, State.Running)

    def test_subjobs_are_bounded(self) -> None:
        """P10: a registration of more subjobs than allowed is refused and makes nothing."""
        self.server.close()
        self.server = Server(self.directory, max_subjobs=3)
        self.assertEqual(self.server.send(registration(jobtype="DAG", nsubjobs=4))[:2], (700, errno.E2BIG))
        self.assertEqual(query_error(self.server, JOB, "", OWNER), errno.ENOENT)
        self.assertEqual(self.server.send(registration(jobtype="DAG", nsubjobs=3)), il.OK)

    def test_who_may_store(self) -> None:
        """P7: anonymous peers store nothing, nobody registers for another, another's id names another server."""
        self.assertEqual(self.server.send(registration(), ANONYMOUS).major, il.Major.PERM)
        self.assertEqual(self.server.send(registration(), OTHER).text, "job registration must go directly")
        self.server.send(registration())
        elsewhere = JOB.replace("localhost", "elsewhere.ex")
        self.assertEqual(self.server.send(running(1, job=elsewhere))[:2], (700, errno.ENOENT))
        tag = 'DG.USERTAG.NAME="n" DG.USERTAG.VALUE="v" '
        foreign = line("UserTag", tag, number=2, user=OTHER.name)
        self.assertEqual(self.server.send(foreign, OTHER).major, il.Major.PERM)

    def test_who_may_read(self) -> None:
        """P7: only the owner reads a job; others are told so, anonymous peers find nothing."""
        self.server.send(registration())
        self.assertEqual(query_error(self.server, JOB, "", OWNER), 0)
        self.assertEqual(query_error(self.server, JOB, "", OTHER), errno.EPERM)
        self.assertEqual(query_error(self.server, JOB, "", ANONYMOUS), errno.ENOENT)
        by_owner = Query(jobs=((Condition(Attribute.OWNER, Operator.EQUAL, str(OWNER.name)),),))
        self.assertEqual(len(self.server.lookup.jobs(OWNER, by_owner).jobs), 1)
        self.assertEqual(self.assertRaises(LBError, self.server.lookup.jobs, OTHER, by_owner).code, errno.ENOENT)
        self.assertRaises(LBError, self.server.lookup.jobs, ANONYMOUS, own_jobs())

    def test_texts_are_kept_apart(self) -> None:
        """The JDL is in the answer when it is asked for, also after a restart, and not rewritten by other events."""
        self.server.send(registration())
        with mock.patch.object(self.server.writer, "_write_texts", wraps=self.server.writer._write_texts) as texts:
            self.server.send(running(1))
        texts.assert_called_once_with([])
        self.server.close()
        self.server = Server(self.directory)
        self.assertEqual(self.server.status(JOB, "classadd").jdl, "[ a = 1 ]")
        self.assertIsNone(self.server.status(JOB).jdl)

    def test_bytes_that_are_no_text(self) -> None:
        """Bytes that are no UTF-8 come back as they were."""
        self.server.send(registration())
        self.server.send(running(1, "place").encode().replace(b"place", b"w\xe9\xff"))
        self.assertEqual(self.server.status(JOB).ce_node, "w\udce9\udcff")

    def test_one_statement_a_batch(self) -> None:
        """A batch is one transaction, however many events and jobs it has."""
        written: list[tuple[int, int]] = []
        write = self.server.writer.write

        def counting(jobs: Collection[StoredJob], events: Sequence[NewEvent], **more: Any) -> None:
            written.append((len(jobs), len(events)))
            write(jobs, events, **more)

        with mock.patch.object(self.server.writer, "write", counting):
            self.server.send_all([registration(), *(running(number) for number in range(1, 100))])
        self.assertEqual(written, [(1, 100)])

    def test_history(self) -> None:
        """Flag history brings all events, also an empty list."""
        self.server.send_all([registration(), running(1)])
        status = self.server.lookup.status(OWNER, jobid.parse(JOB).unique, Flag.HISTORY)
        self.assertIn('"type" : "Running"', status.history or "")

    def test_events_in_slices(self) -> None:
        """P5: the events of a job are found a slice at a time, however many: others are answered meanwhile."""
        self.server.send_all([registration(), *(running(number) for number in range(1, 251))])
        pages = list(self.server.lookup.pages_of(OWNER, jobid.parse(JOB).unique))
        self.assertEqual([len(page) for page in pages], [0, 0, 0, 100, 100, 51])
        found = [event for page in pages for event in page]
        self.assertEqual(found, in_order(reversed(found)))
        self.assertRaises(LBError, next, self.server.lookup.pages_of(OTHER, jobid.parse(JOB).unique))

    def test_hidden_history(self) -> None:
        """security.md §12: where names are hashed a history has none, whoever is named in it and whoever asks."""
        grant = line("GrantPayloadOwnership", 'DG.GRANTPAYLOADOWNERSHIP.PAYLOAD_OWNER="/CN=payload" ', number=2)
        friends = registration().replace('WMS_DN=""', 'WMS_DN="/CN=wms1\\n/CN=wms2\\n"')
        self.assertEqual(self.server.send_all([friends, running(1), grant]), [il.OK] * 3)
        unique = jobid.parse(JOB).unique
        self.server.policy = self.server.policy.permitting(str(OTHER.name), Action.READ_ANONYMIZED)
        whole = self.server.lookup.status(OWNER, unique, Flag.HISTORY).history or ""
        self.assertEqual(whole.count("/CN="), 3 + 3)  # who logged, and who is named
        for peer, flags in ((OTHER, Flag.HISTORY), (OWNER, Flag.HISTORY | Flag.ANONYMIZED)):
            history = self.server.lookup.status(peer, unique, flags).history or ""
            self.assertNotIn("/CN=", history)
            for name in ("/CN=payload", "/CN=wms1", "/CN=wms2", str(OWNER.name)):
                self.assertIn(hashed(name, "salt"), history)
