"""Sequence codes: formats, upkeep and every worked comparison of model.md §7."""

from __future__ import annotations

import errno
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model import seqcode
from lb.model.catalogue import BY_NAME, Source
from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.seqcode import Flavour, Sequence, compare, compare_condor, compare_pbs

BIG_HELPER_START = (
    "UI=000002:NS=0000000000:WM=000000:BH=0000000001:JSS=000000:LM=000000:LRMS=000000:APP=000000:LBS=000000"
)


def normal(text: str) -> str:
    """The code of ``UI.NS.WM.BH.JSS.LM.LRMS.APP.LBS``."""
    return seqcode.format_normal(map(int, text.split(".")))


def pbs(text: str) -> str:
    """The code of ``CLIENT.SERVER.SCHED.SMOM.MOM``."""
    return seqcode.format_pbs(map(int, text.split(".")))


def condor(second: int, position: int, event: int, source: str) -> str:
    """A code of a Condor log."""
    return f"TIMESTAMP=200801010000{second:02d}:POS={position:010d}:EV.CODE={event:03d}:SRC={source}"


ANY = normal("1.2.3.4.5.6.7.8.9")
#: Number of digits that cannot be read.
LONG = "9" * 5000

COMPARED = (
    (normal("1.0.0.0.0.0.0.0.0"), normal("2.0.0.0.0.0.0.0.0"), -1),
    (normal("2.1.0.0.0.0.0.0.0"), normal("1.9.0.0.0.0.0.0.0"), 1),
    (normal("0.0.1.0.0.0.3.0.0"), normal("0.0.2.0.0.0.0.0.0"), -1),
    (normal("0.0.1.0.0.0.0.0.5"), normal("0.0.1.0.0.0.0.0.0"), 1),
    (normal("0.0.1.0.0.0.0.0.0").removesuffix(":LBS=000000"), normal("0.0.1.0.0.0.0.0.0"), 0),
    ("UI=1:NS=2:WM=3:BH=0:JSS=0:LM=0:LRMS=0:APP=0:LBS=0", normal("1.2.3.0.0.0.0.0.0"), 0),
    (normal("1.2.3.0.0.0.0.0.0") + " and more", normal("1.2.3.0.0.0.0.0.0"), 0),
    (normal("0.1700000000.0.0.0.0.0.0.0"), normal("0.1800000000.0.0.0.0.0.0.0"), -1),
    (normal("0.0.1700000000.0.0.0.0.1.0"), normal("0.0.1700000000.0.0.0.0.2.0"), -1),
    (normal("0.0.1700000000.0.0.0.0.0.1"), normal("0.0.1700000000.0.0.0.0.0.2"), -1),
    (normal("0.0.1700000000.0.0.1700000000.0.0.0"), normal("0.0.1700000000.0.0.1700000000.0.0.0"), 0),
    (normal("0.0.0.0.0.0.0.0.0").replace("UI=000000", "UI=-00001"), normal("5.0.0.0.0.0.0.0.0"), 1),
    ("garbage", ANY, -1),
    (ANY, "garbage", 1),
    ("garbage", "garbage", 0),
    ("garbage", "no_seqcodes_with_cream", 0),
    ("", "", 0),
    ("", ANY, -1),
    (pbs("1.0.0.0.0"), pbs("2.0.0.0.0"), -1),
    (pbs("1.5.0.0.0"), pbs("1.4.0.0.0"), 1),
    (pbs("0.1.0.0.1"), pbs("0.1.0.1.0"), -1),
    (pbs("3.1.0.0.1"), pbs("3.1.0.0.1"), 0),
    (pbs("1.5.0.0.0"), ANY, -1),
    (ANY, pbs("1.0.0.0.0"), 1),
    (ANY.lower(), ANY, -1),
    (ANY.replace("UI=000001", "UI=" + LONG), ANY, -1),
    (ANY.replace("UI=000001", "UI=\u0661"), ANY, -1),
    (ANY.replace("LBS=000009", "LBS=9999999999999999999"), ANY, -1),
    (ANY.replace("LBS=000009", "LBS=999999999999999999"), ANY, 1),
)

