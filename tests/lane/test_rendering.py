"""Logged statements become what a session must send to have the same effect."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.reader import open_log
from relight.binlog.transactions import query_text
from relight.credentials import Login
from relight.fleet import Server
from relight.lane.rendering import Rendered, collations_of, rendered
from relight.server import command
from relight.server.session import Session, connect, quoted
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


def all_rendered(server: Server, log: Path, admin: Login) -> list[list[bytes]]:
    """What is sent for each transaction; its brackets are the lane's business."""
    done = []
    with open_log(log) as opened, connect(server, admin) as session:
        collations = collations_of(session)
        for one in transactions(opened):
            events = [
                e.data
                for e in one.events
                if e.type in f.STATEMENT_CONTEXT or (e.type == f.QUERY and query_text(e) != b"BEGIN")
            ]
            with rendered(collations, opened.format.plain, events) as statements:
                done.append([part for statement in statements for part in sent(statement)])
    return done


def sent(statement: Rendered) -> list[bytes]:
    """All that goes to the server."""
    use = [quoted(statement.database)] if statement.database and b"DATABASE d" not in statement.text else []
    zone = [f"SET @@session.time_zone='{statement.zone}'".encode()] if statement.zone else []
    return [*(f"USE {name}".encode() for name in use), *zone, *statement.context, statement.text]


def test_what_is_rendered_has_the_same_effect_on_another_server(
    source: tuple[Server, Path], module_servers: Servers
) -> None:
    server, log = source
    with module_servers.connect(server) as one, module_servers.connect(module_servers.make("onto")) as other:
        for statements in all_rendered(server, log, module_servers.admin):
            for statement in statements:
                other.run(statement)
        assert_same(one, other)


def assert_same(one: Session, other: Session) -> None:
    for query in SHOWN:
        assert other.rows(query) == one.rows(query), query


def test_what_mysqlbinlog_says_of_a_statement_is_set_too(
    source: tuple[Server, Path], module_servers: Servers, tmp_path: Path
) -> None:
    """An independent reading of the same events."""
    server, log = source
    with open_log(log) as opened:
        first, found = opened.format.plain, list(transactions(opened))
    for one, ours in zip(found, all_rendered(server, log, module_servers.admin), strict=True):
        alone = tmp_path / "log"
        alone.write_bytes(as_log_file(first, [event.data for event in one.events]))
        text = command.run([server.mysqlbinlog, "--no-defaults", "--base64-output=decode-rows", alone])
        before = text[: text.rindex(ours[-1])]
        wanted: dict[bytes, bytes] = {}
        for line in before.split(b"\n"):
            wanted |= settings(line.removesuffix(b"/*!*/;"))
        got: dict[bytes, bytes] = {}
        for statement in ours[:-1]:
            got |= settings(statement)
        # Values of user variables are written in another way, and moments with their fraction.
        must = {n: v for n, v in wanted.items() if not n.startswith(b"@") and n not in IN_OTHER_WORDS}
        assert len(must) > 10
        assert must.items() <= got.items(), ours


IN_OTHER_WORDS = (b"timestamp", b"autocommit", b"completion_type", b"old_completion_type", b"pseudo_slave_mode")


def as_log_file(format_description: bytes, events: Sequence[bytes]) -> bytes:
    """A binary log file of the given events, for ``mysqlbinlog`` to read."""
    parts = [f.MAGIC, format_description]
    position = len(f.MAGIC) + len(format_description)
    for event in events:
        changed = bytearray(event)
        position += len(event)
        struct.pack_into("<II", changed, 9, len(event), position)
        parts.append(bytes(changed))
    return b"".join(parts)


def settings(statement: bytes) -> dict[bytes, bytes]:
    """What a SET statement sets, by its name in small letters."""
    plain = re.sub(rb"/\*!\d*|\*/", b"", statement).strip()
    if not plain.upper().startswith(b"SET "):
        return {}
    found = re.findall(rb"(?:@@session\.|@@)?(@?`?\w+`?)\s*=\s*('[^']*'|[^,]+?)\s*(?=,|$)", plain[4:], re.IGNORECASE)
    return {name.lower().lstrip(b" "): value for name, value in found}


def test_the_statement_itself_comes_last_behind_its_context(
    source: tuple[Server, Path], module_servers: Servers
) -> None:
    found = all_rendered(*source, module_servers.admin)
    (created,) = [one for one in found if any(b'"quoted"' in statement for statement in one)]
    assert created[-1].startswith(b'CREATE TABLE "quoted"')
    context = b"\n".join(created[:-1])
    for part in (b"USE `d`", b"time_zone='+05:30'", b"sql_mode", b"character_set_client"):
        assert part in context


@pytest.mark.parametrize("cut", [30, 60])
def test_events_that_are_cut_are_an_error_not_an_empty_answer(source: tuple[Server, Path], cut: int) -> None:
    _, log = source
    with open_log(log) as opened:
        first = opened.format.plain
        query = next(event.data for event in opened.events() if event.type == f.QUERY)
    with pytest.raises(ValueError, match="QUERY cannot be decoded"), rendered({}, first, [query[:cut]]):
        pass


def test_several_lanes_can_render_side_by_side(source: tuple[Server, Path], module_servers: Servers) -> None:
    admin = module_servers.admin
    expected, found = all_rendered(*source, admin), []
    threads = [threading.Thread(target=lambda: found.append(all_rendered(*source, admin))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


@pytest.mark.parametrize(
    "number",
    ["0", "1.25", "-1.25", "123456789012345678901234567890.123456789", "-0.000000001", "1000000000", "99999999999999999999",
     "-999999999.999999999", "12345678.1234567", "0.5"],
)  # fmt: skip
def test_a_decimal_variable_keeps_its_value_and_its_type(
    source: tuple[Server, Path], module_servers: Servers, number: str
) -> None:
    server, _ = source
    with module_servers.connect(server) as session:
        session.run("SET SESSION binlog_format = 'STATEMENT'")
        session.run("CREATE TABLE IF NOT EXISTS d.n (v VARCHAR(99), w DECIMAL(65, 30))")
        session.run("FLUSH BINARY LOGS")
        session.run(f"SET @d = CAST({number} AS DECIMAL(65, {len(number.partition('.')[2])})), @r = {number}e0")
        session.run("INSERT INTO d.n VALUES (@d, @r)")
        log = logs_of(session)[-1]
        with (
            open_log(log) as opened,
            rendered(collations_of(session), opened.format.plain, [e.data for e in opened.events()]) as statements,
        ):
            context = statements[1].context
        session.run(b"SET " + context[0].partition(b"original_server_version=90704")[2].partition(b", ")[2])
        assert f"{session.value('SELECT @d'):f}" == number
        assert session.value("SELECT @r") == float(number)


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
    with rendered({}, first, events) as statements:
        named = re.search(rb"INFILE '([^']+)'", statements[-1].text)
        assert named is not None, statements[-1]
        assert statements[-1].reads_file
        loaded = Path(named[1].decode())
        assert loaded.read_bytes() == data.read_bytes()
    assert not loaded.exists()
