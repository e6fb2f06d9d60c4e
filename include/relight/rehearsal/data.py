"""Sabotage of a rebuilt server's data."""

from __future__ import annotations

import base64
import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from relight.errors import StatementFailed
from relight.lane.lane_progress import DATABASE
from relight.lane.stream import StreamReader
from relight.reading import read_json
from relight.rehearsal.rows import MOST_ROWS, LastRow, Transaction, written_tables
from relight.rehearsal.scene import Attempt, Scene
from relight.rehearsal.single_rows import change_value, drop_row, swap_values
from relight.rehearsal.whole_transactions import replay_twice, skip_transaction
from relight.sabotage import Damage, Sabotage
from relight.server.schema import foreign_keys
from relight.server.session import Session, quoted
from relight.verify.columns import Shape
from relight.verify.database import DEFINITIONS, Claim, read_log
from relight.verify.log_images import LogImages

_RECORD = f"`{DATABASE}`.`sabotage`"
_MOST_TRIES = 200

_OF_ROWS: Mapping[Sabotage, Callable[[Scene], Iterator[Attempt]]] = {
    "drop_row": drop_row, "change_value": change_value, "swap_values": swap_values,
    "skip_transaction": skip_transaction, "replay_twice": replay_twice,
}  # fmt: skip
OF_DATA: frozenset[Sabotage] = frozenset({*_OF_ROWS, "drop_index"})


def done_before(session: Session, sabotage: Sabotage) -> Damage | None:
    """What an earlier attempt did, which was killed before its damage was looked for."""
    session.run("SET SESSION sql_log_bin = 0")
    session.run(
        f"CREATE TABLE IF NOT EXISTS {_RECORD} (sabotage VARCHAR(40) PRIMARY KEY, damage JSON NOT NULL,"
        " statement TEXT NOT NULL) ENGINE=InnoDB"
    )
    found = session.rows(f"SELECT damage, statement FROM {_RECORD} WHERE sabotage = %s", sabotage)
    if not found:
        return None
    damage, statement = found[0]
    if statement:
        with contextlib.suppress(StatementFailed):  # it was carried out before
            session.run(statement)
    return read_json(Damage, str(damage), on=_RECORD, what="a record of sabotage")


def damage_database(session: Session, claim: Claim, sabotage: Sabotage, draw: random.Random) -> Damage | None:
    """Do it to a database that was proved. None: nothing of it lends itself to that.

    Nothing is logged, and what was done is recorded in the same transaction.
    """
    session.run("SET SESSION time_zone = '+00:00'")
    shapes, log = read_log(session, claim, draw.getrandbits(64), MOST_ROWS)
    if sabotage == "drop_index":
        return _drop_index(session, claim.database, log, draw)
    if not any(segment.files for segment in claim.segments):
        return None
    scene = _scene(session, claim, shapes, log, draw)
    _prepare(session, claim)
    for way in islice(_OF_ROWS[sabotage](scene), _MOST_TRIES):
        if _try(session, way):
            return way.damage
    return None


def _prepare(session: Session, claim: Claim) -> None:
    first = next(file for segment in claim.segments for file in segment.files)
    session.run(b"BINLOG '" + base64.b64encode(StreamReader(first).format_description) + b"'")
    session.run("SET gtid_next = 'AUTOMATIC'")
    session.run("SET SESSION pseudo_slave_mode = ON")


def _try(session: Session, way: Attempt) -> bool:
    """Whether the server took it: unique keys and checks may stand against a change."""
    session.run("SET SESSION rbr_exec_mode = %s", "IDEMPOTENT" if way.idempotent else "STRICT")
    session.run("BEGIN")
    try:
        for block in way.blocks:
            session.run(b"BINLOG '" + base64.b64encode(block) + b"'")
    except StatementFailed:
        session.run("ROLLBACK")
        return False
    _record(session, way.damage)
    session.run("COMMIT")
    return True


def _record(session: Session, damage: Damage, statement: str = "") -> None:
    """``statement``: what has yet to be run."""
    session.run(f"INSERT INTO {_RECORD} VALUES (%s, %s, %s)", damage.sabotage, damage.model_dump_json(), statement)


def _scene(
    session: Session, claim: Claim, shapes: Mapping[str, Shape], log: LogImages, draw: random.Random
) -> Scene:  # fmt: skip
    fixed = _columns_where(session, shapes, claim.database, "information_schema.columns", "generation_expression <> ''")
    in_keys = _columns_where(session, shapes, claim.database, "information_schema.statistics", "non_unique = 0")
    also = _columns_where(
        session, shapes, claim.database, "information_schema.statistics", "non_unique = 0 AND index_name <> 'PRIMARY'"
    )
    transactional = {
        str(table) for (table,) in session.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND engine = 'InnoDB'",
            claim.database,
        )
    }  # fmt: skip
    names = {number: segment.names for number, segment in log.names.items()}

    def named(one: LastRow | Transaction) -> str:
        return names[one.at.segment].of(one.at.transaction)

    return Scene(
        database=claim.database,
        tables={name: table for name, table in written_tables(log, shapes).items() if name in transactional},
        shapes=shapes,
        counted={name for (_, name), expected in claim.expected.items() if expected.rows is not None},
        fixed={table: frozenset(fixed[table] | in_keys[table]) for table in shapes},
        unique={table: frozenset(columns) for table, columns in also.items()},
        transactional=transactional, segments=claim.segments, named=named, draw=draw,
    )  # fmt: skip


def _columns_where(
    session: Session, shapes: Mapping[str, Shape], database: str, view: str, condition: str
) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {table: set() for table in shapes}
    for table, column in session.rows(
        f"SELECT table_name, column_name FROM {view} WHERE table_schema = %s AND column_name IS NOT NULL"
        f" AND {condition}",
        database,
    ):
        if table in found:
            found[table] |= {n for n, one in enumerate(shapes[table].columns) if one.name == column}
    return found


def _drop_index(session: Session, database: str, log: LogImages, draw: random.Random) -> Damage | None:
    indexes = [
        (str(table), str(index)) for table, index in session.rows(
            "SELECT DISTINCT table_name, index_name FROM information_schema.statistics"
            " WHERE table_schema = %s AND index_name <> 'PRIMARY' ORDER BY 1, 2",
            database,
        )
    ]  # fmt: skip
    draw.shuffle(indexes)
    referred = {key.parent_table for its in foreign_keys(session).values() for key in its}
    for table, index in _comparable(indexes, log.words):
        if table in referred:
            continue
        damage = Damage(
            sabotage="drop_index", check=DEFINITIONS, on=(f"{database}.{table}",),
            what=f"{database}.{table}: index {index} was dropped",
        )  # fmt: skip
        # DDL commits by itself: recorded first, so that a killed attempt does not drop another one.
        statement = f"ALTER TABLE {quoted(database, table)} DROP INDEX {quoted(index)}"
        _record(session, damage, statement)
        try:
            session.run(statement)
        except StatementFailed:
            session.run(f"DELETE FROM {_RECORD} WHERE sabotage = 'drop_index'")
            continue  # a foreign key of the table needs it, or nothing else numbers its rows
        return damage
    return None


def _comparable(indexes: Iterable[tuple[str, str]], words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Of tables that no statement of the log has changed: of others nobody knows how they must look."""
    changed = set(words)
    yield from ((table, index) for table, index in indexes if table.lower() not in changed)
