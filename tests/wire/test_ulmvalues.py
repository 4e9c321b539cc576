"""Values of event lines: model.md §3, §4.2, §4.6 and §9.1."""

from __future__ import annotations

import calendar
import errno
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import BY_NAME, TYPES, Kind
from lb.model.errors import LBError
from lb.wire.ulmvalues import (
    escape,
    read_date,
    read_double,
    read_integer,
    read_taglist,
    reader,
    unescape,
    write_date,
    write_taglist,
    write_value,
)
from tests.wire.strategies import texts, times, values

ESCAPED = {
    'a"b\\c\nd': r"a\"b\\c\nd",
    "": "",
    "plain": "plain",
    "tab\tcr\rff\f\x7f": "tab\tcr\rff\f\x7f",
    "\\n": r"\\n",
    "\n\\": r"\n\\",
    '"': r"\"",
    "\\": r"\\",
    "\\\\\n": r"\\\\\n",
    "\udcff\udc80é": "\udcff\udc80é",
}
#: What no writer makes, but readers understand.
ESCAPED_OTHERWISE = {
    r"\t\r\x": "trx",
    r"C:\x": "C:x",
    r"\\\t": r"\t",
    "\\\n": "\n",
    r"\\\"\n\\n": '\\"\n\\n',
    "\\é": "é",
}

DATES = {
    "20240102030405.123456": 1704164645_123456,
    "20240102030405.5": 1704164645_000005,
    "20240102030405.12Z": 1704164645_000012,
    "20240102030405": 1704164645_000000,
    "20240102030405.": 1704164645_000000,
    "20240102030405123000": 1704164645_000000,
    "20240102030405Z": 1704164645_000000,
    "20240102030405.123456789": 1704164645_123456,
    "20240229000000.000000": 1709164800_000000,
    "19700101000000.000000": 0,
    "99991231235959.999999": 253_402_300_799_999999,
    "20161231235960.000000": 1483228800_000000,
    "": None,
    "2024010203040": None,
    "20241302030405": None,
    "20240230030405": None,
    "20240102240405": None,
    "20240102036005": None,
    "20240102030461": None,
    "00000102030405": None,
    "19691231235959.999999": None,
    "99991231235960": None,
    " 20240102030405": None,
    "-2024010203040": None,
    "\uff12\uff10240102030405": None,
    "org.glite.lb.Timeval@1b2c": None,
    "null": None,
}

INTEGERS = {
    "0": 0,
    "7": 7,
    " \t\n-12": -12,
    "+5": 5,
    "12abc": 12,
    "": 0,
    "abc": 0,
    "- 5": 0,
    "0x10": 0,
    "999999999999999999": 999999999999999999,
    "9999999999999999999": 0,
    "9" * 5000: 0,
    "٣": 0,
}

DOUBLES = {
    "0.400000": 0.4,
    " -1.5e3x": -1500.0,
    ".5": 0.5,
    "5.": 5.0,
    "1e400": 0.0,
    "inf": 0.0,
    "nan": 0.0,
    "1e" + "9" * 5000: 0.0,
    "9" * 5000: 0.0,
    "": 0.0,
    "e5": 0.0,
    "-": 0.0,
}

TAGLISTS = {
    "a=1,b=2": (("a", "1"), ("b", "2")),
    "a=b=c": (("a", "b=c"),),
    "a=1,,b=2": (("a", "1"), ("b", "2")),
    "a=1,c=,d,b=2": (("a", "1"), ("b", "2")),
    "=x": (("", "x"),),
    " a = 1 , b=2": ((" a ", " 1 "), (" b", "2")),
    "{a=1, b=2}": (("{a", "1"), (" b", "2}")),
    "a=1,a=2": (("a", "1"), ("a", "2")),
    "": (),
    "null": (),
}

