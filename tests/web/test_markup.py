"""Markup of trees of tags: the same as Twisted's, and nothing that is no page."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.template import Flattenable, Tag, flattenString, slot, tags

from lb.web.markup import VOID, markup

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.sampled_from(
    ("<", '"', "&amp;", "]]>", "'")
)
NAMES = st.sampled_from(("div", "span", "svg", "textarea", *sorted(VOID)))
KEYS = st.sampled_from(("class", "aria-label", "viewBox"))


def _tag(name: str, attributes: dict[str, str], children: list[Flattenable]) -> Tag:
    return Tag(name, dict(attributes), children)


def _inside(nodes: st.SearchStrategy[Flattenable]) -> st.SearchStrategy[Flattenable]:
    children = st.lists(nodes, max_size=4)
    return children | st.builds(_tag, NAMES, st.dictionaries(KEYS, TEXTS, max_size=3), children)


class Markup(SynchronousTestCase):
    """What pages are made of."""

    @given(st.recursive(TEXTS, _inside, max_leaves=20))
    @settings(deadline=None)
    def test_as_twisted(self, tree: Flattenable) -> None:
        """Whatever the tree is, the bytes are Twisted's, escaped alike in texts and in attributes."""
        self.assertEqual(markup(tree), self.successResultOf(flattenString(None, tree)))

    def test_refused(self) -> None:
        """What would have to be waited for, or is no markup, is a mistake and no empty place."""
        for tree in (succeed("x"), slot("x"), 1, b"<b>", tags.p(title=1), tags.transparent("x"), tags.p(render="x")):
            with self.assertRaises(TypeError):
                markup(tree)  # type: ignore[arg-type]
