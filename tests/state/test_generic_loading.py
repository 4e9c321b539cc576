"""Descriptions of job families: what is read, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.status import State
from lb.state.generic.description import Type, read, show
from lb.state.generic.loading import MAX_FILE, DescriptionError, load, load_directory, parse, shipped
from tests.state.generic_jobs import OVEN


class Reading(SynchronousTestCase):
    """Valid descriptions."""

    def test_parts(self) -> None:
        """A description becomes states, attributes, events and transitions as they were written."""
        family = parse(OVEN, "oven.toml")
        self.assertEqual((family.name, family.title, family.initial), ("oven", "Baking", "COLD"))
        self.assertEqual(family.states["COAL"].standard, State.Done)
        self.assertEqual(family.transitions[6].sources, {"COLD", "HOT", "BAKING", "PAUSED", "COAL"})
        self.assertEqual(family.transitions[7].sources, set(family.states))
        self.assertEqual(family.events["bake"].rows, (1, 3))
        self.assertEqual(family.transitions[0].when, (("degrees", frozenset({180, 200})),))

    def test_digest(self) -> None:
        """Another text is another description."""
        self.assertNotEqual(parse(OVEN, "a").digest, parse(OVEN + "#", "a").digest)

    def test_shipped(self) -> None:
        """The families that come with lb are valid."""
        self.assertEqual(set(shipped()), {"htcondor", "slurm"})

    def test_directory(self) -> None:
        """A directory adds to the shipped families, may redescribe one, and holds other files as well."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "oven.toml").write_text(OVEN)
        (directory / "mine.toml").write_text(OVEN.replace('"oven"', '"slurm"'))
        (directory / "README").write_text("no description")
        families = load_directory(directory)
        self.assertEqual(set(families), {"htcondor", "oven", "slurm"})
        self.assertEqual(families["slurm"].title, "Baking")

    def test_values(self) -> None:
        """Values are read by their type, from JSON's own types and from texts, and shown one way."""
        for type_, given_, shown in (
            (Type.TEXT, "a", "a"),
            (Type.TEXT, 12, "12"),
            (Type.TEXT, True, "true"),
            (Type.INT, 12, "12"),
            (Type.INT, "-12", "-12"),
            (Type.INT, 1.5, None),
            (Type.INT, True, None),
            (Type.INT, 2**63, None),
            (Type.INT, "9" * 5000, None),
            (Type.FLOAT, 1, "1.0"),
            (Type.FLOAT, "1e3", "1000.0"),
            (Type.FLOAT, "nan", None),
            (Type.FLOAT, 10**400, None),
            (Type.BOOL, True, "true"),
            (Type.BOOL, "FALSE", "false"),
            (Type.BOOL, 1, None),
            (Type.TIME, 1.5, "1970-01-01T00:00:01.500000Z"),
            (Type.TIME, "2024-05-01T12:00:00", "2024-05-01T12:00:00Z"),
            (Type.TIME, "2024-05-01 12:00:00+02:00", "2024-05-01T10:00:00Z"),
            (Type.TIME, "today", None),
            (Type.TIME, 1e300, "1" + "0" * 306),
            (Type.TEXT, None, None),
        ):
            value = read(type_, given_)
            text = None if value is None else show(type_, value)
            if given_ == 1e300:
                assert text is not None and text.isdigit()
            else:
                self.assertEqual(text, shown, (type_, given_))


