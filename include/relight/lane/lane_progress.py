"""Where every lane, and every table of it, stands: kept on the rebuilt server itself.

A position is updated in the same transaction as the rows it speaks of, so after a crash of anything it says
exactly what is there. A table is at the later of its own position and its lane's. Promotion drops the whole
database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relight.run_files import Lane
from relight.server.session import Session

DATABASE = "_relight"
"""Relight's own database on a server that is being rebuilt."""
_LANES = f"`{DATABASE}`.`progress`"
_TABLES = f"`{DATABASE}`.`table_progress`"

TableName = tuple[str, str]


@dataclass(frozen=True, order=True)
class Position:
    """The last transaction that is there: its segment's number in the plan and its own number in the segment."""

    segment: int
    transaction: int


START = Position(0, 0)


@dataclass(frozen=True)
class Fence:
    """A statement that commits by itself and was about to run: where, its bytes, and what the schema, or for an
    XA statement the list of prepared transactions, looked like before. ``owed``: statements that belong behind it.
    ``tables``: all that it is about; empty where it is about more than tables."""

    position: Position
    size: int
    before: str
    xa: bool = False
    owed: tuple[str, ...] = ()
    tables: tuple[TableName, ...] = ()


@dataclass(frozen=True)
class LaneState:
    """One lane: how far it is, and whether a fence was open when that was written.

    ``finished``: everything that was split for it is committed. ``torn``: why it cannot be resumed, should the
    session that replays it end now; empty when it can be. ``bytes_done`` is for people who wait.
    """

    lane: str
    position: Position
    fence: Fence | None
    bytes_done: int
    bytes_total: int
    finished: bool
    torn: str


@dataclass(frozen=True)
class TableState:
    """How far one table is; ``divided_to`` where parts of it may be there already, up to that position."""

    position: Position
    divided_to: Position | None


def create_table(session: Session) -> None:
    """Make the tables; they are there already when a restore is resumed."""
    session.run(f"CREATE DATABASE IF NOT EXISTS `{DATABASE}`")
    name = "VARCHAR({}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
    session.run(
        f"CREATE TABLE IF NOT EXISTS {_LANES} (lane {name.format(512)} PRIMARY KEY,"
        " segment INT UNSIGNED NOT NULL, transaction BIGINT UNSIGNED NOT NULL, fence JSON NULL,"
        " bytes_done BIGINT UNSIGNED NOT NULL, bytes_total BIGINT UNSIGNED NOT NULL,"
        " finished BOOL NOT NULL, torn VARCHAR(200) NOT NULL) ENGINE=InnoDB"
    )
    session.run(
        f"CREATE TABLE IF NOT EXISTS {_TABLES} (lane {name.format(512)}, db {name.format(64)}, tbl {name.format(64)},"
        " segment INT UNSIGNED NOT NULL, transaction BIGINT UNSIGNED NOT NULL,"
        " divided_segment INT UNSIGNED NULL, divided_transaction BIGINT UNSIGNED NULL,"
        " PRIMARY KEY (lane, db, tbl)) ENGINE=InnoDB"
    )


def enter(session: Session, lanes: Sequence[Lane]) -> None:
    """Add the lanes that have no row yet."""
    for lane in lanes:
        session.run(f"INSERT IGNORE INTO {_LANES} VALUES (%s, 0, 0, NULL, 0, %s, FALSE, '')", lane.name, lane.bytes)


def load(session: Session, lane: str) -> LaneState:
    """A lane's row."""
    return _state(session.row(f"SELECT * FROM {_LANES} WHERE lane = %s", lane))


def load_all(session: Session) -> list[LaneState]:
    """Every lane's row: what progress bars are drawn from."""
    return [_state(row) for row in session.rows(f"SELECT * FROM {_LANES} ORDER BY lane")]


def load_tables(session: Session, lane: str) -> dict[TableName, TableState]:
    """The tables of a lane that have a position of their own."""
    found = {}
    for database, table, segment, transaction, divided_segment, divided_transaction in session.rows(
        f"SELECT db, tbl, segment, transaction, divided_segment, divided_transaction FROM {_TABLES} WHERE lane = %s",
        lane,
    ):
        divided = None if divided_segment is None else Position(divided_segment, divided_transaction)
        found[database, table] = TableState(Position(segment, transaction), divided)
    return found


def advance(session: Session, lane: str, position: Position, *, size: int, torn: str = "") -> None:
    """Record that all tables of a lane are at a position, within the caller's transaction; closes any fence."""
    session.run(
        f"UPDATE {_LANES} SET segment = %s, transaction = %s, fence = NULL,"
        " bytes_done = LEAST(bytes_done + %s, bytes_total), torn = %s WHERE lane = %s",
        position.segment, position.transaction, size, torn, lane,
    )  # fmt: skip


def finish(session: Session, lane: str) -> None:
    """Record that a lane is through."""
    session.run(f"UPDATE {_LANES} SET finished = TRUE, bytes_done = bytes_total WHERE lane = %s", lane)


def advance_tables(session: Session, lane: str, tables: Mapping[TableName, Position]) -> None:
    """Record positions of single tables, within the caller's transaction."""
    rows = [(lane, *name, at.segment, at.transaction) for name, at in tables.items()]
    marks = ", ".join(["(%s, %s, %s, %s, %s, NULL, NULL)"] * len(rows))
    session.run(f"REPLACE INTO {_TABLES} VALUES {marks}", *(value for row in rows for value in row))


def open_division(session: Session, lane: str, table: TableName, before: Position, to: Position) -> None:
    """Record that parts of a table are about to be committed side by side."""
    session.run(
        f"REPLACE INTO {_TABLES} VALUES (%s, %s, %s, %s, %s, %s, %s)",
        lane, *table, before.segment, before.transaction, to.segment, to.transaction,
    )  # fmt: skip


def open_fence(session: Session, lane: str, fence: Fence) -> None:
    """Record that a statement which commits by itself is about to run."""
    at = fence.position
    text = json.dumps([at.segment, at.transaction, fence.size, fence.before, fence.xa, fence.owed, fence.tables])
    session.run(f"UPDATE {_LANES} SET fence = %s WHERE lane = %s", text, lane)


def mark_torn(session: Session, lane: str, why: str) -> None:
    """Record why a lane cannot be resumed from here on; with empty text, that it can."""
    session.run(f"UPDATE {_LANES} SET torn = %s WHERE lane = %s", why, lane)
    if why:
        # Changes that cannot be rolled back must not outlive this one, should the server end without warning:
        # it is loaded with its last commits in memory only.
        session.run("FLUSH LOCAL ENGINE LOGS")


def _state(row: tuple[object, ...]) -> LaneState:
    lane, segment, transaction, fence, bytes_done, bytes_total, finished, torn = row
    opened = None
    if fence is not None:
        at_segment, at_transaction, size, before, xa, *more = json.loads(str(fence))
        owed, tables = more or ((), ())  # an older version had neither
        about = tuple((database, table) for database, table in tables)
        opened = Fence(Position(at_segment, at_transaction), size, before, xa, tuple(owed), about)
    return LaneState(
        str(lane), Position(_int(segment), _int(transaction)), opened, _int(bytes_done), _int(bytes_total),
        bool(finished), str(torn),
    )  # fmt: skip


def _int(value: object) -> int:
    return int(str(value))
