"""The request to check or repair stored states, and its answer: JSON on the query port, path ``/recompute``.

Of our own servers and clients only; the C implementation has nothing like it. One request is one slice of the jobs,
the next one goes on where its answer ended.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from lb.model.errors import Code, LBError, invalid

PATH: Final = "/recompute"
CONTENT_TYPE: Final = "application/json"
#: Most jobs of one slice: the writing thread stores no event meanwhile, some 50 ms for jobs of 20 events each.
MOST: Final = 100


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """Look at the `most` jobs behind the key `after`, and bring right what differs with `repair`."""

    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    most: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = MOST
    repair: bool = False


class Differing(msgspec.Struct):
    """A job whose stored state is not what its events say."""

    job: str
    attributes: list[str]  #: names, hidden ones with a leading dot; or the error that kept it from being told


class Answer(msgspec.Struct):
    """What was found. `last`: key of the last job looked at, None when there is none behind it."""

    checked: int = 0
    last: int | None = None
    differing: list[Differing] = []
    error: tuple[int, str] | None = None  #: code and text; nothing else counts then


_request: Final = msgspec.json.Decoder(Request)
_answer: Final = msgspec.json.Decoder(Answer)


def read_request(body: bytes) -> Request:
    """Raises EINVAL that says what is wrong."""
    try:
        return _request.decode(body)
    except msgspec.DecodeError as error:
        raise invalid(f"recompute request: {error}") from None


def read_answer(body: bytes) -> Answer:
    """Raises the error that the answer carries, or that it is none."""
    try:
        answer = _answer.decode(body)
    except msgspec.DecodeError as error:
        raise LBError(Code.SERVER_RESPONSE, f"recompute answer: {error}") from None
    if answer.error is not None:
        raise LBError(*answer.error)
    return answer


def write(document: Request | Answer) -> bytes:
    return msgspec.json.encode(document)
