"""Row accounting: how many rows every table must have at the target.

The snapshot knows exact counts; the log says, in order, what was inserted, deleted, emptied,
dropped, created and renamed. Folding one over the other needs no source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal, Protocol

from pydantic import Field
from pydantic.dataclasses import dataclass

from relight.backups.manifest import Value


@dataclass(frozen=True)
class Change:
    """Rows inserted into and deleted from a table."""

    database: str
    table: str
    inserted: int
    deleted: int
    kind: Literal["change"] = "change"


@dataclass(frozen=True)
class Truncate:
    """The table is emptied."""

    database: str
    table: str
    kind: Literal["truncate"] = "truncate"


@dataclass(frozen=True)
class Drop:
    """The table is gone, if it was there."""

    database: str
    table: str
    kind: Literal["drop"] = "drop"


@dataclass(frozen=True)
class Create:
    """An empty table is there; with ``if_absent`` an existing one stays as it is."""

    database: str
    table: str
    if_absent: bool = False
    kind: Literal["create"] = "create"


@dataclass(frozen=True)
class Rename:
    """The table has another name, rows and all."""

    database: str
    table: str
    new_database: str
    new_table: str
    kind: Literal["rename"] = "rename"


@dataclass(frozen=True)
class DropDatabase:
    """Every table of the database is gone."""

    database: str
    kind: Literal["drop_database"] = "drop_database"


@dataclass(frozen=True)
class Unknown:
    """From here on the log does not tell how many rows the table has, or, with an empty name, any
    table of the database; with an empty database, any table."""

    database: str
    table: str
    reason: str
    kind: Literal["unknown"] = "unknown"


@dataclass(frozen=True)
class Written:
    """A statement changed rows of the tables with these names, in small letters, or of what they lead to (through
    triggers, functions, views and foreign keys) in one of the databases; from here on the log does not tell how many
    rows these have. No database at all stands for any. ``words``: all of the statement, since functions and views that
    it reads from may lead to tables too."""

    databases: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[str, ...]
    reason: str
    kind: Literal["written"] = "written"


@dataclass(frozen=True)
class Leads:
    """A statement made something that leads from some names to others."""

    sql: str
    kind: Literal["leads"] = "leads"


@dataclass(frozen=True)
class Prepare:
    """What an XA transaction changes once it is committed."""

    xid: str
    changes: tuple[Change | Unknown, ...]
    kind: Literal["prepare"] = "prepare"


@dataclass(frozen=True)
class Settle:
    """A prepared XA transaction is committed, or rolled back."""

    xid: str
    committed: bool
    kind: Literal["settle"] = "settle"


Operation = Annotated[
    Prepare | Settle | Change | Truncate | Drop | Create | Rename | DropDatabase | Unknown | Written | Leads,
    Field(discriminator="kind"),
]  # fmt: skip

Immediate = Change | Truncate | Drop | Create | Rename | DropDatabase | Unknown
"""An operation that takes effect where it stands in the log."""

TableName = tuple[str, str]


def xa_of(operations: Iterable[Operation]) -> tuple[tuple[str, bool], ...]:
    """XA transactions in the order of the log: each that is prepared (True) or settled (False)."""
    return tuple(
        (one.xid, isinstance(one, Prepare)) for one in operations if isinstance(one, Prepare | Settle)
    )  # fmt: skip


class Expected(Value):
    """The rows a table must have; None, with the reason, where the log does not tell."""

    rows: int | None
    inserted: int = 0
    deleted: int = 0
    reason: str = ""
    if_absent: bool = False
    """It was made if there was nothing of its name, which may have been a view; nothing was written to it since."""


class Reachable(Protocol):
    """Knows which tables a statement may change."""

    def learn(self, sql: str) -> None:
        """A statement of the log may define something that leads further."""
        ...

    def of(self, words: Collection[str]) -> frozenset[str]:
        """The names, in small letters, that a statement which touches these may touch."""
        ...

    def programs(self, words: Collection[str]) -> frozenset[str]:
        """Those of these words that name a view, a routine, a trigger or an event."""
        ...


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
            self._done.append(Change(database, table, inserted, deleted))
        self._open.clear()


def expected_rows(
    snapshot: Mapping[TableName, int], operations: Iterable[Operation], reach: Reachable | None = None
) -> dict[TableName, Expected]:  # fmt: skip
    """Fold the operations over the snapshot's counts. Without ``reach`` a statement may change any table of the
    databases that it names."""
    tables = {name: Expected(rows=rows) for name, rows in snapshot.items()}
    prepared: dict[str, Prepare] = {}
    for operation in operations:
        if isinstance(operation, Prepare):
            prepared[operation.xid] = operation
        elif isinstance(operation, Settle):
            _settle(tables, operation, prepared.pop(operation.xid, None))
        elif isinstance(operation, Written):
            _write(tables, operation, reach)
        elif isinstance(operation, Leads):
            if reach is not None:
                reach.learn(operation.sql)
        else:
            _apply(tables, operation)
    return tables


def _write(tables: dict[TableName, Expected], written: Written, reach: Reachable | None) -> None:
    reached = None
    if reach is not None:
        reached = reach.of({*written.names, *reach.programs(written.words)}) | set(written.names)
    for name, expected in tables.items():
        if (name[0] in written.databases or not written.databases) and (reached is None or name[1].lower() in reached):
            tables[name] = expected.model_copy(update={"rows": None, "reason": written.reason})


def _settle(tables: dict[TableName, Expected], settle: Settle, prepared: Prepare | None) -> None:
    if not settle.committed:
        return
    if prepared is None:
        reason = f"XA transaction {settle.xid} was prepared before the snapshot; the log does not say what it changed"
        for name, expected in tables.items():
            tables[name] = expected.model_copy(update={"rows": None, "reason": reason})
        return
    for change in prepared.changes:
        _apply(tables, change)


def _apply(tables: dict[TableName, Expected], operation: Immediate) -> None:
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
        for other in [n for n in tables if n == name or (not operation.table and operation.database in ("", n[0]))]:
            tables[other] = tables[other].model_copy(update={"rows": None, "reason": operation.reason})
    elif isinstance(operation, Truncate) or not (operation.if_absent and name in tables):
        tables[name] = Expected(rows=0, if_absent=isinstance(operation, Create) and operation.if_absent)


def _changed(before: Expected, change: Change) -> Expected:
    rows = None if before.rows is None else before.rows + change.inserted - change.deleted
    return Expected(
        rows=rows, inserted=before.inserted + change.inserted, deleted=before.deleted + change.deleted,
        reason=before.reason,
    )  # fmt: skip
