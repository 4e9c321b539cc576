"""Recorded event streams, and copies of them under fresh job ids.

Ids of subjobs follow from their parent's, as the server derives them; ids inside values follow too. A copy says which
registrations must go directly to the server; nothing is sent here.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lb.model import jdl, jobid
from lb.model.catalogue import BY_NAME, Kind, Source
from lb.model.errors import LBError
from lb.model.event import Event, Value
from lb.model.jobid import JobId
from lb.model.seqcode import Sequence, flavour_of_flesh
from lb.state.registration import REGISTRATION, subjobs_of
from lb.wire import ulm

_JOBID_FIELD: Final = b"DG.JOBID="
#: What a job is registered as when its stream has no registration, by the flesh of its first event.
_JOB_TYPES: Final = {
    "PBS": "PBS",
    "Condor": "CONDOR",
    "CREAM": "CREAM",
    "Transfer": "FILE_TRANSFER",
    "VirtualMachine": "VIRTUAL_MACHINE",
}
#: Placeholder identity while a line is read; each copy gets the identity of who replays it.
_NOBODY: Final = "nobody"


class Unreadable(NamedTuple):
    """A line that is no event."""

    number: int  #: in the file, from 1
    reason: str


class Recording(NamedTuple):
    """A stream: its events in order, and registrations known from beside it."""

    name: str
    events: list[Event]
    registrations: list[Event]
    unreadable: list[Unreadable]


def read_file(path: Path) -> Recording:
    """Read ``X.ulm`` (or ``X.ulm.xz``) and, if it is there, ``X-registration.ulm`` beside it; raises `OSError`."""
    stem, dot, suffixes = path.name.partition(".")
    companion = path.with_name(f"{stem}-registration{dot}{suffixes}")
    lines = _lines(path)
    return read(path.name, lines, _lines(companion) if companion != path and companion.exists() else ())


def _lines(path: Path) -> list[bytes]:
    data = path.read_bytes()
    if path.suffix == ".xz":
        try:
            data = lzma.decompress(data)
        except lzma.LZMAError as error:
            raise OSError(5, f"{path} is no xz file ({error})") from None
    return data.split(b"\n")


def read(name: str, lines: Iterable[bytes], registrations: Iterable[bytes] = ()) -> Recording:
    """Read event lines. All lines without a job id belong to one job; blank lines are passed over."""
    lines, registrations = list(lines), list(registrations)
    nameless = _nameless_job([*registrations, *lines])
    unreadable: list[Unreadable] = []
    events = list(_events(lines, nameless, unreadable))
    beside = [event for event in _events(registrations, nameless, []) if event.type is REGISTRATION]
    return Recording(name, events, beside, unreadable)


def _events(lines: Iterable[bytes], nameless: JobId, unreadable: list[Unreadable]) -> Iterator[Event]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if _JOBID_FIELD not in line:
            line = b'%b"%b" %b' % (_JOBID_FIELD, str(nameless).encode("utf-8", "surrogateescape"), line)
        try:
            yield ulm.parse(line, _NOBODY)
        except LBError as error:
            unreadable.append(Unreadable(number, error.description))


def _nameless_job(lines: list[bytes]) -> JobId:
    """The job of the lines without a job id: its description may name it, otherwise any id does."""
    for line in lines:
        if _JOBID_FIELD in line or b'"RegJob"' not in line:
            continue
        try:
            fields = {field.key: field.value for field in ulm.split(ulm.decode(line))}
            named = jdl.attribute_of(fields.get("DG.REGJOB.JDL", ""), "edg_jobid")
            if named is not None:
                return jobid.parse(named)
        except LBError:
            continue
    return jobid.create("nameless.invalid", "job")


# --- fresh ids ------------------------------------------------------------------------------------------------

_UNIQUE = r"(?:FT:)?[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])"
_ID = re.compile(rf"https://([^\s/\"'<>\\]+)/({_UNIQUE})")
#: An id as file names carry it: what is no letter, digit, dot or hyphen is an underscore and two hexadecimal digits.
_FILE_NAME = re.compile(r"https_3a_2f_2f(?:[A-Za-z0-9.\-]|_[0-9a-f]{2})+")
_ESCAPED = re.compile(r"_([0-9a-f]{2})")
_TO_ESCAPE = re.compile(r"[^A-Za-z0-9.\-]")


class Renaming:
    """Fresh ids on one server for the jobs of a recording; the same old id always gives the same new one."""

    def __init__(self, recording: Recording, server: str, unique: Callable[[], str] = jobid.random_unique) -> None:
        self._server = server
        self._unique = unique
        self._new: dict[str, JobId] = {}
        self._parents: dict[str, Event] = {}  # subjob → registration of its parent
        self._servers = {event.jobid.server for event in (*recording.registrations, *recording.events)}
        for event in (*recording.registrations, *recording.events):
            for subjob in _subjobs(event):
                self._parents.setdefault(str(subjob), event)

    def parent_of(self, old: JobId) -> Event | None:
        """The registration that makes a job as a subjob; None for other jobs."""
        return self._parents.get(str(old))

    def job(self, old: JobId) -> JobId:
        """The new id of a job."""
        text = str(old)
        found = self._new.get(text)
        if found is None:
            registration = self._parents.get(text)
            if registration is None or registration.jobid == old:
                found = self._new[text] = jobid.create(self._server, self._unique())
            else:
                self._derive(registration)
                found = self._new[text]
        return found

    def _derive(self, registration: Event) -> None:
        """New ids for all subjobs of a parent."""
        before = list(_subjobs(registration))
        after = jobid.subjobs(self.job(registration.jobid), len(before), registration.text("seed"))
        for old, new in zip(before, after, strict=True):
            self._new.setdefault(str(old), new)

    def text(self, value: str) -> str:
        """The value with all ids of the recording's servers replaced."""
        if "https" not in value:
            return value
        return _FILE_NAME.sub(self._file_name, _ID.sub(self._id, value))

    def _id(self, found: re.Match[str]) -> str:
        old = JobId(*jobid.split_server(found[1]), found[2])
        return str(self.job(old)) if old.server in self._servers else found[0]

    def _file_name(self, found: re.Match[str]) -> str:
        before = _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), found[0])
        after = _ID.sub(self._id, before)
        return found[0] if after == before else _TO_ESCAPE.sub(lambda other: f"_{ord(other[0]):02x}", after)

    def event(self, event: Event, user: str) -> Event:
        """The event under its new ids, as `user` logs it."""
        attributes: dict[str, Value] = {}
        for name, value in event.attributes.items():
            kind = event.type.by_name[name].kind
            if not isinstance(value, str):
                attributes[name] = value
            elif kind is Kind.JOBID:
                attributes[name] = str(self.job(jobid.parse(value)))
            else:
                attributes[name] = self.text(value)
        return Event(
            event.type,
            self.job(event.jobid),
            timestamp=event.timestamp,
            host=event.host,
            source=event.source,
            seqcode=event.seqcode,
            user=user,
            attributes=attributes,
            src_instance=event.src_instance,
            level=event.level,
        )


