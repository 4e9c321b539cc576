"""Rows of jobs as every store reads them: what stands in which column, and what it makes.

`text` is how the store's columns give a text of ours. Holds no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from lb.model.jobid import JobId
from lb.state.job import decode, decode_texts, encode_texts
from lb.store.interface import JobEntry, Renewal, StoredJob

#: What the functions below expect of a row; the texts come behind, or NULL.
JOB_COLUMNS: Final = "j.id, j.unique_part, j.host, j.port, j.owner, j.owner_key, j.grey, j.parent, j.acl, j.status"

Text = Callable[[Any], str]


def _optional(value: Any, text: Text) -> str | None:
    return None if value is None else text(value)


def job_id(row: tuple[Any, Any, int], text: Text) -> JobId:
    """The id of unique part, host, port."""
    unique, host, port = row
    return JobId(text(host), port, text(unique))


def stored_job(row: tuple[Any, ...], text: Text) -> StoredJob:
    """A job as the writing side holds it."""
    key, unique, host, port, owner, owner_key, grey, parent, acl, status, content = row
    return StoredJob(
        key,
        job_id((unique, host, port), text),
        text(owner),
        text(owner_key),
        decode(status, decode_texts(content)),
        grey=bool(grey),
        parent=_optional(parent, text),
        acl=_optional(acl, text),
        fresh=False,
    )


def changed_texts(jobs: Iterable[StoredJob]) -> list[tuple[int, bytes]]:
    """Keys and long texts of those jobs whose texts are not as they were stored."""
    replaced = (job for job in jobs if job.state.texts is not job.stored_texts)
    return [(job.key, encode_texts(job.state.texts)) for job in replaced if job.state.texts != job.stored_texts]


def job_entry(
    row: tuple[Any, ...],
    text: Text,
    renewal: Renewal | None,
    lines: Callable[[int], Iterable[bytes]],
    *,
    texts: bool,
) -> JobEntry:
    """A job as queries see it, brought up to date by `renewal` from its `lines`."""
    key, unique, host, port, owner, _, _, parent, acl, status, content = row
    job = decode(status, decode_texts(content))
    jobid = job_id((unique, host, port), text)
    if renewal is not None:
        job = renewal(job, jobid, text(owner), partial(lines, key))
    return JobEntry(
        key, jobid, text(owner), _optional(parent, text), _optional(acl, text), job.view() if texts else job.status
    )
