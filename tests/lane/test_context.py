"""A logged statement runs as the server's own applier runs it: every field of its event is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.query import read_query
from relight.binlog.reader import Event, open_log
from relight.credentials import Login
from relight.errors import ReplayError, ServerUnreachable, StatementFailed, UnsupportedEvent
from relight.lane.split_log import split_log
from relight.server.session import Session, connect
from tests.lane.test_any_log import BASE
from tests.support.older_logs import Change, Raw, by_server, rewritten, short_gtids
from tests.support.replaying import split_logs
from tests.support.twins import Twins, replay_lanes

OTHER = Login("other `one`", "secret-7")
NAME = "'other `one`'@'%'"
GRANTORS = (
    "SELECT host, db, user, table_name, grantor FROM mysql.tables_priv WHERE db = 'a' ORDER BY 1, 2, 3, 4",
    "SELECT host, db, user, routine_name, grantor FROM mysql.procs_priv WHERE db = 'a' ORDER BY 1, 2, 3, 4",
)


@contextmanager
def writing_as_other(twins: Twins) -> Iterator[Session]:
    """A session on the source of an account that is not the one that replays."""
    twins.prepare(*BASE, "CREATE ROLE reading", "CREATE USER somebody")
    with twins.writing() as own:
        own.run(f"CREATE USER {NAME} IDENTIFIED BY '{OTHER.password}'")
        own.run(f"GRANT ALL ON *.* TO {NAME} WITH GRANT OPTION")
        with connect(twins.source, OTHER) as session:
            yield session


def run(session: Session, *statements: str) -> None:
    for statement in statements:
        session.run(statement)


@pytest.mark.parametrize(
    "statements",
    [
        ("USE a", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT CURRENT_USER()", "ALTER EVENT e ON SCHEDULE EVERY 2 DAY"),
        ("USE a", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1", "/* now */ ALTER -- it's\n EVENT e DO SELECT CURRENT_USER"),
        (
            "CREATE DEFINER=somebody EVENT a.e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
            "/*!50106 ALTER DEFINER = CURRENT_USER() EVENT a.e COMMENT 'x' */",
        ),
        ("CREATE EVENT a.e ON SCHEDULE EVERY 1 DAY DO SELECT 1", "ALTER DEFINER=somebody EVENT a.e DISABLE"),
        ("GRANT reading TO CURRENT_USER()",),
        ("GRANT reading TO CURRENT_USER WITH ADMIN OPTION", "REVOKE reading FROM CURRENT_USER ( )"),
        ("REVOKE INSERT ON *.* FROM CURRENT_USER",),
        ("SET SESSION sql_mode = 'ANSI_QUOTES'", 'CREATE ROLE "r\\"', 'GRANT "r\\" TO CURRENT_USER()'),
        ("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'", "CREATE ROLE 'r\\'", "GRANT 'r\\' TO CURRENT_USER()"),
        ("ALTER USER CURRENT_USER() DEFAULT ROLE NONE", "ALTER USER CURRENT_USER COMMENT 'it''s'"),
        ("CREATE VIEW a.v AS SELECT CURRENT_USER() AS u", "ALTER VIEW a.v AS SELECT CURRENT_USER() AS u, 1"),
        ("CREATE PROCEDURE a.p() SELECT CURRENT_USER()", "ALTER PROCEDURE a.p COMMENT 'CURRENT_USER()'"),
        ("CREATE TRIGGER a.tr BEFORE INSERT ON a.bag FOR EACH ROW SET NEW.name = CURRENT_USER()",),
    ],
    ids=lambda statements: statements[-1][:40],
)  # fmt: skip
def test_the_account_that_a_statement_ran_as_is_the_one_that_its_effect_names(
    twins: Twins, statements: tuple[str, ...]
) -> None:
    with writing_as_other(twins) as session:
        run(session, *statements)
    twins.replay()


def test_what_was_granted_names_who_granted_it(twins: Twins) -> None:
    with writing_as_other(twins) as session:
        run(
            session, "CREATE PROCEDURE a.p() SELECT 1", "GRANT SELECT ON a.bag TO somebody", "GRANT UPDATE (n) ON a.keyed TO somebody",
            "GRANT EXECUTE ON PROCEDURE a.p TO somebody", "GRANT INSERT ON a.keyed TO somebody",
            "REVOKE INSERT ON a.keyed FROM somebody",
        )  # fmt: skip
    twins.replay()
    for server in (twins.planned, twins.ordered):
        with twins.servers.connect(server) as session:
            for query in GRANTORS:
                found = session.rows(query)
                assert found
                assert {row[-1] for row in found} == {"other `one`@%"}


def test_a_database_that_no_statement_names_is_the_events(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, "USE a", "ALTER DATABASE DEFAULT CHARACTER SET latin1", "CREATE TABLE made (v VARCHAR(9))",
            "USE b", "ALTER SCHEMA COLLATE utf8mb4_bin", "CREATE DATABASE c", "USE c", "ALTER DATABASE CHARACTER SET = ascii",
            "DROP DATABASE c",
        )  # fmt: skip
    twins.replay()


def test_utf8mb4_without_a_collation_is_what_its_source_took_it_for(twins: Twins, tmp_path: Path) -> None:
    """Servers before 8.0.11 had no variable for it, and general_ci."""
    twins.prepare(*BASE, "CREATE DATABASE c CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    with twins.writing() as session:
        run(
            session, "SET SESSION default_collation_for_utf8mb4 = utf8mb4_general_ci",
            "CREATE TABLE c.t (v VARCHAR(9) CHARACTER SET utf8mb4 PRIMARY KEY)",
            # Equal in 0900_ai_ci, but not in general_ci.
            "INSERT INTO c.t VALUES ('\u00df'), ('ss')",
            "ALTER DATABASE a CHARACTER SET utf8mb4", "CREATE TABLE a.t (v CHAR(9)) DEFAULT CHARACTER SET utf8mb4",
        )  # fmt: skip
    changes = (by_server("5.7.44"), short_gtids(42), without(f.Q_DEFAULT_COLLATION_FOR_UTF8MB4))
    twins.replay([rewritten(log, tmp_path / "older", *changes) for log in twins.logs])


def test_timestamps_of_servers_that_do_not_say_how_they_see_them_are_as_these_saw_them(
    twins: Twins, tmp_path: Path
) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, "SET SESSION explicit_defaults_for_timestamp = OFF", "CREATE TABLE a.t (one TIMESTAMP, two INT)",
            "SET SESSION explicit_defaults_for_timestamp = ON", "CREATE TABLE a.u (two INT)",
        )  # fmt: skip
    changes = (by_server("5.7.44"), short_gtids(42), without(f.Q_EXPLICIT_DEFAULTS_FOR_TIMESTAMP))
    twins.replay([rewritten(log, tmp_path / "older", *changes) for log in twins.logs])


@pytest.mark.parametrize("setting", ["OFF", "ON"])
def test_how_timestamps_are_seen_is_the_events(twins: Twins, setting: str) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session,
            f"SET SESSION explicit_defaults_for_timestamp = {setting}",
            "CREATE TABLE a.t (one TIMESTAMP, two INT)",
        )
    twins.replay()


def test_hidden_columns_lie_where_the_version_that_made_them_put_them(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, "SET SESSION original_server_version = 80014",
            "CREATE TABLE a.t (id INT PRIMARY KEY, n INT, KEY k ((n + 1)))",
            "SET SESSION original_server_version = 80014", "ALTER TABLE a.t ADD COLUMN more INT",
            "SET SESSION original_server_version = 90704", "INSERT INTO a.t VALUES (1, 2, 3)", "UPDATE a.t SET more = 4",
        )  # fmt: skip
    twins.replay()


def test_a_statement_that_was_logged_with_its_error_ends_with_it(twins: Twins) -> None:
    twins.prepare(*BASE, "CREATE TABLE a.loose (n INT PRIMARY KEY) ENGINE=MyISAM")
    with twins.writing() as session:
        session.run("SET SESSION binlog_format = STATEMENT")
        with pytest.raises(StatementFailed, match="1062"):
            session.run("INSERT INTO a.loose VALUES (1), (2), (1), (3)")
        session.run("INSERT INTO a.loose VALUES (4)")
    twins.replay(inconclusive=[("a", "loose"), ("a", "keyed"), ("a", "bag")])


@pytest.mark.parametrize(
    ("code", "why"),
    [(1062, "there it ended with error 1062, and here without any"), (1317, "logged with error 1317, and no log says how far it came"),
     (1146, "1062 Duplicate entry")],
)  # fmt: skip
def test_a_statement_that_ends_otherwise_than_on_its_source_stops_the_lane(
    twins: Twins, tmp_path: Path, code: int, why: str
) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        session.run("SET SESSION binlog_format = STATEMENT")
        session.run("INSERT INTO b.keyed VALUES ('new', 1, NULL)")

    def failed(event: Raw) -> Iterator[Raw]:
        if event.type == f.QUERY and b"INSERT" in event.body:
            event = replace(event, body=event.body[:9] + code.to_bytes(2, "little") + event.body[11:])
        yield event

    if code == 1146:
        for server in (twins.planned, twins.ordered):
            with twins.servers.connect(server) as session:
                session.run("INSERT INTO b.keyed VALUES ('new', 1, NULL)")
    with pytest.raises(ReplayError, match=why):
        twins.apply([rewritten(twins.logs[0], tmp_path / "new", failed)])


def test_a_status_variable_that_nobody_knows_stops_the_lane_and_is_named(twins: Twins, tmp_path: Path) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        session.run("CREATE TABLE a.t (n INT)")

    def newer(event: Raw) -> Iterator[Raw]:
        if event.type == f.QUERY:
            size = int.from_bytes(event.body[11:13], "little")
            body = event.body[:11] + (size + 2).to_bytes(2, "little") + event.body[13 : 13 + size] + b"\x63\x01"
            event = replace(event, body=body + event.body[13 + size :])
        yield event

    log = rewritten(twins.logs[0], tmp_path / "new", newer)
    with pytest.raises(UnsupportedEvent, match="status variable 99"):
        split_log(log, 0, tmp_path)


def without(code: int) -> Change:
    """Query events without a status variable."""

    def change(event: Raw) -> Iterator[Raw]:
        if event.type == f.QUERY:
            size = int.from_bytes(event.body[11:13], "little")
            status = event.body[13 : 13 + size]
            kept = b"".join(value for number, value in _variables(event) if number != code)
            assert len(kept) <= len(status)
            body = event.body[:11] + len(kept).to_bytes(2, "little") + kept
            event = replace(event, body=body + event.body[13 + size :])
        yield event

    return change


def _variables(event: Raw) -> Iterator[tuple[int, bytes]]:
    from relight.binlog.query import _status_variables

    size = int.from_bytes(event.body[11:13], "little")
    for code, value in _status_variables(memoryview(event.body)[13 : 13 + size]).items():
        yield code, bytes([code]) + value


def test_every_status_variable_that_this_server_writes_is_read(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, "SET SESSION binlog_format = STATEMENT, time_zone = '+05:30', lc_time_names = 'de_DE'",
            "SET sql_mode = 'ANSI_QUOTES', auto_increment_increment = 3, auto_increment_offset = 2, foreign_key_checks = 0",
            "SET SESSION unique_checks = 0, sql_auto_is_null = 1", "USE a", "SET SESSION collation_database = latin1_bin",
            "INSERT INTO bag VALUES (DAY(NOW(3)), DATABASE())", "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP)",
            "CREATE DATABASE c", "ALTER DATABASE c CHARACTER SET latin1",
        )  # fmt: skip
    with open_log(twins.logs[0]) as log:
        queries = [read_query(Event(0, e.type, 0, 0, e.data)) for e in log.events() if e.type == f.QUERY]
    insert = next(query.context for query in queries if query.text.startswith(b"INSERT"))
    assert not any(query.context.unknown for query in queries)
    assert (insert.flags, insert.sql_mode, insert.auto_increment) == (1 << 26 | 1 << 27 | 1 << 14, 4, (3, 2))
    assert (insert.time_zone, insert.locale, insert.collation_database) == ("+05:30", 4, 47)
    assert (insert.utf8mb4_collation, insert.charset) == (255, (255, 255, 255))
    assert insert.microseconds > 0
    made = next(query.context for query in queries if query.text.startswith(b"CREATE TABLE"))
    assert (made.require_primary_key, made.explicit_defaults) == (False, True)
    assert (
        next(query.context for query in queries if query.text.startswith(b"CREATE DATABASE")).table_encryption is False
    )


def test_who_granted_is_put_right_although_replay_died_behind_the_grant(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing_as_other(twins) as session:
        session.run("GRANT SELECT ON a.bag TO somebody")
    replayed = split_logs(twins.logs, twins.planned, twins.servers.admin, twins.folder)
    run_as_ever, died = Session.run, []

    def dying(session: Session, statement: str | bytes, *values: object) -> int:
        if not died and str(statement).startswith("UPDATE mysql.tables_priv"):
            died.append(statement)
            raise ServerUnreachable("the connection was lost", on="planned")
        return run_as_ever(session, statement, *values)

    monkeypatch.setattr(Session, "run", dying)
    with pytest.raises(ServerUnreachable):
        replay_lanes(replayed)
    replay_lanes(replayed)
    with twins.servers.connect(twins.planned) as session:
        assert [row[-1] for row in session.rows(GRANTORS[0])] == ["other `one`@%"]
