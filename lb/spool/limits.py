"""Every bound of the spool with its default, in one place (promise P10)."""

from dataclasses import dataclass

from lb.bound import MEBIBYTE, Unit, bound


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one spool; sizes in bytes, times in seconds."""

    record_bytes: int = bound("spool-max-event", 100 * MEBIBYTE, Unit.BYTES, "longest event taken")
    destinations: int = bound("spool-max-destinations", 1000, Unit.COUNT, "destinations with events at once")
    destination_bytes: int = bound("spool-max-destination-name", 1024, Unit.BYTES, "longest destination name")
    waiting_bytes: int = bound(
        "spool-max-waiting", 64 * MEBIBYTE, Unit.BYTES, "what waits in memory for the disk; one chunk may exceed it"
    )
    disk_bytes: int = bound(
        "spool-max-disk",
        0,
        Unit.BYTES,
        "what the spool and its quarantine may occupy; the oldest events are kept",
        zero="as much as there is",
    )
    open_files: int = bound("spool-open-files", 128, Unit.COUNT, "files held open between uses")
    segment_bytes: int = bound(
        "spool-segment-size", 64 * MEBIBYTE, Unit.BYTES, "a segment that reached this is followed by a new one"
    )
    trim_bytes: int = bound(
        "spool-trim-size",
        4 * MEBIBYTE,
        Unit.BYTES,
        "a delivered segment of this size is removed without waiting for rest",
    )
    cursor_interval: float = bound(
        "spool-cursor-interval", 1.0, Unit.SECONDS, "longest time from a delivery to its note on disk", least=0.01
    )
    cursor_records: int = bound(
        "spool-cursor-events", 10_000, Unit.COUNT, "deliveries that are noted on disk without waiting for that time"
    )
    idle_time: float = bound(
        "spool-idle-time", 3600.0, Unit.SECONDS, "an empty destination untouched this long loses its directory"
    )