CONDOR = (
    (condor(0, 1, 201, "m"), condor(1, 1, 201, "m"), -1),
    (condor(1, 1, 201, "m"), condor(0, 9, 201, "m"), 1),
    (condor(0, 1, 201, "m"), condor(0, 2, 201, "m"), -1),
    (condor(0, 2, 201, "m"), condor(0, 1, 201, "m"), 1),
    (condor(0, 1, 201, "m"), condor(0, 1, 201, "s"), 1),
    (condor(0, 1, 201, "s"), condor(0, 1, 201, "m"), -1),
    (condor(0, 1, 201, "s"), condor(0, 9, 201, "L"), 1),
    (condor(0, 1, 201, "L"), condor(0, 9, 201, "j"), 0),
    (condor(5, 1, 17, "m"), condor(0, 1, 201, "s"), -1),
    (condor(0, 1, 201, "s"), condor(5, 1, 17, "m"), 1),
    (condor(0, 1, 201, "s"), condor(0, 1, 201, "s"), 0),
    ("garbage", condor(0, 1, 201, "s"), -1),
    (condor(0, 1, 201, "s"), "garbage", -1),
    ("garbage", "other garbage", 0),
)


class CompareTests(SynchronousTestCase):
    """Order of two codes."""

    def test_worked(self) -> None:
        """Every worked comparison comes out as required."""
        for a, b, expected in COMPARED:
            with self.subTest(f"{a[:60]} {b[:60]}"):
                self.assertEqual(compare(a, b), expected)
                self.assertEqual(compare(b, a), -expected)

    def test_condor(self) -> None:
        """Condor codes compare as intended: registration, time, position, source."""
        for a, b, expected in CONDOR:
            with self.subTest(f"{a} {b}"):
                self.assertEqual(compare_condor(a, b), expected)

    def test_pbs(self) -> None:
        """PBS jobs' codes: equal ones are equal, and a side that cannot be read makes it smaller."""
        one, two = pbs("1.0.0.0.0"), pbs("2.0.0.0.0")
        for a, b, expected in (
            (one, two, -1),
            (two, one, 1),
            (one, one, 0),
            (one, one.replace("000001", "1"), 0),
            (one, "x", -1),
            ("x", one, -1),
            ("x", "x", 0),
        ):
            self.assertEqual(compare_pbs(a, b), expected, f"{a} {b}")

    def test_components(self) -> None:
        """Single counters are found by name; a code that cannot be read has none."""
        self.assertEqual([seqcode.component(ANY, counter) for counter in range(9)], list(range(1, 10)))
        self.assertEqual(seqcode.component(ANY, seqcode.WM), 3)
        self.assertEqual(seqcode.component("garbage", seqcode.WM), -1)

    def test_lower_lm(self) -> None:
        """Only the counter of the log monitor goes to zero; a code that cannot be read stays."""
        self.assertEqual(seqcode.lower_lm(ANY), normal("1.2.3.4.5.0.7.8.9"))
        self.assertEqual(seqcode.lower_lm("garbage"), "garbage")

    @given(st.lists(st.integers(0, 2**31), min_size=9, max_size=9), st.lists(st.integers(0, 2**31), min_size=9))
    @settings(deadline=None)
    def test_order_is_that_of_the_counters(self, left: list[int], right: list[int]) -> None:
        """Codes order as their counters do, however wide."""
        right = right[:9]
        a, b = seqcode.format_normal(left), seqcode.format_normal(right)
        self.assertEqual(compare(a, b), (left > right) - (left < right))
        self.assertEqual(seqcode.parse_normal(a), tuple(left))

    @given(st.text(), st.text())
    @settings(deadline=None)
    def test_any_text(self, a: str, b: str) -> None:
        """Any two texts compare, and the other way round the other way."""
        self.assertEqual(compare(a, b), -compare(b, a))
        self.assertIn(compare_pbs(a, b), (-1, 0, 1))
        self.assertIn(compare_condor(a, b), (-1, 0, 1))

    def test_long_codes_are_not_remembered(self) -> None:
        """A code of a megabyte is read and forgotten (P10)."""
        caches = seqcode._parse_normal, seqcode._parse_pbs
        before = [cache.cache_info().currsize for cache in caches]
        self.assertEqual(seqcode.parse_normal(ANY + "x" * 1_000_000), tuple(range(1, 10)))
        self.assertIsNone(seqcode.parse_pbs("x" * 1_000_000))
        self.assertEqual([cache.cache_info().currsize for cache in caches], before)


