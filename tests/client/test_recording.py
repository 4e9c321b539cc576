"""Recorded streams and their copies under fresh ids."""

from __future__ import annotations

from importlib import resources
from itertools import count
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.client.recording import Copy, Recording, Renaming, read, read_file
from lb.model import jobid
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.state.registration import REGISTRATION
from lb.wire import ulm
from lb.wire.ulm import escape

COLLECTION = "https://h002.example.org:9000/Whjdxb1SDDMUkWiB9xJUGw"


def sample(name: str) -> Recording:
    """A packaged stream."""
    with resources.as_file(resources.files("lb").joinpath("samples")) as samples:
        return read_file(Path(samples) / f"{name}.ulm.xz")


def line(event: str, job: str | None = None, **attributes: str) -> bytes:
    """An event line in a form that no C program writes, but all accept."""
    named = "" if job is None else f'DG.JOBID="{job}" '
    fields = "".join(f'DG.{event.upper()}.{name}="{escape(value)}" ' for name, value in attributes.items())
    return (
        f'DATE=20081005000000.000001 HOST="h" PROG=x LVL=SYSTEM DG.PRIORITY=0 DG.SOURCE="UserInterface" '
        f'DG.SRC_INSTANCE="" DG.EVNT="{event}" {named}DG.SEQCODE="" {fields}'
    ).encode()


def registration(job: str | None = None, **attributes: str) -> bytes:
    """The line of a registration."""
    return line("RegJob", job, **{"JOBTYPE": "SIMPLE", "NS": "n", **attributes})


