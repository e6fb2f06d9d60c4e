"""Values from a row image and from the server come to one form, whatever their type; real differences stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.errors import CorruptEvent
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.run_files import CheckResult, TableVerdict
from relight.server.schema import read_tables
from relight.server.session import Session
from relight.verify.columns import UNREADABLE, Column, literal, of_image, of_server, readable
from relight.verify.decoding import Decoder
from tests.conftest import make_servers
from tests.support.made_events import Made
from tests.support.proving import base_definitions, prove
from tests.support.replaying import copy_of, logs_of, split_logs, start_log


def column(kind: str, **more: object) -> Column:
    return Column(name="c", kind=kind, unsigned=False, **{"charset": None, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "image", "server"),
    [
        ("year", 1900, 0), ("year", 2026, 2026), ("bit", "101", 5), ("set", {0, 2}, 5), ("enum", 3, 3.0),
        ("binary", b"a", b"a\0\0"), ("char", b"a", b"a"), ("vector", b"\x00\xff", "00FF"),
        ("json", {b"a": [1, 2.5, True, None]}, '{"a": [1, 2.5, true, null]}'),
        ("json", {b"a": 1}, '{"a": 1}'),
    ],
)  # fmt: skip
def test_both_sides_come_to_one_form(kind: str, image: object, server: object) -> None:
    assert of_image(column(kind), image, "") == of_server(column(kind), server)


def test_true_is_not_one() -> None:
    assert of_image(column("json"), [True], "") != of_server(column("json"), "[1]")


@pytest.mark.parametrize(
    ("kind", "value", "because"),
    [("date", None, "out of date range"), ("datetime", None, "out of datetime2 range"), ("json", {b"a": object()}, "")],
)  # fmt: skip
def test_what_the_decoder_cannot_tell_is_no_null(kind: str, value: object, because: str) -> None:
    assert of_image(column(kind), value, because) is UNREADABLE
    assert of_image(column(kind), None, "null") is None
    assert of_image(column("set"), None, "empty set") == 0


def test_a_fraction_of_a_negative_time_is_not_told() -> None:
    assert of_image(column("time", fraction=2), timedelta(seconds=-1), "") is UNREADABLE
    assert of_image(column("time"), timedelta(hours=-800, minutes=-1), "") == "-800:01:00"
    assert of_image(column("time", fraction=2), timedelta(seconds=1, milliseconds=250), "") == "00:00:01.25"


def test_literals_find_rows_by_their_index() -> None:
    assert literal(column("varchar", charset="utf8mb4"), "ä".encode()) == "_utf8mb4 X'c3a4'"
    assert literal(column("binary", length=3), b"a") == "X'610000'"
    assert literal(column("decimal"), Decimal("0.0000000001")) == "0.0000000001"
    assert literal(column("float"), 1.5) is None
    assert literal(column("int"), UNREADABLE) is None


def test_a_difference_is_readable() -> None:
    assert readable(column("varchar", charset="utf8mb4"), "ä".encode()) == "'ä'"
    assert readable(column("blob"), b"\x00\x01") == "0x0001"
    assert readable(column("int"), None) == "NULL"
    assert len(readable(column("text", charset="utf8mb4"), b"x" * 5000)) < 100


def test_an_event_that_cannot_be_decoded_is_told_not_guessed() -> None:
    made = Made(widths=(4, -1))
    decoder = Decoder(made.mapped(), [column("bit"), column("blob")])
    whole = made.rows_event(f.WRITE_ROWS, [((b"\0\0\0\1", b"abc"),)])
    assert decoder.images(whole) == [((1, b"abc"), True)]
    with pytest.raises(CorruptEvent, match="mysql-replication"):
        decoder.images(whole[:-2])


TYPES = """
CREATE TABLE a.t (id INT PRIMARY KEY, i8 TINYINT, u64 BIGINT UNSIGNED, f FLOAT, d DOUBLE, n DECIMAL(30,10),
 da DATE, dt DATETIME(3), ts TIMESTAMP(2) NULL, ti TIME, y YEAR, c CHAR(5), v VARCHAR(300), l VARCHAR(20) CHARACTER SET
 latin1, u VARCHAR(20) CHARACTER SET utf16, b BINARY(4), vb VARBINARY(9), tx MEDIUMTEXT, bl BLOB, e ENUM('x','y'),
 s SET('p','q','r'), bi BIT(11), j JSON, g GEOMETRY, ve VECTOR(2), ge INT AS (id + 1) STORED, vi INT AS (id * 2) VIRTUAL)
