"""What a query event says about its statement: database and reach."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from relight.binlog import format as f
from relight.binlog.reader import Event

QUERY_HEAD = 13
LOAD_HEAD = 13
"""Behind it in an EXECUTE_LOAD_QUERY event: file id, where the file's name stands, how duplicates are treated."""

_TIME_ZONE = 5
# Bytes that each status variable of fixed length takes.
_FIXED = {0: 4, 1: 8, 3: 4, 4: 6, 7: 2, 8: 2, 9: 8, 10: 4, 13: 3, 16: 1, 17: 8, 18: 2, 19: 1, 20: 1, 21: 1}


@dataclass(frozen=True, slots=True)
class Query:
    """A statement as logged. ``updated`` are the databases that it changes according to the server
    that wrote it; None where that server did not say, or there were too many."""

    database: str
    text: bytes
    updated: tuple[str, ...] | None
    error_code: int
    time_zone: str | None = None
    """The session's time zone, where the statement has used it."""

    @property
    def sql(self) -> str:
        """The text, for looking at; bytes that are not UTF-8 are replaced."""
        return self.text.decode("utf-8", "replace")


def read_query(event: Event) -> Query:
    """Decode a query event. :raises struct.error, IndexError: it is malformed."""
    body = event.body
    database_length = body[8]
    error_code, status_length = struct.unpack_from("<HH", body, 9)
    fixed = QUERY_HEAD + (LOAD_HEAD if event.type == f.EXECUTE_LOAD_QUERY else 0)
    status = body[fixed : fixed + status_length]
    start = fixed + status_length
    database = bytes(body[start : start + database_length]).decode("utf-8", "replace")
    updated, time_zone = _of_status(status)
    return Query(database, bytes(body[start + database_length + 1 :]), updated, error_code, time_zone)


def _of_status(status: memoryview) -> tuple[tuple[str, ...] | None, str | None]:
    """The databases that are changed, and the time zone, which stands before them where both are there."""
    position, zone = 0, None
    while position < len(status):
        code = status[position]
        position += 1
        if code == f.Q_UPDATED_DB_NAMES:
            return _names(status, position), zone
        if code == _TIME_ZONE:
            zone = bytes(status[position + 1 : position + 1 + status[position]]).decode("utf-8", "replace")
        if code in _FIXED:
            position += _FIXED[code]
        elif code == 2:  # catalog, with a terminating zero (before 5.0)
            position += status[position] + 2
        elif code in (_TIME_ZONE, 6):  # 6: catalog
            position += status[position] + 1
        elif code == 11:  # invoker: user and host
            position += status[position] + 1
            position += status[position] + 1
        else:
            return None, zone
    return None, zone


def _names(status: memoryview, position: int) -> tuple[str, ...] | None:
    count = status[position]
    position += 1
    if count == f.MAX_UPDATED_DBS:
        return None
    names = []
    for _ in range(count):
        end = bytes(status[position:]).index(0) + position
        names.append(bytes(status[position:end]).decode("utf-8", "replace"))
        position = end + 1
    return tuple(names)
