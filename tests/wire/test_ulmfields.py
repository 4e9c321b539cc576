"""Lines as fields: the splitter against one that goes character by character (model.md §4.1 to §4.3)."""

from __future__ import annotations

import errno
import string

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError, ParseError
from lb.wire import ulmfields
from lb.wire.ulmfields import decode, encode, split, without
from tests.wire import strategies
from tests.wire.recorded import examples

KEY_CHARACTERS = frozenset(string.ascii_letters + string.digits + ".-_")

SPLIT = {
    'a="v"': [("A", "v")],
    'a="v"\n': [("A", "v")],
    '  \ta="v"\t b=w  \n': [("A", "v"), ("B", "w")],
    "a=\n": [("A", "")],
    "a=": [("A", "")],
    "x=1 word b=2": [("X", "1"), ("B", "2")],
    'x=1 "quoted word" b=2': [("X", "1"), ("B", "2")],
    'a=b"c d"': [("A", 'b"c d"')],
    'a="b""c"': None,
    'a="b"c': None,
    'a="b"\rc': [("A", '"b"\rc')],
    'a="b"\vc': [("A", '"b"\vc')],
    'a="b"\fc': [("A", '"b"\fc')],
    'a="=\n\t\r\x80é"': [("A", "=\n\t\r\x80é")],
    r'a="\"\\\n\t"': [("A", '"\\\nt')],
    'a="v"\n \n\r': [("A", "v")],
    'a="v"\nb="w"': None,
    'a="v"\n b="w"': None,
    'a="v': None,
    'a="v\\': None,
    'a="v\\"': None,
    "a=b=c": None,
    "a/b=3": None,
    "a= b": None,
    "a=\tb": None,
    "a =b": None,
    "=b": None,
    " =b": None,
    "a\\b=c": None,
    "a=b\\c": None,
    "a=1 b\\c": None,
    "word": None,
    "": None,
    " \t ": None,
    "\n": None,
    "\na=b": None,
    "'a=b c'": None,
    "a='b c'": [("A", "'b")],
    "ключ=1": None,
    "DG.A-b_1=2": [("DG.A-B_1", "2")],
    'a=""': [("A", "")],
    'a="': None,
    'a="b" "c=d': None,
}


def one_by_one(text: str) -> list[tuple[str, str]] | None:
    """The fields of a line, read one character after the other; None where the line is broken."""
    found: list[tuple[str, str]] = []
    place, size = 0, len(text)
    while place < size:
        if text[place] in " \t":
            place += 1
            continue
        if text[place] == "\n":
            if text[place:].strip(" \t\n\r\v\f"):
                return None
            break
        start, equals = place, 0
        while place < size and text[place] not in " \t\n":
            character = text[place]
            if character == "\\":
                return None
            if character == "=":
                key = text[start:place]
                if (
                    equals
                    or not key
                    or not KEY_CHARACTERS.issuperset(key)
                    or text[place + 1 : place + 2] in (" ", "\t")
                ):
                    return None
                equals = place
            elif character == '"':
                place += 1
                while place < size and text[place] != '"':
                    place += 2 if text[place] == "\\" else 1
                if place >= size or text[place + 1 : place + 2] not in ("", " ", "\t", "\n", "\r", "\v", "\f"):
                    return None
            place += 1
        if equals:
            found.append((text[start:equals].upper(), _value(text[equals + 1 : place])))
    return found or None


def _value(raw: str) -> str:
    if len(raw) > 1 and raw[0] == raw[-1] == '"':
        raw = raw[1:-1]
    value, rest = "", iter(raw)
    for character in rest:
        if character == "\\":
            character = next(rest)
            character = "\n" if character == "n" else character
        value += character
    return value


def fields(text: str) -> list[tuple[str, str]] | None:
    """What the splitter makes of a text; None where it is broken."""
    try:
        return [(field.key, field.value) for field in split(text)]
    except ParseError as error:
        assert error.code == Code.BROKEN_ULM
        return None


