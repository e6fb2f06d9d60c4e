"""Two servers with the same rows have the same sums, whatever their tables are; with other rows they have not."""

from __future__ import annotations

import pytest

from relight.fleet import Server
from relight.server.session import Session
from relight.server.table_checksums import checksums
from tests.support.servers import Servers

TABLES = {
    "numbers": "KEY mv ((CAST(j->'$.n' AS UNSIGNED ARRAY)))", "words": "UNIQUE KEY mv (v, (CAST(j->'$.w' AS CHAR(20) ARRAY)))",
    "several": "KEY one ((CAST(j->'$.n' AS SIGNED ARRAY))), KEY two ((CAST(j->'$.w' AS CHAR(9) ARRAY)), v)",
    "functional": "KEY f ((v * 2)), KEY g ((CAST(j->>'$.a' AS CHAR(20))))", "ordinary": "KEY (v)",
}  # fmt: skip
"""All are one table, with different indexes."""
COLUMNS = (
    "id INT PRIMARY KEY, v INT, j JSON, c CHAR(9) CHARACTER SET latin1, t TIMESTAMP(3) NULL, g GEOMETRY, b BIT(9), f FLOAT,"
    " d DOUBLE, e ENUM('x', ''), vec VECTOR(2), bl LONGBLOB, twice INT AS (v * 2), kept VARCHAR(30) AS (CONCAT(c, '!')) STORED"
)
ROWS = (
    "1, 7, '{\"n\": [1, 2, 3], \"w\": [\"a\", \"b\"]}', 'ä ', '2026-01-01 10:00:00.5', POINT(1, 2), b'101', 0.1, 1e300, 'x',"
    " TO_VECTOR('[1,2]'), x'00ff'",
    "2, 8, '{\"n\": [], \"w\": []}', '', NULL, NULL, NULL, NULL, NULL, '', NULL, ''",
    "3" + ", NULL" * 11, "4, 9, 'null', 'b', NULL, NULL, NULL, 1, 2, 'x', NULL, REPEAT('x', 70000)",
)  # fmt: skip
CHANGES = {
    "v": "v + 1", "j": "JSON_SET(j, '$.n[0]', 9)", "c": "'Ä'", "t": "'2026-01-01 10:00:00.501'", "g": "POINT(1, 3)", "b": "b'100'",
    "f": "0.10000001", "d": "1.0000000000000002e300", "e": "''", "vec": "TO_VECTOR('[1,3]')", "bl": "x'00fe'", "c ": "NULL",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(module_servers: Servers) -> Server:
    return module_servers.make("summed")


def fill(session: Session, database: str, rows: tuple[str, ...]) -> None:
    session.run("SET SESSION sql_log_bin = 0, time_zone = '+05:30'")
    session.run(f"CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4")
    for table, keys in TABLES.items():
        session.run(f"CREATE TABLE {database}.{table} ({COLUMNS}, {keys})")
        for row in rows:
            session.run(f"INSERT INTO {database}.{table} (id, v, j, c, t, g, b, f, d, e, vec, bl) VALUES ({row})")


def of(session: Session, database: str) -> dict[str, int]:
    return {n.partition(".")[2]: value for n, value in checksums(session).items() if n.startswith(f"{database}.")}


def test_the_same_rows_have_the_same_sum_however_often_and_in_whatever_session_it_is_made(
    server: Server, module_servers: Servers
) -> None:
    with module_servers.connect(server) as session, module_servers.connect(server) as other:
        fill(session, "one", ROWS)
        fill(session, "two", ROWS[::-1])
        other.run("SET SESSION time_zone = '-03:00', sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'")
        sums = [of(session, "one"), of(session, "two"), of(session, "one"), of(other, "two"), of(other, "one")]
        assert sums[1:] == [sums[0]] * 4
        assert sums[0].keys() == TABLES.keys()
        session.run("DROP DATABASE one")
        session.run("DROP DATABASE two")


@pytest.mark.parametrize("table", ["numbers", "several", "ordinary"])
def test_rows_that_differ_have_another_sum(table: str, server: Server, module_servers: Servers) -> None:
    with module_servers.connect(server) as session:
        fill(session, "three", ROWS)
        before = of(session, "three")
        session.run("START TRANSACTION")
        found = {}
        for name, value in CHANGES.items():
            session.run(f"UPDATE three.{table} SET {name} = {value} WHERE id = 1")
            found[name] = of(session, "three")
            session.run("ROLLBACK")
            session.run("START TRANSACTION")
        session.run(f"DELETE FROM three.{table} WHERE id = 3")
        found["a row less"] = of(session, "three")
        session.run("ROLLBACK")
        session.run("DROP DATABASE three")
    for what, sums in found.items():
        assert sums[table] != before[table], what
        assert {n: s for n, s in sums.items() if n != table} == {n: s for n, s in before.items() if n != table}
