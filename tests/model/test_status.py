"""The status record: the class written out equals the packaged table (model.md §8)."""

from __future__ import annotations

import typing
from importlib import resources
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from lb.model import status
from lb.model.status import ATTRIBUTES, JobStatus, JobType, State

RAW: dict[str, Any] = msgspec.json.decode(resources.files("lb.model").joinpath("status.json").read_bytes())

#: What holds the values of each type of the table.
HELD = {
    "string": str | None,
    "jobid": str | None,
    "int": int,
    "bool": bool,
    "timeval": int,
    "strlist": list[str] | None,
    "taglist": list[tuple[str, str]] | None,
    "stslist": list[JobStatus] | None,
    "intlist": list[int] | None,
}
#: Attributes whose class says more than the table's type.
NARROWER = {"stateEnterTimes": list[int]}


class StatusTests(SynchronousTestCase):
    """Record and table."""

    def test_states(self) -> None:
        """States and their numbers are those of the table."""
        self.assertEqual({state.name: int(state) for state in State}, {s["name"]: s["code"] for s in RAW["states"]})
        self.assertEqual({s["name"] for s in RAW["states"] if s["terminal"]}, {s.name for s in status.TERMINAL})
        self.assertEqual(status.STATES, RAW["number_of_states"])
        self.assertEqual(status.STATE_CODES["done"], State.Done)
        self.assertEqual(status.STATE_NAMES[State.Waiting], "Waiting")

    def test_attributes(self) -> None:
        """The record has the attributes of the table in its order, short of the client's cache of a parsed JDL."""
        table = [raw["name"] for raw in RAW["attributes"] if raw["type"] != "cclassad"]
        self.assertEqual([a.name for a in ATTRIBUTES], table)
        self.assertEqual(list(JobStatus.__struct_fields__), ["state", *table])

    def test_types(self) -> None:
        """Each attribute is held in what its type calls for."""
        hints = typing.get_type_hints(JobStatus)
        for attribute in ATTRIBUTES:
            with self.subTest(attribute.name):
                self.assertEqual(hints[attribute.name], NARROWER.get(attribute.name, HELD[attribute.type]))

    def test_nulls(self) -> None:
        """A fresh record holds the null value of every attribute."""
        fresh = JobStatus()
        for raw in RAW["attributes"]:
            if raw["type"] == "cclassad":
                continue
            with self.subTest(raw["name"]):
                value = getattr(fresh, raw["name"])
                if raw["name"] == "stateEnterTimes":
                    self.assertEqual(value, [0] * 12)
                elif raw["null"] is None:
                    self.assertEqual(value, 0 if raw["type"] == "timeval" else None)
                else:
                    self.assertEqual(value, raw["null"])

    def test_job_types(self) -> None:
        """Job types are numbered as in the table."""
        codes = status.BY_NAME["jobtype"].codes
        for job_type in JobType:
            if job_type is not JobType.UNREGISTERED:
                self.assertEqual(codes[job_type.name], job_type)

    def test_display(self) -> None:
        """Display texts are those that text and XML queries use; other numbers have none."""
        for name, value, text in (
            ("jobtype", 0, "Simple"),
            ("jobtype", 2, "_partitionable_unused"),
            ("jobtype", 8, "File_transfer_collection"),
            ("jobtype", -1, ""),
            ("jobtype", 99, ""),
            ("done_code", 1, "Failed"),
            ("jw_status", 2, "Payload_running"),
            ("cream_state", 4, "Cream_really_running"),
        ):
            self.assertEqual(status.display(name, value), text)
