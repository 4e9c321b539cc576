"""Jobs that had events lately, as the writing thread left them, so that a batch need not read them again.

Bounded in number and in the size of their long texts; what is not here is loaded from the store.
Only jobs whose state equals the stored one are ever in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from lb.state.job import NO_TEXTS, Texts
from lb.store.interface import StoredJob, Writer

#: Some 4 kB each without long texts.
MAX_JOBS: Final = 8_000
#: Characters of long texts held in all.
MAX_TEXT: Final = 16 << 20


class JobCache:
    """Recently used jobs by unique part, least recently used first."""

    def __init__(self, max_jobs: int = MAX_JOBS, max_text: int = MAX_TEXT) -> None:
        self._max_jobs = max_jobs
        self._max_text = max_text
        self._jobs: OrderedDict[str, tuple[StoredJob, int]] = OrderedDict()
        self._text = 0

    def take(self, writer: Writer, uniques: Iterable[str]) -> dict[str, StoredJob]:
        """The known jobs among `uniques`, read from the store where they are not here."""
        found, absent = {}, []
        for unique in uniques:
            held = self._jobs.get(unique)
            if held is None:
                absent.append(unique)
            else:
                found[unique] = held[0]
        if absent:
            found.update(writer.load(absent))
        return found

    def add(self, jobs: Mapping[str, StoredJob]) -> None:
        """Keep jobs that have just been stored."""
        for unique, job in jobs.items():
            self._drop(unique)
            size = _size(job.state.texts)
            self._jobs[unique] = job, size
            self._text += size
        while self._jobs and (len(self._jobs) > self._max_jobs or self._text > self._max_text):
            self._drop(next(iter(self._jobs)))

    def forget(self, uniques: Iterable[str]) -> None:
        """Drop jobs whose changes were not stored."""
        for unique in uniques:
            self._drop(unique)

    def _drop(self, unique: str) -> None:
        held = self._jobs.pop(unique, None)
        if held is not None:
            self._text -= held[1]


def _size(texts: Texts) -> int:
    if texts is NO_TEXTS:
        return 0
    whole = (texts.jdl, texts.matched_jdl, texts.condor_jdl, texts.rsl, texts.cream_jdl, *texts.branches.values())
    return sum(len(text) for text in whole if text is not None)
