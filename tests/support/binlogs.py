"""Binary logs with everything in them, written by a real server, and what others read in them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from relight.credentials import Login
from relight.fleet import Server
from relight.server.session import Session
from tests.support.replaying import logs_of, start_log

COLUMNS = {
    "tiny": "TINYINT", "small": "SMALLINT UNSIGNED", "medium": "MEDIUMINT", "plain": "INT", "big": "BIGINT UNSIGNED",
    "bool": "BOOL", "d1": "DECIMAL(1,0)", "d2": "DECIMAL(9,9)", "d3": "DECIMAL(65,30)", "d4": "DECIMAL(12,3)",
    "single": "FLOAT", "twice": "DOUBLE", "b1": "BIT(1)", "b8": "BIT(8)", "b13": "BIT(13)", "b64": "BIT(64)",
    "y": "YEAR", "dt": "DATE", "t0": "TIME", "t3": "TIME(3)", "t6": "TIME(6)", "dt0": "DATETIME", "dt5": "DATETIME(5)",
    "ts0": "TIMESTAMP NULL", "ts2": "TIMESTAMP(2) NULL", "c": "CHAR(10) CHARACTER SET latin1",
    "c4": "CHAR(255) CHARACTER SET utf8mb4", "c_empty": "CHAR(0)", "v": "VARCHAR(63)", "v255": "VARCHAR(255) CHARACTER SET latin1",
    "v256": "VARCHAR(256) CHARACTER SET latin1", "bin": "BINARY(16)", "vbin": "VARBINARY(300)", "tt": "TINYTEXT",
    "tx": "TEXT", "mt": "MEDIUMTEXT", "lt": "LONGTEXT", "tb": "TINYBLOB", "bl": "BLOB", "mb": "MEDIUMBLOB", "lb": "LONGBLOB",
    "e": "ENUM('a','b','c')", "e300": "ENUM(" + ",".join(f"'{n}'" for n in range(300)) + ")", "s": "SET('x','y','z')",
    "s64": "SET(" + ",".join(f"'s{n}'" for n in range(64)) + ")", "j": "JSON", "g": "GEOMETRY", "p": "POINT",
}  # fmt: skip
"""Every column type that both this and mysql-replication read."""

VALUES = {
    "tiny": "-7", "small": "65535", "medium": "-8388608", "plain": "{n}", "big": "18446744073709551615", "bool": "TRUE",
    "d1": "-9", "d2": "0.123456789", "d3": "-12345678901234567890123456789012345.5", "d4": "{n}.125", "single": "{n}.5",
    "twice": "-{n}.25", "b1": "1", "b8": "255", "b13": "8191", "b64": "~0", "y": "1999", "dt": "'2026-11-22'",
    "t0": "'-838:59:59'", "t3": "'12:34:56.789'", "t6": "'-00:00:00.000001'", "dt0": "'9999-12-31 23:59:59'", "dt5": "NOW(5)",
    "ts0": "NOW()", "ts2": "NOW(2)", "c": "'abc'", "c4": "REPEAT('\u2603', {n} % 250)", "c_empty": "''",
    "v": "REPEAT('x', {n} % 60)", "v255": "REPEAT('y', {n} % 255)", "v256": "REPEAT('z', {n} % 256)",
    "bin": "UNHEX(LEFT(SHA2('{n}', 256), 32))", "vbin": "REPEAT(x'00ff', {n} % 150)", "tt": "'tiny'", "tx": "REPEAT('t', {n})",
    "mt": "REPEAT('m', {n} * 10)", "lt": "REPEAT('l', {n} * 700)", "tb": "x''", "bl": "REPEAT(x'00', {n})",
    "mb": "REPEAT(x'01', {n} * 300)", "lb": "REPEAT(x'02', 70000)", "e": "'b'", "e300": "'299'", "s": "'x,z'",
    "s64": "'s0,s63'", "j": "'{{\"k\": [{n}, null, \"\u00e9\"]}}'", "g": "ST_GeomFromText('LINESTRING(0 0, {n} 1)')",
    "p": "POINT({n}, 1)",
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A server that wrote logs, and these, closed."""

    server: Server
    admin: Login
    plain: Path
    compressed: Path


def create_everything(session: Session) -> None:
    """A database ``kinds`` with tables of every column type, one column each and all in one."""
    session.run("CREATE DATABASE kinds")
    session.run("CREATE DATABASE `other d`")
    everything = ", ".join(f"`{name}` {kind}" for name, kind in COLUMNS.items())
    session.run(f"CREATE TABLE kinds.everything (id INT AUTO_INCREMENT PRIMARY KEY, {everything})")
    for name, kind in COLUMNS.items():
        session.run(f"CREATE TABLE kinds.`one {name}` (v {kind})")
    session.run("CREATE TABLE `other d`.plain (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20))")


def write_everything(session: Session, seed: int = 1) -> None:
    """Rows of every type and of nulls; updates, deletes, rollbacks, definitions, statements."""
    draw = random.Random(seed)
    for name, value in VALUES.items():
        values = ", ".join(f"({value.format(n=draw.randint(1, 99))})" for _ in range(draw.randint(1, 9)))
        session.run(f"INSERT INTO kinds.`one {name}` VALUES {values}, (NULL)")
    for _ in range(20):
        names = [name for name in VALUES if draw.random() < 0.6]
        values = ", ".join(VALUES[name].format(n=draw.randint(1, 99)) for name in names)
        session.run("BEGIN")
        session.run(f"INSERT INTO kinds.everything ({', '.join(f'`{name}`' for name in names)}) VALUES ({values})")
        session.run("INSERT INTO `other d`.plain (v) VALUES ('a'), ('b')")
        session.run("UPDATE kinds.everything SET plain = plain + 1 ORDER BY id DESC LIMIT 3")
        session.run("ROLLBACK" if draw.random() < 0.2 else "COMMIT")
    session.run("DELETE FROM kinds.everything LIMIT 4")
    for name in VALUES:
        session.run(f"DELETE FROM kinds.`one {name}` LIMIT 2")


def write_logs(server: Server, admin: Login, session: Session) -> Written:
    """Two logs of a new server with the same changes: the first plain, the second compressed."""
    create_everything(session)
    start_log(session)
    write_everything(session)
    session.run("FLUSH BINARY LOGS")
    session.run("SET SESSION binlog_transaction_compression = ON")
    write_everything(session)
    return Written(server, admin, *logs_of(session))


def rows_read_by_another(written: Written, log: Path, server_id: int = 9999) -> Counter[tuple[str, str, str]]:
    """Rows per database, table and kind of change, as mysql-replication decodes them; through the server.

    It does not know compressed transactions.
    """
    found: Counter[tuple[str, str, str]] = Counter()
    kinds = {WriteRowsEvent: "inserted", UpdateRowsEvent: "updated", DeleteRowsEvent: "deleted"}
    stream = BinLogStreamReader(
        connection_settings={
            "host": written.server.host, "port": written.server.port, "user": written.admin.user,
            "passwd": written.admin.password,
        },
        server_id=server_id, log_file=log.name, log_pos=4, resume_stream=True, blocking=False, only_events=list(kinds),
    )  # fmt: skip
    try:
        for event in stream:
            if stream.log_file == log.name:
                found[event.schema, event.table, kinds[type(event)]] += len(event.rows)
    finally:
        stream.close()
    return found
