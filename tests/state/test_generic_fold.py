"""The fold of described families, one rule at a time."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lb.model.event import Event
from lb.model.status import JobType, State
from lb.state.fold import blank, recompute, step
from lb.state.generic.memory import MAX_APPENDED, MAX_STEPS
from lb.state.job import Job, decode, encode
from lb.state.turn import Outcome
from tests.state.generic_jobs import contents, family_job, oven, tag, tags
from tests.state.make import JOB, OWNER, make, registered

FAMILIES = {"oven": oven()}


def played(*events: Event) -> Job:
    """An oven job after these events."""
    job = blank(JOB, OWNER)
    for event in events:
        step(job, event, FAMILIES)
    return job


BAKED = (
    family_job(at=1),
    tag("oven.heat", 2, degrees=180, baker="Ann"),
    tag("oven.bake", 3),
    tag("oven.pause", 4, why="salt"),
    tag("oven.bake", 5),
    tag("oven.done", 6, well=True, weight=0.5),
)


class Registration(SynchronousTestCase):
    """Which jobs are of a family."""

    def test_initial(self) -> None:
        """A registration that names a family makes a SIMPLE job in the family's initial state."""
        job = played(family_job(at=7, jdl="[X]", parent="https://lb.ex:9000/parent"))
        status = job.view()
        self.assertEqual((status.state, status.jobtype, status.jdl), (State.Submitted, JobType.SIMPLE, "[X]"))
        self.assertEqual((status.network_server, status.location), ("family:oven", "this is oven"))
        self.assertEqual((status.parent_job, status.owner), ("https://lb.ex:9000/parent", OWNER))
        self.assertEqual(status.stateEnterTime, 7_000_000)
        self.assertEqual(status.stateEnterTimes[State.Submitted], 7)
        self.assertEqual(tags(job), {"oven.state": "COLD"})

    def test_place_and_case(self) -> None:
        """The family may be written in any case, and be followed by a place."""
        job = played(registered("SIMPLE", "U1", ns="family:OVEN@kitchen.ex"))
        self.assertEqual(tags(job), {"oven.state": "COLD"})

    def test_others(self) -> None:
        """Unknown families, other types and other network servers make ordinary jobs, whose tags are tags."""
        for ns, jobtype in (("family:kiln", "SIMPLE"), ("oven", "SIMPLE"), ("family:oven", "PBS")):
            job = played(registered(jobtype, "U1", ns=ns), tag("oven.heat", 2, degrees=180))
            self.assertIsNone(job.hidden.generic)
            self.assertIn("oven.heat", tags(job))

    def test_again(self) -> None:
        """A second registration changes no state, only the job's description."""
        job = played(*BAKED, family_job(at=9, jdl="[Y]"))
        self.assertEqual((job.status.state, job.view().jdl), (State.Done, "[Y]"))

    def test_subjob(self) -> None:
        """A subjob that its parent made becomes one of a family by its own registration and keeps its parent."""
        from lb.state.fold import embryo, subjobs_of

        parent = registered("COLLECTION", "U1", nsubjobs=1)
        (subjob,) = subjobs_of(parent)
        job = embryo(parent, subjob, OWNER)
        step(job, family_job(), FAMILIES)
        self.assertEqual(tags(job), {"oven.state": "COLD"})
        self.assertEqual(job.status.parent_job, str(JOB))

    def test_description_gone(self) -> None:
        """A job whose description is missing stands still; its events count, to be folded when it is back."""
        job = played(*BAKED[:2])
        before = encode(job)
        self.assertEqual(step(job, BAKED[2], {}), Outcome.SUSPECT)
        self.assertEqual(job.hidden.number, 2)
        job.hidden.number = 1
        self.assertEqual(encode(job), before)


