"""Turns logged statements into what a session must send, so that they run as the server's own applier runs them.

Every field of the query event is used as ``Query_log_event::do_apply_event`` does; which one is used how stands in
``docs/query-event.md``. What ``mysqlbinlog`` prints is not enough: it leaves out who the statement ran as, in some
cases its database, and what servers before 8.0.11 took as the collation of utf8mb4.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relight.binlog import format as f
from relight.binlog.gtid_events import original_version
from relight.binlog.query import QUERY_HEAD, Query, read_query
from relight.binlog.reader import Event, server_version
from relight.lane.invoker import as_invoker, grantor_of
from relight.lane.user_variables import assignment
from relight.server.passing import passing_folder
from relight.server.session import Session

Collations = Mapping[int, tuple[str, str]]
"""By number: the character set and the collation."""

_FLAGS = (
    ("foreign_key_checks", 1 << 26, False), ("unique_checks", 1 << 27, False), ("sql_auto_is_null", 1 << 14, True),
)  # fmt: skip
"""Bits of ``Q_FLAGS2``, and what the setting is where the bit is set. A fourth, autocommit, is not used: the lane
begins and ends the transactions, and switching it on would end one that is open."""
_NO_DIR_IN_CREATE = 1 << 15
"""A bit of the SQL mode that a source keeps to itself."""
_UTF8MB4_GENERAL_CI = 45
_OF_EXPLICIT_DEFAULTS = 80000
"""Servers before this one, where they do not say, had ``explicit_defaults_for_timestamp`` off."""
_DEFINES_A_TABLE = re.compile(rb"\s*(CREATE|ALTER)\s+TABLE\b", re.IGNORECASE)
_INTVAR = {1: "LAST_INSERT_ID", 2: "INSERT_ID"}
_REPLACE = 2
"""How an EXECUTE_LOAD_QUERY event says that rows replace others."""


@dataclass(frozen=True)
class Rendered:
    """A logged statement: what is sent before it, and itself.

    ``database``: the one that it ran in, empty where it was none. ``error``: the one that it was logged with, and must
    end with again; 0 for none. ``reads_file``: it is a LOAD DATA LOCAL. ``zone``: its time zone; None where it has not
    used any. ``grantor``: what puts the name of who it ran as in place of ours.
    """

    context: tuple[bytes, ...]
    text: bytes
    database: str
    error: int = 0
    reads_file: bool = False
    zone: str | None = None
    grantor: tuple[str, ...] = ()


@contextmanager
def rendered(
    collations: Collations, format_description: bytes, events: Sequence[bytes]
) -> Iterator[list[Rendered]]:  # fmt: skip
    """The statements of the events, in their order. The files that some of them read are there until the context ends.

    :raises ValueError: an event is broken.
    """
    with passing_folder(Path(tempfile.gettempdir()), "relight-load-") as folder:
        yield list(_Renderer(collations, format_description, folder).of(events))


def collations_of(session: Session) -> Collations:
    """Those that the session's server knows."""
    rows = session.rows("SELECT id, character_set_name, collation_name FROM information_schema.collations")
    return {int(number): (str(charset), str(name)) for number, charset, name in rows}


def grantors(events: Sequence[bytes]) -> tuple[str, ...]:
    """What is to be run behind the statements of the events: see :class:`Rendered`."""
    queries = [_query(event) for event in events if event[4] == f.QUERY]
    return tuple(one for query, moment in queries for one in grantor_of(query, moment))


