"""What a server's time zone ``SYSTEM`` means, told by the server itself; and how another server gets the same.

The log says ``SYSTEM`` where a session had it, and nobody's log says what that is: it comes from the machine, or from
``TZ`` of the process. So every change of the offset is asked for, once, in statements that any account may run.
"""

from __future__ import annotations

import hashlib
import os
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from relight.backups.manifest import SystemZone
from relight.durable import write_whole
from relight.errors import StatementFailed
from relight.server.session import Session

_DAY = 86400
_FIRST, _LAST = _DAY, 2145830400
"""What TIMESTAMP can hold in every version: from 1970 up to the end of 2037, in seconds since 1970."""
_MOST_OFFSET = 13 * 3600 + 59 * 60
"""The largest, in both directions, that every version takes as a session's time zone."""
_OFFSET = "TIMESTAMPDIFF(SECOND, '1970-01-01', FROM_UNIXTIME({0})) - {0}"
_DAILY = (
    f"WITH RECURSIVE days (t) AS (SELECT {_FIRST} UNION ALL SELECT t + {_DAY} FROM days WHERE t < {_LAST}),"
    f" offsets AS (SELECT t, {_OFFSET.format('t')} AS now FROM days),"
    " both_sides AS (SELECT t, now, LAG(now) OVER (ORDER BY t) AS before_it FROM offsets)"
    " SELECT /*+ SET_VAR(cte_max_recursion_depth = 100000) */ t, before_it, now FROM both_sides"
    " WHERE before_it IS NULL OR now <> before_it ORDER BY t"
)
_FILE = "relight.zone"
"""Lies in a data directory that Relight has built, so that it holds however often that server is started."""

_USUAL = ("Europe/", "America/", "Asia/", "Africa/", "Australia/")
"""Of several names for the same times, people rather read one of these."""

Changes = tuple[tuple[int, int], ...]
"""Since when, in seconds since 1970, and the offset from then on, in seconds east of UTC."""


def system_zone(session: Session) -> SystemZone:
    """What ``SYSTEM`` means on the session's server."""
    changes = _changes(session, "SYSTEM")
    fixed = changes[0][1] if len(changes) == 1 else None
    return SystemZone(name=_name(changes), offset=fixed, digest=_digest(changes))


def same_zone(session: Session, zone: SystemZone) -> str | None:
    """The name under which the session's server has that zone: ``SYSTEM``, an offset, or one that it knows from its
    tables. None where it has it under none."""
    if _digest(_changes(session, "SYSTEM")) == zone.digest:
        return "SYSTEM"
    if zone.offset is not None:
        return _as_offset(zone.offset)
    try:
        known = bool(zone.name) and _digest(_changes(session, zone.name)) == zone.digest
    except StatementFailed:
        return None  # its tables of time zones are empty, or do not have this one
    return zone.name if known else None


def write_zone(datadir: Path, zone: SystemZone | None) -> None:
    """Have the server of a directory that Relight is building started with this zone from now on."""
    write_whole(datadir / _FILE, zone.name if zone is not None else "")


def zone_environment(datadir: Path) -> dict[str, str]:
    """What the environment of the server of a directory must hold; nothing where Relight has not built it."""
    try:
        name = (datadir / _FILE).read_text(encoding="ascii")
    except FileNotFoundError:
        return {}
    return {"TZ": name} if name else {}


def environment_of(zone: SystemZone | None) -> dict[str, str]:
    """What the environment of a process must hold that shall have the zone; nothing where that is not known."""
    return {"TZ": zone.name} if zone is not None and zone.name else {}


def _changes(session: Session, name: str) -> Changes:
    session.run("SET SESSION time_zone = %s", name)
    try:
        rows = [(int(t), None if before is None else int(before), int(now)) for t, before, now in session.rows(_DAILY)]
        since = _exactly(session, {t: before for t, before, _ in rows if before is not None})
    finally:
        session.run("SET SESSION time_zone = DEFAULT")
    return tuple((since.get(t, t), now) for t, _, now in rows)


def _exactly(session: Session, before: dict[int, int]) -> dict[int, int]:
    """Of changes that lie on the day before an instant: the second at which they are. ``before``: the offset that was
    in force until then."""
    spans = {t: (t - _DAY, t) for t in before}
    while any(high - low > 1 for low, high in spans.values()):
        middles = {t: (low + high) // 2 for t, (low, high) in spans.items()}
        row = session.row("SELECT " + ", ".join(_OFFSET.format(middle) for middle in middles.values()))
        for (t, middle), offset in zip(middles.items(), row, strict=True):
            low, high = spans[t]
            spans[t] = (middle, high) if int(offset) == before[t] else (low, middle)
    return {t: high for t, (_, high) in spans.items()}


def _digest(changes: Changes) -> str:
    return hashlib.sha256(repr(changes).encode()).hexdigest()


def _name(changes: Changes) -> str:
    """A name under which the C library has a zone with exactly these changes; a plain offset needs none."""
    for name in _names_here():
        if _has(name, changes):
            return name
    if len(changes) == 1:
        return _posix(changes[0][1])
    known = sorted(zoneinfo.available_timezones(), key=lambda name: (not name.startswith(_USUAL), name))
    return next((name for name in known if _has(name, changes)), "")


def _names_here() -> Iterator[str]:
    """What this machine is set to, which mostly is the server's. Whether it is, is found out by its changes."""
    if name := os.environ.get("TZ", "").removeprefix(":"):
        yield name
    here = os.path.realpath("/etc/localtime")
    if "/zoneinfo/" in here:
        yield here.rpartition("/zoneinfo/")[2]


def _has(name: str, changes: Changes) -> bool:
    try:
        zone = zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False

    def offset(instant: int) -> int:
        return int((datetime.fromtimestamp(instant, UTC).astimezone(zone).utcoffset() or timedelta()).total_seconds())

    before = [(since - 1, changes[number][1]) for number, (since, _) in enumerate(changes[1:])]
    if any(offset(instant) != wanted for instant, wanted in (*changes, *before)):
        return False
    daily = [offset(instant) for instant in range(_FIRST, _LAST + 1, _DAY)]
    return sum(one != other for one, other in pairwise(daily)) == len(changes) - 1


def _posix(offset: int) -> str:
    """As POSIX writes it in ``TZ``, where the sign is the other way round."""
    if not offset:
        return "UTC"
    hours, minutes, seconds = abs(offset) // 3600, abs(offset) // 60 % 60, abs(offset) % 60
    shown = f"{'+' if offset > 0 else '-'}{hours:02d}{minutes:02d}"
    return f"<{shown}>{'-' if offset > 0 else '+'}{hours:02d}:{minutes:02d}:{seconds:02d}"


def _as_offset(offset: int) -> str | None:
    if offset % 60 or abs(offset) > _MOST_OFFSET:
        return None
    return f"{'-' if offset < 0 else '+'}{abs(offset) // 3600:02d}:{abs(offset) // 60 % 60:02d}"
