"""Decodes rows events with mysql-replication, which knows nothing of the rest of Relight: a second opinion."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from pymysql.protocol import MysqlPacket
from pymysqlreplication.constants import FIELD_TYPE
from pymysqlreplication.packet import BinLogPacketWrapper
from pymysqlreplication.row_event import DeleteRowsEvent, TableMapEvent, UpdateRowsEvent, WriteRowsEvent

from relight.binlog import format as f
from relight.errors import CorruptEvent
from relight.lane.stream import MappedTable
from relight.verify.columns import JSON_NULL, Column, of_image

_EVENTS: Final = [TableMapEvent, WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent]
_FAILURES = (
    ValueError, LookupError, TypeError, ArithmeticError, OSError, struct.error, AssertionError, NotImplementedError,
)  # fmt: skip
"""What the decoder raises for what it does not know, such as a moment that Python has no date for."""
_RAW = "binary"
"""A character set that the decoder leaves alone."""

Row = tuple[Any, ...]


class _NoServer:
    """The decoder asks a server for what is missing in old logs; here nothing is."""

    charset = "utf8mb4"

    @staticmethod
    def _get_dbms() -> str:
        return "mysql"


class _Packet(BinLogPacketWrapper):  # type: ignore[misc]
    """Tells the ``null`` of a JSON document from the NULL of a column. A document without a byte is that too: so the
    server fills a column that must not be NULL."""

    def read_binary_json(self, size: int, is_partial: bool) -> Any:
        found = super().read_binary_json(size, is_partial)
        return JSON_NULL if found is None else found


class _Numbers:
    """Stands for the words of an ENUM: each is its own number, which is what is stored."""

    def __getitem__(self, number: int) -> int:
        return number


class Decoder:
    """Decodes the rows events of one table as its map describes it."""

    def __init__(self, table: MappedTable, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._tables: dict[int, Any] = {}
        self._decoded(_without_extras(table))
        (mapped,) = self._tables.values()
        for number, (theirs, ours) in enumerate(zip(mapped.columns, columns, strict=True)):
            theirs.name = str(number)
            theirs.unsigned = ours.unsigned
            theirs.character_set_name = _RAW
            theirs.enum_values = _Numbers()
            theirs.set_values = tuple(range(64))
        self._id = next(iter(self._tables))

    def images(self, event: bytes) -> list[tuple[Row, bool]]:
        """Every row image in the order of the event, and whether the row is there once it has taken effect.

        :raises CorruptEvent: it cannot be decoded.
        """
        (kind,) = struct.unpack_from("<B", event, 4)
        renamed = event[: f.HEADER_SIZE] + self._id.to_bytes(6, "little") + event[f.HEADER_SIZE + 6 :]
        found: list[tuple[Row, bool]] = []
        for row in self._decoded(renamed):
            if kind == f.UPDATE_ROWS:
                found.append((self._row(row["before_values"], row["before_none_sources"]), False))
                found.append((self._row(row["after_values"], row["after_none_sources"]), True))
            else:
                found.append((self._row(row["values"], row["none_sources"]), kind == f.WRITE_ROWS))
        return found

    def _row(self, values: dict[str, Any], sources: dict[str, str]) -> Row:
        return tuple(
            of_image(column, values[str(number)], str(sources.get(str(number), "")))
            for number, column in enumerate(self._columns)
        )

    def _decoded(self, event: bytes) -> list[dict[str, Any]]:
        """The rows of an event; of a table map there are none, but the decoder knows the table from then on."""
        sized = event[:9] + struct.pack("<I", len(event)) + event[13:]
        try:
            found = _Packet(
                MysqlPacket(b"\0" + sized, "utf8"), self._tables, _NoServer(), mysql_version=(8, 0, 0),
                use_checksum=False, allowed_events=_EVENTS, only_tables=None, ignored_tables=None, only_schemas=None,
                ignored_schemas=None, freeze_schema=False, ignore_decode_errors=False, verify_checksum=False,
                optional_meta_data=False, enable_logging=False,
            ).event  # fmt: skip
            # Decoded no sooner than it is asked for.
            return [] if isinstance(found, TableMapEvent) else list(found.rows)
        except _FAILURES as error:
            raise CorruptEvent("mysql-replication cannot decode an event", why=str(error)) from None


def _without_extras(table: MappedTable) -> bytes:
    """The table map up to its null bitmap. What follows is optional, and newer than the decoder; a VECTOR is a BLOB
    to it."""
    event = bytearray(table.event)
    columns = len(table.map.widths)
    end = f.HEADER_SIZE + 8 + table.map.types_end + (columns + 7) // 8
    at = _types_at(event, columns)
    for position in range(at, at + columns):
        if event[position] == f.T_VECTOR:
            event[position] = FIELD_TYPE.BLOB
    return bytes(event[:end])


def _types_at(event: bytearray, columns: int) -> int:
    position = f.HEADER_SIZE + 8
    for _ in range(2):  # the names of database and table
        position += event[position] + 2
    return position + (1 if columns < 251 else 3)
