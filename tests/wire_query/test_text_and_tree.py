"""Escaping and bounded reading of documents."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, ParseError
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import Limits, Node, parse
from tests.wire_query.strategies import nasty_texts, relaxed, texts

LIMITS = Limits(size=1 << 16, depth=8, elements=1000)


def read(escaped: bytes) -> str:
    return unescape(parse(b"<a>" + escaped + b"</a>", LIMITS).text)


class TextTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each kind of byte is written as the table of the protocol says."""
        for value, written in [
            ("plain ~\x7f", b"plain ~\x7f"),
            ("<>&\"'", b"&lt;&gt;&amp;&quot;&apos;"),
            ("100%", b"100%25"),
            ("a\nb\tc\0", b"a%0ab%09c%00"),
            ("é", b"\xc3\xa9"),
            ("\u201c", b"\xe2%80%9c"),
            ("\udce9", b"\xe9"),
            ("", b""),
        ]:
            self.assertEqual(escape(value), written)

    @relaxed
    @given(texts | nasty_texts)
    @example("&lt;")
    @example("%0a%250a")
    def test_round_trip(self, value: str) -> None:
        """What is written is read again, as text and as an attribute."""
        self.assertEqual(read(escape(value)), value)
        root = parse(b'<a n="' + escape(value) + b'"/>', LIMITS)
        self.assertEqual(unescape(root.attributes["n"]), value)

    def test_no_second_entity_pass(self) -> None:
        """Escaped entities stay what they were: only one level is undone."""
        self.assertEqual(read(b"&amp;lt;%26lt;"), "&lt;%26lt;")

    def test_foreign_bytes(self) -> None:
        """Bytes that are no UTF-8 are read as ISO-8859-1, and a mixture of both as that too."""
        self.assertEqual(read(b"caf\xe9"), "café")
        self.assertEqual(read(b"caf\xc3\xa9"), "café")
        self.assertEqual(read(b"\xe2%80%9c"), "\u201c")
        self.assertEqual(read(b"\xc3\xa9\xe9"), "Ã©é")

    def test_only_controls_are_undone(self) -> None:
        """A percent sign before anything but a control code or 25 stands for itself."""
        self.assertEqual(read(b"%41 %zz %0A %9f% %25"), "%41 %zz \n " + "\x9f% %")

    def test_character_references(self) -> None:
        """Numeric references work, even beyond what a byte holds."""
        self.assertEqual(read(b"&#233;"), "é")
        self.assertEqual(read(b"&#8220;x&#xe9;"), "â\x80\x9cxé")
        self.assertEqual(read(b"&#8220;"), "\u201c")


class TreeTests(SynchronousTestCase):
    def refused(self, data: bytes, limits: Limits = LIMITS) -> str:
        error = self.assertRaises(ParseError, parse, data, limits)
        self.assertEqual(error.code, Code.XML_PARSE)
        return error.description

    def test_tree(self) -> None:
        """Elements, attributes and the text of leaves come out in order; an empty element is like an absent text."""
        root = parse(b'<a x="1">\r\n\t<b>one</b> <c/><d></d>\n</a>', LIMITS)
        self.assertEqual((root.tag, root.attributes), ("a", {"x": "1"}))
        self.assertEqual([(node.tag, node.text) for node in root.children], [("b", "one"), ("c", ""), ("d", "")])

    def test_each(self) -> None:
        """Children of the root can be taken one by one, whole, and are not kept."""
        taken: list[tuple[str, int]] = []
        root = parse(b"<a><b><c/><c/></b><b/></a>", LIMITS, lambda node: taken.append((node.tag, len(node.children))))
        self.assertEqual(taken, [("b", 2), ("b", 0)])
        self.assertEqual(root.children, [])

    def test_no_declarations(self) -> None:
        """P10: document types and their entities are refused, whatever they declare."""
        bomb = b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><a>&y;</a>'
        self.assertIn("document type", self.refused(bomb))
        self.assertIn("document type", self.refused(b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'))
        self.refused(b"<a>&x;</a>")

    def test_declared_encoding_is_ignored(self) -> None:
        """Text is the bytes of the document whatever encoding it claims to have."""
        self.assertEqual(parse(b'<?xml version="1.0" encoding="UTF-16"?><a>\xe9</a>', LIMITS).text, "é")

    def test_broken(self) -> None:
        """What is no document is error 1407."""
        for data in (b"", b"<a>", b"<a></b>", b"text", b"<a/><b/>", b"<a>\0</a>"):
            self.refused(data)

    def test_bounds(self) -> None:
        """P10: size, depth and number of elements are accepted at the bound and refused beyond it."""
        data = b"<a><b><c/></b><b/></a>"
        limits = Limits(size=len(data), depth=3, elements=4)
        self.assertEqual(len(parse(data, limits).children), 2)
        parse(data, Limits(len(data) + 1, 4, 5))
        self.assertIn("bytes", self.refused(data, limits._replace(size=len(data) - 1)))
        self.assertIn("deep", self.refused(data, limits._replace(depth=2)))
        self.assertIn("elements", self.refused(data, limits._replace(elements=3)))

    def test_long_text(self) -> None:
        """Text that the parser gives in many pieces comes out in one."""
        text = b"%0a".join([b"x" * 5000] * 40)
        self.assertEqual(
            unescape(parse(b"<a>" + text + b"</a>", Limits(1 << 20, 1, 1)).text), "\n".join(["x" * 5000] * 40)
        )

    @relaxed
    @given(st.binary(max_size=60) | st.text(st.sampled_from('<>/ab="& !-[]'), max_size=40).map(str.encode))
    def test_anything(self, data: bytes) -> None:
        """Any bytes give a tree or error 1407."""
        try:
            self.assertIsInstance(parse(data, LIMITS), Node)
        except ParseError as error:
            self.assertEqual(error.code, Code.XML_PARSE)
