"""The histories that methods are measured on: 2 updates, 1 delete and 1 insert per transaction.

They are written by stored procedures, so that making them takes no longer than the server needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from relight.bench.tables import Table, large, mixed, plain
from relight.credentials import Login
from relight.errors import LabError
from relight.fleet import Server
from relight.server.session import connect


@dataclass(frozen=True)
class Workload:
    """``tables`` gives the tables of one database for a number of rows; keys are drawn skewed or evenly."""

    name: str
    databases: int
    skewed: bool
    tables: Callable[[int], Sequence[Table]] = plain
    middle: tuple[str, ...] = ()
    """Statements that every database's session runs when half of its transactions are written."""

    @property
    def names(self) -> list[str]:
        """The databases."""
        return [f"bench{number}" for number in range(self.databases)]


_DDL = (
    "ALTER TABLE accounts ADD COLUMN late INT NOT NULL DEFAULT 5, ADD KEY (late)",
    "CREATE TABLE made AS SELECT id, k FROM accounts WHERE id < 100",
)

WORKLOADS = (
    Workload("skewed", databases=4, skewed=True),
    Workload("uniform", databases=4, skewed=False),
    Workload("one_database", databases=1, skewed=True),
    Workload("mix", databases=4, skewed=True, tables=mixed, middle=_DDL),
)

LARGE_ROWS = Workload("large_rows", databases=1, skewed=False, tables=large)
"""What fills a log fastest: for measuring memory, not for comparing."""


def chosen(names: Sequence[str]) -> list[Workload]:
    """The workloads of these names, all for no names.

    :raises LabError: there is none of such a name.
    """
    known = {workload.name: workload for workload in WORKLOADS}
    if unknown := sorted(set(names) - set(known)):
        raise LabError("unknown workload", on=", ".join(unknown), hint="there are " + ", ".join(known))
    return [workload for workload in WORKLOADS if not names or workload.name in names]


def draw(rows: int, *, skewed: bool) -> str:
    """SQL that draws a key between 1 and ``rows``.

    Skewed is the distribution that sysbench calls special and takes unless told otherwise
    (``--rand-spec-pct=1 --rand-spec-res=75 --rand-spec-iter=12``): 75 % of the draws fall evenly on the
    1 % of the keys in the middle, the others are means of 12 even draws, a bell around the middle. Of
    800,000 rows, 200,000 transactions then touch about 115,000, most of them once.
    """
    if not skewed:
        return f"1 + FLOOR(RAND() * {rows})"
    few = max(rows // 100, 1)
    hot = f"{(rows - few) // 2} + FLOOR(RAND() * {few})"
    bell = f"FLOOR(({' + '.join(['RAND()'] * 12)}) / 12 * {rows})"
    return f"1 + IF(RAND() < 0.75, {hot}, {bell})"


def create(server: Server, login: Login, workload: Workload, rows: int) -> None:
    """Databases ``bench0`` ... with tables, rows, and the procedure that writes; none of it is logged."""

    def work(database: str) -> None:
        with connect(server, login) as session:
            session.run("SET SESSION sql_log_bin = 0, cte_max_recursion_depth = 10000000")
            session.run(f"CREATE DATABASE {database}")
            session.run(f"USE {database}")
            for table in workload.tables(rows):
                session.run(f"CREATE TABLE {table.name} ({table.definition})")
                session.run(
                    f"INSERT INTO {table.name} ({table.filled}) WITH RECURSIVE r (n) AS"
                    f" (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {table.rows}) SELECT {table.fill} FROM r"
                )
            session.run(_procedure(workload, rows))

    _in_parallel(work, workload.names)


def _procedure(workload: Workload, rows: int) -> str:
    cases = "".join(_case(table, skewed=workload.skewed) for table in workload.tables(rows))
    return (
        "CREATE PROCEDURE write_log(IN first INT, IN transactions INT) BEGIN"
        " DECLARE s INT DEFAULT first; DECLARE a, b, d INT; DECLARE e VARCHAR(80);"
        f" WHILE s < first + transactions DO CASE {cases} END CASE; SET s = s + 1; END WHILE; END"
    )


def _case(table: Table, *, skewed: bool) -> str:
    key = draw(table.rows, skewed=skewed)
    return (
        f" WHEN {table.turn} THEN SET a = {key}; SET b = {key}; SET d = {key}; {table.before}"
        f" START TRANSACTION; {table.changes} COMMIT;"
    )


def write(server: Server, login: Login, workload: Workload, transactions: int) -> None:
    """Write the history, databases side by side."""
    share = transactions // workload.databases
    half = share // 2

    def work(database: str) -> None:
        with connect(server, login, database=database) as session:
            session.run(f"CALL write_log(0, {half})")
            for statement in workload.middle:
                session.run(statement)
            session.run(f"CALL write_log({half}, {share - half})")

    _in_parallel(work, workload.names)


def _in_parallel(work: Callable[[str], None], databases: Sequence[str]) -> None:
    with ThreadPoolExecutor(len(databases)) as pool:
        list(pool.map(work, databases))
