"""Arbitrary events, and damage done to lines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from lb.model.catalogue import TYPES, Attribute, EventType, Kind
from lb.model.event import Event
from lb.model.jobid import JobId

#: Bytes that mean something to a reader of lines.
NASTY = b'"\\\n\r\t =nx.\xc3\xa9\xff'

#: Any text that bytes without NUL decode to, whatever their encoding.
texts = st.one_of(
    st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")),
    st.lists(st.sampled_from(NASTY), max_size=12).map(lambda codes: bytes(codes).decode("utf-8", "surrogateescape")),
)
given_texts = texts.filter(bool)
_words = st.text(st.sampled_from("abcXYZ019-_.[]\"\\'é"), min_size=1, max_size=12)
jobids = st.builds(JobId, _words, st.integers(1, 65535), _words, st.none() | texts)
#: Microseconds of the years 1970 to 9999, without the null.
times = st.integers(1, 253_402_300_799_999_999)


def without(characters: str) -> st.SearchStrategy[str]:
    """Texts that lack some characters; what then stands side by side may be the bytes of one more."""

    def lacking(text: str) -> str:
        kept = "".join(character for character in text if character not in characters)
        return kept.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")

    return texts.map(lacking)


_pairs = st.tuples(without(",="), without(",").filter(bool))


def values(attribute: Attribute) -> st.SearchStrategy[Any]:
    """Values of an attribute, never null."""
    by_kind: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.STRING: given_texts,
        Kind.INT: st.integers(-(2**31), 2**40),
        Kind.PORT: st.integers(1, 65535),
        Kind.DOUBLE: st.integers(-(10**12), 10**12).map(lambda millionths: millionths / 10**6),
        Kind.CODED: st.sampled_from(sorted(attribute.names) or [0]),
        Kind.LOGSRC: st.integers(1, 19),
        Kind.JOBID: jobids.map(str),
        Kind.NOTIFID: jobids.map(str),
        Kind.TIMEVAL: times,
        Kind.TAGLIST: st.lists(_pairs, min_size=1, max_size=3).map(tuple),
    }
    return by_kind[attribute.kind].filter(lambda value: value != attribute.null)


@st.composite
def events_of(draw: st.DrawFn, type_: EventType) -> Event:
    """A complete event of this type, with any of its optional attributes."""
    attributes = draw(
        st.fixed_dictionaries(
            {a.name: values(a) for a in type_.attributes if a.mandatory},
            optional={a.name: values(a) for a in type_.attributes if not a.mandatory},
        )
    )
    return Event(
        type_,
        draw(jobids),
        timestamp=draw(times),
        host=draw(texts),
        source=draw(st.integers(1, 19)),
        seqcode=draw(texts),
        user=draw(texts),
        attributes=attributes,
        src_instance=draw(texts),
        level=draw(st.integers(0, 10)),
        priority=draw(st.integers(0, 255)),
    )


events = st.sampled_from(TYPES).flatmap(events_of)


@st.composite
def damaged(draw: st.DrawFn, lines: st.SearchStrategy[bytes]) -> bytes:
    """A line with a few bytes put in, taken out or changed."""
    line = bytearray(draw(lines))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(line)))
        removed = draw(st.sampled_from((0, 0, 1, 1, 2, 10)))
        put = draw(st.lists(st.sampled_from(NASTY + b"\0D"), max_size=3))
        line[place : place + removed] = bytes(put)
    return bytes(line)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]
