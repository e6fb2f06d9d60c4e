"""Which tables may be replayed by net effect, and why the others may not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from relight.backups.manifest import SegmentSurvey, SnapshotManifest, Value
from relight.lane.net import NetTable
from relight.server.schema import engines
from relight.server.session import Session

TableName = tuple[str, str]


class Column(NamedTuple):
    """A column, as far as the net effect cares; ``position`` is counted from 0."""

    position: int
    extra: str
    kind: str
    full_type: str


_KEYED = "primary key: only the last state of each row is written"
_BAG = "no primary key: equal rows are counted, and only the difference is written"
_JSON = re.compile(r"^\s+`[^`]+` json\b", re.IGNORECASE | re.MULTILINE)
"""A JSON column, as SHOW CREATE TABLE writes it."""
_PARTIAL = "its row images leave columns out (binlog_row_image is not FULL, or partial JSON): in order where they do"
_SILENT = "foreign keys whose cascades are not in the log: in order, and the server cascades again"
_LINKED = "foreign keys: as if there were none where the log holds what cascades did, else in order"


@dataclass(frozen=True)
class Mode:
    """``table`` is set where the net effect may be used; ``reason`` is in words a DBA would use.

    ``has_key``: there is a primary key; ``unique_only``: there is none, but another unique key. ``linked``: foreign
    keys lead to or from the table, so the net effect also needs a log in which every change that a cascade made was
    written down. ``transactional``: its engine can roll back.
    """

    table: NetTable | None
    linked: bool
    reason: str
    has_key: bool = True
    transactional: bool = True
    unique_only: bool = False


def read_modes(session: Session, databases: Sequence[str]) -> dict[TableName, Mode]:
    """The mode of every base table in the databases, from its definition as it stands on the server."""
    marks = ", ".join(["%s"] * len(databases))
    engines = session.rows(
        "SELECT table_schema, table_name, engine FROM information_schema.tables"
        f" WHERE table_type = 'BASE TABLE' AND table_schema IN ({marks})",
        *databases,
    )
    columns: dict[TableName, dict[str, Column]] = {}
    for database, table, column, position, extra, kind, full_type in session.rows(
        "SELECT table_schema, table_name, column_name, ordinal_position, extra, data_type, column_type"
        f" FROM information_schema.columns WHERE table_schema IN ({marks})",
        *databases,
    ):
        columns.setdefault((database, table), {})[column] = Column(position - 1, extra, kind, full_type)
    keys: dict[TableName, dict[str, list[str | None]]] = {}
    for database, table, index, column in session.rows(
        "SELECT table_schema, table_name, index_name, column_name FROM information_schema.statistics"
        f" WHERE non_unique = 0 AND table_schema IN ({marks}) ORDER BY seq_in_index",
        *databases,
    ):
        keys.setdefault((database, table), {}).setdefault(index, []).append(column)
    linked = _linked(session, databases)
    return {
        (database, table): _mode(
            engine, columns.get((database, table), {}), keys.get((database, table), {}), (database, table) in linked
        )
        for database, table, engine in engines
    }


def tables_without_rollback(session: Session) -> frozenset[TableName]:
    """The tables of applications, in any database, whose engine cannot roll back."""
    return frozenset(name for name, engine in engines(session).items() if engine != "InnoDB")


def _linked(session: Session, databases: Sequence[str]) -> set[TableName]:
    marks = ", ".join(["%s"] * len(databases))
    found: set[TableName] = set()
    for child_database, child, parent_database, parent in session.rows(
        "SELECT table_schema, table_name, referenced_table_schema, referenced_table_name"
        f" FROM information_schema.key_column_usage WHERE referenced_table_name IS NOT NULL"
        f" AND (table_schema IN ({marks}) OR referenced_table_schema IN ({marks}))",
        *databases, *databases,
    ):  # fmt: skip
        found |= {(child_database, child), (parent_database, parent)}
    return found


def _mode(engine: str, columns: dict[str, Column], unique: dict[str, list[str | None]], linked: bool) -> Mode:
    key = unique.get("PRIMARY", [])
    has_json = any(column.kind == "json" for column in columns.values())
    against = against_net(engine, has_key=bool(key), has_json=has_json)
    transactional = engine == "InnoDB"
    unique_only = bool(unique) and not key
    if against:
        return Mode(None, linked, against, bool(key), transactional, unique_only)
    auto = next((column for column in columns.values() if "auto_increment" in column.extra), None)
    table = NetTable(
        columns=len(columns), key=tuple(columns[name].position for name in key if name is not None),
        auto_increment=None if auto is None else auto.position, more_unique_keys=len(unique) > bool(key),
        signed=auto is None or "unsigned" not in auto.full_type,
    )  # fmt: skip
    return Mode(table, linked, reason_for_net(has_key=bool(key), linked=linked), bool(key), transactional, unique_only)


def against_net(engine: str, *, has_key: bool, has_json: bool) -> str:
    """What stands against the net effect; empty text when nothing does."""
    if engine != "InnoDB":
        return f"engine {engine} cannot roll a batch back"
    if not has_key and has_json:
        # The server may store equal documents as different bytes.
        return "no primary key and a JSON column: equal rows cannot be told by their bytes"
    return ""


def reason_for_net(*, has_key: bool, linked: bool) -> str:
    """Why the net effect may be used, and what it does."""
    if linked:
        return _LINKED
    return _KEYED if has_key else _BAG


class PlannedMode(Value):
    """How a table of the snapshot will be replayed, for people who read the plan."""

    database: str
    table: str
    mode: Literal["net", "ordered"]
    reason: str


def planned_modes(snapshot: SnapshotManifest, surveys: Iterable[SegmentSurvey | None] = ()) -> list[PlannedMode]:
    """The mode of every table of the snapshot, with what was found in the logs when they were shipped.

    A table that a later DDL statement changes gets its mode anew then.
    """
    known = [survey for survey in surveys if survey is not None]
    partial = {table for survey in known for table in survey.partial_images}
    silent = {table for survey in known for table in survey.silent_cascades}
    linked = {(t.database, t.name) for t in snapshot.tables if t.foreign_keys}
    linked |= {(key.parent_database, key.parent_table) for t in snapshot.tables for key in t.foreign_keys}
    cascading = {(key.parent_database, key.parent_table) for t in snapshot.tables for key in t.foreign_keys} & silent
    modes = []
    for table in snapshot.tables:
        name = (table.database, table.name)
        has_key = bool(table.primary_key)
        against = against_net(table.engine, has_key=has_key, has_json=bool(_JSON.search(table.create)))
        if not against and name in partial:
            against = _PARTIAL
        if not against and name in linked and cascading:
            against = _SILENT
        reason = against or reason_for_net(has_key=has_key, linked=name in linked)
        mode: Literal["net", "ordered"] = "ordered" if against else "net"
        modes.append(PlannedMode(database=table.database, table=table.name, mode=mode, reason=reason))
    return modes
