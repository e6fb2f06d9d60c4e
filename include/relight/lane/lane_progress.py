"""Where every lane stands, kept on the rebuilt server itself.

A lane's row is updated in the same transaction as the batch it speaks of, so after a crash of
anything the row says exactly what is there. Promotion drops the whole database.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from relight.run_files import Lane
from relight.server.session import Session

DATABASE = "_relight"
"""Relight's own database on a server that is being rebuilt."""
_TABLE = f"`{DATABASE}`.`progress`"


@dataclass(frozen=True, order=True)
class Position:
    """The last transaction that is there: its segment's number in the plan and its own number in the segment."""

    segment: int
    transaction: int


START = Position(0, 0)


@dataclass(frozen=True)
class Fence:
    """A DDL statement that was about to run: where, its bytes, and what the schema looked like before."""

    position: Position
    size: int
    schema_before: str


@dataclass(frozen=True)
class LaneState:
    """One row: how far a lane is, and whether a fence was open when it was written."""

    lane: str
    position: Position
    fence: Fence | None
    bytes_done: int
    bytes_total: int
    transactions_done: int

    @property
    def complete(self) -> bool:
        """Whether everything that was split for the lane is committed."""
        return self.fence is None and self.bytes_done == self.bytes_total


def create_table(session: Session) -> None:
    """Make the table; it is there already when a restore is resumed."""
    session.run(f"CREATE DATABASE IF NOT EXISTS `{DATABASE}`")
    session.run(
        f"CREATE TABLE IF NOT EXISTS {_TABLE} ("
        " lane VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,"
        " segment INT UNSIGNED NOT NULL, transaction BIGINT UNSIGNED NOT NULL, fence JSON NULL,"
        " bytes_done BIGINT UNSIGNED NOT NULL, bytes_total BIGINT UNSIGNED NOT NULL,"
        " transactions_done BIGINT UNSIGNED NOT NULL"
        ") ENGINE=InnoDB"
    )


def enter(session: Session, lanes: Sequence[Lane]) -> None:
    """Add the lanes that have no row yet."""
    for lane in lanes:
        session.run(f"INSERT IGNORE INTO {_TABLE} VALUES (%s, 0, 0, NULL, 0, %s, 0)", lane.name, lane.bytes)


def load(session: Session, lane: str) -> LaneState:
    """A lane's row."""
    return _state(session.row(f"SELECT * FROM {_TABLE} WHERE lane = %s", lane))


def load_all(session: Session) -> list[LaneState]:
    """Every lane's row: what progress bars are drawn from."""
    return [_state(row) for row in session.rows(f"SELECT * FROM {_TABLE} ORDER BY lane")]


def advance(session: Session, lane: str, position: Position, *, size: int, transactions: int) -> None:
    """Record a position, within the caller's transaction; closes any fence."""
    session.run(
        f"UPDATE {_TABLE} SET segment = %s, transaction = %s, fence = NULL,"
        " bytes_done = bytes_done + %s, transactions_done = transactions_done + %s WHERE lane = %s",
        position.segment, position.transaction, size, transactions, lane,
    )  # fmt: skip


def open_fence(session: Session, lane: str, fence: Fence) -> None:
    """Record that a statement which commits by itself is about to run."""
    text = json.dumps([fence.position.segment, fence.position.transaction, fence.size, fence.schema_before])
    session.run(f"UPDATE {_TABLE} SET fence = %s WHERE lane = %s", text, lane)


def _state(row: tuple[object, ...]) -> LaneState:
    lane, segment, transaction, fence, bytes_done, bytes_total, done = row
    opened = None
    if fence is not None:
        at_segment, at_transaction, size, schema = json.loads(str(fence))
        opened = Fence(Position(at_segment, at_transaction), size, schema)
    return LaneState(
        str(lane), Position(_int(segment), _int(transaction)), opened, _int(bytes_done), _int(bytes_total), _int(done),
    )  # fmt: skip


def _int(value: object) -> int:
    return int(str(value))