class States(SynchronousTestCase):
    """The table."""

    def test_way(self) -> None:
        """Each event moves the job along the table; the standard states, codes and times follow."""
        seen = []
        job = blank(JOB, OWNER)
        for event in BAKED:
            self.assertEqual(step(job, event, FAMILIES), Outcome.OK)
            seen.append((tags(job)["oven.state"], job.status.state, job.status.suspended, job.status.done_code))
        self.assertEqual(
            seen,
            [
                ("COLD", State.Submitted, False, -1),
                ("HOT", State.Scheduled, False, -1),
                ("BAKING", State.Running, False, -1),
                ("PAUSED", State.Running, True, -1),
                ("BAKING", State.Running, False, -1),
                ("BREAD", State.Done, False, 0),
            ],
        )
        self.assertEqual(job.status.stateEnterTimes[State.Running], 3)
        self.assertEqual(job.status.stateEnterTime, 6_000_000)
        self.assertEqual(job.status.lastUpdateTime, 6_000_000)

    def test_conditions(self) -> None:
        """A row counts only when the attributes have one of its values, as their type reads them."""
        for degrees, state in ((180, "HOT"), ("200", "HOT"), (190, "COLD"), (None, "COLD")):
            self.assertEqual(tags(played(family_job(), tag("oven.heat", 1, degrees=degrees)))["oven.state"], state)

    def test_from(self) -> None:
        """A row counts only in its states: ``*`` leaves terminal ones alone, ``**`` does not."""
        self.assertEqual(tags(played(*BAKED, tag("oven.done", 7)))["oven.state"], "BREAD")
        self.assertEqual(tags(played(*BAKED, tag("oven.again", 7)))["oven.state"], "BREAD")
        burnt = (*BAKED[:-1], tag("oven.done", 6, well=False))
        self.assertEqual(tags(played(*burnt))["oven.state"], "COAL")
        self.assertEqual(tags(played(*burnt, tag("oven.again", 7)))["oven.state"], "HOT")
        self.assertEqual(tags(played(*BAKED, tag("oven.thrown", 7)))["oven.state"], "GONE")

    def test_exact_state_as_reason(self) -> None:
        """Clients without tags read the exact state as the reason, unless the events gave a better one."""
        self.assertEqual(played(*BAKED[:3]).status.reason, "BAKING")
        self.assertEqual(played(*BAKED[:4]).status.reason, "salt")

    def test_late(self) -> None:
        """Events that come late are put in their place, in any order."""
        expected = contents(played(*BAKED))
        for seed in range(20):
            events = list(BAKED[1:])
            Random(seed).shuffle(events)
            self.assertEqual(contents(played(BAKED[0], *events)), expected)

    def test_same_time(self) -> None:
        """Events of one time are ordered by their codes."""
        start, pause = tag("oven.bake", 3, 1), tag("oven.pause", 3, 2)
        for pair in ((start, pause), (pause, start)):
            self.assertEqual(tags(played(*BAKED[:2], *pair))["oven.state"], "PAUSED")

    def test_by_code(self) -> None:
        """A family may be ordered by codes, whatever the clocks say."""
        families = {"oven": oven(**{'title = "Baking"': 'order = "code"'})}
        job = blank(JOB, OWNER)
        for event in (family_job(), tag("oven.bake", 1, 2), tag("oven.heat", 9, 1, degrees=180)):
            step(job, event, families)
        self.assertEqual(tags(job)["oven.state"], "BAKING")
        self.assertEqual(job.status.stateEnterTimes[State.Running], 1)

    def test_too_late(self) -> None:
        """What is older than all remembered steps moves nothing more, gives its values, and is reported."""
        steps = [tag(("oven.bake", "oven.pause")[number % 2], 10 + number) for number in range(MAX_STEPS + 1)]
        job = played(*BAKED[:2], *steps)
        assert job.hidden.generic is not None
        self.assertEqual(len(job.hidden.generic.steps), MAX_STEPS)
        before = tags(job)["oven.state"]
        self.assertEqual(step(job, tag("oven.again", 2, 3, why="old"), FAMILIES), Outcome.LATE)
        self.assertEqual(tags(job)["oven.state"], before)
        # The last one that is settled comes again.
        self.assertEqual(step(job, steps[0], FAMILIES), Outcome.LATE)
        self.assertEqual(tags(job)["oven.state"], before)
        # Within the memory events are still taken in, from where the settled ones have led.
        self.assertEqual(step(job, tag("oven.pause", 12, 0), FAMILIES), Outcome.OK)
        self.assertEqual(tags(job)["oven.state"], before)
        self.assertEqual(step(job, tag("oven.thrown", 12, 3), FAMILIES), Outcome.OK)
        self.assertEqual(tags(job)["oven.state"], "GONE")

    def test_flat(self) -> None:
        """What is kept of a job does not grow with its history."""
        events = [tag(("oven.bake", "oven.pause", "oven.look")[n % 3], n, looked=n, why=f"{n:06}") for n in range(1000)]
        half, whole = encode(played(BAKED[0], *events[:500])), encode(played(BAKED[0], *events))
        self.assertLess(abs(len(half) - len(whole)), 200)

    def test_other_events(self) -> None:
        """Events of the other families say nothing here but that the job lives."""
        job = played(*BAKED[:3], make("Done", "LM", "L5", 50, status_code="FAILED"), make("Abort", "LM", "L6", 51))
        self.assertEqual((tags(job)["oven.state"], job.status.state), ("BAKING", State.Running))
        self.assertEqual(job.status.lastUpdateTime, 51_000_000)


