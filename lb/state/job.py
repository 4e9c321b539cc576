"""What is kept of a job between events: its status, the hidden fields of the fold, its long texts.

Long texts (JDL and the like, up to megabytes) are kept apart so that a change of state never rewrites them.
The stored forms carry a version; an older version must stay readable.
"""

from __future__ import annotations

import json
from copy import copy
from typing import Any, Final, TypeVar

import msgspec

from lb.model.status import JobStatus, State
from lb.state.generic.memory import Memory

#: Version of the stored forms below and of the rules that made them.
VERSION: Final = 2


class Branch(msgspec.Struct, array_like=True, frozen=True):
    """What is known of one WM counter value; its matched JDL is in `Texts.branches`."""

    number: int
    destination: str | None = None
    ce_node: str | None = None


class Tag(msgspec.Struct, array_like=True, frozen=True):
    """Where a user tag stands in the status, and the code of the event that gave its value."""

    place: int  #: index in `JobStatus.user_tags`
    seqcode: str


class Hidden(msgspec.Struct, omit_defaults=True):
    """Fields of the fold that no status shows (state-machine.md §2.4). Codes are sequence code texts."""

    version: int = 1  #: of the form it was stored in; form 1 does not say so
    number: int = -1  #: number of the last event included
    embryonic: bool = False  #: made by the registration of its parent, before any event of its own
    born: int = 0  #: microseconds, when that was; form 1 does not say so
    counted: int = State.Unknown  #: class under which its parent's histogram counts it
    collected: int = 0  #: events that came before a registration and were taken in the order of their codes then
    last: str | None = None
    cancel: str | None = None
    tag: str | None = None
    lastbr: str | None = None
    deep: str | None = None
    branches: list[Branch] = []  #: by rising number
    tags: dict[str, Tag] = {}  #: by name
    pay_pending: str | None = None
    pay_unconfirmed: str | None = None
    generic: Memory | None = None  #: of a job whose family a site describes


class Texts(msgspec.Struct, omit_defaults=True, frozen=True):
    """Long texts of a job. Replaced, never changed: who stores them compares by identity."""

    jdl: str | None = None
    matched_jdl: str | None = None
    condor_jdl: str | None = None
    rsl: str | None = None
    cream_jdl: str | None = None
    branches: dict[int, str] = {}  #: matched JDL by WM counter value


NO_TEXTS: Final = Texts()


class Job:
    """The fold's working record of one job.

    `status` never holds the attributes of `Texts`; `view` joins them for an answer.
    """

    __slots__ = ("hidden", "status", "texts")

    def __init__(self, status: JobStatus | None = None, hidden: Hidden | None = None, texts: Texts = NO_TEXTS) -> None:
        self.status = status if status is not None else JobStatus()
        self.hidden = hidden if hidden is not None else Hidden(version=VERSION)
        self.texts = texts

    def set_text(self, name: str, value: str | None) -> None:
        """Replace one long text, e.g. ``jdl``."""
        if getattr(self.texts, name) != value:
            self.texts = msgspec.structs.replace(self.texts, **{name: value})

    def copy(self) -> Job:
        """A copy that shares nothing the fold changes: what it changes in place is copied, the rest it replaces."""
        status, hidden = copy(self.status), copy(self.hidden)
        status.stateEnterTimes = status.stateEnterTimes.copy()
        for name in _GROWING:
            held = getattr(status, name)
            if held is not None:
                setattr(status, name, held.copy())
        hidden.branches = hidden.branches.copy()
        hidden.tags = hidden.tags.copy()
        hidden.generic = hidden.generic and hidden.generic.copy()
        return Job(status, hidden, self.texts)

    def view(self) -> JobStatus:
        """The status with the long texts in place; a new record."""
        texts = self.texts
        return msgspec.structs.replace(
            self.status,
            jdl=texts.jdl,
            matched_jdl=texts.matched_jdl,
            condor_jdl=texts.condor_jdl,
            rsl=texts.rsl,
            cream_jdl=texts.cream_jdl,
        )


#: Lists of the status that the fold changes in place.
_GROWING: Final = ("user_tags", "possible_destinations", "possible_ce_nodes", "children_hist")

_encoder = msgspec.json.Encoder()
_Pair = tuple[JobStatus, Hidden]
_pair_decoder: msgspec.json.Decoder[_Pair] = msgspec.json.Decoder(_Pair)
_texts_decoder: msgspec.json.Decoder[Texts] = msgspec.json.Decoder(Texts)
_T = TypeVar("_T")


def encode(job: Job) -> bytes:
    """Stored form of status and hidden fields: JSON ``[status, hidden]``, defaults left out."""
    return _encode((job.status, job.hidden))


def decode(stored: bytes, texts: Texts = NO_TEXTS) -> Job:
    status, hidden = _decode(stored, _pair_decoder, _Pair)
    return Job(status, hidden, texts)


def encode_texts(texts: Texts) -> bytes:
    return _encode(texts)


def decode_texts(stored: bytes | None) -> Texts:
    return NO_TEXTS if stored is None else _decode(stored, _texts_decoder, Texts)


def _encode(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        # Peers send bytes that are no UTF-8; they live here as lone surrogates, which only ASCII JSON can carry.
        return json.dumps(msgspec.to_builtins(value)).encode("ascii")


def _decode(stored: bytes, decoder: msgspec.json.Decoder[_T], type_: Any) -> _T:
    try:
        return decoder.decode(stored)
    except msgspec.DecodeError:
        value: _T = msgspec.convert(json.loads(stored), type_, strict=False)
        return value