"""
ROW = (
    "INSERT INTO a.t (id, i8, u64, f, d, n, da, dt, ts, ti, y, c, v, l, u, b, vb, tx, bl, e, s, bi, j, g, ve) VALUES"
    " (1, -7, 18446744073709551615, 1.1, 1e300, -12345678901234567890.0123456789, '2026-02-03', '1999-12-31 23:59:59.125',"
    " '2026-07-01 12:00:00.5', '-12:34:56', 2026, 'ab', 'ä€', 'ä', 'ü', 'a', x'00ff00', REPEAT('x', 70000), x'00', 'y',"
    " 'p,r', b'10000000001', '{\"a\": [1, 2.5, true, null, \"é\", {\"b\": -1}]}', ST_SRID(POINT(1, 2), 4326),"
    " TO_VECTOR('[1,2]')), (2" + ", NULL" * 24 + ")"
)
CHANGES = {
    "i8": "8", "u64": "1", "f": "1.1000001", "d": "1.0000000000000002e300", "n": "n + 0.0000000001", "da": "'2026-02-04'",
    "dt": "'1999-12-31 23:59:59.126'", "ts": "'2026-07-01 12:00:00.51'", "ti": "'-12:34:57'", "y": "2027", "c": "'aB'",
    "v": "'Ä€'", "l": "'a'", "u": "'u'", "b": "'A'", "vb": "x'00ff'", "tx": "REPEAT('x', 69999)", "bl": "x'0000'", "e": "'x'",
    "s": "'p,q'", "bi": "b'10000000000'", "j": "JSON_SET(j, '$.a[3]', false)", "g": "ST_SRID(POINT(1, 2), 0)",
    "ve": "TO_VECTOR('[1,3]')",
}  # fmt: skip


EveryType = tuple[Session, Callable[[], tuple[list[TableVerdict], list[CheckResult]]]]
"""A session on the rebuilt server, and its proof."""


@pytest.fixture(scope="module")
def every_type(
    watched: Path, mysql: MySQL, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EveryType]:
    for servers in make_servers(watched, mysql, template):
        source = servers.make("source")
        with servers.connect(source) as session:
            session.run("CREATE DATABASE a")
            session.run(" ".join(TYPES.split()))
            tables, base = read_tables(session, lambda _: None), base_definitions(session)
        copy = copy_of(servers, source, "copy")
        with servers.connect(source) as session:
            start_log(session)
            session.run("SET SESSION time_zone = '+05:30'")
            session.run(ROW)
            logs = logs_of(session)
        replayed = split_logs(logs, copy, servers.admin, tmp_path_factory.mktemp("split"), tables=tables)
        replayed.all()
        with servers.connect(copy) as session:
            session.run("SET SESSION sql_log_bin = 0, sql_mode = '', time_zone = '+05:30'")
            yield session, partial(prove, replayed, tables, base)


def test_no_type_gives_a_false_alarm_and_every_value_is_told(every_type: EveryType) -> None:
    _, proof = every_type
    verdicts, checks = proof()
    content = next(c for c in checks if c.check == "row content")
    assert (content.verdict, content.checked, content.findings, content.notes) == ("match", 2, (), ())
    assert [v.compared for v in verdicts] == [2]


@pytest.mark.parametrize("name", CHANGES)
def test_the_smallest_change_of_any_type_is_seen(name: str, every_type: EveryType) -> None:
    session, proof = every_type
    session.run(f"CREATE TEMPORARY TABLE a.kept AS SELECT {name} AS w FROM a.t WHERE id = 1")
    try:
        assert session.run(f"UPDATE a.t SET {name} = {CHANGES[name]} WHERE id = 1") == 1
        _, checks = proof()
    finally:
        session.run(f"UPDATE a.t SET {name} = (SELECT w FROM a.kept) WHERE id = 1")
        session.run("DROP TEMPORARY TABLE a.kept")
    content = next(c for c in checks if c.check == "row content")
    assert content.verdict == "mismatch", name
    assert f"a.t id=1: {name} is " in content.findings[0]
