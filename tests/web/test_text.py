"""Values and times on their way to readers, and descriptions laid out for them."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.web import text
from lb.web.classad import layout
from tests.web.test_plain import STORED

DESCRIPTION = '[ a = "x;y"; b = { 1, 2 }; requirements = other.Mem > 2 && "]" != c; nested = [ d = 1; ]; ]'
LAID_OUT = """\
[
  a = "x;y";
  b = { 1, 2 };
  requirements = other.Mem > 2 && "]" != c;
  nested = [
    d = 1;
  ];
]"""


class Texts(SynchronousTestCase):
    """What people and scripts get of a value."""

    @given(STORED)
    @settings(deadline=None)
    def test_shown(self, value: str) -> None:
        """Each character is shown by one that is seen, can be encoded, and turns nothing around."""
        seen = text.shown(value)
        self.assertEqual(len(seen), len(value))
        seen.encode("utf-8")
        for character in seen:
            if character not in "\t\n":
                self.assertNotEqual(unicodedata.category(character), "Cc")
                self.assertNotIn(
                    unicodedata.bidirectional(character), ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI")
                )

    def test_visible(self) -> None:
        """Controls have their pictures, bytes that are no UTF-8 and overrides the replacement character."""
        self.assertEqual(text.shown("a\x00\r\x7f\x9f\udcff\u202eb\té"), "a␀␍␡���b\té")

    def test_cut(self) -> None:
        """A value at its limit is whole, one beyond it says how much is missing."""
        self.assertEqual(text.cut("abc", 3), "abc")
        self.assertEqual(text.cut("abcd", 3), "abc … (the first 3 of 4 characters)")

    @given(STORED)
    @settings(deadline=None)
    def test_escapes_can_be_undone(self, value: str) -> None:
        """Nothing is lost on the way to scripts: the escapes tell what was there."""
        for written in (text.line(value), text.quoted(value)):
            undone = re.sub(
                r'\\(u([0-9a-f]{4})|n|\\|")',
                lambda found: chr(int(found[2], 16)) if found[2] else "\n" if found[1] == "n" else found[1],
                written,
            )
            self.assertEqual(undone, value)
        self.assertIsNone(re.search(r'(?<!\\)(\\\\)*"', text.quoted(value)))

    def test_times(self) -> None:
        """Times that have no date of the usual form stay numbers."""
        self.assertEqual(text.iso(1_795_417_891 * text.SECOND + 5), "2026-11-23T07:11:31Z")
        for seconds in (-1, 253_402_300_800, 10**15):
            self.assertEqual(text.iso(seconds * text.SECOND), str(seconds))
            self.assertEqual(text.ctime(seconds * text.SECOND), str(seconds))

    def test_durations(self) -> None:
        """Two units at most, the second left out when it is nothing."""
        for seconds, expected in {
            0: "0 ms",
            59: "59 s",
            60: "1 min",
            125: "2 min 5 s",
            3600: "1 h",
            90_000: "1 d 1 h",
            86_459: "1 d",
        }.items():
            self.assertEqual(text.duration(seconds * text.SECOND), expected)
        self.assertEqual(text.duration(350_000), "350 ms")


class Descriptions(SynchronousTestCase):
    """Job descriptions."""

    def test_layout(self) -> None:
        """An attribute a line, records indented, strings untouched."""
        self.assertEqual(layout(DESCRIPTION), LAID_OUT)
        self.assertEqual(layout(LAID_OUT), LAID_OUT)

    def test_no_record(self) -> None:
        """What is no record is left alone."""
        for description in ("", "executable = a", "[ open", "closed ]", "job description in receiver language"):
            self.assertIsNone(layout(description))

    @given(st.text(st.sampled_from("[]{}();,\"'/*\\ \n\tab=1."), max_size=80).map(lambda inner: f"[{inner}]"))
    @settings(deadline=None)
    def test_only_space_changes(self, description: str) -> None:
        """Whatever stands in the brackets, only white space changes."""
        laid_out = layout(description)
        self.assertEqual("".join((laid_out or "").split()), "".join(description.split()))
