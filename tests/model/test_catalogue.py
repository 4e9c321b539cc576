"""The event catalogue: what is written out in code equals the packaged table, and the table what the protocol says."""

from __future__ import annotations

from importlib import resources
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from lb.model import catalogue
from lb.model.catalogue import BY_NAME, TYPES, Kind, Priority, Source
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.seqcode import Flavour, flavour_of_flesh

RAW: dict[str, Any] = msgspec.json.decode(resources.files("lb.model").joinpath("events.json").read_bytes())

#: Bases and counts of the fleshes (model.md §5).
FLESHES = {
    "gLite": (0, 32),
    "PBS": (100, 15),
    "Condor": (200, 8),
    "CREAM": (300, 13),
    "Transfer": (400, 3),
    "VirtualMachine": (500, 8),
}

LEVELS = {
    0: "UNDEFINED",
    1: "EMERGENCY",
    2: "ALERT",
    3: "ERROR",
    4: "WARNING",
    5: "AUTH",
    6: "SECURITY",
    7: "USAGE",
    8: "SYSTEM",
    9: "IMPORTANT",
    10: "DEBUG",
}


class CatalogueTests(SynchronousTestCase):
    """Event types and enumerations."""

    def test_sources(self) -> None:
        """The sources written out are those of the table."""
        self.assertEqual({source.name: int(source) for source in Source}, RAW["sources"])
        self.assertEqual(catalogue.SOURCE_NAMES, {int(source): source.name for source in Source})

    def test_source_texts(self) -> None:
        """Source names are found without case, the Java name of the job controller among them."""
        for source in Source:
            self.assertEqual(catalogue.SOURCE_CODES[source.name.lower()], source)
        self.assertEqual(catalogue.SOURCE_CODES["jobsubmission"], Source.JobController)

    def test_levels(self) -> None:
        """Levels are numbered as the protocol says."""
        self.assertEqual(catalogue.LEVEL_NAMES, LEVELS)
        self.assertEqual(catalogue.LEVEL_SYSTEM, 8)

    def test_priority_bits(self) -> None:
        """The flags of a logging call have the bits of the protocol; two of them make the sender wait."""
        self.assertEqual([int(bit) for bit in Priority], [1, 2, 4, 8, 16, 32, 64, 128])
        self.assertEqual(catalogue.SYNCHRONOUS, 3)

    def test_all_types(self) -> None:
        """All 79 types are there, numbered by flesh without gaps."""
        self.assertEqual(len(TYPES), 79)
        for flesh, (base, count) in FLESHES.items():
            codes = [type_.code for type_ in TYPES if type_.flesh == flesh]
            self.assertEqual(codes, list(range(base + 1, base + 1 + count)), flesh)

    def test_attributes(self) -> None:
        """Every attribute has the name, key, order, codes and null of the table."""
        for type_, raw in zip(TYPES, RAW["types"], strict=True):
            self.assertEqual((type_.name, type_.code), (raw["name"], raw["code"]))
            for attribute, of_table in zip(type_.attributes, raw["attributes"], strict=True):
                with self.subTest(f"{type_.name}.{attribute.name}"):
                    self.assertEqual(attribute.name, of_table["name"])
                    self.assertEqual(attribute.key, f"DG.{type_.name}.{attribute.name}".upper())
                    self.assertEqual(attribute.mandatory, not of_table["optional"])
                    self.assertEqual(attribute.codes, of_table.get("codes", {}))
                    self.assertEqual(attribute.kind is Kind.CODED, "codes" in of_table)
                    self.assertIs(type_.by_key[attribute.key], attribute)
                    self.assertIs(type_.by_name[attribute.name], attribute)

    def test_keys_are_of_one_type(self) -> None:
        """No key belongs to two types, so a foreign key can be told."""
        self.assertEqual(len(catalogue.SPECIFIC_KEYS), sum(len(type_.attributes) for type_ in TYPES))

    def test_oddities(self) -> None:
        """What readers of the table stumble over: the order of CREAMCall, the codes and nulls of ChangeACL."""
        self.assertEqual([a.name for a in BY_NAME["CREAMCall"].attributes][:2], ["command", "callee"])
        acl = BY_NAME["ChangeACL"].by_name
        self.assertEqual((acl["permission"].null, acl["permission"].unknown), (0, -1))
        for name in ("user_id_type", "permission_type", "operation"):
            self.assertEqual((acl[name].null, acl[name].unknown), (-1, -1))

    def test_flavours(self) -> None:
        """Each flesh has the flavour of sequence codes that its producers use."""
        self.assertEqual(
            {flesh: flavour_of_flesh(flesh) for flesh in FLESHES},
            {
                "gLite": Flavour.NORMAL,
                "PBS": Flavour.PBS,
                "Condor": Flavour.CONDOR,
                "CREAM": Flavour.CREAM,
                "Transfer": Flavour.NORMAL,
                "VirtualMachine": Flavour.NORMAL,
            },
        )


class EventTests(SynchronousTestCase):
    """The event record."""

    def _event(self, **changed: Any) -> Event:
        given: dict[str, Any] = {
            "timestamp": 1,
            "host": "h",
            "source": Source.LRMS,
            "seqcode": "s",
            "user": "u",
            "attributes": {"status_code": 2, "reason": "r"},
        }
        return Event(BY_NAME["Done"], JobId("h", 1, "u"), **given | changed)

    def test_values(self) -> None:
        """Values are found by name; what was not given has its null value and the name for it."""
        event = self._event()
        self.assertEqual((event.number("status_code"), event.code_name("status_code")), (2, "FAILED"))
        self.assertEqual((event.text("reason"), event.text("status_code")), ("r", None))
        self.assertEqual(event.number("exit_code"), -1)
        self.assertEqual(event.source_name, "LRMS")
        bare = self._event(attributes=None)
        self.assertEqual((bare.text("reason"), bare.code_name("status_code")), (None, "UNDEFINED"))
        from_ = Event(BY_NAME["Accepted"], JobId("h", 1, "u"), timestamp=1, host="", source=1, seqcode="", user=None)
        self.assertEqual(from_.code_name("from"), "Undefined")
        from_.attributes["from"] = int(Source.JobController)
        self.assertEqual(from_.code_name("from"), "JobController")

    def test_equality(self) -> None:
        """Events are equal when everything of them is."""
        self.assertEqual(self._event(), self._event())
        self.assertNotEqual(self._event(), self._event(host="other"))
        self.assertNotEqual(self._event(), self._event(attributes={}))
        self.assertNotEqual(self._event(), "an event")
        self.assertIn("Done of https://h:1/u from LRMS", repr(self._event()))
        self.assertEqual(repr(BY_NAME["Done"]), "<EventType Done>")
