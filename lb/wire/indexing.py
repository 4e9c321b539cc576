"""The request to change what a server indexes, and its answer: JSON on the query port, path ``/indexConfiguration``.

Of our own servers and clients only: the C tools change the database of a stopped server. Columns are named as in
their files.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from lb.model.errors import Code, LBError, invalid
from lb.model.indexing import Column, Index, column

PATH: Final = "/indexConfiguration"
CONTENT_TYPE: Final = "application/json"
#: Most columns of all indices together: each has a row for each job.
MOST_COLUMNS: Final = 64

#: Type and name of a column.
_Named = tuple[str, str]
_Indices = Annotated[list[Annotated[list[_Named], msgspec.Meta(min_length=1)]], msgspec.Meta(max_length=MOST_COLUMNS)]


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """Have these indices from now on; None only asks what there is."""

    indices: _Indices | None = None


class Answer(msgspec.Struct):
    """What is configured; `filling`: not all of it is usable yet."""

    indices: list[list[_Named]] = []
    filling: bool = False
    error: tuple[int, str] | None = None  #: code and text; nothing else counts then


_request: Final = msgspec.json.Decoder(Request)
_answer: Final = msgspec.json.Decoder(Answer)


def named(indices: tuple[Index, ...] | list[Index]) -> list[list[_Named]]:
    """Indices by the names of their columns."""
    return [[(each.kind, each.label) for each in index] for index in indices]


def columns(indices: list[list[_Named]]) -> tuple[Index, ...]:
    """Indices of names; raises EINVAL for columns that there are not, that repeat, or that are too many."""
    found = tuple(tuple(column(kind, label) for kind, label in index) for index in indices)
    every: set[Column] = set()
    for index in found:
        if len(set(index)) < len(index):
            raise invalid(f"{index[0].title}: an index names a column twice")
        every.update(index)
    if len(every) > MOST_COLUMNS:
        raise invalid(f"{len(every)} columns are to be indexed, at most {MOST_COLUMNS} are")
    return found


def read_request(body: bytes) -> tuple[Index, ...] | None:
    """Raises EINVAL that says what is wrong."""
    try:
        asked = _request.decode(body)
    except msgspec.DecodeError as error:
        raise invalid(f"index request: {error}") from None
    return None if asked.indices is None else columns(asked.indices)


def read_answer(body: bytes) -> Answer:
    """Raises the error that the answer carries, or that it is none."""
    try:
        answer = _answer.decode(body)
    except msgspec.DecodeError as error:
        raise LBError(Code.SERVER_RESPONSE, f"index answer: {error}") from None
    if answer.error is not None:
        raise LBError(*answer.error)
    return answer


def write(document: Request | Answer) -> bytes:
    return msgspec.json.encode(document)
