"""The job families of the protocol and their tables, and what each row of a table really covers.

For documents and drawings; the fold does not need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from lb.model.catalogue import SOURCE_NAMES, Source
from lb.model.status import State
from lb.state import condor, cream, glite_rules, pbs, transfer, vm
from lb.state.rules import Actions, Row, Table, explanation


class FamilyTable(NamedTuple):
    """A family as documents show it."""

    name: str  #: for file names and anchors
    title: str
    order: str  #: which of its events count as late, in words
    table: Table
    unknown: str  #: what an event does that the table does not have
    data: tuple[tuple[str, Actions], ...] = ()  #: what events bring in any case, noted apart


_LEAVES: Final = "leaves its time and its code"

FAMILIES: Final[tuple[FamilyTable, ...]] = (
    FamilyTable(
        "glite",
        "gLite jobs: SIMPLE, DAG, COLLECTION",
        "An event is late when its code is lower than the last one in order, or lower than the last one of the attempt "
        "that runs the payload once that is known; when it belongs to another attempt than that, or to one given up; "
        "and always in a final state (Cleared, Cancelled, Aborted). Late events give their data and move nothing.",
        glite_rules.TABLE,
        "is not allowed and leaves no trace",
    ),
    FamilyTable(
        "cream",
        "CREAM jobs",
        "No event is late.",
        cream.FAMILY.table,
        _LEAVES,
        tuple((type_.name, actions) for type_, actions in cream.FAMILY.data.items()),
    ),
    FamilyTable("pbs", "PBS jobs", "By PBS sequence codes; late events give their data.", pbs.FAMILY.table, _LEAVES),
    FamilyTable(
        "condor",
        "Condor jobs",
        "By time, log and position in Condor sequence codes; late events give their data.",
        condor.FAMILY.table,
        _LEAVES,
    ),
    FamilyTable("transfer", "File transfers", "No event is late, no state is final.", transfer.TRANSFER.table, _LEAVES),
    FamilyTable(
        "transfers",
        "Collections of file transfers",
        "No event is late, no state is final.",
        transfer.COLLECTION.table,
        _LEAVES,
    ),
    FamilyTable("vm", "Virtual machines", "No event is late, no state is final.", vm.FAMILY.table, "leaves its time"),
)


class Coverage(NamedTuple):
    """A row and what it covers: those codes and sources that no row before it has taken."""

    row: Row
    codes: str  #: names, blank-separated; empty: all
    sources: str  #: names, comma-separated, or ``others``; empty: all

    @property
    def label(self) -> str:
        """The event as a drawing names it."""
        return " ".join(filter(None, (self.row.type.name, self.codes, f"({self.sources})" if self.sources else "")))

    @property
    def states(self) -> tuple[State, ...]:
        """The states that the row may move a job to."""
        rule = self.row.rule
        moved = (state for action in (*rule.ok, *rule.data) for state in explanation(action).states)
        return tuple(dict.fromkeys((rule.to, *moved) if rule.to is not None else moved))


def coverage(table: Table) -> Iterator[Coverage]:
    """The rows of a table that cover anything, in its order."""
    taken: dict[str, set[tuple[int, int]]] = {}
    for row in table.rows:
        before = taken.setdefault(row.type.name, set())
        mine = {(code, source) for code in row.codes for source in row.sources} - before
        before |= mine
        if mine:
            yield Coverage(row, _codes(row, {code for code, _ in mine}), _sources({source for _, source in mine}))


def _codes(row: Row, codes: set[int]) -> str:
    if not row.attribute:
        return ""
    known = row.type.by_name[row.attribute].codes
    if codes >= set(known.values()):
        return ""
    return " ".join(name for name, code in known.items() if code in codes) or "undefined"


def _sources(sources: set[int]) -> str:
    if sources >= set(Source):
        return ""
    if len(sources) > len(Source) // 2:
        return "others"
    return ", ".join(SOURCE_NAMES[source] for source in sorted(sources))
