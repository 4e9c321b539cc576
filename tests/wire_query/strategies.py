"""Arbitrary values of the query protocol, for properties."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from lb.model import query, status
from lb.model.catalogue import TYPES, Attribute, EventType, Kind
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.query import Condition, Operator, Query

#: Speed is for `bench/` to judge.
relaxed = settings(deadline=None, max_examples=60)

#: Everything that text can be, short of half characters.
texts = st.text(st.characters(codec="utf-8"), max_size=20)
given_texts = texts.filter(bool)
#: Text that escaping has to work on.
nasty_texts = st.text(st.sampled_from("ab %&<>\"';\n\r\t\0\x7f\x80\x9féř“€0a25"), max_size=20)
words = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-_"), min_size=1, max_size=12)
jobids = st.builds(JobId, words, st.integers(1, 65535), words, st.none() | words)
microseconds = st.integers(1, 253_402_300_799_999_999)
numbers = st.integers(-(2**31), 2**31 - 1)
pairs = st.tuples(words, words)


def _values(attribute: Attribute) -> st.SearchStrategy[Any]:
    by_kind: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.STRING: given_texts | nasty_texts.filter(bool),
        Kind.INT: numbers,
        Kind.PORT: st.integers(0, 65535),
        Kind.DOUBLE: st.integers(1, 10**9).map(lambda n: n / 8),
        Kind.CODED: st.sampled_from(sorted(attribute.names) or [0]),
        Kind.LOGSRC: st.integers(1, 19),
        Kind.JOBID: jobids.map(str),
        Kind.NOTIFID: jobids.map(str),
        Kind.TIMEVAL: microseconds,
        Kind.TAGLIST: st.lists(pairs, min_size=1, max_size=3).map(tuple),
    }
    return by_kind[attribute.kind].filter(lambda value: value != attribute.null)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event of any type with any of its attributes."""
    type_: EventType = draw(st.sampled_from(TYPES))
    attributes = draw(st.fixed_dictionaries({}, optional={a.name: _values(a) for a in type_.attributes}))
    return Event(
        type_,
        draw(jobids),
        timestamp=draw(microseconds),
        arrived=draw(st.none() | microseconds),
        host=draw(texts),
        source=draw(st.integers(0, 19)),
        seqcode=draw(texts),
        user=draw(st.none() | nasty_texts),
        src_instance=draw(st.none() | texts),
        level=draw(st.integers(0, 10)),
        priority=draw(st.integers(-1, 255)),
        attributes=attributes,
    )


_BY_STATE = st.lists(st.integers(0, 2**40), min_size=status.STATES, max_size=status.STATES)
_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": given_texts | nasty_texts.filter(bool),
    "jobid": jobids.map(str),
    "int": numbers,
    "bool": st.booleans(),
    "timeval": microseconds,
    "taglist": st.lists(pairs, min_size=1, max_size=3),
}
_LISTS: dict[str, st.SearchStrategy[Any]] = {
    "possible_destinations": st.lists(texts, max_size=3),
    "possible_ce_nodes": st.lists(texts, max_size=3),
    "children": st.lists(jobids.map(str), max_size=3),
    "children_hist": _BY_STATE,
    "user_tags": st.lists(st.tuples(nasty_texts, texts), max_size=3),
    "stateEnterTimes": _BY_STATE,
}


@st.composite
def statuses(draw: st.DrawFn, depth: int = 2) -> status.JobStatus:
    """A state with some of its attributes, and states of children."""
    scalars = {a.name: a.type for a in status.ATTRIBUTES if a.sent and not a.structured}
    chosen = draw(st.lists(st.sampled_from(list(scalars)), unique=True, max_size=8))
    fields: dict[str, Any] = {name: draw(_SCALARS[scalars[name]]) for name in chosen}
    fields.update(draw(st.fixed_dictionaries({}, optional=_LISTS)))
    if depth and draw(st.booleans()):
        fields["children_states"] = draw(st.lists(statuses(depth - 1), max_size=2))
    return status.JobStatus(state=draw(st.integers(0, 11)), **fields)


def _condition_values(attribute: query.Attribute) -> st.SearchStrategy[Any]:
    form = query.FORMS[attribute]
    if form.kind is query.Kind.JOBID:
        return jobids
    if form.kind is query.Kind.SECONDS:
        return st.integers(0, 2**40)
    if form.kind is query.Kind.NUMBER:
        return st.sampled_from(sorted(form.names)) if form.names else numbers
    return (texts | nasty_texts).filter(lambda text: text != "NULL")


@st.composite
def _groups(draw: st.DrawFn, *, of_jobs: bool) -> query.Group:
    operators = {
        attribute: form.job_operators if of_jobs else form.event_operators for attribute, form in query.FORMS.items()
    }
    attribute = draw(st.sampled_from([a for a in query.FORMS if operators[a]]))
    name = draw(given_texts) if attribute in query.NAMED else None
    state = draw(st.integers(0, 11)) if of_jobs and attribute is query.Attribute.TIME else None
    values = _condition_values(attribute)

    def condition(operator: Operator) -> Condition:
        if operator is Operator.CHANGED:
            return Condition(attribute, operator, None, None, name, state)
        second = draw(values) if operator is Operator.WITHIN else None
        own = attribute is query.Attribute.OWNER and draw(st.booleans())
        return Condition(attribute, operator, None if own else draw(values), second, name, state)

    chosen = draw(st.lists(st.sampled_from(sorted(operators[attribute])), min_size=1, max_size=3))
    return tuple(condition(operator) for operator in chosen)


_limits = st.integers(0, 2**31 - 1)
_results = st.sampled_from([query.Results.UNDEFINED, query.Results.NONE, query.Results.LIMITED])
_job_groups = st.lists(_groups(of_jobs=True), min_size=1, max_size=3).map(tuple)
_event_groups = st.lists(_groups(of_jobs=False), max_size=3).map(tuple)
job_queries = st.builds(
    Query, jobs=_job_groups, flags=st.integers(0, 4095).map(query.Flag), soft_limit=_limits, results=_results
)
event_queries = st.builds(Query, jobs=_job_groups, events=_event_groups, soft_limit=_limits, results=_results)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at these places, wherever they fall."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


#: Places to cut at, to be used with `pieces`.
cuts = st.lists(st.integers(0, 10**6), max_size=12)


@st.composite
def mutations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of `seeds` with some bytes replaced, taken out, doubled or moved."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        middle = draw(
            st.sampled_from([b"", data[start:end] * 2, b"<", b">", b"&", b'"', b"\0", b"<a>", b"</and>", b"\r\n"])
        )
        data = data[:start] + (middle if draw(st.booleans()) else draw(st.binary(max_size=4))) + data[end:]
    return data