#: Type, attribute, text → value; None = null.
READ = (
    ("Done", "status_code", "OK", 1),
    ("Done", "status_code", "ok", 1),
    ("Done", "status_code", "1", None),
    ("Done", "status_code", "UNDEFINED", None),
    ("Done", "status_code", "(null)", None),
    ("Done", "exit_code", "-1", None),
    ("Done", "exit_code", "0", 0),
    ("Done", "exit_code", "140737488355327", 140737488355327),
    ("RegJob", "nsubjobs", "0", None),
    ("RegJob", "nsubjobs", "-1", -1),
    ("RegJob", "parent", "https://lb/abc", "https://lb:9000/abc"),
    ("RegJob", "parent", "null", None),
    ("Transfer", "destination", "lrms", 7),
    ("Transfer", "destination", "JobSubmission", 5),
    ("Transfer", "destination", "Undefined", None),
    ("Transfer", "destination", "null", None),
    ("Transfer", "result", "FAIL", 4),
    ("FileTransfer", "result", "FAIL", 3),
    ("Listener", "svc_port", "65536", None),
    ("Listener", "svc_port", "65537", 1),
    ("Listener", "svc_port", "-1", 65535),
    ("ResourceUsage", "quantity", "0.4", 0.4),
    ("ResourceUsage", "quantity", "0", None),
    ("ChangeACL", "permission", "READ", 1),
    ("ChangeACL", "permission", "(null)", -1),
    ("ChangeACL", "permission", "UNDEFINED", -1),
    ("ChangeACL", "user_id_type", "DN", 0),
    ("ChangeACL", "user_id_type", "(null)", None),
    ("ChangeACL", "operation", "ADD", 0),
    ("CREAMStatus", "orig_timestamp", "20240102030405.000001", 1704164645_000001),
    ("CREAMStatus", "orig_timestamp", "19700101000000.000000", None),
    ("CREAMStatus", "orig_timestamp", "org.glite.lb.Timeval@1b2c", None),
    ("PBSResourceUsage", "resources", "{a=1, b=2}", (("{a", "1"), (" b", "2}"))),
    ("PBSResourceUsage", "resources", "null", None),
    ("Notification", "notifId", "https://lb:9000/NOTIF:x", "https://lb:9000/NOTIF:x"),
)

NULL_TEXTS = {
    Kind.STRING: "",
    Kind.PORT: "0",
    Kind.DOUBLE: "0.000000",
    Kind.CODED: "UNDEFINED",
    Kind.LOGSRC: "Undefined",
    Kind.JOBID: "",
    Kind.NOTIFID: "",
    Kind.TIMEVAL: "19700101000000.000000",
    Kind.TAGLIST: "",
}


class EscapeTests(SynchronousTestCase):
    """Escapes."""

    def test_written(self) -> None:
        """Three characters are escaped, everything else stands for itself."""
        for value, text in ESCAPED.items():
            with self.subTest(value):
                self.assertEqual(escape(value), text)
                self.assertEqual(unescape(text), value)

    def test_read(self) -> None:
        """A backslash before any other character is that character."""
        for text, value in ESCAPED_OTHERWISE.items():
            with self.subTest(text):
                self.assertEqual(unescape(text), value)

    @given(st.lists(st.sampled_from('\\n"a\n\\'), max_size=40).map("".join))
    @settings(deadline=None)
    def test_like_one_by_one(self, text: str) -> None:
        """Reading escapes gives what a reader going through them one by one gives."""
        expected, rest = [], iter(text)
        for character in rest:
            if character == "\\":
                character = next(rest, "")
                character = "\n" if character == "n" else character
            expected.append(character)
        self.assertEqual(unescape(text), "".join(expected))

    @given(texts)
    @settings(deadline=None)
    def test_round_trip(self, value: str) -> None:
        """Any text survives, and never breaks out of its quotes or its line."""
        written = escape(value)
        self.assertEqual(unescape(written), value)
        self.assertNotIn("\n", written)
        self.assertNotIn('"', written.replace(r"\\", "").replace(r"\"", ""))


