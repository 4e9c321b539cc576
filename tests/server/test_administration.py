"""Administration of a running server: what is purged is what was asked for, what is dumped can be loaded back."""

from __future__ import annotations

import errno
import gzip
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.jobid import JobId, parse
from lb.model.query import of_job
from lb.model.status import STATES, State
from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import Action
from lb.server.admin import dumpfile
from lb.server.admin.retention import Retention, read_ages
from lb.store.interface import StoreError
from lb.wire import http, il, indexing, ulm
from lb.wire.lbxml import dump, purge, requests, results, sequence, statistics
from tests.server.administered import ADMIN, ALL, DUMPED, LISTED, NOW, REALLY, Administered
from tests.server.fixture import OTHER, OWNER
from tests.server.test_ingest import JOB, line, registration, running
from tests.server.test_vectors import followed_cases, takes_grey_jobs
from tests.store.raw import execute
from tests.wire_query.exchanges import administration, body

VECTOR = "https://localhost:9000/dWWmwBH2fGB36R5nnnPW0Q"


class Case(SynchronousTestCase):
    """One server."""

    def setUp(self) -> None:
        self.lb = self._server()

    def _server(self, **options: Any) -> Administered:
        made = Administered(Path(self.mktemp()), **options)
        self.addCleanup(made.close)
        return made

    def _jobs(self, count: int, prefix: str = "job") -> list[str]:
        ids = [f"https://localhost:9000/{prefix}{number:05}" for number in range(count)]
        replies = self.lb.server.send_all([registration(job=jobid) for jobid in ids])
        self.assertEqual(set(replies), {il.OK})
        return ids

    def _code(self, jobid: str, peer: Identity = OWNER) -> int:
        try:
            self.lb.server.status(jobid, peer=peer)
        except LBError as error:
            return error.code
        return 0

    def _refused(self, code: int, path: str, document: bytes, peer: Identity = ADMIN) -> http.Response:
        response = self.lb.ask(path, document, peer)
        self.assertIn(f' code="{code}"'.encode(), response.body)
        return response


class Recorded(Case):
    """What C programs asked a C server."""

    def test_purge(self) -> None:
        """41 to 41f: dry run, purge with a dump, the status afterwards, the id again with EXCL, a stranger."""
        recorded = {exchange.name.split(".")[0]: exchange for exchange in administration()}
        self.lb.server.send(registration(job=VECTOR))

        def answered(name: str, peer: Identity) -> http.Response:
            return self.lb.send(recorded[name].asked, peer)

        denied = answered("41f-purge-denied", OTHER)
        self.assertEqual((denied.status, denied.body), (401, body(recorded["41f-purge-denied"].answered)))
        dry = answered("41-purge-dryrun", ADMIN)
        self.assertEqual((dry.status, dry.body), (200, body(recorded["41-purge-dryrun"].answered)))
        self.assertEqual(self._code(VECTOR), 0)
        purged = purge.read_result(answered("41b-purge-serverdump", ADMIN).body)
        self.assertEqual(purged.jobs, (VECTOR,))
        (dumped,) = Path(str(purged.server_file)).read_bytes().splitlines()
        self.assertEqual(dumped, b"DG.ARRIVED=20270115080000.000000 " + registration(job=VECTOR).encode())
        self.assertEqual(self._code(VECTOR), errno.EIDRM)
        exclusive = il.FrameReader().feed(recorded["41e-job_reg-purged"].asked)[0]
        reply = self.lb.server.send(il.read_line(exclusive))
        self.assertEqual(reply, il.Reply(700, 17, "Zombie job with given jobid already exists. Rejecting event."))

    def test_registered_again(self) -> None:
        """lb-test-job-registration 6 to 10: a purged id is refused to who wants a new one, given to others."""
        self.lb.server.send(registration())
        self.lb.purge()
        self.assertEqual(self._code(JOB), errno.EIDRM)
        self.assertEqual(self.lb.server.send(registration(number=1, priority=80)).minor, errno.EEXIST)
        self.assertEqual(self._code(JOB), errno.EIDRM)
        self.assertEqual(self.lb.server.send(registration(number=2)), il.OK)
        self.assertEqual(self.lb.server.status(JOB).state, State.Submitted)
        self.assertEqual(len(self.lb.server.lookup.events_of(OWNER, parse(JOB).unique)), 1)
        reused = self._server(reuse_purged=True)
        reused.server.send(registration())
        reused.purge()
        self.assertEqual(reused.server.send(registration(number=1, priority=80)), il.OK)

    def test_gone(self) -> None:
        """wire-query.md §7.2: 410 needs a purged id and an id in every group; its events are just not there."""
        self.lb.server.send(registration())
        self.lb.purge()
        for document, code in (
            (b"<equal><jobId>%b</jobId></equal>", 43),
            (b"<equal><jobId>%b</jobId></equal><equal><jobId>https://localhost:9000/x</jobId></equal>", 43),
            (
                b"<equal><jobId>%b</jobId></equal></orJobConditions><orJobConditions><equal><status>Done</status></equal>",
                2,
            ),
        ):
            conditions = b"<and><orJobConditions>" + document % JOB.encode() + b"</orJobConditions></and>"
            asked = b"<edg_wll_QueryJobsRequest>" + conditions + b"</edg_wll_QueryJobsRequest>"
            response = self.lb.ask("/queryJobs", asked, OWNER)
            error = results.read_jobs(response.body).error
            self.assertEqual((response.status, error and error.code), ({43: 410, 2: 404}[code], code))
        events = requests.write_events(requests.read_events(asked.replace(b"Jobs", b"Events")))
        self.assertEqual(self.lb.ask("/queryEvents", events, OWNER).status, 404)