class OrderTests(SynchronousTestCase):
    """Events of a job in event order."""

    def _in_order(self, *told: tuple[str, int], condor: bool = False) -> list[int]:
        """Places of the events, told by code and time, after sorting."""
        events = [
            Event(
                BY_NAME["Running"],
                JobId("h", 1, "u"),
                timestamp=time,
                host="h",
                source=Source.LRMS,
                seqcode=code,
                user="u",
                priority=place,
            )
            for place, (code, time) in enumerate(told)
        ]
        return [event.priority for event in seqcode.in_order(events, condor=condor)]

    def test_code_then_time(self) -> None:
        """Codes come first, equal ones are ordered by time, equal times by arrival."""
        late, early = normal("0.0.2.0.0.0.0.0.0"), normal("0.0.1.0.0.0.0.0.0")
        self.assertEqual(self._in_order((late, 1), (early, 9), (early, 3), (early, 3)), [2, 3, 1, 0])

    def test_unreadable(self) -> None:
        """Events with codes that cannot be read come first and keep the order of their arrival (S54)."""
        self.assertEqual(self._in_order((ANY, 1), ("x", 9), ("y", 3), ("x", 1)), [1, 2, 3, 0])

    def test_unreadable_of_condor(self) -> None:
        """So they do among a Condor job's."""
        code = condor(0, 1, 201, "s")
        self.assertEqual(self._in_order((code, 1), ("x", 9), ("y", 3), ("x", 1), condor=True), [1, 2, 3, 0])

    def test_registrations_of_condor(self) -> None:
        """A registration repeated does not swap with the first."""
        told = [(condor(5, 1, 17, "j"), 1), (condor(5, 2, 17, "j"), 1), (condor(0, 1, 201, "s"), 0)]
        self.assertEqual(self._in_order(*told, condor=True), [0, 1, 2])
        self.assertEqual(self._in_order(*reversed(told), condor=True), [1, 2, 0])

    def test_condor_ties(self) -> None:
        """Equal Condor codes are ordered by time."""
        code = condor(0, 1, 201, "s")
        self.assertEqual(self._in_order((code, 2), (code, 1), condor=True), [1, 0])


