"""Every bound of the spool with its default, in one place (promise P10)."""

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one spool; sizes in bytes, times in seconds.

    `record_bytes`: largest payload.
    `destinations`: most destinations at once.
    `destination_bytes`: longest destination name.
    `waiting_bytes`: what may wait in memory for stable storage before `append` refuses; one chunk may overshoot it.
    `disk_bytes`: what all segments together may occupy, 0 = as much as there is; the oldest data is what is kept.
    `open_files`: files held open between uses; beyond it the least recently used are closed.
    `segment_bytes`: a segment that reached this size is followed by a new one.
    `trim_bytes`: a fully acknowledged last segment of at least this size is removed at once, not when the queue idles.
    `cursor_interval`: longest time between an acknowledgement and its cursor on disk.
    `cursor_records`: ... and the number of acknowledgements that does not wait for it.
    `idle_time`: an empty destination untouched this long loses its directory.
    """

    record_bytes: int = 100 * MEBIBYTE
    destinations: int = 1000
    destination_bytes: int = 1024
    waiting_bytes: int = 64 * MEBIBYTE
    disk_bytes: int = 0
    open_files: int = 128
    segment_bytes: int = 64 * MEBIBYTE
    trim_bytes: int = 4 * MEBIBYTE
    cursor_interval: float = 1.0
    cursor_records: int = 10_000
    idle_time: float = 3600.0
