"""Rows without a daemon: one step of the work by itself, in this process, on a recorded job."""

from __future__ import annotations

import lzma
from importlib import resources

from bench.frame import Measurement, Row
from bench.site import Site
from lb.model.event import Event
from lb.state import fold
from lb.wire import ulm

_ROUNDS = 500
_NOBODY = "/CN=nobody"


def _recorded() -> list[bytes]:
    """Lines of a typical job, its registration first."""
    samples = resources.files("lb").joinpath("samples")
    names = ("job-typical-registration.ulm.xz", "job-typical.ulm.xz")
    return [line for name in names for line in lzma.decompress(samples.joinpath(name).read_bytes()).splitlines()]


def _read(line: bytes) -> Event:
    return ulm.parse(line, _NOBODY)


def reading(site: Site) -> Measurement:
    """Event lines read."""
    lines = _recorded()
    with site.measuring() as measured:
        measured.timed(_ROUNDS * len(lines), lambda n: _read(lines[n % len(lines)]))
    return measured


def folding(site: Site) -> Measurement:
    """Events of a typical job folded into a new job, again and again."""
    events = [_read(line) for line in _recorded()]
    with site.measuring() as measured:
        for _ in range(_ROUNDS):
            job = fold.blank(events[0].jobid, _NOBODY)
            measured.timed(len(events), lambda n, job=job: fold.step(job, events[n]))  # type: ignore[misc]
    return measured


READING = Row("reading alone", reading, ())
FOLDING = Row("fold alone", folding, ())
