"""Recorded exchanges about notifications between C programs, from `vectors/exchanges.zip`."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

#: Exchanges of C clients with a C server, by the function asked for.
REGISTRATIONS = {
    "06-notify-new-job": "New",
    "07-notify-receive": "Bind",
    "08-notify-refresh": "Refresh",
    "08b-notify-bind": "Bind",
    "08c-notify-change": "Change",
    "08d-notify-drop": "Drop",
    "09-notify-new-owner": "New",
    "50-notify-new-history": "New",
}


@cache
def files() -> dict[str, bytes]:
    """Every recorded file by its name: one direction of an exchange."""
    with zipfile.ZipFile(Path(__file__).with_name("vectors") / "exchanges.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def request(name: str) -> bytes:
    """The document that a C client sent."""
    return files()[f"{name}.00.out.bin"].partition(b"\r\n\r\n")[2]


def answer(name: str) -> bytes:
    """The document that a C server answered."""
    return files()[f"{name}.01.in.bin"].partition(b"\r\n\r\n")[2]


def lines() -> list[bytes]:
    """The lines that a C server wrote to its notification interlogger, with their LF."""
    return [data for name, data in files().items() if name.startswith("unix-71")]


def frames() -> list[bytes]:
    """The messages that a C interlogger sent to receivers."""
    return [files()["notif.00.out.bin"], files()["07-notify-receive.02.in.bin"]]


#: What a C receiver answered.
def reply() -> bytes:
    return files()["notif.01.in.bin"]
