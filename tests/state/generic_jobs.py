"""Jobs of described families for tests: a small description, its events, and descriptions as they might be."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from lb.model.event import Event
from lb.model.status import JobStatus
from lb.state.generic.description import Family
from lb.state.generic.loading import parse
from lb.state.job import Hidden, Job
from tests.state.make import make, registered

#: A family with a row for each thing that a table can say.
OVEN = """
format = 1
name = "oven"
title = "Baking"
initial = "COLD"
transitions = [
    { event = "heat", when = { degrees = [180, 200] }, from = "COLD", to = "HOT" },
    { event = "bake", from = "HOT", to = "BAKING" },
    { event = "pause", from = "BAKING", to = "PAUSED" },
    { event = "bake", from = "PAUSED", to = "BAKING" },
    { event = "done", when = { well = true }, to = "BREAD" },
    { event = "done", to = "COAL" },
    { event = "again", from = ["*", "COAL"], to = "HOT" },
    { event = "thrown", from = "**", to = "GONE" },
]
[states.COLD]
standard = "Submitted"
[states.HOT]
standard = "Scheduled"
[states.BAKING]
standard = "Running"
[states.PAUSED]
standard = "Running"
suspended = true
[states.BREAD]
standard = "Done"
done = "OK"
terminal = true
[states.COAL]
standard = "done"
done = "FAILED"
terminal = true
[states.GONE]
standard = "Cancelled"
terminal = true
[attributes.degrees]
type = "int"
status = "exit_code"
[attributes.well]
type = "bool"
[attributes.baker]
rule = "first"
status = "destination"
[attributes.why]
rule = "set"
status = "reason"
[attributes.looked]
rule = "append"
type = "time"
[attributes.weight]
type = "float"
[events.heat]
attributes = ["degrees", "baker"]
[events.bake]
[events.pause]
attributes = ["why"]
[events.done]
attributes = ["well", "why", "weight"]
[events.again]
attributes = ["why"]
[events.look]
attributes = ["looked", "baker"]
[events.thrown]
"""


def oven(**changes: str) -> Family:
    """The family of `OVEN`, with texts replaced."""
    text = OVEN
    for old, new in changes.items():
        text = text.replace(old, new)
    return parse(text, "oven.toml")


def family_job(name: str = "oven", at: int = 0, **given: Any) -> Event:
    """The registration of a job of a family."""
    return registered("SIMPLE", "U0", "LRMS", at, ns=f"family:{name}", **given)


def tag(name: str, at: int, number: int = 1, /, value: str | None = None, **given: Any) -> Event:
    """A user tag of the LRMS, `at` seconds: an event of a family with its attributes, or any `value`."""
    return make("UserTag", "LRMS", f"R{number}", at, name=name, value=json.dumps(given) if value is None else value)


def tags(job: Job) -> dict[str, str]:
    """The tags that a status shows."""
    return dict(job.status.user_tags or ())


def contents(job: Job) -> tuple[JobStatus, Hidden]:
    """All that is kept of a job, to be compared; the order of its dictionaries says nothing."""
    return job.status, job.hidden


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
_names = ["heat", "bake", "pause", "done", "again", "look", "thrown", "state", "", "nothing"]


@st.composite
def oven_events(draw: st.DrawFn) -> Event:
    """An event of an oven job: most of its family, with values that fit or do not; some the users' own tags."""
    name = draw(st.sampled_from([f"oven.{each}" for each in _names] + ["Colour", "note"]))
    given = draw(
        st.one_of(
            st.fixed_dictionaries(
                {},
                optional={
                    "degrees": st.sampled_from([180, 200, "180", 20]),
                    "well": st.booleans(),
                    "why": st.text(max_size=3),
                    "baker": st.sampled_from(["a", "b"]),
                    "looked": st.integers(0, 5),
                },
            ),
            st.dictionaries(st.sampled_from(["degrees", "well", "why", "looked", "x"]), _values, max_size=4),
        )
    )
    value = draw(
        st.one_of(st.just(json.dumps(given)), st.just(json.dumps(given)), st.sampled_from(["{", "\udcff", "[]"]))
    )
    return tag(name, draw(st.integers(0, 9)), draw(st.integers(0, 3)), value=value)


@st.composite
def families(draw: st.DrawFn) -> Family:
    """A valid description: a way through all states to the last one, and any other transitions."""
    count = draw(st.integers(1, 5))
    states = [f"S{number}" for number in range(count)]
    rows = [
        f'{{ event = "next", from = "{state}", to = "{to}" }},'
        for state, to in zip(states, [*states[1:], "END"], strict=True)
    ]
    others = draw(
        st.lists(st.tuples(st.sampled_from(["*", "**", "END", *states]), st.sampled_from([*states, "END"])), max_size=6)
    )
    rows += [
        f'{{ event = "jump{number}", from = "{source}", to = "{to}" }},' for number, (source, to) in enumerate(others)
    ]
    standards = ["Submitted", "Waiting", "Ready", "Scheduled", "Running"]
    text = f'format = 1\nname = "any"\ninitial = "S0"\norder = "{draw(st.sampled_from(["time", "code"]))}"\n'
    text += "transitions = [\n" + "\n".join(rows) + "\n]\n"
    for state in states:
        text += f'[states.{state}]\nstandard = "{draw(st.sampled_from(standards))}"\n'
    text += '[states.END]\nstandard = "Done"\ndone = "OK"\nterminal = true\n[attributes.a]\n'
    text += f'type = "{draw(st.sampled_from(["text", "int", "float", "bool", "time"]))}"\n'
    text += f'rule = "{draw(st.sampled_from(["set", "last", "first", "append"]))}"\n[events.next]\nattributes = ["a"]\n'
    text += "".join(f'[events.jump{number}]\nattributes = ["a"]\n' for number in range(len(others)))
    return parse(text, "any.toml")


@st.composite
def any_events(draw: st.DrawFn, family: Family) -> Event:
    """An event of the family `any` with any value of its attribute."""
    name = draw(st.sampled_from([*family.events, "unknown"]))
    return tag(f"any.{name}", draw(st.integers(0, 5)), draw(st.integers(0, 2)), a=draw(_values))
