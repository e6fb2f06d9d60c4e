"""Columns of tables as they stand on a server, and how a value of each is read and compared.

A value comes from two sides: from a row image, as mysql-replication decodes it, and from the server, by an
expression that loses nothing. Both are brought to one form; what the one side cannot tell is :data:`UNREADABLE`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from relight.server.session import Session, quoted

UNREADABLE: Final = object()
"""A value that the decoder cannot tell, such as a date in month 0."""


@dataclass(frozen=True)
class Constant:
    """``true``, ``false`` or ``null`` of a JSON document: neither its word, nor 1, nor the NULL of a column."""

    word: str

    def __str__(self) -> str:
        return self.word


JSON_NULL: Final = Constant("null")
_SPACES = {"ucs2": b"\0 ", "utf16": b"\0 ", "utf16le": b" \0", "utf32": b"\0\0\0 "}
"""A space, where it takes more than one byte."""
_OPAQUE = '"base64:type'
"""How the server writes bytes that are a value of a JSON document."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
"""How quotes and backslashes of an expression are shown."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- as decoded: UTC, without saying so


@dataclass(frozen=True)
class Column:
    """A column of a table, as ``information_schema`` has it. ``fraction``: digits of its seconds; ``length``: of a
    text or of bytes, in bytes."""

    name: str
    kind: str
    unsigned: bool
    charset: str | None
    fraction: int = 0
    length: int = 0
    generated: str = ""
    """What the server computes it with; empty where it is written."""


@dataclass(frozen=True)
class Shape:
    """The columns of a table in their order, and which of them (counted from 0) make its primary key."""

    columns: tuple[Column, ...]
    key: tuple[int, ...]


def read_shapes(session: Session, database: str) -> dict[str, Shape]:
    """The shape of every base table of a database, by its name."""
    columns: dict[str, list[Column]] = {}
    for table, name, kind, full, charset, fraction, length, generated in session.rows(
        "SELECT table_name, column_name, data_type, column_type, character_set_name, datetime_precision,"
        " character_octet_length, generation_expression FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = %s AND table_type = 'BASE TABLE' ORDER BY table_name, ordinal_position",
        database,
    ):
        column = Column(
            str(name), str(kind), "unsigned" in full, charset, int(fraction or 0), int(length or 0),
            _ESCAPED.sub(r"\1", str(generated or "")),
        )  # fmt: skip
        columns.setdefault(str(table), []).append(column)
    keys: dict[str, list[str]] = {}
    for table, name in session.rows(
        "SELECT table_name, column_name FROM information_schema.statistics"
        " WHERE table_schema = %s AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index",
        database,
    ):
        keys.setdefault(str(table), []).append(str(name))
    return {
        table: Shape(tuple(found), tuple([c.name for c in found].index(name) for name in keys.get(table, ())))
        for table, found in columns.items()
    }


def expression(column: Column) -> str:
    """What to select so that nothing of a value is lost on the way."""
    name = quoted(column.name)
    return _READ.get(column.kind, "{}").format(name)


def literal(column: Column, value: Any) -> str | None:
    """A value of a key column in a statement, so that the server finds the row by its index. None: it has none."""
    if value is UNREADABLE or value is None:
        return None
    if column.charset is not None and isinstance(value, bytes):
        return f"_{column.charset} X'{value.hex()}'"
    if isinstance(value, bytes):
        filled = value.ljust(column.length, b"\0") if column.kind == "binary" else value
        return f"X'{filled.hex()}'"
    if column.kind in {"float", "json", "geometry", "vector"}:
        return None
    if isinstance(value, int | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)  # with an exponent it would be a DOUBLE
    return repr(value) if isinstance(value, float) else f"'{value}'"


def literal_anywhere(column: Column, value: Any) -> str | None:
    """The same for sessions in any time zone. Servers before 8.0.19 do not understand it."""
    text = literal(column, value)
    zoned = text is not None and column.kind == "timestamp" and not str(value).startswith("0000")
    return f"TIMESTAMP'{value}+00:00'" if zoned else text


def of_image(column: Column, value: Any, none_because: str) -> Any:
    """A value as mysql-replication decodes it, in the form in which values are compared."""
    if value is None:
        return {"null": None, "empty set": 0}.get(none_because, UNREADABLE)
    # The decoder leaves bytes alone since it cannot find their character set. For empty ones it does not look.
    return _FROM_IMAGE.get(column.kind, _same)(column, b"" if isinstance(value, str) and not value else value)


def of_server(column: Column, value: Any) -> Any:
    """A value as the server gives it for :func:`expression`, in the same form."""
    return None if value is None else _FROM_SERVER.get(column.kind, _same)(column, value)


def readable(column: Column, value: Any) -> str:
    """A value as people want to see it in a diff."""
    if value is None or value is UNREADABLE:
        return "NULL" if value is None else "something that cannot be told"
    if isinstance(value, bytes):
        try:
            if column.charset is None:
                raise UnicodeDecodeError("binary", value, 0, 1, "not text")
            text = repr(value.decode("utf-8"))
        except UnicodeDecodeError:
            text = f"0x{value.hex()}"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str) if column.kind == "json" else str(value)
    return text if len(text) <= 80 else f"{text[:70]}... ({len(text)} characters)"


_READ: Mapping[str, str] = {
    # As the server prints a FLOAT it has six digits, whatever is stored.
    "float": "CAST({} AS DOUBLE)",
    "year": "CAST({} AS UNSIGNED)", "bit": "CAST({} AS UNSIGNED)", "enum": "CAST({} AS UNSIGNED)",
    "set": "CAST({} AS UNSIGNED)",
    "date": "CAST({} AS CHAR)", "datetime": "CAST({} AS CHAR)", "timestamp": "CAST({} AS CHAR)",
    "time": "CAST({} AS CHAR)", "json": "CAST({} AS CHAR)",
    "char": "CAST({} AS BINARY)", "varchar": "CAST({} AS BINARY)", "tinytext": "CAST({} AS BINARY)",
    "text": "CAST({} AS BINARY)", "mediumtext": "CAST({} AS BINARY)", "longtext": "CAST({} AS BINARY)",
    "vector": "HEX({})",
}  # fmt: skip


def _same(_: Column, value: Any) -> Any:
    return value


def _moment(column: Column, value: Any) -> Any:
    if column.kind == "timestamp" and value == _EPOCH:
        return "0000-00-00 00:00:00" + _digits(column, 0)
    return value.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0") + _digits(column, value.microsecond)


def _digits(column: Column, microseconds: int) -> str:
    return f".{microseconds:06d}"[: column.fraction + 1] if column.fraction else ""


def _time(column: Column, value: timedelta) -> Any:
    if value < timedelta(0) and column.fraction:
        return UNREADABLE  # mysql-replication takes the fraction of a negative time for that of a positive one
    seconds = abs(value) // timedelta(seconds=1)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}{hours:02d}:{minutes:02d}:{seconds % 60:02d}" + _digits(column, value.microseconds)


def _bits(_: Column, value: str) -> int:
    return int(value, 2)


def _set(_: Column, value: set[int]) -> int:
    return sum(1 << bit for bit in value)


def _year(_: Column, value: int) -> int:
    return 0 if value == 1900 else value


def _day(_: Column, value: date) -> str:
    return value.isoformat()


def _padded(_: Column, value: Any) -> bytes:
    # Row images leave out what a fixed length is filled up with.
    return bytes(value).rstrip(b"\0")


def _text(column: Column, value: Any) -> bytes:
    text, space = bytes(value), _SPACES.get(column.charset or "", b" ")
    end = len(text)
    while end and text[end - len(space) : end] == space:
        end -= len(space)
    return text[:end]


def _hex(_: Column, value: Any) -> str:
    return bytes(value).hex().upper()


def _json(_: Column, value: Any) -> Any:
    try:
        return _plain(value)
    except _Opaque:
        return UNREADABLE


def _json_text(_: Column, value: str) -> Any:
    return UNREADABLE if _OPAQUE in value else _plain(json.loads(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_word(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | Constant):
        return JSON_NULL if value is None else Constant(str(value).lower())
    if isinstance(value, Decimal | float):
        return float(value)
    if isinstance(value, int):
        return value
    return _word(value)


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return value
    raise _Opaque


class _Opaque(Exception):
    """A JSON document holds a date, a time or bytes: decoder and server write these in different ways."""


def _number(_: Column, value: Any) -> int:
    return int(value)


_Form = Callable[[Column, Any], Any]
_FROM_IMAGE: Mapping[str, _Form] = {
    "datetime": _moment, "timestamp": _moment, "time": _time, "date": _day, "bit": _bits, "set": _set, "year": _year,
    "binary": _padded, "char": _text, "vector": _hex, "json": _json,
}  # fmt: skip
_FROM_SERVER: Mapping[str, _Form] = {
    "binary": _padded, "char": _text, "json": _json_text, "bit": _number, "set": _number, "enum": _number,
    "year": _number,
}  # fmt: skip