class SequenceTests(SynchronousTestCase):
    """The code that a producer keeps."""

    def test_null(self) -> None:
        """Fresh codes are the zeros of their format, as long as the C library's."""
        for flavour in (Flavour.NORMAL, Flavour.CREAM):
            self.assertEqual(Sequence(Source.LRMS, flavour).text, normal("0.0.0.0.0.0.0.0.0"))
        self.assertEqual(Sequence(Source.PBSServer, Flavour.PBS).text, pbs("0.0.0.0.0"))
        self.assertEqual(Sequence(Source.LRMS, Flavour.CONDOR).text, "")
        self.assertEqual((len(seqcode.NULL_NORMAL), len(seqcode.NULL_PBS)), (102, 67))

    def test_big_helper(self) -> None:
        """The code agreed for the big helper's start is what comes of taking a job over."""
        sequence = Sequence(Source.BigHelper, code=normal("2.0.0.0.0.0.0.0.0"))
        sequence.increment()
        self.assertEqual(sequence.text, BIG_HELPER_START)

    def test_increment(self) -> None:
        """Each source counts in its own place; sources without one change nothing."""
        for source in list(Source)[1:]:
            for flavour, counters in ((Flavour.NORMAL, 9), (Flavour.CREAM, 9), (Flavour.PBS, 5)):
                sequence = Sequence(source, flavour)
                before = sequence.text
                sequence.increment()
                labels = seqcode.PBS_COUNTERS if flavour is Flavour.PBS else seqcode.NORMAL_COUNTERS
                self.assertEqual(len(labels), counters)
                label = OWN[flavour is Flavour.PBS].get(source.name)
                after = [part for part in sequence.text.split(":") if int(part.partition("=")[2])]
                if label is None:
                    self.assertEqual(sequence.text, before)
                else:
                    self.assertEqual([part.partition("=")[0] for part in after], [label])

    def test_condor(self) -> None:
        """A Condor code is kept as it is, up to 68 characters, and never counts."""
        sequence = Sequence(Source.LRMS, Flavour.CONDOR, condor(0, 1, 201, "s"))
        sequence.increment()
        self.assertEqual(sequence.text, condor(0, 1, 201, "s"))
        self.assertEqual(len(Sequence(Source.LRMS, Flavour.CONDOR, "x" * 99).text), 68)

    def test_taken_over(self) -> None:
        """A code of eight parts gets its ninth; an unreadable one is refused, but not by CREAM."""
        old = ANY.rpartition(":LBS")[0]
        self.assertEqual(Sequence(Source.LRMS, code=old).text, normal("1.2.3.4.5.6.7.8.0"))
        for flavour in (Flavour.NORMAL, Flavour.DUPLICATE, Flavour.PBS):
            error = self.assertRaises(LBError, Sequence, Source.LRMS, flavour, "garbage")
            self.assertEqual(error.code, errno.EINVAL)
            self.assertIn("syntax error in sequence code", error.description)
        self.assertEqual(Sequence(Source.LRMS, Flavour.CREAM, "garbage").text, seqcode.NULL_NORMAL)

    def test_duplicate(self) -> None:
        """A component that may run twice counts from the current second."""
        sequence = Sequence(Source.WorkloadManager, Flavour.DUPLICATE, ANY, now=1_700_000_000)
        self.assertEqual(sequence.text, normal("1.2.1700000000.4.5.6.7.8.9"))

    def test_sources(self) -> None:
        """Only the sources 1 to 19 keep codes."""
        for source in (0, 20, -1):
            self.assertEqual(self.assertRaises(LBError, Sequence, source).code, errno.EINVAL)

    def test_log_pattern(self) -> None:
        """A tool called once an event with the code it printed before counts 1, 3, 5 (model.md §7.2)."""
        carried: list[Any] = []
        code = None
        for _ in range(3):
            sequence = Sequence(Source.LRMS, code=code)
            sequence.increment()
            carried.append(seqcode.component(sequence.text, seqcode.LRMS))
            sequence.increment()
            code = sequence.text
        self.assertEqual(carried, [1, 3, 5])


#: Source → counter, for gLite codes and for PBS codes.
OWN: tuple[dict[str, str], dict[str, str]] = (
    {
        "UserInterface": "UI",
        "NetworkServer": "NS",
        "WorkloadManager": "WM",
        "BigHelper": "BH",
        "JobController": "JSS",
        "LogMonitor": "LM",
        "LRMS": "LRMS",
        "Application": "APP",
        "LBServer": "LBS",
    },
    {
        "PBSClient": "CLIENT",
        "PBSServer": "SERVER",
        "PBSScheduler": "SCHED",
        "PBSMomSuperior": "SMOM",
        "PBSMom": "MOM",
    },
)