class DateTests(SynchronousTestCase):
    """Dates."""

    def test_read(self) -> None:
        """Every form that peers write is read, and what is no date is none."""
        for text, expected in DATES.items():
            with self.subTest(text):
                self.assertEqual(read_date(text), expected)

    def test_refused(self) -> None:
        """Times without a four-digit year from 1970 on are not written."""
        for moment in (-1, 253_402_300_800_000_000):
            self.assertEqual(self.assertRaises(LBError, write_date, moment).code, errno.EINVAL)

    @given(times)
    @settings(deadline=None)
    def test_round_trip(self, moment: int) -> None:
        """Every microsecond from 1970 to 9999 has its 21 characters, the same as the C library's."""
        text = write_date(moment)
        self.assertEqual(len(text), 21)
        self.assertEqual(read_date(text), moment)
        self.assertEqual(calendar.timegm(time.strptime(text[:14], "%Y%m%d%H%M%S")), moment // 1_000_000)


class NumberTests(SynchronousTestCase):
    """Numbers and tag lists."""

    def test_integers(self) -> None:
        """Integers are read as `atoi` reads them, none greater than 64 bits."""
        for text, expected in INTEGERS.items():
            with self.subTest(text[:40]):
                self.assertEqual(read_integer(text), expected)

    def test_doubles(self) -> None:
        """Quantities are read as `strtod` reads decimal numbers, always finite."""
        for text, expected in DOUBLES.items():
            with self.subTest(text[:40]):
                self.assertEqual(read_double(text), expected)

    def test_no_quantity(self) -> None:
        """What is no finite number is not written."""
        quantity = BY_NAME["ResourceUsage"].by_name["quantity"]
        for value in (float("inf"), float("-inf"), float("nan")):
            self.assertEqual(self.assertRaises(LBError, write_value, quantity, value).code, errno.EINVAL)

    def test_taglists(self) -> None:
        """Tag lists are read as the table says, and what was read survives."""
        for text, expected in TAGLISTS.items():
            with self.subTest(text):
                self.assertEqual(read_taglist(text), expected)
                self.assertEqual(read_taglist(write_taglist(expected)), expected)


class AttributeTests(SynchronousTestCase):
    """Values of attributes."""

    def test_read(self) -> None:
        """Texts read as their attribute's type says."""
        for type_, name, text, expected in READ:
            with self.subTest(f"{type_} {name} {text}"):
                self.assertEqual(reader(BY_NAME[type_].by_name[name])(text), expected)

    def test_nulls(self) -> None:
        """What was not given is written as the C library writes it, and reads as null but for one known oddity."""
        for type_ in TYPES:
            for attribute in type_.attributes:
                with self.subTest(attribute.key):
                    text = write_value(attribute, None)
                    number = str(attribute.null) if attribute.kind is Kind.INT else ""
                    self.assertEqual(text, NULL_TEXTS.get(attribute.kind, number))
                    oddity = -1 if attribute.key == "DG.CHANGEACL.PERMISSION" else None
                    self.assertEqual(reader(attribute)(text) if text else None, oddity)

    def test_unknown_numbers(self) -> None:
        """Coded values and sources without a name are written as undefined."""
        self.assertEqual(write_value(BY_NAME["Done"].by_name["status_code"], 99), "UNDEFINED")
        self.assertEqual(write_value(BY_NAME["Transfer"].by_name["destination"], 99), "Undefined")

    def test_round_trip(self) -> None:
        """Any value of any attribute of any type survives its text."""
        for type_ in TYPES:
            for attribute in type_.attributes:

                @given(values(attribute))
                @settings(deadline=None, max_examples=10, database=None)
                def survives(value: Any) -> None:
                    self.assertEqual(reader(attribute)(write_value(attribute, value)), value)  # noqa: B023

                survives()

    @given(st.text())
    @settings(deadline=None)
    def test_any_text(self, text: str) -> None:
        """No text makes reading a value fail."""
        for read in (read_date, read_integer, read_double, read_taglist, unescape):
            read(text)
        for attribute in (attribute for type_ in TYPES[:24] for attribute in type_.attributes):
            reader(attribute)(text)


class BoundTests(SynchronousTestCase):
    """Texts of a megabyte: one pass each, or this would not end."""

    def test_megabytes(self) -> None:
        """Reading is linear in the length of a text."""
        size = 1_000_000
        self.assertEqual(unescape("\\\\" * size), "\\" * size)
        self.assertEqual(unescape('\\"' * size), '"' * size)
        self.assertEqual(unescape("\\x" * size), "x" * size)
        self.assertEqual(read_date("20240102030405." + "1" * size), 1704164645_111111)
        for text in ("1" * size, " " * size, "0" * size, "." * size, "1e" + "1" * size, "+" * size):
            self.assertEqual((read_integer(text), read_double(text)), (text.startswith("1e"), 0.0))
        self.assertEqual(len(read_taglist("a=b," * size)), size)
