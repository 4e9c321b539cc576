"""The documents of ``POST /querySequenceCode`` (spec: wire-query.md §7.7)."""

from __future__ import annotations

from typing import Final

from lb.model.errors import LBError, invalid
from lb.model.jobid import JobId, parse_cached
from lb.wire.lbxml.conditions import unexpected
from lb.wire.lbxml.status import error_attributes, error_of
from lb.wire.lbxml.text import escape, unescape
from lb.wire.lbxml.tree import ANSWER_LIMITS, REQUEST_LIMITS, Limits, broken, parse

_REQUEST: Final = "edg_wll_QuerySequenceCodeRequest"
_RESULT: Final = "edg_wll_QuerySequenceCodeResult"


def write_request(jobid: JobId, source: str = "UserInterface") -> bytes:
    """The document that asks for the code of a job; servers pass over the source."""
    return b"<%b>\r\n\t\t\t<jobId>%b</jobId>\r\n\t\t\t<source>%b</source>\r\n</%b>\r\n" % (
        _REQUEST.encode("ascii"),
        escape(str(jobid)),
        escape(source),
        _REQUEST.encode("ascii"),
    )


def read_request(data: bytes, limits: Limits = REQUEST_LIMITS) -> JobId:
    """The job whose code is asked for; raises 1407 (answered with 400), and EINVAL without a sound job id."""
    root = parse(data, limits)
    if root.tag.lower() != _REQUEST.lower():
        raise broken(f"<{root.tag[:80]}> where <{_REQUEST}> was expected")
    jobid: str | None = None
    for child in root.children:
        if child.tag.lower() == "jobid":
            jobid = unescape(child.text).strip()
        elif child.tag.lower() != "source":
            raise unexpected(child, _REQUEST)
    if not jobid:
        raise invalid("Missing jobid")
    return parse_cached(jobid)


def write_result(code: str | None, error: LBError | None = None) -> bytes:
    """The answer; a code or an error."""
    line = b"" if code is None else b"\t\t\t<sequence_code>%b</sequence_code>\r\n" % escape(code)
    attributes = b"" if error is None else error_attributes(error)
    return b"<%b%b>\r\n%b</%b>\r\n" % (_RESULT.encode("ascii"), attributes, line, _RESULT.encode("ascii"))


def read_result(data: bytes, limits: Limits = ANSWER_LIMITS) -> str:
    """The code in an answer; raises the error it carries, or 1407 when it is no such document."""
    root = parse(data, limits)
    if root.tag != _RESULT:
        raise broken(f"<{root.tag[:80]}> where <{_RESULT}> was expected")
    error = error_of(root)
    if error is not None:
        raise error
    code = next((child for child in root.children if child.tag == "sequence_code"), None)
    if code is None:
        raise broken(f"<{_RESULT}> without a code")
    return unescape(code.text)
