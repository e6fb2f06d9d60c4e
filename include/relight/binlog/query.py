"""What a query event says: the statement, its database, and the context that it ran in."""

from __future__ import annotations

import codecs
import re
import struct
from dataclasses import dataclass

from pymysql.charset import charset_by_id

from relight.binlog import format as f
from relight.binlog.reader import Event

QUERY_HEAD = 13
LOAD_HEAD = 13
"""Behind it in an EXECUTE_LOAD_QUERY event: file id, where the file's name stands, how duplicates are treated."""

_FIXED = {
    f.Q_FLAGS2: 4, f.Q_SQL_MODE: 8, f.Q_AUTO_INCREMENT: 4, f.Q_CHARSET: 6, f.Q_LC_TIME_NAMES: 2,
    f.Q_CHARSET_DATABASE: 2, f.Q_TABLE_MAP_FOR_UPDATE: 8, f.Q_MASTER_DATA_WRITTEN: 4, f.Q_MICROSECONDS: 3,
    f.Q_EXPLICIT_DEFAULTS_FOR_TIMESTAMP: 1, f.Q_DDL_LOGGED_WITH_XID: 8, f.Q_DEFAULT_COLLATION_FOR_UTF8MB4: 2,
    f.Q_SQL_REQUIRE_PRIMARY_KEY: 1, f.Q_DEFAULT_TABLE_ENCRYPTION: 1, f.Q_ENABLE_CASCADE_TRIGGERS: 1,
}  # fmt: skip
"""Bytes that each status variable of fixed length takes."""


ANSI_QUOTES, NO_BACKSLASH_ESCAPES = 1 << 2, 1 << 20
"""Bits of an SQL mode that change what quotes mean, and where a quoted text ends."""
_COMMENT = r"/\*(?!!).*?\*/|--(?=\s)[^\n]*|#[^\n]*"
_ESCAPING = r"Q(?:[^Q\\]|\\.|QQ)*Q"
_PLAIN = r"Q(?:[^Q]|QQ)*Q"


@dataclass(frozen=True, slots=True)
class Context:
    """The status variables of a query event that decide what its statement does. None: the event does not say.

    Numbers of character sets, collations and locales are those of the server. ``charset``: of the client, the
    connection and the server. ``unknown``: the first variable that nobody here knows; what comes behind it cannot be
    read.
    """

    flags: int | None = None
    sql_mode: int | None = None
    auto_increment: tuple[int, int] = (1, 1)
    charset: tuple[int, int, int] | None = None
    time_zone: str | None = None
    locale: int = 0
    collation_database: int | None = None
    invoker: tuple[bytes, bytes] | None = None
    microseconds: int = 0
    explicit_defaults: bool | None = None
    utf8mb4_collation: int | None = None
    require_primary_key: bool | None = None
    table_encryption: bool | None = None
    cascade_triggers: bool | None = None
    unknown: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A statement as logged. ``updated`` are the databases that it changes according to the server
    that wrote it; None where that server did not say, or there were too many."""

    database: str
    text: bytes
    updated: tuple[str, ...] | None
    error_code: int
    thread: int = 0
    """The number of the session on its source."""
    context: Context = Context()

    @property
    def time_zone(self) -> str | None:
        """The session's time zone, where the statement has used it."""
        return self.context.time_zone

    @property
    def sql(self) -> str:
        """The text, for looking at, with quotes as they are without an SQL mode; bytes that are none of its client's
        character set are replaced."""
        return with_usual_quotes(self.text.decode(_codec(self.context.charset), "replace"), self.context.sql_mode or 0)


def _codec(charset: tuple[int, int, int] | None) -> str:
    """Python's name of the client's character set: names in the text are written in it."""
    try:
        return codecs.lookup(charset_by_id(charset[0]).encoding).name if charset is not None else "utf-8"
    except LookupError:  # too new for the driver's list, which ends before most of UTF-8's collations, or none of text
        return "utf-8"


def with_usual_quotes(sql: str, sql_mode: int) -> str:
    """A statement as it would be written without ``ANSI_QUOTES`` and ``NO_BACKSLASH_ESCAPES``."""
    plain, ansi = bool(sql_mode & NO_BACKSLASH_ESCAPES), bool(sql_mode & ANSI_QUOTES)
    if not plain and not ansi:
        return sql

    def usual(found: re.Match[str]) -> str:
        text = found[0]
        if text[0] == '"' and ansi:
            return "`" + text[1:-1].replace('""', '"').replace("`", "``") + "`"
        return text.replace("\\", "\\\\") if text[0] in "'\"" and plain else text

    strings = (_PLAIN if plain else _ESCAPING).replace("Q", "'")
    doubles = (_PLAIN if plain or ansi else _ESCAPING).replace("Q", '"')
    return re.sub(f"{_COMMENT}|`(?:[^`]|``)*`|{strings}|{doubles}", usual, sql, flags=re.DOTALL)