def _subjobs(event: Event) -> Iterator[JobId]:
    try:
        return subjobs_of(event)
    except LBError:
        return iter(())


# --- copies ---------------------------------------------------------------------------------------------------


class Copy:
    """A recording under fresh ids: `registrations` go directly to the server, `events` follow through the logger."""

    def __init__(
        self, recording: Recording, server: str, user: str, unique: Callable[[], str] = jobid.random_unique
    ) -> None:
        """`server`: ``HOST[:PORT]`` of the new ids; `user`: who logs them."""
        self._recording = recording
        self._user = user
        self._renaming = Renaming(recording, server, unique)
        self._first = self._first_registrations()
        self._direct = {id(event) for event in self._first}

    @property
    def registrations(self) -> Iterator[Event]:
        """The first registration of each job that is no subjob of another one here; made up where there is none."""
        for event in self._first:
            yield self._renaming.event(event, self._user)

    @property
    def events(self) -> Iterator[Event]:
        """All other events, in the order of the recording."""
        for event in self._recording.events:
            if id(event) not in self._direct:
                yield self._renaming.event(event, self._user)

    @property
    def jobs(self) -> list[JobId]:
        """The new ids of all jobs that have events, in the order of their first one."""
        old = dict.fromkeys(event.jobid for event in self._first)
        old.update(dict.fromkeys(event.jobid for event in self._recording.events))
        return [self._renaming.job(each) for each in old]

    def _first_registrations(self) -> list[Event]:
        known: dict[JobId, Event] = {}
        for event in (*self._recording.events, *self._recording.registrations):
            if event.type is REGISTRATION:
                known.setdefault(event.jobid, event)
        found: dict[JobId, Event] = {}
        for event in self._recording.events:
            job = event.jobid
            while (parent := self._renaming.parent_of(job)) is not None and parent.jobid != job:
                job = parent.jobid
            if job not in found:
                found[job] = known[job] if job in known else self._made_up(event)
        return list(found.values())

    def _made_up(self, first: Event) -> Event:
        """A registration for a job whose recording has none."""
        sequence = Sequence(Source.UserInterface, flavour_of_flesh(first.type.flesh))
        codes = BY_NAME["RegJob"].by_name["jobtype"].codes
        return Event(
            REGISTRATION,
            first.jobid,
            timestamp=first.timestamp,
            host=first.host,
            source=Source.UserInterface,
            seqcode=sequence.text,
            user=self._user,
            attributes={"jobtype": codes[_JOB_TYPES.get(first.type.flesh, "SIMPLE")], "ns": first.host or "unknown"},
        )