lines = st.one_of(
    st.sampled_from(examples()),
    st.sampled_from([text.encode() for text in SPLIT]),
)


class SplitTests(SynchronousTestCase):
    """Texts to fields."""

    def test_examples(self) -> None:
        """Good and broken lines come out as the specification says."""
        for text, expected in SPLIT.items():
            with self.subTest(text):
                self.assertEqual(fields(text), expected)
                self.assertEqual(one_by_one(text), expected)

    @given(strategies.damaged(lines).map(decode))
    @settings(deadline=None, max_examples=500)
    def test_like_one_by_one(self, text: str) -> None:
        """Whatever is done to a line, both readers see the same fields or the same breakage."""
        self.assertEqual(fields(text), one_by_one(text))

    @given(st.text(st.sampled_from('ab="\\ \t\n\r.é'), max_size=30))
    @settings(deadline=None, max_examples=500)
    def test_any_text_like_one_by_one(self, text: str) -> None:
        """So they do with texts made of what has a meaning."""
        self.assertEqual(fields(text), one_by_one(text))

    @given(strategies.damaged(lines).map(decode))
    @settings(deadline=None, max_examples=200)
    def test_places(self, text: str) -> None:
        """A field's place is where its key begins and its value ends; without it the others stay as they were."""
        found = fields(text)
        if found is None:
            return
        for field in split(text):
            self.assertEqual(text[field.start : field.end].partition("=")[0].upper(), field.key)
            rest = without(text, {field.key})
            others = [other for other in found if other[0] != field.key]
            self.assertEqual(fields(rest) or [], others)

    def test_first(self) -> None:
        """The first field of a key counts, and a line broken anywhere is broken."""
        self.assertEqual(ulmfields.first("a=1 B=2 b=3", "B"), "2")
        self.assertIsNone(ulmfields.first("a=1", "B"))
        self.assertEqual(self.assertRaises(ParseError, ulmfields.first, "b=2 c=d=e", "B").code, Code.BROKEN_ULM)

    def test_megabytes(self) -> None:
        """Lines made to be read slowly are read in one pass, or this would not end."""
        size = 1_000_000
        self.assertIsNone(fields('a="' + '\\"' * size))
        self.assertEqual(fields('a="' + '\\"' * size + '"'), [("A", '"' * size)])
        self.assertIsNone(fields('"' * size))
        self.assertIsNone(fields("a" + "=" * size))
        self.assertIsNone(fields("a=b" * size))
        self.assertIsNone(fields("a" * size))
        self.assertIsNone(fields("a " * size))
        self.assertIsNone(fields(" " * size))
        self.assertIsNone(fields("a=1" + " " * size + "="))
        self.assertEqual(fields("a=1" + "\n" * size), [("A", "1")])
        self.assertEqual(len(fields('a="" ' * (size // 4)) or []), size // 4)


class BytesTests(SynchronousTestCase):
    """Bytes and texts."""

    def test_decode(self) -> None:
        """A line ends at its first NUL; one CR before the LF is dropped."""
        for line, text in (
            (b"a=b\n", "a=b\n"),
            (b"a=b\n\0", "a=b\n"),
            (b"a=b\n\0\0c=d", "a=b\n"),
            (b"a=b\r\n", "a=b\n"),
            (b"a=b\r\r\n", "a=b\r\n"),
            (b"a=b\r\n\0", "a=b\n"),
            (b"a=b", "a=b"),
            (b"", ""),
            (b"\0", ""),
        ):
            with self.subTest(line):
                self.assertEqual(decode(line), text)

    @given(st.binary().map(lambda data: data.replace(b"\0", b"").replace(b"\r", b"")))
    @settings(deadline=None)
    def test_lossless(self, line: bytes) -> None:
        """Bytes of any encoding survive."""
        self.assertEqual(encode(decode(line)), line)

    def test_half_characters(self) -> None:
        """What no bytes stand for is refused with EINVAL, not with an error of Python."""
        error = self.assertRaises(LBError, encode, "a\ud800b")
        self.assertEqual(error.code, errno.EINVAL)
