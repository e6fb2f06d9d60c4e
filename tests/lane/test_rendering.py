"""Logged statements become what a session must send to have the same effect."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.reader import open_log
from relight.binlog.transactions import query_text
from relight.errors import CommandFailed
from relight.fleet import Server
from relight.lane.rendering import rendered
from relight.server.session import Session, connect
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers
from tests.support.slow_log import transactions

STATEMENTS = (
    "CREATE DATABASE d",
    "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(90) CHARACTER SET utf8mb4)",
    "CREATE PROCEDURE d.p()\nBEGIN\n  -- a remark;\n  INSERT INTO d.t (v) VALUES ('x;y');\n\n  SELECT '/*!*/;' AS `a\nb`;\nEND",
    "CREATE TABLE d.`odd\n/*!*/;` (a INT COMMENT '# first\n\n/*!*/;\nDELIMITER x\n')",
    "# a note\nCREATE TABLE d.noted (a INT COMMENT '\nDELIMITER ;\n')",
    "USE d",
    "SET NAMES latin1",
    "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone = '+05:30'",
    "CREATE TABLE \"quoted\" (\"a\" TIMESTAMP DEFAULT '2020-01-01 00:00:00', b VARCHAR(19) DEFAULT 'back\\slash')",
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = DEFAULT, time_zone = DEFAULT, binlog_format = 'STATEMENT'",
    "SET @v = 'user \u2603', insert_id = 70, timestamp = 1234567890",
    "INSERT INTO d.t (v) VALUES (CONCAT(@v, NOW()))",
    "INSERT INTO d.t (v) VALUES (FLOOR(RAND(3) * 1000000))",
)

SHOWN = (
    "SHOW CREATE TABLE d.`odd\n/*!*/;`",
    "SHOW CREATE TABLE d.noted",
    "SHOW CREATE TABLE d.quoted",
    "SHOW CREATE PROCEDURE d.p",
    "SELECT * FROM d.t",
)


@pytest.fixture(scope="module")
def source(module_servers: Servers) -> tuple[Server, Path]:
    server = module_servers.make("source")
    with module_servers.connect(server) as session:
        start_log(session)
        for statement in STATEMENTS:
            session.run(statement)
        return server, logs_of(session)[0]


def all_rendered(server: Server, log: Path) -> list[list[bytes]]:
    """What is sent for each transaction; its brackets are the lane's business."""
    with open_log(log) as opened:
        first, found = opened.format.plain, list(transactions(opened))
    wanted = [
        [
            e.data
            for e in one.events
            if e.type in f.STATEMENT_CONTEXT or (e.type == f.QUERY and query_text(e) != b"BEGIN")
        ]
        for one in found
    ]
    done = []
    for events in wanted:
        with rendered(server.mysqlbinlog, first, events) as statements:
            done.append(statements)
    return done


def test_what_is_rendered_has_the_same_effect_on_another_server(
    source: tuple[Server, Path], module_servers: Servers
) -> None:
    server, log = source
    with module_servers.connect(server) as one, module_servers.connect(module_servers.make("onto")) as other:
        for statements in all_rendered(server, log):
            for statement in statements:
                other.run(statement)
        assert_same(one, other)


def assert_same(one: Session, other: Session) -> None:
    for query in SHOWN:
        assert other.rows(query) == one.rows(query), query


def test_nothing_is_sent_that_is_for_the_client_or_that_would_take_a_gtid(source: tuple[Server, Path]) -> None:
    for statements in all_rendered(*source):
        assert statements
        for statement in statements:
            assert not statement.startswith((b"DELIMITER", b"# at ", b"/*!\\C", b"BINLOG"))
            assert b"GTID_NEXT" not in statement


def test_the_statement_itself_comes_last_behind_its_context(source: tuple[Server, Path]) -> None:
    (created,) = [one for one in all_rendered(*source) if any(b'"quoted"' in statement for statement in one)]
    assert created[-1].startswith(b'CREATE TABLE "quoted"')
    context = b"\n".join(created[:-1])
    for part in (b"use `d`", b"time_zone='+05:30'", b"sql_mode", b"character_set_client"):
        assert part in context


def test_events_that_mysqlbinlog_cannot_read_are_an_error_not_an_empty_answer(source: tuple[Server, Path]) -> None:
    server, log = source
    with open_log(log) as opened:
        first = opened.format.plain
        query = next(event.data for event in opened.events() if event.type == f.QUERY)
    with pytest.raises(CommandFailed, match="mysqlbinlog"), rendered(server.mysqlbinlog, first, [query[:30]]):
        pass


def test_what_is_rendered_does_not_depend_on_options_files_of_this_machine(
    source: tuple[Server, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = all_rendered(*source)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MYSQL_HOME", str(tmp_path))
    # The first leaves out what concerns other databases, with the second the program does not even start.
    for option in ("database = elsewhere", "default-character-set = utf8mb4"):
        (tmp_path / ".my.cnf").write_text(f"[client]\n{option}\n", encoding="utf-8")
        assert all_rendered(*source) == expected


def test_a_missing_program_is_named(source: tuple[Server, Path]) -> None:
    with (
        open_log(source[1]) as opened,
        pytest.raises(CommandFailed, match=r"program not found .*/no/mysqlbinlog"),
        rendered(Path("/no/mysqlbinlog"), opened.format.plain, []),
    ):
        pass


def test_several_lanes_can_render_side_by_side(source: tuple[Server, Path]) -> None:
    expected, found = all_rendered(*source), []
    threads = [threading.Thread(target=lambda: found.append(all_rendered(*source))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


def test_the_file_of_a_loading_statement_is_there_until_the_context_ends_and_no_longer(
    source: tuple[Server, Path], module_servers: Servers, tmp_path: Path
) -> None:
    server, _ = source
    data = tmp_path / "rows.txt"
    data.write_bytes(b"100\tloaded; -- one\n101\t'two'\n")
    with connect(server, module_servers.admin, local_files=True) as session:
        session.run("SET GLOBAL local_infile = ON")
        session.run("SET SESSION binlog_format = 'STATEMENT'")
        session.run("FLUSH BINARY LOGS")
        session.run(f"LOAD DATA LOCAL INFILE '{data}' INTO TABLE d.t")
        log = logs_of(session)[-1]
    with open_log(log) as opened:
        first, (one,) = opened.format.plain, list(transactions(opened))
    events = [e.data for e in one.events if e.type in f.STATEMENT_CONTEXT | f.LOAD_DATA]
    with rendered(server.mysqlbinlog, first, events) as statements:
        named = re.search(rb"INFILE '([^']+)'", statements[-1])
        assert named is not None, statements[-1]
        loaded = Path(named[1].decode())
        assert loaded.read_bytes() == data.read_bytes()
    assert not loaded.exists()