class Attributes(SynchronousTestCase):
    """The rules of attributes."""

    def test_rules(self) -> None:
        """Of the values that came, `last`, `first`, `set` and `append` show what their names say, in any order."""
        events = (
            tag("oven.look", 1, baker="Ann", looked=1),
            tag("oven.heat", 2, degrees=20, baker="Bob"),
            tag("oven.heat", 3, degrees=30),
            tag("oven.heat", 4),
            tag("oven.pause", 5, why="salt"),
            tag("oven.look", 6, looked="1970-01-01T00:00:09+00:00"),
            tag("oven.pause", 7),
        )
        for order in (events, events[::-1]):
            job = played(family_job(), *order)
            self.assertEqual(
                tags(job),
                {
                    "oven.state": "COLD",
                    "oven.degrees": "30",
                    "oven.baker": "Ann",
                    "oven.looked": "1970-01-01T00:00:01Z\n1970-01-01T00:00:09Z",
                },
            )
            self.assertEqual((job.status.exit_code, job.status.destination), (30, "Ann"))
            self.assertEqual(job.status.reason, "COLD")

    def test_duplicates(self) -> None:
        """P3: any event a second time changes nothing, appended values among them."""
        events = (
            family_job(),
            tag("oven.look", 1, looked=1),
            tag("oven.heat", 2, degrees=180),
            tag("note", 3, value="x"),
        )
        job = played(*events)
        before = encode(job)
        for event in events:
            step(job, event, FAMILIES)
        job.hidden.number -= len(events)
        self.assertEqual(encode(job), before)

    def test_many_appended(self) -> None:
        """Of many appended values the last ones stay."""
        events = [tag("oven.look", n, looked=n) for n in range(MAX_APPENDED + 5)]
        Random(1).shuffle(events)
        shown = tags(played(family_job(), *events))["oven.looked"].split("\n")
        self.assertEqual(len(shown), MAX_APPENDED)
        self.assertEqual(shown[0], "1970-01-01T00:00:05Z")

    def test_long_text(self) -> None:
        """P10: a long value is shown cut; the event keeps it."""
        self.assertEqual(len(tags(played(family_job(), tag("oven.pause", 1, why="y" * 9999)))["oven.why"]), 4096)

    def test_numbers_for_the_status(self) -> None:
        """A number that the status cannot carry is shown as a tag only."""
        job = played(family_job(), tag("oven.heat", 1, degrees=2**40))
        self.assertEqual((job.status.exit_code, tags(job)["oven.degrees"]), (0, str(2**40)))

    def test_suspect(self) -> None:
        """Unknown events and attributes and unreadable values are reported; what can be read is taken."""
        job = played(family_job())
        before = encode(job)
        for event in (tag("oven.fry", 1), tag("oven.state", 1), tag("oven.heat", 1, value="{"), tag("oven.", 1)):
            self.assertEqual(step(job, event, FAMILIES), Outcome.SUSPECT)
            job.hidden.number -= 1
            self.assertEqual(encode(job), before)
        self.assertEqual(step(job, tag("oven.heat", 2, degrees="hot", baker="Ann"), FAMILIES), Outcome.SUSPECT)
        self.assertEqual(tags(job)["oven.baker"], "Ann")
        self.assertEqual(step(job, tag("oven.heat", 3, degrees=180, pan=1), FAMILIES), Outcome.SUSPECT)
        self.assertEqual(tags(job)["oven.state"], "HOT")
        self.assertEqual(step(job, tag("oven.heat", 4, degrees=None), FAMILIES), Outcome.OK)

    def test_no_value(self) -> None:
        """A tag without a value is an event without attributes."""
        job = played(*BAKED[:2])
        self.assertEqual(step(job, make("UserTag", "LRMS", "R9", 9, name="oven.bake"), FAMILIES), Outcome.OK)
        self.assertEqual(tags(job)["oven.state"], "BAKING")

    def test_own_tags(self) -> None:
        """Users' own tags stand beside those of the family; the newest value counts."""
        job = played(
            family_job(), tag("Colour", 2, value="red"), tag("colour", 1, value="blue"), tag("a", 1, value="é")
        )
        self.assertEqual(tags(job), {"oven.state": "COLD", "a": "é", "colour": "red"})

    def test_case(self) -> None:
        """Names of events and attributes are the same in any case, as names of tags are."""
        self.assertEqual(tags(played(family_job(), tag("OVEN.Heat", 1, Degrees=180)))["oven.state"], "HOT")