def read_query(event: Event) -> Query:
    """Decode a query event. :raises struct.error, IndexError: it is malformed."""
    body = event.body
    (thread,) = struct.unpack_from("<I", body)
    database_length = body[8]
    error_code, status_length = struct.unpack_from("<HH", body, 9)
    fixed = QUERY_HEAD + (LOAD_HEAD if event.type == f.EXECUTE_LOAD_QUERY else 0)
    status = body[fixed : fixed + status_length]
    start = fixed + status_length
    database = bytes(body[start : start + database_length]).decode("utf-8", "replace")
    found = _status_variables(status)
    text = bytes(body[start + database_length + 1 :])
    return Query(database, text, _names(found.get(f.Q_UPDATED_DB_NAMES)), error_code, thread, _context(found))


_UNKNOWN = -1


def _status_variables(status: memoryview) -> dict[int, bytes]:
    """The variables' values as they stand there; under ``_UNKNOWN`` the number of one that cannot be read."""
    found: dict[int, bytes] = {}
    position = 0
    while position < len(status):
        code = status[position]
        start = position + 1
        end = _end(status, code, start)
        if end is None:
            found[_UNKNOWN] = bytes([code])
            break
        if end > len(status):
            raise IndexError("a status variable goes beyond its event")
        found[code] = bytes(status[start:end])
        position = end
    return found


def _end(status: memoryview, code: int, start: int) -> int | None:
    """Where the variable's value ends; None: nobody here knows the variable."""
    if code in _FIXED:
        return start + _FIXED[code]
    if code == f.Q_CATALOG:  # with a terminating zero, before 5.0.4
        return start + status[start] + 2
    if code in (f.Q_TIME_ZONE, f.Q_CATALOG_NZ):
        return start + status[start] + 1
    if code == f.Q_INVOKER:  # user and host
        host = start + status[start] + 1
        return host + status[host] + 1
    if code == f.Q_UPDATED_DB_NAMES:
        end = start + 1
        for _ in range(0 if status[start] == f.MAX_UPDATED_DBS else status[start]):
            end += bytes(status[end:]).index(0) + 1
        return end
    return None


def _context(found: dict[int, bytes]) -> Context:
    def number(code: int) -> int | None:
        return int.from_bytes(found[code], "little") if code in found else None

    def switch(code: int) -> bool | None:
        return bool(found[code][0]) if code in found else None

    charset = struct.unpack("<HHH", found[f.Q_CHARSET]) if f.Q_CHARSET in found else None
    steps = struct.unpack("<HH", found[f.Q_AUTO_INCREMENT]) if f.Q_AUTO_INCREMENT in found else (1, 1)
    return Context(
        flags=number(f.Q_FLAGS2), sql_mode=number(f.Q_SQL_MODE), auto_increment=(steps[0], steps[1]),
        charset=None if charset is None else (charset[0], charset[1], charset[2]),
        time_zone=found[f.Q_TIME_ZONE][1:].decode("utf-8", "replace") if f.Q_TIME_ZONE in found else None,
        locale=number(f.Q_LC_TIME_NAMES) or 0, collation_database=number(f.Q_CHARSET_DATABASE) or None,
        invoker=_invoker(found.get(f.Q_INVOKER)), microseconds=number(f.Q_MICROSECONDS) or 0,
        explicit_defaults=switch(f.Q_EXPLICIT_DEFAULTS_FOR_TIMESTAMP),
        utf8mb4_collation=number(f.Q_DEFAULT_COLLATION_FOR_UTF8MB4) or None,
        require_primary_key=switch(f.Q_SQL_REQUIRE_PRIMARY_KEY), table_encryption=switch(f.Q_DEFAULT_TABLE_ENCRYPTION),
        cascade_triggers=switch(f.Q_ENABLE_CASCADE_TRIGGERS), unknown=number(_UNKNOWN),
    )  # fmt: skip


def _invoker(value: bytes | None) -> tuple[bytes, bytes] | None:
    """User and host; None also where the server has written an empty user: then there is none."""
    if value is None or not value[0]:
        return None
    user = value[1 : 1 + value[0]]
    return user, value[2 + len(user) :]


def _names(value: bytes | None) -> tuple[str, ...] | None:
    if value is None or value[0] == f.MAX_UPDATED_DBS:
        return None
    return tuple(name.decode("utf-8", "replace") for name in value[1:].split(b"\0")[:-1])