class Purges(Case):
    """Which jobs go, and that nothing is lost."""

    def _aged(self) -> dict[State, list[str]]:
        """An old and a new job in each class; what lb-test-purge makes with its scripts."""
        found: dict[State, list[str]] = {}
        for state in State.Aborted, State.Cleared, State.Cancelled, State.Waiting, State.Done:
            found[state] = self._jobs(2, state.name)
            for number, jobid in enumerate(found[state]):
                job = self.lb.server.writer.load([parse(jobid).unique])[parse(jobid).unique]
                job.state.status.state = state
                job.state.status.lastUpdateTime = (NOW - (60 if number == 0 else 0)) * 1_000_000
                self.lb.server.writer.write([job], [])
        return found

    def _dry(self, timeouts: Any) -> list[str]:
        return list(self.lb.purge(timeouts=tuple(timeouts), flags=LISTED).jobs or ())

    def test_circles(self) -> None:
        """P10: jobs that name each other, or themselves, as parents are purged like all others."""
        ids = [f"https://localhost:9000/{name}" for name in ("self", "one", "two", "below")]
        for job, parent in zip(ids, (ids[0], ids[2], ids[1], ids[1]), strict=True):
            line_ = registration(job=job, jobtype="COLLECTION").replace('PARENT=""', f'PARENT="{parent}"')
            self.assertIs(self.lb.server.send(line_), il.OK)
        named = self.lb.purge(jobs=(parse(ids[1]),)).jobs
        self.assertEqual(named, (ids[1],))
        self.assertEqual(sorted(self.lb.purge().jobs or ()), sorted({*ids} - {ids[1]}))
        self.assertEqual(self.lb.everything(), {})

    def test_classes(self) -> None:
        """lb-test-purge 3 to 5: the older job of a class by 30 s, both by 0 s, none by the server's defaults."""
        jobs = self._aged()
        for state, (old, new) in jobs.items():
            by_class = [purge.NEVER] * STATES
            for seconds, wanted in ((60, [old]), (61, []), (30, [old]), (0, [old, new])):
                by_class[state] = seconds
                self.assertEqual(self._dry(by_class), wanted)
        self.assertEqual(self._dry([purge.SERVER_DEFAULT] * STATES), [])
        self.lb.clock.advance(4 * 86_400)
        self.assertEqual(self._dry([purge.SERVER_DEFAULT] * STATES), jobs[State.Cleared])
        self.lb.clock.advance(30 * 86_400)
        self.assertEqual(len(self._dry([purge.SERVER_DEFAULT] * STATES)), 10)

    def test_dumped(self) -> None:
        """lb-test-purge 6 to 9: old jobs' events are in the first dump, others' in the second; none is left."""
        jobs = self._aged()
        for number, wanted in ((30, {old for old, _ in jobs.values()}), (0, {new for _, new in jobs.values()})):
            result = self.lb.purge(timeouts=(number,) * STATES, flags=REALLY | LISTED | DUMPED)
            self.assertEqual(set(result.jobs or ()), wanted)
            lines = Path(str(result.server_file)).read_text().splitlines()
            texts = sorted(text[text.index("DATE=") :] for text in lines)
            self.assertEqual(texts, sorted(registration(job=jobid) for jobid in wanted))
        self.assertEqual(self._dry(ALL), [])
        for pair in jobs.values():
            self.assertEqual([self._code(jobid) for jobid in pair], [errno.EIDRM] * 2)
        empty = self.lb.purge(flags=REALLY | DUMPED)
        self.assertEqual((empty.jobs, empty.server_file), (None, None))
        self.assertEqual(len(list(self.lb.places.purges.iterdir())), 2)

    def test_families(self) -> None:
        """wire-query.md §8.1: subjobs go with their parent only, a subjob of a job that is gone by itself."""
        family = registration(jobtype="COLLECTION", nsubjobs=250)
        self.lb.server.send(family)
        child = self.lb.server.lookup.jobs(OWNER, _family()).jobs[7].jobId
        orphan = "https://localhost:9000/orphan"
        self.lb.server.send(registration(job=orphan).replace('PARENT=""', 'PARENT="https://localhost:9000/none"'))
        self.assertEqual(self.lb.purge(jobs=(parse(str(child)),)).jobs, ())
        self.assertEqual(self.lb.purge(jobs=(parse(orphan),)).jobs, (orphan,))
        purged = self.lb.purge(jobs=(parse(JOB),)).jobs or ()
        self.assertEqual((len(purged), purged[-1]), (251, JOB))
        self.assertEqual(self._code(str(child)), errno.EIDRM)
        self.assertEqual(self.lb.everything(), {})

    def test_families_by_age(self) -> None:
        """Subjobs that sort before and behind their parent go with it, each of them once, also in the list."""
        self.lb.server.send(registration(jobtype="COLLECTION", nsubjobs=40))
        uniques = sorted(jobid.unique for jobid in self.lb.everything())
        self.assertNotIn(parse(JOB).unique, (uniques[0], uniques[-1]))
        timeouts = [0] * STATES
        expected = self._dry(timeouts)
        purged = self.lb.purge(timeouts=tuple(timeouts), flags=REALLY | LISTED).jobs or ()
        self.assertEqual(sorted(parse(each).unique for each in purged), uniques)
        self.assertEqual(sorted(purged), sorted(expected))

    def test_foreign_id(self) -> None:
        """security.md §18, 2: another server's job with the same unique part is none of ours."""
        self.lb.server.send(registration())
        elsewhere = parse(JOB)._replace(host="other.example.org")
        self.assertEqual(self.lb.purge(jobs=(elsewhere,)).jobs, ())
        self.assertEqual(self._code(JOB), 0)

    def test_late_event(self) -> None:
        """P2: an event that comes between dump and removal is in the dump, too, or its job stays."""
        late = [running(number) for number in range(1, 6)]
        for kept in (True, False):
            pending = [*late] if kept else [running(6)]
            self.lb.server.send(registration(number=9))
            with mock.patch.object(self.lb.writing, "before", partial(self._send_next, pending)):
                result = self.lb.purge(flags=REALLY | LISTED | DUMPED)
            events = Path(str(result.server_file)).read_text()
            if result.jobs:
                self.assertEqual(events.count('DG.EVNT="Running"'), 6)
                self.assertEqual(self._code(JOB), errno.EIDRM)
            else:
                self.assertEqual(self._code(JOB), 0)
            self.assertEqual(bool(result.jobs), not kept)

    def _send_next(self, lines: list[str]) -> None:
        if lines:
            self.assertEqual(self.lb.server.send(lines.pop(0)), il.OK)

    def test_trouble(self) -> None:
        """P2: when the store or the file cannot be written nothing is removed that is not in the dump."""
        self._jobs(3)
        full = StoreError(errno.ENOSPC, "database: disk full")
        asked = purge.write_request(purge.Request(timeouts=ALL, flags=REALLY | DUMPED))
        with mock.patch.object(self.lb.server.writer.purge, "remove", side_effect=full):
            self.assertEqual(self._refused(errno.ENOSPC, "/purgeRequest", asked).status, 500)
        with mock.patch.object(dumpfile.os, "fsync", side_effect=OSError(errno.EIO, "bad disk")):
            self.assertEqual(self._refused(errno.EIO, "/purgeRequest", asked).status, 500)
        self.assertEqual(len(self.lb.everything()), 3)

    def test_interrupted(self) -> None:
        """What a stopped server left of removed jobs goes by itself, and its keys are not given again meanwhile."""
        self._jobs(3)
        with mock.patch.object(self.lb.purging, "_clear", lambda most: False):
            self.lb.purge()
        writer = self.lb.server.store.writer()
        self.addCleanup(writer.close)
        self.assertEqual(writer.new_key(), 4)
        self.assertEqual(len(list(writer.events(1))), 1)
        self.lb.housekeeping.startService()
        self.lb.housekeeping.stopService()
        self.assertEqual(list(writer.events(1)), [])

    def test_background(self) -> None:
        """wire-query.md §8.1: 202 without a body, and the work is done; a client's dump is not written."""
        self._jobs(2)
        asked = purge.write_request(purge.Request(timeouts=ALL, flags=REALLY | purge.PurgeFlag.BACKGROUND))
        response = self.lb.ask("/purgeRequest", asked)
        self.assertEqual((response.status, response.body), (202, b""))
        self.assertEqual(self.lb.everything(), {})
        client = purge.write_request(purge.Request(flags=REALLY | purge.PurgeFlag.CLIENT_DUMP))
        self.assertEqual(self._refused(errno.ENOSYS, "/purgeRequest", client).status, 500)

    def test_runtime(self) -> None:
        """A purge takes as long as it was asked to, so that it disturbs nobody."""
        self._jobs(200)
        asked = purge.write_request(purge.Request(timeouts=ALL, flags=REALLY, runtime=600))
        (request,) = http.RequestReader().feed(http.request("POST", "/purgeRequest", asked))
        answered: list[Any] = []
        self.lb.queries.answer(request, ADMIN).addCallback(answered.append)
        self.assertEqual(len(self.lb.everything()), 100)
        self.lb.clock.advance(299)
        self.assertEqual(len(self.lb.everything()), 100)
        self.lb.clock.advance(1)
        self.assertEqual((len(self.lb.everything()), answered), (0, []))
        self.lb.clock.advance(300)
        self.assertEqual(len(answered), 1)

    def test_stopping(self) -> None:
        """A server that stops ends what it was asked for between two steps, and says so; what is done stays done."""
        self._jobs(200)
        asked = purge.write_request(purge.Request(timeouts=ALL, flags=REALLY | DUMPED, runtime=86_400))
        (request,) = http.RequestReader().feed(http.request("POST", "/purgeRequest", asked))
        answered: list[bytes] = []
        self.lb.queries.answer(request, ADMIN).addCallback(answered.append)
        idle: list[None] = []
        self.lb.stopping.stopping = True
        self.lb.port.idle().addCallback(idle.append)
        self.assertEqual(idle, [])
        self.lb.clock.advance(1)
        self.assertEqual(idle, [None])
        self.assertIn(b"the server is stopping", answered[0])
        self.assertEqual(len(self.lb.everything()), 100)
        (file,) = self.lb.places.purges.iterdir()
        self.assertEqual(len(file.read_bytes().splitlines()), 100)
        for path, document in (
            ("/dumpRequest", dump.write_dump_request(dump.DumpRequest())),
            ("/loadRequest", dump.write_load_request(str(file))),
            ("/purgeRequest", asked),
        ):
            self._refused(errno.ECANCELED, path, document)

    def test_no_trace(self) -> None:
        """What belongs to a purged job goes with it: texts, tags in indices, connections of both sides."""
        ids = self._jobs(2)
        self.lb.server.writer.index.configure(indexing.columns([[("system", "status")]]))
        self.lb.housekeeping.startService()
        connect = f'DG.CONNECTJOB.DEST_JOBID="{ids[1]}" DG.CONNECTJOB.JOBTYPE="SIMPLE" '
        self.assertEqual(self.lb.server.send(line("ConnectJob", connect, job=ids[0], number=3)), il.OK)
        self.lb.purge(jobs=(parse(ids[0]),))
        writer = self.lb.server.writer
        counts = {
            table: execute(writer, f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("jobs", "texts", "indexed", "connections", "doomed")
        }
        self.assertEqual(counts, {"jobs": 1, "texts": 1, "indexed": 1, "connections": 0, "doomed": 0})
        self.lb.housekeeping.stopService()


def _family() -> Any:
    conditions = f"<equal><parent_job>{JOB}</parent_job></equal>"
    document = f"<and><orJobConditions>{conditions}</orJobConditions></and>"
    return requests.read_jobs(f"<edg_wll_QueryJobsRequest>{document}</edg_wll_QueryJobsRequest>".encode())


class Restored(Case):
    """lb-test-dump-load: whatever was dumped comes back as it was."""

    def _play(self, category: str) -> None:
        for case in followed_cases(category):
            if takes_grey_jobs(case):
                continue
            for step in case["steps"]:
                if "send" in step:
                    peer = OTHER if step.get("as") == "other" else OWNER
                    self.lb.server.send(step["send"], peer)

    def _differences(self, before: dict[JobId, Any], after: dict[JobId, Any]) -> list[str]:
        self.assertEqual(after.keys(), before.keys())
        wrong = []
        names = ("owner", "parent", "acl", "grey", "status", "hidden", "events")
        for jobid, was in before.items():
            for name, old, new in zip(names, was, after[jobid], strict=True):
                if name == "status":
                    old.user_fqans = None  # of who brought the registration: no event tells them
                if old != new:
                    wrong.append(f"{jobid} {name}: {old} became {new}")
        return wrong

    def _round(self, path: str | None) -> None:
        before = self.lb.everything()
        self.assertGreater(len(before), 50)
        self.lb.purge(flags=REALLY)
        self.assertEqual(self.lb.everything(), {})
        for _ in range(2):
            result = self.lb.load(path)
            self.assertIsNone(result.server_file)
            self.assertEqual(self._differences(before, self.lb.everything()), [])

    def test_dump_of_everything(self) -> None:
        """A dump of all families, loaded after a purge, and loaded once more: the same jobs, states, ACLs, events."""
        for category in ("glite", "cream", "pbs", "condor", "transfer", "vm", "collection"):
            self._play(category)
        result = self.lb.dump()
        self.assertEqual((result.since, result.until), (0, NOW))
        self._round(result.server_file)

    def test_purge_with_dump(self) -> None:
        """The same from the dump that a purge wrote, job by job."""
        for category in ("cream", "transfer", "collection"):
            self._play(category)
        before = self.lb.everything()
        result = self.lb.purge(flags=REALLY | DUMPED)
        for _ in range(2):
            self.lb.load(result.server_file)
            self.assertEqual(self._differences(before, self.lb.everything()), [])

    def test_subjobs(self) -> None:
        """Subjobs that a registration made: a registration for each is in the dump for the C tools."""
        self.lb.server.send(registration(jobtype="COLLECTION", nsubjobs=3))
        content = Path(str(self.lb.dump().server_file)).read_bytes()
        lines = content.splitlines()[::2]
        self.assertEqual(content, b"".join(each + b"\n\n" for each in lines))  # as wire-query.md §8.2 has it
        self.assertEqual([line.partition(b" ")[0] for line in lines], [b"DG.ARRIVED=20270115080000.000000"] * 4)
        events = [ulm.parse(line.partition(b" ")[2]) for line in lines]
        for event in events[:3]:
            self.assertEqual(
                (event.text("parent"), event.number("nsubjobs"), event.code_name("jobtype")), (JOB, 0, "SIMPLE")
            )
        self.assertEqual(str(events[3].jobid), JOB)

    def test_registered_twice(self) -> None:
        """A parent that was registered again, later: what the dump made up for its subjobs is loaded as no event."""
        self.lb.server.send(registration(jobtype="DAG", nsubjobs=3))
        self.lb.server.send(registration(jobtype="DAG", nsubjobs=3, number=1))
        before = self.lb.everything()
        self.assertEqual(sorted(len(job[-1]) for job in before.values()), [0, 0, 0, 2])
        path = self.lb.dump().server_file
        self.lb.purge(flags=REALLY)
        for _ in range(2):
            self.lb.load(path)
            self.assertEqual(self._differences(before, self.lb.everything()), [])

    def test_intervals(self) -> None:
        """Dumps follow one another without a gap: each has what arrived since the last, at any fraction of a second."""
        files = []
        for number in range(3):
            now = NOW + 0.25 * number
            with mock.patch.object(self.lb.server.ingest, "_now", lambda now=now: now):
                self.lb.server.send(registration(job=f"https://localhost:9000/j{number}"))
            files.append(self.lb.dump().server_file)
            self.lb.clock.advance(0.25)
        for number, name in enumerate(files):
            event, _ = Path(str(name)).read_bytes().splitlines()
            self.assertIn(f"/j{number}".encode(), event)
        again = self.lb.dump(dump.LAST_START, dump.LAST_END)
        self.assertIn(b"/j2", Path(str(again.server_file)).read_bytes())
        self.assertIsNone(self.lb.dump().server_file)

    def test_zombies(self) -> None:
        """A purged job that is loaded is there again, for good."""
        self.lb.server.send(registration())
        result = self.lb.purge(flags=REALLY | DUMPED)
        self.assertEqual(self._code(JOB), errno.EIDRM)
        self.lb.load(result.server_file)
        self.assertEqual(self._code(JOB), 0)
        self.assertEqual(self.lb.reader.purged([parse(JOB).unique]), set())

    def test_refused_lines(self) -> None:
        """Lines that are no events are kept in a file of their own; the others are loaded (P5)."""
        self.lb.places.dumps.mkdir()
        path = self.lb.places.dumps / "mixed"
        path.write_bytes(b"nonsense\n\n" + registration().encode() + b"\nDG.ARRIVED=x " + running(1).encode() + b"\n")
        result = self.lb.load("mixed")
        self.assertIn(b"nonsense", Path(str(result.server_file)).read_bytes())
        self.assertEqual(len(self.lb.server.lookup.events_of(OWNER, parse(JOB).unique)), 2)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_trouble(self) -> None:
        """A store that fails ends a load with its error; what was not stored comes with the next load."""
        self._jobs(3)
        before = self.lb.everything()
        result = self.lb.purge(flags=REALLY | DUMPED)
        full = StoreError(errno.ENOSPC, "database: disk full")
        asked = dump.write_load_request(str(result.server_file))
        with mock.patch.object(self.lb.server.writer, "write", side_effect=full):
            self._refused(errno.ENOSPC, "/loadRequest", asked)
        self.lb.load(result.server_file)
        self.assertEqual(self._differences(before, self.lb.everything()), [])


class Archives(Case):
    """Retention, and what it leaves."""

    def _retention(self, timeouts: Sequence[int]) -> Retention:
        def begin(asked: purge.Request, file: dumpfile.DumpFile) -> Any:
            return Deferred.fromCoroutine(self.lb.purging(asked, file))

        return Retention(begin, timeouts, self.lb.places.archives, self.lb.clock, 60.0)

    def _retain(self, *ages: str) -> Path | None:
        timeouts = read_ages(ages)
        assert timeouts is not None
        retention = self._retention(timeouts)
        retention.startService()
        self.lb.clock.advance(60)
        retention.stopService()
        return next(self.lb.places.archives.glob("*.gz"), None)

    def test_retention(self) -> None:
        """Old jobs go into an archive that gunzip reads, of which one job or all are loaded back."""
        ids = self._jobs(3)
        before = self.lb.everything()
        self.assertIsNone(self._retain("all=1d", "Submitted=20000d"))
        self.assertEqual(list(self.lb.places.archives.iterdir()), [])
        path = self._retain("Submitted=1d")
        assert path is not None
        self.assertEqual(self.lb.everything(), {})
        lines = gzip.decompress(path.read_bytes()).splitlines()
        self.assertEqual(
            lines, [b"DG.ARRIVED=20270115080000.000000 " + registration(job=each).encode() for each in ids]
        )
        self.lb.load(f"{path.name}#job00001")  # found beside dumps and purges by its name
        self.assertEqual([str(jobid) for jobid in self.lb.everything()], [ids[1]])
        self.lb.load(str(path))
        self.assertEqual(len(self.lb.everything()), len(before))
        missing = dump.write_load_request(f"{path}#nothing")
        self.assertEqual(self._refused(errno.ENOENT, "/loadRequest", missing).status, 404)

    def test_damaged(self) -> None:
        """P9: a damaged index is told from a good one; an archive that ends early gives what came before."""
        ids = self._jobs(3)
        path = self._retain("all=0")
        assert path is not None
        index = dumpfile.index_of(path)
        index.write_text(index.read_text().replace("job00001", "job00009"))
        self._refused(errno.EINVAL, "/loadRequest", dump.write_load_request(f"{path}#job00000"))
        path.write_bytes(path.read_bytes()[:-20])
        self._refused(errno.EINVAL, "/loadRequest", dump.write_load_request(str(path)))
        self.assertEqual([str(jobid) for jobid in self.lb.everything()], [])
        whole = path.read_bytes()
        path.write_bytes(whole + b"x" * 3)
        self._refused(errno.EINVAL, "/loadRequest", dump.write_load_request(str(path)))
        self.assertEqual(len(ids), 3)

    def test_no_utf8(self) -> None:
        """P5: a job whose id is no UTF-8 is archived and loaded back like any other, and stops nobody's archiving."""
        odd = "https://localhost:9000/\udcff\x01"
        self.assertIs(self.lb.server.send(registration(job=odd).encode("utf-8", "surrogateescape")), il.OK)
        self._jobs(1)
        path = self._retain("all=0")
        assert path is not None
        self.assertEqual(self.lb.everything(), {})
        self.assertEqual(set(dumpfile.read_index(path)), {"\udcff\x01", "job00000"})
        self.lb.load(str(path))
        self.assertEqual(self._code(odd), 0)

    def test_mistake(self) -> None:
        """P5: something nobody thought of ends one look for old jobs, not those that follow."""
        self._jobs(1)
        retention = self._retention(ALL)
        retention.startService()
        self.addCleanup(retention.stopService)
        with mock.patch.object(dumpfile.Archive, "begin", side_effect=ZeroDivisionError):
            self.lb.clock.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.lb.clock.advance(60)
        self.assertEqual(self.lb.everything(), {})

    def test_gentle(self) -> None:
        """What the server archives by itself leaves time to others between its slices."""
        self._jobs(250)
        file = dumpfile.Archive(self.lb.places.archives, "archive", NOW)
        done: list[int] = []
        self.lb.port.archive(purge.Request(timeouts=ALL, flags=REALLY), file).addCallback(done.append)
        left = []
        while not done:
            left.append(len(self.lb.everything()))
            self.lb.clock.advance(0.01)
        file.close()
        self.assertEqual((left, done), ([250, 150, 50], [250]))

    def test_ages(self) -> None:
        """Ages by state, with units; mistakes are named."""
        ages = read_ages(["Cleared=3d", "all=31d", "done=90"])
        assert ages is not None
        self.assertEqual((ages[State.Cleared], ages[State.Done], ages[State.Waiting]), (3 * 86_400, 90, 31 * 86_400))
        self.assertEqual(set((read_ages(["done=1h"]) or ())[:6]), {purge.NEVER})
        self.assertIsNone(read_ages([]))
        for text in ("x=1", "done", "done=", "done=-1", "done=1y"):
            self.assertRaises(LBError, read_ages, [text])


class Allowed(Case):
    """P7: who may do what."""

    def test_nobody(self) -> None:
        """P7: who shows no certificate is told the same of jobs that are there, that are not, and that were purged."""
        here, gone = self._jobs(1, "here")[0], self._jobs(1, "gone")[0]
        self.lb.purge(jobs=(parse(gone),))
        told: dict[str, set[tuple[int, bytes]]] = {}
        for jobid in (here, gone, "https://localhost:9000/never", here.replace("localhost", "elsewhere")):
            unique = parse(jobid).unique
            for name, data in (
                ("page", http.request("GET", f"/{unique}")),
                ("query", http.request("POST", "/queryJobs", requests.write_jobs(of_job(parse(jobid))))),
                ("code", http.request("POST", "/querySequenceCode", sequence.write_request(parse(jobid)))),
            ):
                response = self.lb.send(data, ANONYMOUS)
                told.setdefault(name, set()).add((response.status, response.body))
        self.assertEqual(
            {name: [status for status, _ in found] for name, found in told.items()},
            {"page": [401], "query": [404], "code": [401]},
        )

    def test_who(self) -> None:
        """security.md §11.3 and §18, 3: each operation needs its right; who has none gets EPERM and changes nothing."""
        self.lb.server.send(registration())
        policy = self.lb.server.policy.permitting("/CN=purger", Action.PURGE)
        self.lb.server.policy = policy.permitting("/CN=counter", Action.GET_STATISTICS)
        rate = statistics.Request(statistics.Function.RATE, State.Done, 1, 2, groups=statistics.by_destination(""))
        asked = {
            "/purgeRequest": purge.write_request(purge.Request(jobs=())),
            "/dumpRequest": dump.write_dump_request(dump.DumpRequest()),
            "/loadRequest": dump.write_load_request("nothing"),
            "/statsRequest": statistics.write_request(rate),
            indexing.PATH: indexing.write(indexing.Request([])),
        }
        allowed = {
            "/CN=purger": {"/purgeRequest"},
            "/CN=counter": {"/statsRequest"},
            "/CN=localhost": set(asked),  # the server's own certificate
            "/CN=admin": set(asked),
            "/CN=nobody": set(),
        }
        for name, paths in allowed.items():
            for path, document in asked.items():
                status = self.lb.ask(path, document, Identity(name)).status
                self.assertEqual(status == 401, path not in paths, (name, path))
        for path, document in asked.items():
            self.assertEqual(self.lb.ask(path, document, ANONYMOUS).status, 401)
        self.assertEqual(self.lb.server.writer.index.indices, ())  # by those who may

    def test_statistics(self) -> None:
        """Counting for everybody, for nobody; what fails repeats the times that were asked for."""
        rate = statistics.Request(statistics.Function.RATE, State.Done, 5, 9, groups=statistics.by_destination("x"))
        for mode, status in ((0, 501), (1, 401), (2, 404)):
            response = self._server(statistics=mode).ask("/statsRequest", statistics.write_request(rate), OWNER)
            self.assertEqual(response.status, status)
            self.assertIn(b"<from>5</from>\r\n\t\t\t<to>9</to>\r\n\t\t\t<res_from>0</res_from>", response.body)
        self.lb.server.send(registration())
        self.lb.server.send(line("Match", 'DG.MATCH.DEST_ID="x" ', number=1))
        self.lb.server.send(running(2))
        ran = statistics.Request(statistics.Function.RATE, State.Running, 1, NOW, groups=statistics.by_destination("x"))
        self.assertEqual(self.lb.ask("/statsRequest", statistics.write_request(ran)).status, 404)  # years ago
        self.assertEqual(self.lb.ask("/statsRequest", b"<x/>").status, 400)

    def test_confined(self) -> None:
        """Only files of the server's own directories are loaded, whatever way leads out of them."""
        self.lb.places.dumps.mkdir()
        (self.lb.places.dumps / "link").symlink_to("/etc/passwd")
        for name, code, status in (
            ("/etc/passwd", errno.EPERM, 401),
            ("../lb.sqlite", errno.EPERM, 401),
            ("link", errno.EPERM, 401),
            ("nothing", errno.ENOENT, 404),
            (".", errno.ENOENT, 404),
        ):
            response = self._refused(code, "/loadRequest", dump.write_load_request(name))
            self.assertEqual(response.status, status, name)

    def test_indices(self) -> None:
        """What is indexed is asked and changed while the server runs; nonsense is refused."""
        self._jobs(2)
        self.lb.housekeeping.startService()
        wanted = [[("system", "owner")], [("user", "color"), ("time", "Done")]]
        answer = indexing.read_answer(self.lb.ask(indexing.PATH, indexing.write(indexing.Request(wanted))).body)
        self.assertEqual((answer.indices, answer.filling), (wanted, False))
        again = indexing.read_answer(self.lb.ask(indexing.PATH, indexing.write(indexing.Request())).body)
        self.assertEqual(again.indices, wanted)
        for indices in ([[("system", "x")]], [[("user", "a"), ("user", "A")]], [[("user", str(n))] for n in range(65)]):
            response = self.lb.ask(indexing.PATH, indexing.write(indexing.Request(indices)))
            self.assertEqual(self.assertRaises(LBError, indexing.read_answer, response.body).code, errno.EINVAL)
        self.assertEqual(self.lb.ask(indexing.PATH, b'{"indices": [[]]}').status, 579)
        self.lb.housekeeping.stopService()
