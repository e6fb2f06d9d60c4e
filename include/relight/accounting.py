"""Row accounting: how many rows every table must have at the target.

The snapshot knows exact counts; the log says, in order, what was inserted, deleted, emptied,
dropped, created and renamed. Folding one over the other needs no source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from relight.manifest import Value


class Change(Value):
    """Rows inserted into and deleted from a table."""

    kind: Literal["change"] = "change"
    database: str
    table: str
    inserted: int
    deleted: int


class Truncate(Value):
    """The table is emptied."""

    kind: Literal["truncate"] = "truncate"
    database: str
    table: str

    def __init__(self, database: str, table: str, **more: str) -> None:
        super().__init__(database=database, table=table, **more)


class Drop(Value):
    """The table is gone, if it was there."""

    kind: Literal["drop"] = "drop"
    database: str
    table: str

    def __init__(self, database: str, table: str, **more: str) -> None:
        super().__init__(database=database, table=table, **more)


class Create(Value):
    """An empty table is there; with ``if_absent`` an existing one stays as it is."""

    kind: Literal["create"] = "create"
    database: str
    table: str
    if_absent: bool = False

    def __init__(self, database: str, table: str, **more: object) -> None:
        super().__init__(database=database, table=table, **more)


class Rename(Value):
    """The table has another name, rows and all."""

    kind: Literal["rename"] = "rename"
    database: str
    table: str
    new_database: str
    new_table: str

    def __init__(self, database: str, table: str, new_database: str, new_table: str, **more: str) -> None:
        super().__init__(database=database, table=table, new_database=new_database, new_table=new_table, **more)


class DropDatabase(Value):
    """Every table of the database is gone."""

    kind: Literal["drop_database"] = "drop_database"
    database: str

    def __init__(self, database: str, **more: str) -> None:
        super().__init__(database=database, **more)


class Unknown(Value):
    """From here on the log does not tell how many rows the table has, or, with an empty name, any
    table of the database."""

    kind: Literal["unknown"] = "unknown"
    database: str
    table: str
    reason: str

    def __init__(self, database: str, table: str, reason: str, **more: str) -> None:
        super().__init__(database=database, table=table, reason=reason, **more)


Operation = Annotated[
    Change | Truncate | Drop | Create | Rename | DropDatabase | Unknown, Field(discriminator="kind")
]  # fmt: skip

TableName = tuple[str, str]


class Expected(Value):
    """The rows a table must have; None, with the reason, where the log does not tell."""

    rows: int | None
    inserted: int = 0
    deleted: int = 0
    reason: str = ""


class Journal:
    """Collects operations in order; changes of the same table between two other operations are added up."""

    def __init__(self) -> None:
        self._done: list[Operation] = []
        self._open: dict[TableName, list[int]] = {}

    def change(self, database: str, table: str, *, inserted: int = 0, deleted: int = 0) -> None:
        """Rows went in or out."""
        counts = self._open.setdefault((database, table), [0, 0])
        counts[0] += inserted
        counts[1] += deleted

    def add(self, operations: Iterable[Operation]) -> None:
        """Anything else happened; what was collected so far came before it."""
        later = list(operations)
        if later:
            self._settle()
            self._done.extend(later)

    def operations(self) -> tuple[Operation, ...]:
        """All operations in order."""
        self._settle()
        return tuple(self._done)

    def _settle(self) -> None:
        for (database, table), (inserted, deleted) in self._open.items():
            self._done.append(Change(database=database, table=table, inserted=inserted, deleted=deleted))
        self._open.clear()


def expected_rows(
    snapshot: Mapping[TableName, int], operations: Iterable[Operation]
) -> dict[TableName, Expected]:  # fmt: skip
    """Fold the operations over the snapshot's counts."""
    tables = {name: Expected(rows=rows) for name, rows in snapshot.items()}
    for operation in operations:
        _apply(tables, operation)
    return tables


def _apply(tables: dict[TableName, Expected], operation: Operation) -> None:
    if isinstance(operation, DropDatabase):
        for name in [n for n in tables if n[0] == operation.database]:
            del tables[name]
        return
    name = (operation.database, operation.table)
    if isinstance(operation, Change):
        tables[name] = _changed(tables.get(name, Expected(rows=0)), operation)
    elif isinstance(operation, Drop):
        tables.pop(name, None)
    elif isinstance(operation, Rename):
        moved = tables.pop(name, None)
        if moved is not None:
            tables[operation.new_database, operation.new_table] = moved
    elif isinstance(operation, Unknown):
        for other in [n for n in tables if n == name or (not operation.table and n[0] == operation.database)]:
            tables[other] = tables[other].model_copy(update={"rows": None, "reason": operation.reason})
    elif isinstance(operation, Truncate) or not (operation.if_absent and name in tables):
        tables[name] = Expected(rows=0)


def _changed(before: Expected, change: Change) -> Expected:
    rows = None if before.rows is None else before.rows + change.inserted - change.deleted
    return Expected(
        rows=rows, inserted=before.inserted + change.inserted, deleted=before.deleted + change.deleted,
        reason=before.reason,
    )  # fmt: skip
