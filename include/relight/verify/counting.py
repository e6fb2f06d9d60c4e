"""Row accounting: as many rows in every table as the snapshot had and the log added, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from relight.accounting import Create, Expected, Operation, Rename, TableName, Unknown, expected_rows
from relight.backups.manifest import Definition, ForeignKey, Table
from relight.errors import StatementFailed
from relight.run_files import TableVerdict, Verdict
from relight.server.schema import why_unreadable
from relight.server.session import Session, quoted
from relight.verify.reach import Reach


def expected_counts(
    tables: Sequence[Table], definitions: Sequence[Definition] | None, operations: Sequence[Operation]
) -> dict[TableName, Expected]:
    """Pure: how many rows every table must have. ``definitions``: what the snapshot had besides tables; None: nobody
    knows, so a statement may have changed any table of the databases that it names."""
    counted = {(table.database, table.name): table.rows for table in tables}
    if definitions is None:
        return expected_rows(counted, operations)
    names = {table.name for table in tables} | {one.table for one in operations if isinstance(one, Create)}
    names |= {one.new_table for one in operations if isinstance(one, Rename)}
    keys: dict[str, list[ForeignKey]] = {}
    for table in tables:
        keys.setdefault(table.name, []).extend(table.foreign_keys)
    return expected_rows(counted, operations, Reach(names, definitions, keys))


class Unread(NamedTuple):
    """A table that cannot be counted; ``damaged`` unless that lies in what it is."""

    reason: str
    damaged: bool


def unknown_before(tables: Iterable[Table]) -> list[Unknown]:
    """What the snapshot does not know of its tables, to be followed by what the log says."""
    return [Unknown(table.database, table.name, table.unreadable) for table in tables if table.unreadable]


def doubt_silent_cascades(
    expected: Mapping[TableName, Expected], tables: Sequence[Table], parents: Iterable[TableName]
) -> dict[TableName, Expected]:
    """Pure: where rows were deleted from ``parents`` and the log does not say what their cascades deleted, the
    log cannot tell how many rows the tables below them have."""
    below: dict[TableName, list[TableName]] = {}
    for table in tables:
        for key in table.foreign_keys:
            if key.on_delete == "CASCADE":
                below.setdefault((key.parent_database, key.parent_table), []).append((table.database, table.name))
    doubted: set[TableName] = set()
    waiting = [child for parent in parents for child in below.get(parent, ())]
    while waiting:
        table_name = waiting.pop()
        if table_name not in doubted:
            doubted.add(table_name)
            waiting += below.get(table_name, ())
    reason = "rows were deleted by a cascading foreign key, which this source does not log"
    return {
        name: one.model_copy(update={"rows": None, "reason": reason}) if name in doubted else one
        for name, one in expected.items()
    }


def count_rows(session: Session, database: str) -> dict[TableName, int | Unread]:
    """Exact counts of every base table of a database, as far as it can be read."""
    tables = session.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
        database,
    )
    return {(database, str(name)): _count(session, (database, str(name))) for (name,) in tables}


def _count(session: Session, table: TableName) -> int | Unread:
    try:
        return int(session.value(f"SELECT COUNT(*) FROM {quoted(*table)}"))
    except StatementFailed as error:
        reason = why_unreadable(session, table)
        return Unread(reason or f"it cannot be read: {error.why}", damaged=not reason)


def without_views(
    expected: Mapping[TableName, Expected], session: Session, database: str
) -> dict[TableName, Expected]:  # fmt: skip
    """What is expected of tables: a CREATE TABLE IF NOT EXISTS makes none where a view has the name."""
    rows = session.rows("SELECT table_name FROM information_schema.views WHERE table_schema = %s", database)
    views = {(database, str(name)) for (name,) in rows}
    return {name: one for name, one in expected.items() if not (one.if_absent and name in views)}


def compare(expected: Mapping[TableName, Expected], counted: Mapping[TableName, int | Unread]) -> list[TableVerdict]:
    """Pure: a verdict for every table that should be there or is."""
    return [_verdict(name, expected.get(name), counted.get(name)) for name in sorted({*expected, *counted})]


def _verdict(name: TableName, expected: Expected | None, counted: int | Unread | None) -> TableVerdict:
    verdict: Verdict = "mismatch"
    reason = ""
    if expected is None:
        reason = "the table should not exist"
    elif counted is None:
        reason = "the table is missing"
    elif isinstance(counted, Unread):
        verdict, reason = ("mismatch" if counted.damaged else "inconclusive"), counted.reason
    elif expected.rows is None:
        verdict, reason = "inconclusive", expected.reason
    elif expected.rows == counted:
        verdict = "match"
    else:
        reason = f"{counted - expected.rows:+d} rows"
    return TableVerdict(
        database=name[0], table=name[1], verdict=verdict, expected=expected.rows if expected else None,
        counted=None if isinstance(counted, Unread) else counted, inserted=expected.inserted if expected else 0,
        deleted=expected.deleted if expected else 0,
        reason=reason,
    )  # fmt: skip
