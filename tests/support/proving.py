"""Lets a replayed server be verified without a store or a run in between."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from relight.accounting import Expected, TableName, expected_rows
from relight.backups.manifest import Definition, Table
from relight.fleet import Server
from relight.lane import lane_progress
from relight.lane.segments import lane_segment
from relight.run_files import CheckResult, TableVerdict
from relight.server import definitions
from relight.server.schema import SYSTEM_DATABASES, databases
from relight.server.session import Session, connect
from relight.verify.counting import doubt_silent_cascades, unknown_before
from relight.verify.database import Claim, verify_database
from relight.verify.witness import Witnessed, witnessed
from tests.support.replaying import Replayed


def base_definitions(session: Session) -> tuple[Definition, ...]:
    """What is defined in all databases."""
    return tuple(one for database in databases(session) for one in definitions.of_database(session, database))


def claim_of(
    replayed: Replayed, database: str, tables: Sequence[Table], base: Sequence[Definition], *, seed: int = 1,
    empty: Server | None = None,
) -> Claim:  # fmt: skip
    """What log and base say of a database. ``empty``: a server without databases, for what the log defines."""
    together = next((lane.databases for lane in replayed.lanes.lanes if database in lane.databases), ())
    segments = tuple(lane_segment(replayed.folder / str(split.number), split, together) for split in replayed.splits)

    def witness(server: Server) -> Witnessed:
        with connect(server, replayed.admin) as session:
            mine = [one for one in base if one.database in together]
            return witnessed(session, mine, segments)

    return Claim(
        database=database,
        expected={name: one for name, one in expected_of(replayed, tables).items() if name[0] == database},
        definitions=tuple(one for one in base if one.database == database),
        segments=segments, seed=seed, alone=len(together) <= 1,
        witness=partial(witness, empty) if empty is not None else None,
    )  # fmt: skip


def expected_of(replayed: Replayed, tables: Sequence[Table]) -> dict[TableName, Expected]:
    """How many rows there must be, as accounting has it."""
    counted = {(table.database, table.name): table.rows for table in tables}
    logged = (o for split in replayed.splits for o in split.operations)
    expected = expected_rows(counted, [*unknown_before(tables), *logged])
    silent = {name for split in replayed.splits for name in split.silent_cascades}
    return doubt_silent_cascades(expected, tables, silent)


def prove(
    replayed: Replayed, tables: Sequence[Table], base: Sequence[Definition], *, seed: int = 1,
    empty: Server | None = None,
) -> tuple[list[TableVerdict], list[CheckResult]]:  # fmt: skip
    """Verify every database that the server, the base or the log knows."""
    verdicts: list[TableVerdict] = []
    checks: list[CheckResult] = []
    with connect(replayed.server, replayed.admin) as session:
        names = {*databases(session), *(one.database for one in base), *(n for n, _ in expected_of(replayed, tables))}
        for database in sorted(names - {lane_progress.DATABASE, *SYSTEM_DATABASES}):
            found = verify_database(session, claim_of(replayed, database, tables, base, seed=seed, empty=empty))
            verdicts += found[0]
            checks += found[1]
    return verdicts, checks
