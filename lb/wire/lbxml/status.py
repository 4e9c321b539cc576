"""The job state document ``<jobStat>`` (spec: wire-query.md §6.1, §6.2, model.md §8.2).

Written in the order and layout of the C server, from the table of `lb.model.status`; a reader takes any order
and passes over elements it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple

from lb.model.errors import LBError
from lb.model.status import ATTRIBUTES, STATE_CODES, STATE_NAMES, STATES, JobStatus, State, StatusAttribute
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import ANSWER_LIMITS, Limits, Node, broken, parse
from lb.wire.ulm import read_integer, read_taglist, write_taglist

TAG: Final = "jobStat"

# --- values -----------------------------------------------------------------------------------------------------


def write_time(microseconds: int) -> bytes:
    """Microseconds since the epoch as ``SECONDS.uuuuuu``."""
    return b"%d.%06d" % divmod(microseconds, 1_000_000)


def read_time(text: str) -> int:
    """Microseconds since the epoch: two whole numbers around the dot."""
    seconds, _, fraction = text.partition(".")
    return read_integer(seconds) * 1_000_000 + read_integer(fraction)


def _write_int(value: int) -> bytes:
    return b"%d" % value


def _read_int(text: str) -> int:
    return read_integer(text) if text else -1


def _read_text(text: str) -> str | None:
    # Empty text and no text are the same to readers (wire-query.md §4.4).
    return unescape(text) or None


_WRITERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "string": escape,
    "jobid": escape,
    "int": _write_int,
    "bool": _write_int,
    "timeval": write_time,
    "taglist": lambda pairs: escape(write_taglist(tuple(pairs))),
}
_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "string": _read_text,
    "jobid": _read_text,
    "int": _read_int,
    "bool": lambda text: _read_int(text) != 0,
    "timeval": read_time,
    "taglist": lambda text: list(read_taglist(unescape(text))) or None,
}

# --- writing ----------------------------------------------------------------------------------------------------


class _Scalar(NamedTuple):
    null: int | None
    write: Callable[[Any], bytes]
    opening: bytes
    closing: bytes


def _scalar(attribute: StatusAttribute) -> _Scalar:
    name = attribute.name.encode("ascii")
    null = 0 if attribute.type == "timeval" else attribute.null
    return _Scalar(null, _WRITERS[attribute.type], b"\t\t\t<%b>" % name, b"</%b>\r\n" % name)


_SCALAR_ATTRIBUTES: Final = tuple(a for a in ATTRIBUTES if a.sent and not a.structured)
_SCALARS: Final = tuple(_scalar(a) for a in _SCALAR_ATTRIBUTES)
_values = attrgetter(*(a.name for a in _SCALAR_ATTRIBUTES))

_OPENINGS: Final = tuple(b'<jobStat name="%b">\r\n' % name.encode("ascii") for name in STATE_NAMES)
_CLOSING: Final = b"</jobStat>"


def _by_state(element: str) -> bytes:
    """The template of a list of one number a state."""
    lines = "".join(f"\t\t\t\t<{state}>%d</{state}>\r\n" for state in STATE_NAMES)
    return f"\t\t\t<{element}>\r\n{lines}\t\t\t</{element}>\r\n".encode("ascii")


_CHILDREN_HIST: Final = _by_state("children_hist")
_ENTER_TIMES: Final = _by_state("stateEnterTimes")
#: Most jobs have no children.
_ZEROS: Final = [0] * STATES
_NO_CHILDREN_HIST: Final = _CHILDREN_HIST % tuple(_ZEROS)


def _append_list(parts: list[bytes], element: bytes, member: bytes, values: list[str]) -> None:
    parts.append(b"\t\t\t<%b>\r\n" % element)
    parts += [b"\t\t\t\t<%b>%b</%b>\r\n" % (member, escape(value), member) for value in values]
    parts.append(b"\t\t\t</%b>\r\n" % element)


def write(status: JobStatus) -> bytes:
    """The document, without a line end after it. Fields that the asker did not want must be null already."""
    parts = [_OPENINGS[status.state]]
    for value, (null, write_value, opening, closing) in zip(_values(status), _SCALARS, strict=True):
        if value != null:
            parts += (opening, write_value(value), closing)
    if status.possible_destinations is not None:
        _append_list(parts, b"possible_destinations", b"name", status.possible_destinations)
    if status.possible_ce_nodes is not None:
        _append_list(parts, b"possible_ce_nodes", b"name", status.possible_ce_nodes)
    if status.children is not None:
        _append_list(parts, b"children", b"jobId", status.children)
    if status.children_hist is not None:
        counts = status.children_hist
        parts.append(_NO_CHILDREN_HIST if counts == _ZEROS else _CHILDREN_HIST % tuple(counts))
    if status.children_states is not None:
        parts.append(b"\t\t\t<children_states>\r\n")
        parts += [write(child) for child in status.children_states]
        parts.append(b"\t\t\t</children_states>\r\n")
    if status.user_tags is not None:
        parts.append(b"\t\t\t<user_tags>\r\n")
        parts += [b'\t\t\t\t<tag name="%b">%b</tag>\r\n' % (escape(n), escape(v)) for n, v in status.user_tags]
        parts.append(b"\t\t\t</user_tags>\r\n")
    parts.append(_ENTER_TIMES % tuple(status.stateEnterTimes))
    parts.append(_CLOSING)
    return b"".join(parts)


#: What C programs show as a state where there is none: numbers whose null is not zero appear as zero.
_ZEROED: Final = b"".join(s.opening + b"0" + s.closing for s in _SCALARS if s.null not in (None, 0))


def write_error(error: LBError) -> bytes:
    """The answer to ``GET /<unique>`` that failed: a zeroed state with the error in its root (wire-query.md §7.5)."""
    return b'<jobStat name="Undefined"%b>\r\n%b%b' % (error_attributes(error), _ZEROED, _CLOSING)


def error_attributes(error: LBError) -> bytes:
    """`` code="N" desc="…"`` for the root of an answer; no description is written ``(nil)``."""
    return b' code="%d" desc="%b"' % (error.code, escape(error.description or "(nil)"))


# --- reading ----------------------------------------------------------------------------------------------------


def _read_strings(node: Node) -> list[str]:
    return [unescape(child.text) for child in node.children]


def _read_by_state(node: Node) -> list[int]:
    counts = [0] * STATES
    for child in node.children:
        state = STATE_CODES.get(child.tag.lower())
        if state is not None:
            counts[state] = read_integer(child.text)
    return counts


def _read_states(node: Node) -> list[JobStatus]:
    return [from_node(child) for child in node.children if child.tag == TAG]


def _read_tags(node: Node) -> list[tuple[str, str]]:
    return [(unescape(child.attributes.get("name", "")), unescape(child.text)) for child in node.children]


_FROM_NODE: Final[dict[str, Callable[[Node], Any]]] = {
    "possible_destinations": _read_strings,
    "possible_ce_nodes": _read_strings,
    "children": _read_strings,
    "children_hist": _read_by_state,
    "children_states": _read_states,
    "user_tags": _read_tags,
    "stateEnterTimes": _read_by_state,
}
_FROM_TEXT: Final = {a.name: _READERS[a.type] for a in _SCALAR_ATTRIBUTES}


def from_node(node: Node) -> JobStatus:
    """The state that a ``<jobStat>`` element holds; elements not known are passed over."""
    fields: dict[str, Any] = {"state": STATE_CODES.get(node.attributes.get("name", "").lower(), State.Undefined)}
    for child in node.children:
        tag = child.tag
        read_text = _FROM_TEXT.get(tag)
        if read_text is not None:
            fields[tag] = read_text(child.text)
        elif tag in _FROM_NODE:
            fields[tag] = _FROM_NODE[tag](child)
    return JobStatus(**fields)


def error_of(root: Node) -> LBError | None:
    """The error in the root of an answer, None when there is none."""
    code = read_integer(root.attributes.get("code", ""))
    if not code:
        return None
    description = unescape(root.attributes.get("desc", ""))
    return LBError(code, "" if description == "(nil)" else description)


def read(data: bytes, limits: Limits = ANSWER_LIMITS) -> JobStatus:
    """The state in a document; raises the error it carries, or 1407 when it is no such document."""
    root = parse(data, limits)
    if root.tag != TAG:
        raise broken(f"<{root.tag[:80]}> where a job state was expected")
    error = error_of(root)
    if error is not None:
        raise error
    return from_node(root)