class ReadingTests(SynchronousTestCase):
    """What a file holds."""

    def test_samples(self) -> None:
        """Real streams are read to the last line."""
        for name, events, beside in (
            ("job-typical", 20, 1),
            ("job-resubmitted", 153, 3),
            ("collection-100", 1782, 102),
        ):
            recording = sample(name)
            self.assertEqual((len(recording.events), len(recording.registrations)), (events, beside))
            self.assertEqual(recording.unreadable, [])

    def test_nameless(self) -> None:
        """Lines without a job id belong to one job: the one that its description names."""
        named = "https://lb.example.org:9000/0123456789012345678901"
        description = f'[ edg_jobid = "{named}"; ]'
        recording = read("x", [b"", line("Running", NODE="a"), registration(JDL=description), b"  "])
        self.assertEqual({str(event.jobid) for event in recording.events}, {named})
        anonymous = read("x", [line("Running", NODE="a"), line("Running", NODE="b")])
        self.assertEqual(len({event.jobid for event in anonymous.events}), 1)

    def test_unreadable(self) -> None:
        """P5: a line that is no event is reported with its number; the others are kept."""
        recording = read("x", [line("Running", NODE="a"), b"garbage", b"", line("Nothing"), line("Running", NODE="b")])
        self.assertEqual(len(recording.events), 2)
        self.assertEqual([each.number for each in recording.unreadable], [2, 4])

    def test_files(self) -> None:
        """A registration beside a file is found, plain or compressed; a registration file is read alone."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "a.ulm").write_bytes(line("Running", NODE="a") + b"\n")
        (directory / "a-registration.ulm").write_bytes(registration() + b"\n")
        self.assertEqual(len(read_file(directory / "a.ulm").registrations), 1)
        self.assertEqual(len(read_file(directory / "a-registration.ulm").registrations), 0)
        (directory / "b.ulm.xz").write_bytes(b"no xz")
        self.assertRaises(OSError, read_file, directory / "b.ulm.xz")


class RenamingTests(SynchronousTestCase):
    """Fresh ids."""

    def test_subjobs(self) -> None:
        """Ids of subjobs are those that the server derives from the new parent."""
        renaming = Renaming(sample("collection-100"), "localhost:9100")
        parent = renaming.job(jobid.parse(COLLECTION))
        self.assertEqual(parent.server, "localhost:9100")
        old = jobid.subjobs(jobid.parse(COLLECTION), 100, "WMPROXY")
        self.assertEqual([renaming.job(each) for each in old], list(jobid.subjobs(parent, 100, "WMPROXY")))

    def test_values(self) -> None:
        """Ids inside values change in the same way, also as file names write them; other addresses do not."""
        renaming = Renaming(sample("collection-100"), "localhost:9100")
        parent = renaming.job(jobid.parse(COLLECTION))
        name = str(parent).replace("_", "_5f").replace(":", "_3a").replace("/", "_2f")
        before = (
            f'[ edg_jobid = "{COLLECTION}"; '
            'a = "/s/Wh/https_3a_2f_2fh002.example.org_3a9000_2fWhjdxb1SDDMUkWiB9xJUGw/out";'
            ' b = "https://192.0.2.39:7443/glite_wms_wmproxy_server"; c = https://h002.example.org:9000/short ]'
        )
        after = before.replace(COLLECTION, str(parent)).replace(
            "https_3a_2f_2fh002.example.org_3a9000_2fWhjdxb1SDDMUkWiB9xJUGw", name
        )
        self.assertEqual(renaming.text(before), after)

    @given(st.text(alphabet="https:/_3a2f.xyz0123456789ABCDEFGH-\\\"' ", max_size=120))
    def test_any_text(self, text: str) -> None:
        """Text without ids of the recording stays as it is."""
        self.assertEqual(Renaming(read("x", [registration("https://a.example.org/x")]), "new").text(text), text)

    def test_events(self) -> None:
        """A copy differs from its recording in ids and user only."""
        recording = sample("job-typical")
        names = count()
        copy = Copy(recording, "new.example.org:1234", "/CN=me", lambda: f"{next(names):022d}")
        events = [*copy.registrations, *copy.events]
        self.assertEqual(len(events), len(recording.events))
        for before, after in zip(recording.events, events, strict=True):
            self.assertEqual(after.user, "/CN=me")
            self.assertEqual(after.jobid.server, "new.example.org:1234")
            for name in ("type", "timestamp", "host", "source", "seqcode", "src_instance", "level"):
                self.assertEqual(getattr(before, name), getattr(after, name))
            self.assertEqual(before.attributes.keys(), after.attributes.keys())
            self.assertNotIn(b"h002.example.org:9000", ulm.write(after))
            self.assertNotIn(b"h002.example.org_3a9000", ulm.write(after))


class RegistrationTests(SynchronousTestCase):
    """Which registrations go directly to the server."""

    def direct(self, recording: Recording) -> list[Event]:
        return list(Copy(recording, "new", "/CN=me").registrations)

    def test_samples(self) -> None:
        """Of each sample one job is registered; subjobs come with their parent."""
        for name in ("job-typical", "job-resubmitted", "collection-100"):
            recording = sample(name)
            copy = Copy(recording, "new", "/CN=me")
            (event,) = copy.registrations
            self.assertIs(event.type, REGISTRATION)
            self.assertEqual(len(list(copy.events)), len(recording.events) - 1)
        self.assertEqual(len(copy.jobs), 101)

    def test_late(self) -> None:
        """A registration that comes later in the file goes first; the second one stays in its place."""
        job = "https://a.example.org/x"
        recording = read("x", [line("Running", job, NODE="a"), registration(job), registration(job, SEED="s")])
        copy = Copy(recording, "new", "/CN=me")
        (first,) = copy.registrations
        self.assertIsNone(first.text("seed"))
        self.assertEqual([event.type.name for event in copy.events], ["Running", "RegJob"])

    def test_beside(self) -> None:
        """Without a registration in the file the one beside it serves, and is not counted as an event."""
        recording = read("x", [line("Running", NODE="a")], [registration(SEED="beside")])
        copy = Copy(recording, "new", "/CN=me")
        self.assertEqual([event.text("seed") for event in copy.registrations], ["beside"])
        self.assertEqual(len(list(copy.events)), 1)

    def test_none(self) -> None:
        """Without any registration one is made up, of the type that the events suggest."""
        for event, type_ in (("Running", "SIMPLE"), ("PBSWaiting", "PBS"), ("VMRunning", "VIRTUAL_MACHINE")):
            (made,) = self.direct(read("x", [line(event, "https://a.example.org/x", NODE="a")]))
            self.assertEqual(made.code_name("jobtype"), type_)
            self.assertEqual(ulm.parse(ulm.write(made)).jobid, made.jobid)

    def test_parent_beside(self) -> None:
        """A subjob's parent is registered even when only the file beside knows it."""
        parent = "https://a.example.org/0123456789012345678901"
        child = next(jobid.subjobs(jobid.parse(parent), 2, "s"))
        recording = read(
            "x", [line("Running", str(child), NODE="a")], [registration(parent, JOBTYPE="DAG", NSUBJOBS="2", SEED="s")]
        )
        copy = Copy(recording, "new", "/CN=me")
        (made,) = copy.registrations
        (event,) = copy.events
        self.assertEqual(event.jobid, next(jobid.subjobs(made.jobid, 2, "s")))

    def test_foreign_parent(self) -> None:
        """A job whose parent is not recorded is registered itself, with a fresh id for the parent."""
        (made,) = self.direct(sample("job-typical"))
        parent = jobid.parse(made.text("parent") or "")
        self.assertEqual(parent.server, made.jobid.server)
        self.assertNotEqual(parent.unique, "Whjdxb1SDDMUkWiB9xJUGw")

    def test_copies_differ(self) -> None:
        """Two copies share no job."""
        recording = sample("collection-100")
        first, second = (set(Copy(recording, "new", "/CN=me").jobs) for _ in range(2))
        self.assertEqual((len(first), len(first & second)), (101, 0))

    def test_nested(self) -> None:
        """Of parents whose subjobs are parents only the uppermost is registered, whatever the registrations claim."""
        parent = JobId("a.example.org", 9000, "0123456789012345678901")
        child = next(jobid.subjobs(parent, 1))
        grandchild = next(jobid.subjobs(child, 1))
        lines = [
            registration(str(each), JOBTYPE="DAG", NSUBJOBS="1", PARENT=str(grandchild))
            for each in (grandchild, child, parent)
        ]
        copy = Copy(read("x", lines), "new", "/CN=me")
        (top,) = copy.registrations
        self.assertEqual([event.jobid for event in copy.events][1], next(jobid.subjobs(top.jobid, 1)))
        self.assertEqual(len(list(copy.events)), 2)