class Refusing(SynchronousTestCase):
    """Everything wrong is said, with the file and the place."""

    def _problems(self, text: str) -> tuple[str, ...]:
        error = self.assertRaises(DescriptionError, parse, text, "site.toml")
        self.assertTrue(all(line.startswith("site.toml: ") for line in str(error).split("\n")))
        return error.problems

    def _changed(self, old: str, new: str) -> str:
        self.assertIn(old, OVEN)
        return "\n".join(self._problems(OVEN.replace(old, new, 1)))

    def test_each(self) -> None:
        """One mistake, one message, which names its place and what would be right."""
        for old, new, place, words in (
            ("format = 1", "format = 2", "format: ", "format 1"),
            ('name = "oven"', 'name = "My Oven"', "name: ", "lower-case"),
            ('initial = "COLD"', 'initial = "COOL"', "initial: ", "did you mean 'COLD'?"),
            ('initial = "COLD"', 'initial = "COAL"', "initial: ", "terminal"),
            ('to = "BREAD"', 'to = "BRAED"', "transitions[4].to: ", "did you mean 'BREAD'?"),
            ('from = "HOT"', 'from = ["HOT", "HOTT"]', "transitions[1].from: ", "did you mean 'HOT'?"),
            ('from = "HOT"', "from = []", "transitions[1].from: ", "empty"),
            ('event = "pause"', 'event = "brake"', "transitions[2].event: ", "no event 'brake'"),
            ("when = { well", "when = { degrees", "transitions[4].when.degrees: ", "event done"),
            ("well = true", 'well = "perhaps"', "transitions[4].when.well: ", "no bool"),
            ('standard = "Scheduled"', 'standard = "Warm"', "states.HOT.standard: ", "Submitted, Waiting"),
            ('standard = "Scheduled"', 'standard = "Purged"', "states.HOT.standard: ", "standard state"),
            ('standard = "Scheduled"', 'standard = "Aborted"', "states.HOT.standard: ", "not terminal"),
            ('standard = "Cancelled"', 'standard = "Waiting"', "states.GONE.standard: ", "terminal states are"),
            ('done = "OK"\n', "", "states.BREAD.done: ", "needs it"),
            ('standard = "Cancelled"', 'standard = "Cancelled"\ndone = "OK"', "states.GONE.done: ", "Done"),
            ('standard = "Scheduled"', 'standard = "Scheduled"\nsuspended = true', "states.HOT.suspended: ", "Running"),
            ("[states.COAL]", '[states.hot]\nstandard = "Ready"\n[states.COAL]', "states.hot: ", "case only"),
            ("[states.COAL]", '[states."a b"]\nstandard = "Ready"\n[states.COAL]', "states.a b: ", "letters"),
            ("[states.COAL]", '[states.ICE]\nstandard = "Ready"\n[states.COAL]', "states.ICE: ", "cannot be reached"),
            ('status = "reason"', 'status = "owner"', "attributes.why.status: ", "no attribute of the status"),
            ('status = "reason"', 'status = "destination"', "attributes.why.status: ", "baker already"),
            ('status = "reason"', 'status = "exit_code"', "attributes.why.status: ", "int"),
            ('type = "float"', 'type = "floot"', "attributes.weight.type: ", "floot"),
            ('rule = "first"', 'rule = "best"', "attributes.baker.rule: ", "best"),
            ("[attributes.weight]\ntype", "[attributes.state]\ntype", "attributes.state: ", "exact state"),
            ("[attributes.weight]", "[attributes.Weight]", "attributes.Weight: ", "lower-case"),
            ('"why", "weight"]', '"why"]', "attributes.weight: ", "no event carries it"),
            ('"why", "weight"]', '"why", "wight"]', "events.done.attributes[2]: ", "did you mean 'weight'?"),
            ('"why", "weight"]', '"why", "weight", "why"]', "events.done.attributes[3]: ", "duplicate"),
            ("[events.look]", "[events.Look]", "events.Look: ", "lower-case"),
            ('title = "Baking"', "title = 3", "title: ", "Expected `str`"),
            ('title = "Baking"', 'order = "luck"', "order: ", "luck"),
            ('title = "Baking"', 'colour = "red"', "the file: ", "colour"),
            ("[states.COLD]", "[states.COLD]\nx = 1", "states.COLD: ", "unknown field"),
            ("[states.HOT]", "[states.COLD]", "", "line"),
            ("[states.COLD]", "[states.COLD", "", "line"),
        ):
            message = self._changed(old, new)
            self.assertIn(place, message)
            self.assertIn(words, message)

    def test_many(self) -> None:
        """All mistakes are told at once."""
        text = OVEN.replace('to = "BREAD"', 'to = "B"').replace('rule = "set"\nstatus = "reason"', 'status = "x"')
        self.assertEqual(len(self._problems(text)), 2)

    def test_forms(self) -> None:
        """A table that is none, a table that is missing and nesting without end are told as well."""
        self.assertIn("states: ", self._problems(OVEN.split("[states.")[0] + "states = 1\n[events.a]")[0])
        self.assertIn("events", self._problems(OVEN.split("[events.")[0])[0])
        self.assertTrue(self._problems("x = " + "[" * 100_000))

    def test_dead_ends(self) -> None:
        """A state that no way leads out of must be terminal, and a row that is never taken must not stand there."""
        text = OVEN.replace(
            '{ event = "thrown", from = "**", to = "GONE" },', '{ event = "thrown", from = "COLD", to = "GONE" },'
        )
        text = text.replace('{ event = "done", to = "COAL" },', '{ event = "done", from = "COLD", to = "COAL" },')
        text = text.replace("well = true }, to", 'well = true }, from = "COLD", to')
        self.assertEqual(self._problems(text.replace('"*", "COAL"', '"HOT", "COAL"'))[0][:12], "states.HOT: ")
        row = '{ event = "done", to = "COAL" },'
        later = '{ event = "done", when = { well = false }, from = "HOT", to = "COLD" },'
        (problem,) = self._problems(OVEN.replace(row, f"{row}\n{later}"))
        self.assertIn("transitions[6]: never taken", problem)

    def test_files(self) -> None:
        """Files that are missing, too long, no text, or that describe a family twice are named."""
        directory = Path(self.mktemp())
        self.assertIn("No such file", str(self.assertRaises(DescriptionError, load_directory, directory)))
        directory.mkdir()
        path = directory / "a.toml"
        self.assertIn(f"{path}: No such", str(self.assertRaises(DescriptionError, load, path)))
        path.write_bytes(b"#" * (MAX_FILE + 1))
        self.assertIn("more than", str(self.assertRaises(DescriptionError, load, path)))
        path.write_bytes(b'name = "\xff"')
        self.assertIn("byte 8", str(self.assertRaises(DescriptionError, load, path)))
        path.write_text(OVEN)
        (directory / "b.toml").write_text(OVEN)
        self.assertIn("described in", str(self.assertRaises(DescriptionError, load_directory, directory)))

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """Any damage to a description is read or refused, never anything else."""
        lines = OVEN.split("\n")
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(lines) - 1))
            lines[place] = data.draw(
                st.sampled_from(
                    [lines[place][: len(lines[place]) // 2], "", data.draw(st.sampled_from(lines)), "x = 1", "[[a]]"]
                )
            )
        try:
            family = parse("\n".join(lines), "damaged.toml")
        except DescriptionError as error:
            self.assertTrue(error.problems)
        else:
            self.assertIn(family.initial, family.states)
