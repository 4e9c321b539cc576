"""The chapter on job states and its drawings say what the tables say."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import Source
from lb.model.status import State
from lb.state.documents import files
from lb.state.families import FAMILIES, coverage
from lb.state.rules import Table, explanation, on

_DOCS = Path(__file__).parents[2] / "docs"


class Documents(SynchronousTestCase):
    """What is made of the tables."""

    def test_up_to_date(self) -> None:
        """The files in docs are those that ``python -m lb.state.documents docs`` makes."""
        for path, content in files().items():
            self.assertEqual(_DOCS.joinpath(path).read_text("utf-8"), content, path)

    def test_every_action_is_explained(self) -> None:
        """No row does anything that the chapter has no words for."""
        for family in FAMILIES:
            for row in family.table.rows:
                for action in (*row.rule.guards, *row.rule.ok, *row.rule.data):
                    self.assertTrue(explanation(action).text, f"{family.name}: {row.type.name}")

    def test_drawings(self) -> None:
        """A drawing is well-formed and shows every state that the table leads to."""
        for family in FAMILIES:
            drawing = ElementTree.fromstring(files()[f"images/state-{family.name}.svg"])
            drawn = {text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")}
            for covered in coverage(family.table):
                self.assertTrue({state.name for state in covered.states} <= drawn)

    def test_coverage(self) -> None:
        """A row covers what rows before it have left: codes and sources by name, ``others`` for most."""
        table = Table(
            (
                on("Done", when="status_code", is_="OK", source=Source.LRMS, to=State.Running),
                on("Done", when="status_code", is_="OK", to=State.Done),
                on("Done", when="status_code", is_="OK FAILED", to=State.Done),
                on("Done", when="status_code", is_="OK", to=State.Cleared),
                on("Abort", to=State.Aborted),
            )
        )
        labels = [covered.label for covered in coverage(table)]
        self.assertEqual(labels, ["Done OK (LRMS)", "Done OK (others)", "Done FAILED", "Abort"])
