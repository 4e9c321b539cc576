"""Times as batch systems write them: local ones without a zone, some without a year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
#: Years back in which 29 February is looked for.
_YEARS: Final = 8


def microseconds(moment: datetime, zone: tzinfo | None) -> int:
    """Microseconds since the epoch; `zone` is that of a moment without one, None = the machine's own."""
    if moment.tzinfo is None:
        moment = moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
    return (moment - _EPOCH) // _MICROSECOND


def read_iso(text: str, zone: tzinfo | None) -> int | None:
    """A time of ISO 8601; None for anything else."""
    try:
        return microseconds(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError, OSError):
        return None


def read_without_year(text: str, zone: tzinfo | None, now: int) -> int | None:
    """A time ``MM/DD hh:mm:ss``: the last one that is not after `now`, but for a day of clocks that differ."""
    latest = _EPOCH + timedelta(microseconds=now) + _DAY
    for year in range(latest.year, latest.year - _YEARS, -1):
        try:
            found = microseconds(datetime.strptime(f"{year}/{text}", "%Y/%m/%d %H:%M:%S"), zone)  # noqa: DTZ007
        except ValueError:
            continue
        if found <= (latest - _EPOCH) // _MICROSECOND:
            return found
    return None
