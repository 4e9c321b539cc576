"""Reading one stretch of one segment, from which either records or the bounds of a damaged region come out.

A damaged record costs itself only: reading goes on at the next intact one.
"""

from collections.abc import Callable
from typing import NamedTuple

from lb.spool.segment import RECORD_OVERHEAD, Record, decode_records, find_record, record_length

WINDOW = 1024 * 1024  # bytes looked through at once for the next record behind damage


class Run(NamedTuple):
    """What lies at an offset: `records` up to the offset `stop`, or, with none, a damaged region up to `stop`."""

    records: list[Record]
    stop: int


def read_run(
    read_at: Callable[[int, int], bytes], offset: int, end: int, seed: int, previous: int, limit: int, length: int
) -> Run:
    """Return the run at `offset`, which lies before `end`.

    `read_at(length, offset)` returns bytes of the segment. `previous` is a number below all that can follow, `limit`
    the most records, `length` the bytes to fetch at once (one longer record is fetched whole).
    """
    length = min(length, end - offset)
    while True:
        data = read_at(length, offset)
        records, stop = decode_records(data, seed, previous, limit)
        if records:
            return Run(records, offset + stop)
        wanted = RECORD_OVERHEAD if len(data) < RECORD_OVERHEAD else record_length(data, 0, seed)
        if wanted is None or offset + wanted > end or len(data) < length:
            return Run([], next_record(read_at, offset + 1, end, seed))
        if wanted <= len(data):
            return Run([], offset + wanted)  # the head is intact and says where the next record begins
        length = wanted


def next_record(read_at: Callable[[int, int], bytes], offset: int, end: int, seed: int) -> int:
    """Return the offset of the first intact record head from `offset` on, `end` if there is none."""
    while offset < end:
        data = read_at(min(WINDOW, end - offset), offset)
        found = find_record(data, 0, seed)
        if found is not None:
            return offset + found
        if len(data) < RECORD_OVERHEAD:
            return end
        offset += len(data) - RECORD_OVERHEAD + 1
    return end
