"""Recorded job states against ours: a status as the object of strings that the recordings hold.

Used by the tests of the fold and by those of the server; the form is that of the recordings' README:
what is absent, empty or null is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from lb.model.status import ATTRIBUTES, STATE_NAMES, JobStatus, StatusAttribute

#: Stands in a recording for a time of the recording server's clock.
NOW: Final = "@now"
_NOW_IS_AFTER: Final = 1735689600  # 2025-01-01, seconds

#: The C server forgets these between events (S21).
FORGOTTEN: Final = frozenset({"pbs_substate", "vm_system_halting"})

Object = dict[str, Any]


def as_object(status: JobStatus) -> Object:
    """A status in the form of the recordings."""
    made: Object = {"state": STATE_NAMES[status.state]}
    for attribute in ATTRIBUTES:
        value = _plain(attribute, getattr(status, attribute.name))
        if value not in (None, "", [], {}):
            made[attribute.name] = value
    return made


def _plain(attribute: StatusAttribute, value: Any) -> Any:
    if value is None or (attribute.type in ("int", "bool") and int(value) == (attribute.null or 0)):
        return None
    match attribute.type:
        case "int" | "bool":
            return str(int(value))
        case "timeval":
            return f"{value // 1_000_000}.{value % 1_000_000:06d}" if value else None
        case "taglist":
            pairs = [list(pair) for pair in value]
            return pairs if attribute.structured else ",".join("=".join(pair) for pair in pairs)
        case "intlist":
            return {STATE_NAMES[number]: count for number, count in enumerate(value) if count}
        case "stslist":
            return sorted((as_object(child) for child in value), key=lambda child: child["jobId"])
        case "strlist":
            return sorted(value) if attribute.name == "children" else list(value)
        case _:
            return value


def differences(recorded: Object, ours: Object, ignore: Collection[str] = ()) -> list[str]:
    """What differs, a line an attribute; empty when the two say the same."""
    found = []
    for name in sorted(recorded.keys() | ours.keys()):
        if name in FORGOTTEN or name in ignore:
            continue
        theirs, mine = recorded.get(name), ours.get(name)
        if name == "children_states":
            found.extend(_children(theirs or [], mine or [], ignore))
        elif not _same(theirs, mine):
            found.append(f"{name}: recorded {theirs!r}, ours {mine!r}")
    return found


def _children(theirs: Iterable[Object], mine: Iterable[Object], ignore: Collection[str]) -> list[str]:
    ours = {child["jobId"]: child for child in mine}
    recorded = {child["jobId"]: child for child in theirs}
    found = [f"children_states: {job} only on one side" for job in recorded.keys() ^ ours.keys()]
    for job in recorded.keys() & ours.keys():
        found.extend(f"{job}: {line}" for line in differences(recorded[job], ours[job], ignore))
    return found


def _same(theirs: Any, mine: Any) -> bool:
    if theirs == NOW:
        return mine is not None and float(mine) > _NOW_IS_AFTER
    if isinstance(theirs, Mapping) and isinstance(mine, Mapping):
        return theirs.keys() == mine.keys() and all(_same(theirs[name], mine[name]) for name in theirs)
    return bool(theirs == mine)