class Changes(SynchronousTestCase):
    """Recomputation, and descriptions that change."""

    def test_recomputation(self) -> None:
        """All events folded anew give the same as one by one, wherever the registration came."""
        for events in (BAKED, BAKED[::-1][-1:] + BAKED[:0:-1]):
            one_by_one = played(*events)
            anew = recompute(events, jobid=JOB, owner=OWNER, families=FAMILIES)
            self.assertEqual(encode(anew), encode(one_by_one))
        late = recompute(BAKED[::-1], jobid=JOB, owner=OWNER, families=FAMILIES)
        self.assertEqual(tags(late)["oven.state"], "BREAD")

    def test_stored(self) -> None:
        """P9: the stored form comes back as it was, bytes that are no UTF-8 included."""
        job = played(*BAKED, tag("raw", 9, value="\udcff"))
        again = decode(encode(job), job.texts)
        self.assertEqual(encode(again), encode(job))
        self.assertEqual(again.hidden.generic, job.hidden.generic)

    def test_copy(self) -> None:
        """A copied job shares nothing that the fold changes."""
        job = played(*BAKED[:3])
        before = encode(job)
        copied = job.copy()
        for event in (*BAKED[3:], tag("oven.look", 1, looked=5), tag("note", 1, value="x")):
            step(copied, event, FAMILIES)
        self.assertEqual(encode(job), before)

    def test_changed_description(self) -> None:
        """Under a changed description a job goes on from where it is; a state that is gone is the initial one."""
        job = played(*BAKED[:3])
        changed = {"oven": oven(BAKING="GLOWING")}
        step(job, tag("oven.look", 9, looked=9), changed)
        self.assertEqual(tags(job)["oven.state"], "COLD")
        job = played(*BAKED[:3])
        changed = {"oven": oven(Baking="Toasting", weight="mass")}
        step(job, tag("oven.pause", 9), changed)
        self.assertEqual(tags(job)["oven.state"], "PAUSED")
