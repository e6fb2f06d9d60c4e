"""Row accounting: as many rows in every table as the snapshot had and the log added, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from relight.accounting import Expected, TableName
from relight.backups.manifest import Table
from relight.run_files import TableVerdict, Verdict
from relight.server.session import Session, quoted


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


def count_rows(session: Session, database: str) -> dict[TableName, int]:
    """Exact counts of every base table of a database."""
    tables = session.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
        database,
    )
    return {
        (database, str(name)): int(session.value(f"SELECT COUNT(*) FROM {quoted(database, str(name))}"))
        for (name,) in tables
    }


def compare(expected: Mapping[TableName, Expected], counted: Mapping[TableName, int]) -> list[TableVerdict]:
    """Pure: a verdict for every table that should be there or is."""
    return [_verdict(name, expected.get(name), counted.get(name)) for name in sorted({*expected, *counted})]


def _verdict(name: TableName, expected: Expected | None, counted: int | None) -> TableVerdict:
    verdict: Verdict = "mismatch"
    reason = ""
    if expected is None:
        reason = "the table should not exist"
    elif counted is None:
        reason = "the table is missing"
    elif expected.rows is None:
        verdict, reason = "inconclusive", expected.reason
    elif expected.rows == counted:
        verdict = "match"
    else:
        reason = f"{counted - expected.rows:+d} rows"
    return TableVerdict(
        database=name[0], table=name[1], verdict=verdict, expected=expected.rows if expected else None,
        counted=counted, inserted=expected.inserted if expected else 0, deleted=expected.deleted if expected else 0,
        reason=reason,
    )  # fmt: skip