class _Renderer:
    def __init__(self, collations: Collations, format_description: bytes, folder: Path) -> None:
        self._collations = collations
        self._version = server_version(format_description)
        self._folder = folder
        self._stage: list[bytes] = []

    def of(self, events: Sequence[bytes]) -> Iterator[Rendered]:
        for event in events:
            kind, body = event[4], memoryview(event)[f.HEADER_SIZE :]
            try:
                if kind in (f.GTID, f.ANONYMOUS_GTID, f.GTID_TAGGED):
                    told = original_version(kind, body)
                    self._version = self._version if told is None else told
                elif kind == f.INTVAR:
                    self._stage.append(b"%s=%d" % (_INTVAR[body[0]].encode(), int.from_bytes(body[1:9], "little")))
                elif kind == f.RAND:
                    one, other = struct.unpack_from("<QQ", body)
                    self._stage.append(b"@@session.rand_seed1=%d, @@session.rand_seed2=%d" % (one, other))
                elif kind == f.USER_VAR:
                    self._stage.append(assignment(body, self._collations))
                elif kind in (f.BEGIN_LOAD_QUERY, f.APPEND_BLOCK):
                    self._keep(body)
                elif kind in (f.QUERY, f.EXECUTE_LOAD_QUERY):
                    yield self._statement(event)
                    self._stage = []
            except (struct.error, IndexError, KeyError, ValueError) as error:
                raise ValueError(f"{f.type_name(kind)} cannot be decoded: {error}") from None

    def _keep(self, body: memoryview) -> None:
        with self._file(body).open("ab") as kept:
            kept.write(body[4:])

    def _file(self, body: memoryview) -> Path:
        return self._folder / f"load-{int.from_bytes(body[:4], 'little')}"

    def _statement(self, event: bytes) -> Rendered:
        query, moment = _query(event)
        context = query.context
        settings = [b"timestamp=%d.%06d" % (moment, context.microseconds), *self._settings(query), *self._stage]
        if context.cascade_triggers is not None:
            settings[0] = b"/*!90700 @@session.enable_cascade_triggers=%d, */ " % context.cascade_triggers + settings[0]
        text = query.text
        if event[4] == f.EXECUTE_LOAD_QUERY:
            text = self._loading(memoryview(event)[f.HEADER_SIZE :], text)
        return Rendered(
            (b"SET " + b", ".join(settings),), as_invoker(text, context), query.database, query.error_code,
            event[4] == f.EXECUTE_LOAD_QUERY, context.time_zone, grantor_of(query, moment),
        )  # fmt: skip

    def _settings(self, query: Query) -> Iterator[bytes]:
        context = query.context

        def one(name: str, value: object) -> bytes:
            return f"@@session.{name}={value}".encode()

        yield one("pseudo_thread_id", query.thread)
        if context.flags is not None:
            yield from (one(name, int(bool(context.flags & bit) == on)) for name, bit, on in _FLAGS)
        if context.sql_mode is not None:
            yield one("sql_mode", context.sql_mode & ~_NO_DIR_IN_CREATE)
        yield one("auto_increment_increment", context.auto_increment[0])
        yield one("auto_increment_offset", context.auto_increment[1])
        if context.charset is not None:
            names = ("character_set_client", "collation_connection", "collation_server")
            yield from (one(name, number) for name, number in zip(names, context.charset, strict=True))
        yield one("lc_time_names", context.locale)
        yield one("collation_database", context.collation_database or "DEFAULT")
        yield one("default_collation_for_utf8mb4", context.utf8mb4_collation or _UTF8MB4_GENERAL_CI)
        yield one("original_server_version", self._version)
        yield from self._switches(query)

    def _switches(self, query: Query) -> Iterator[bytes]:
        context, explicit = query.context, query.context.explicit_defaults
        # It cannot be set inside a transaction, where nothing else would need it.
        if explicit is None and self._version < _OF_EXPLICIT_DEFAULTS and _DEFINES_A_TABLE.match(query.text):
            explicit = False
        # A source that does not say whether it wants a primary key has taken the statement in any case.
        found = (
            ("explicit_defaults_for_timestamp", explicit),
            ("sql_require_primary_key", bool(context.require_primary_key)),
            ("default_table_encryption", context.table_encryption),
        )
        yield from (f"@@session.{name}={int(value)}".encode() for name, value in found if value is not None)

    def _loading(self, body: memoryview, text: bytes) -> bytes:
        """The statement with the file's name in place of that on the source."""
        _, start, end, duplicates = struct.unpack_from("<IIIB", body, QUERY_HEAD)
        name = str(self._file(body[QUERY_HEAD:])).encode()
        replace = b" REPLACE" if duplicates == _REPLACE else b""
        return text[:start] + b" LOCAL INFILE '" + name + b"'" + replace + b" INTO" + text[end:]


def _query(event: bytes) -> tuple[Query, int]:
    """The query, and the second in which it began."""
    (moment,) = struct.unpack_from("<I", event)
    return read_query(Event(0, event[4], moment, 0, event)), moment
