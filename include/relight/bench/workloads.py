"""The histories that methods are measured on: 2 updates, 1 delete and 1 insert per transaction.

They are written by stored procedures, so that making them takes no longer than the server needs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from relight.credentials import Login
from relight.fleet import Server
from relight.server.session import Session, connect

TABLES = 4


@dataclass(frozen=True)
class Workload:
    """``skew`` is the exponent that pulls a uniform draw towards the first keys: 1 leaves it uniform,
    with 6 a tenth of the rows take two thirds of the writes."""

    name: str
    databases: int
    skew: float
    mixed: bool = False


WORKLOADS = (
    Workload("skewed", databases=4, skew=6),
    Workload("uniform", databases=4, skew=1),
    Workload("one_database", databases=1, skew=6),
    Workload("mix", databases=4, skew=6, mixed=True),
)

_PLAIN = "id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (k)"
_MIXED = (
    "id INT NOT NULL UNIQUE, k INT, c VARCHAR(80) COLLATE utf8mb4_0900_ai_ci, pad CHAR(9), PRIMARY KEY (c, id)",
    "id INT NOT NULL, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (id)",
    "id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c LONGBLOB NOT NULL, pad CHAR(60) NOT NULL, doc JSON",
    _PLAIN,
)
_VALUES = (
    "CONCAT('Key', {id}, ' of ', LEFT(SHA2({id}, 256), 20))",
    "SHA2({id}, 256)",
    "REPEAT(CHAR(65 + {id} % 26), 1000 + ({id} * 7919) % 59000)",
    "CONCAT(SHA2({id}, 256), '-', {id})",
)


def create(session: Session, workload: Workload, rows: int) -> None:
    """Databases ``bench0`` ..., four tables each, ``rows`` rows each, and the procedure that writes."""
    session.run("SET SESSION sql_log_bin = 0, cte_max_recursion_depth = 1000000")
    for database in names(workload):
        session.run(f"CREATE DATABASE {database}")
        for table in range(TABLES):
            session.run(f"CREATE TABLE {database}.t{table} ({_MIXED[table] if workload.mixed else _PLAIN})")
            value = _VALUES[table if workload.mixed else 3].format(id="n")
            # Every fourth row of the table with blobs is there: 50,000 of them would be 1.5 GB.
            session.run(
                f"INSERT INTO {database}.t{table} (id, k, c, pad) WITH RECURSIVE r (n) AS"
                f" (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {_rows(workload, table, rows)})"
                f" SELECT n, n * 7 % 1000, {value}, 'pad' FROM r"
            )
        session.run(_procedure(workload, database, rows))


def names(workload: Workload) -> list[str]:
    """The workload's databases."""
    return [f"bench{number}" for number in range(workload.databases)]


def _rows(workload: Workload, table: int, rows: int) -> int:
    return max(rows // 25, 10) if workload.mixed and table in (1, 2) else rows


def _procedure(workload: Workload, database: str, rows: int) -> str:
    cases = "".join(_case(workload, table, _rows(workload, table, rows)) for table in range(TABLES))
    return (
        f"CREATE PROCEDURE {database}.write_log(IN transactions INT, IN first INT) BEGIN"
        " DECLARE i INT DEFAULT 0; DECLARE a INT; DECLARE b INT; DECLARE d INT; DECLARE s INT;"
        " WHILE i < transactions DO SET s = first + i;"
        f" CASE i % {TABLES} {cases} END CASE;"
        " SET i = i + 1; END WHILE; END"
    )


def _case(workload: Workload, table: int, rows: int) -> str:
    draw = f"1 + FLOOR({rows} * POW(RAND(), {workload.skew}))"
    value = _VALUES[table if workload.mixed else 3]
    document = ", doc = JSON_OBJECT('s', s, 'list', JSON_ARRAY(a, b))" if workload.mixed and table == 2 else ""
    return (
        f" WHEN {table} THEN SET a = {draw}; SET b = {draw}; SET d = {draw}; START TRANSACTION;"
        f" UPDATE t{table} SET k = k + 1{document} WHERE id = a;"
        f" UPDATE t{table} SET pad = CONCAT('p', s) WHERE id = b;"
        f" DELETE FROM t{table} WHERE id = d;"
        f" INSERT INTO t{table} (id, k, c, pad) VALUES (d, s % 1000, {value.format(id='d')}, 'new'); COMMIT;"
    )


def write(server: Server, login: Login, workload: Workload, transactions: int) -> None:
    """Write the history: databases side by side; in the mix, with DDL in its middle."""
    share = transactions // workload.databases // 2

    def work(database: str) -> None:
        with connect(server, login, database=database) as session:
            session.run(f"CALL write_log({share}, 0)")
            if workload.mixed:
                session.run("ALTER TABLE t3 ADD COLUMN late INT NOT NULL DEFAULT 5, ADD KEY (late)")
                session.run("CREATE TABLE made AS SELECT id, k FROM t3 WHERE id < 100")
            session.run(f"CALL write_log({share}, {share})")

    with ThreadPoolExecutor(workload.databases) as pool:
        list(pool.map(work, names(workload)))
