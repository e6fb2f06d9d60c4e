"""The extreme values of every type, in tables with and without a primary key and as the key: no right row is called wrong,
and what differs in the least is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.run_files import CheckResult, TableVerdict
from relight.server.schema import read_tables
from relight.server.session import Session
from tests.conftest import make_servers
from tests.support.proving import base_definitions, prove
from tests.support.replaying import copy_of, logs_of, split_logs, start_log

MEMBERS = ",".join(f"'m{number}'" for number in range(64))
LOW_SPACE = ("_ucs2 x'0120'", "_ucs2 x'01200020'", "_ucs2 x'2020'", "_ucs2 x'0020'", "''", "_ucs2 x'00200120'")
"""Characters whose last byte is that of a space, with spaces around them."""

TYPES: dict[str, tuple[str, ...]] = {
    "BIT(1)": ("b'0'", "b'1'"), "BIT(9)": ("b'0'", "b'101010101'"),
    "BIT(64)": ("b'0'", "18446744073709551615", "9223372036854775808", "9223372036854775807", "9007199254740993"),
    "TINYINT": ("-128", "127", "0"), "TINYINT UNSIGNED": ("255", "0"), "SMALLINT": ("-32768", "32767"),
    "SMALLINT UNSIGNED": ("65535",), "MEDIUMINT": ("-8388608", "8388607"), "MEDIUMINT UNSIGNED": ("16777215",),
    "INT": ("-2147483648", "2147483647"), "INT UNSIGNED": ("4294967295",),
    "BIGINT": ("-9223372036854775808", "9223372036854775807", "9007199254740993"),
    "BIGINT UNSIGNED": ("18446744073709551615", "9223372036854775808", "9007199254740993"),
    "FLOAT": ("0", "-3.402823466e38", "1.175494351e-38", "16777217", "0.1"), "FLOAT UNSIGNED": ("3.4e38",),
    "DOUBLE": ("0", "-1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "0.1", "9007199254740993"),
    "DECIMAL(65,30)": ("0", "-99999999999999999999999999999999999.999999999999999999999999999999", "1e-30", "0.1"),
    "DECIMAL(65,0)": ("99999999999999999999999999999999999999999999999999999999999999999", "-1"),
    "DECIMAL(1,1) UNSIGNED": ("0.9", "0"), "DATE": ("'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2026-00-00'", "'0001-01-01'"),
    "DATETIME": ("'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'", "'0001-01-01 00:00:00'", "'2026-02-00 00:00:00'"),
    "DATETIME(6)": ("'9999-12-31 23:59:59.999999'", "'2026-01-01 00:00:00.000001'"), "DATETIME(1)": ("'2026-01-01 00:00:00.9'",),
    "TIMESTAMP": ("'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"),
    "TIMESTAMP(3)": ("'0000-00-00 00:00:00'", "'1970-01-01 00:00:01.001'", "'2038-01-19 03:14:07.499'"),
    "TIME": ("'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"),
    "TIME(6)": ("'-838:59:58.999999'", "'-00:00:00.000001'", "'838:59:58.999999'", "'-00:00:01'"), "TIME(1)": ("'-12:00:00.1'",),
    "YEAR": ("0", "1901", "2155"), "CHAR(0)": ("''",), "VARCHAR(0)": ("''",),
    "CHAR(4)": ("''", "'a'", "'a  '", "' a'", "'😀😀'", "'\\0'"), "VARCHAR(4)": ("''", "'a'", "'a  '", "' '", "'😀😀'"),
    "CHAR(4) CHARACTER SET ucs2": LOW_SPACE, "CHAR(4) CHARACTER SET utf16": (*LOW_SPACE, "'😀'"),
    "CHAR(4) CHARACTER SET utf16le": LOW_SPACE, "CHAR(4) CHARACTER SET utf32": (*LOW_SPACE, "'😀'"),
    "VARCHAR(4) CHARACTER SET ucs2": LOW_SPACE, "VARCHAR(4) CHARACTER SET utf16le": LOW_SPACE, "TEXT CHARACTER SET utf32": LOW_SPACE,
    "CHAR(4) CHARACTER SET gb18030": ("'丂'", "'€ '", "_gb18030 x'81308130'", "'a '"),
    "CHAR(4) CHARACTER SET sjis": ("'表'", "'ソ '", "''"), "CHAR(4) CHARACTER SET big5": ("'功'", "''"),
    "CHAR(4) CHARACTER SET latin1": ("'ä '", "'\\0'"), "CHAR(4) COLLATE utf8mb4_bin": ("'a '", "'A'"),
    "VARCHAR(9) COLLATE utf8mb4_0900_ai_ci": ("'a'", "'A '", "'ä'"), "VARCHAR(9) COLLATE utf8mb4_general_ci": ("'a'", "'A '"),
    "BINARY(4)": ("''", "x'00'", "'a'", "x'20'", "x'ffffffff'", "x'00000020'"), "VARBINARY(4)": ("''", "x'00'", "x'0000'", "'a '"),
    "VARCHAR(300)": ("REPEAT('x', 255)", "REPEAT('x', 256)", "''"), "CHAR(255)": ("REPEAT('ä', 255)", "''"),
    "TINYTEXT": ("''", "REPEAT('x', 255)", "' '"), "BLOB": ("''", "x'00'", "REPEAT('x', 65535)"), "LONGTEXT": ("''", "REPEAT('ä', 70000)"),
    "ENUM('a','','c')": ("'a'", "''", "3", "'zz'"), f"SET({MEMBERS})": ("''", "'m63'", "'m0,m63'", "18446744073709551615", "'m62'"),
    "SET('a','b')": ("''", "'a,b'"), "JSON": (
        "'null'", "'[null]'", "'true'", "'\"true\"'", "'\"null\"'", "'{}'", "'[]'", "'\"\"'", "'1'", "'1.0'", "'-1e-300'",
        "'18446744073709551615'", "'-9223372036854775808'", "'{\"\": null, \"ä\": [false, {\"😀\": 1}]}'", "CAST(DATE'2026-01-01' AS JSON)",
        "CAST(TIMESTAMP'2026-01-01 10:00:00.5' AS JSON)", "CAST(1.50 AS JSON)", "JSON_ARRAY(x'00ff')", "'[1, 2, 3]'",
    ),
    "GEOMETRY": ("ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')", "ST_SRID(POINT(1, 2), 4326)"),
    "POINT": ("POINT(-1e308, 5e-324)",), "VECTOR(2)": ("TO_VECTOR('[1,-2]')", "TO_VECTOR('[3e30,1e-30]')"),
    "BOOLEAN": ("TRUE", "FALSE"), "INT(9) ZEROFILL": ("7", "0"),
}  # fmt: skip

NO_KEY = ("TEXT", "BLOB", "JSON", "GEOMETRY", "POINT", "VECTOR", "FLOAT", "CHAR(0)", "VARCHAR(0)")
"""Which cannot be a key, or by whose values no row can be asked for."""

NOT_TOLD = {
    "DATE": 2, "DATETIME": 2, "TIME(6)": 3, "TIME(1)": 1, "JSON": 4,
}  # fmt: skip
"""Of so many values mysql-replication does not tell all: dates without a month, fractions of negative times, what in JSON is
neither text, number nor constant. No such row is called right or wrong."""

NOT_ASKED = ("GEOMETRY", "POINT", "VECTOR(2)")
"""With which no row can be looked for in a table without a key."""

Proof = Callable[[], tuple[list[TableVerdict], list[CheckResult]]]
Proved = tuple[Session, Proof]


def names(number: int) -> dict[str, str]:
    """By what the table is: keyed, keyless, with the value as its key."""
    return {kind: f"{kind}_{number:02d}" for kind in ("keyed", "keyless", "key")}


def can_be_key(of_type: str) -> bool:
    return not any(word in of_type.partition(" ")[0] or of_type.startswith(word) for word in NO_KEY)


@pytest.fixture(scope="module")
def extremes(
    watched: Path, mysql: MySQL, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proved]:
    for servers in make_servers(watched, mysql, template):
        source = servers.make("source")
        with servers.connect(source) as session:
            session.run("SET SESSION sql_mode = '', time_zone = '+00:00'")
            session.run("CREATE DATABASE a CHARACTER SET utf8mb4")
            for number, of_type in enumerate(TYPES):
                keyed, keyless, key = names(number).values()
                nullable = "NULL" if "TIMESTAMP" in of_type else ""
                session.run(f"CREATE TABLE a.{keyed} (id INT PRIMARY KEY, v {of_type} {nullable})")
                session.run(f"CREATE TABLE a.{keyless} (n INT, v {of_type} {nullable})")
                if can_be_key(of_type):
                    session.run(f"CREATE TABLE a.{key} (v {of_type}, n INT, PRIMARY KEY (v))")
            tables, base = read_tables(session, lambda _: None), base_definitions(session)
        copy = copy_of(servers, source, "copy")
        with servers.connect(source) as session:
            start_log(session)
            session.run("SET SESSION sql_mode = '', time_zone = '+00:00'")
            for number, (of_type, values) in enumerate(TYPES.items()):
                _write(session, names(number), values, as_key=can_be_key(of_type))
            logs = logs_of(session)
        replayed = split_logs(logs, copy, servers.admin, tmp_path_factory.mktemp("split"), tables=tables)
        replayed.all()
        with servers.connect(copy) as session:
            session.run("SET SESSION sql_log_bin = 0, sql_mode = '', time_zone = '+00:00'")
            yield session, partial(prove, replayed, tables, base)


def _write(session: Session, tables: dict[str, str], values: tuple[str, ...], *, as_key: bool) -> None:
    for id_, value in enumerate((*values, "NULL")):
        session.run(f"INSERT INTO a.{tables['keyed']} VALUES ({id_}, {value})")
        session.run(f"INSERT INTO a.{tables['keyless']} VALUES ({id_}, {value}), ({id_}, {value})")
        if as_key and value != "NULL":
            session.run(f"INSERT IGNORE INTO a.{tables['key']} VALUES ({value}, 1)")
    if as_key:
        session.run(f"UPDATE a.{tables['key']} SET n = 2")


def test_no_right_row_is_called_wrong(extremes: Proved) -> None:
    _, proof = extremes
    verdicts, checks = proof()
    content = next(c for c in checks if c.check == "row content")
    assert not content.findings, "\n".join(content.findings)
    assert {v.table: v.reason for v in verdicts if v.verdict != "match"} == {}
    told = {
        note.split(":")[0]: int(note.split("of ")[1].split()[0]) for note in content.notes if " rows not every" in note
    }
    untold = {f"a.{name}" for number, t in enumerate(TYPES) if t in NOT_TOLD for name in names(number).values()}
    untold |= {f"a.{names(n)['keyless']}" for n, t in enumerate(TYPES) if t in NOT_ASKED}
    assert told.keys() <= untold, "of these every value can be told"
    for number, (of_type, values) in enumerate(TYPES.items()):
        assert told.get(f"a.{names(number)['keyed']}", 0) <= NOT_TOLD.get(of_type, 0), of_type
        compared = next(v.compared for v in verdicts if v.table == names(number)["keyed"])
        assert compared == len(values) + 1


LEAST = {
    "JSON null is not NULL": ("JSON", "'null'", "NULL"), "NULL is not JSON null": ("JSON", "NULL", "CAST('null' AS JSON)"),
    "true is not its word": ("JSON", "'true'", "JSON_QUOTE('true')"), "null is not its word": ("JSON", "'null'", "JSON_QUOTE('null')"),
    "the last member of a set": (f"SET({MEMBERS})", "'m0,m63'", "'m0'"), "a bit of 64": ("BIT(64)", "9007199254740993", "9007199254740992"),
    "a character whose last byte is a space's": ("CHAR(4) CHARACTER SET ucs2", "_ucs2 x'0120'", "_ucs2 x'0100'"),
    "nothing is not NULL": ("VARCHAR(4)", "''", "NULL"), "a space is something": ("VARCHAR(4)", "' '", "''"),
    "the number of an empty word": ("ENUM('a','','c')", "'zz'", "2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["keyed", "keyless"])
@pytest.mark.parametrize("what", LEAST)
def test_the_least_difference_is_seen(what: str, kind: str, extremes: Proved) -> None:
    session, proof = extremes
    of_type, value, other = LEAST[what]
    at = TYPES[of_type].index(value) if value != "NULL" else len(TYPES[of_type])
    table = names(list(TYPES).index(of_type))[kind]
    where, rows = (f"id = {at}", 1) if kind == "keyed" else (f"n = {at}", 2)
    session.run(f"CREATE TEMPORARY TABLE a.saved AS SELECT * FROM a.{table}")
    try:
        assert session.run(f"UPDATE a.{table} SET v = {other} WHERE {where}") == rows
        _, checks = proof()
    finally:
        session.run(f"DELETE FROM a.{table}")
        session.run(f"INSERT INTO a.{table} SELECT * FROM a.saved")
        session.run("DROP TEMPORARY TABLE a.saved")
    content = next(c for c in checks if c.check == "row content")
    assert [table in finding for finding in content.findings] == [True]
