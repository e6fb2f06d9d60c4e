"""Scheduled events that change sides lose nothing of what they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relight.backups.manifest import Event
from relight.fleet import Server
from relight.server.scheduled_events import REPLICA_SIDE, disable_for_replica, enable_for_source
from relight.server.session import Session
from tests.support.servers import Servers

STATEMENTS = (
    "CREATE DATABASE d",
    "CREATE DATABASE `e``f`",
    "CREATE TABLE d.t (a VARCHAR(9))",
    "CREATE USER 'o`wner'@'%'",
    "GRANT ALL ON *.* TO 'o`wner'@'%'",
    "SET NAMES latin1 COLLATE latin1_german1_ci",
    "SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_ZERO_DATE', time_zone = '+05:30'",
    """CREATE DEFINER = "o`wner"@"%" EVENT d.odd ON SCHEDULE EVERY 3 HOUR STARTS '2035-01-01 00:00:00'
       ENDS '2036-01-01 00:00:00' ON COMPLETION PRESERVE COMMENT 'it''s odd' DO INSERT INTO "d"."t" VALUES ('a' || 'b')""",
    "SET SESSION sql_mode = '', time_zone = 'SYSTEM'",
    "SET NAMES utf8mb4",
    "CREATE EVENT `e``f`.plain ON SCHEDULE AT '2036-05-05 00:00:00' DO DELETE FROM d.t",
    "CREATE EVENT d.resting ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01' DISABLE DO DELETE FROM d.t",
)

DESCRIBED = (
    "SELECT event_schema, event_name, definer, time_zone, event_definition, event_type, execute_at, interval_value,"
    " interval_field, sql_mode, starts, ends, on_completion, created, event_comment, character_set_client,"
    " collation_connection, database_collation FROM information_schema.events"
    " WHERE event_schema IN ('d', 'e`f') ORDER BY 1, 2"
)


@pytest.fixture(scope="module")
def server(module_servers: Servers) -> Server:
    server = module_servers.make("events")
    with module_servers.connect(server) as session:
        for statement in STATEMENTS:
            session.run(statement)
    return server


@pytest.fixture
def session(server: Server, module_servers: Servers) -> Iterator[Session]:
    with module_servers.connect(server) as session:
        yield session


def status(session: Session) -> dict[str, str]:
    return dict(session.rows("SELECT event_name, status FROM information_schema.events WHERE event_schema <> 'sys'"))


def test_an_event_switched_off_and_on_again_keeps_all_that_it_is(session: Session) -> None:
    before = session.rows(DESCRIBED)
    created = session.row("SHOW CREATE EVENT d.odd")[3]
    disable_for_replica(session)
    assert {name: s in REPLICA_SIDE for name, s in status(session).items()} == {
        "odd": True, "plain": True, "resting": False,
    }  # fmt: skip
    assert session.rows(DESCRIBED) == before
    assert set(enable_for_source(session, [])) == {"d.odd", "e`f.plain"}
    assert status(session) == {"odd": "ENABLED", "plain": "ENABLED", "resting": "DISABLED"}
    assert session.rows(DESCRIBED) == before
    assert session.row("SHOW CREATE EVENT d.odd")[3] == created


def test_an_event_that_was_off_at_the_lost_source_stays_off(session: Session) -> None:
    disable_for_replica(session)
    known = [Event(database="d", name="odd", enabled_on_source=False),
             Event(database="e`f", name="plain", enabled_on_source=True),
             Event(database="d", name="long gone", enabled_on_source=True)]  # fmt: skip
    assert enable_for_source(session, known) == ["e`f.plain"]
    assert status(session) == {"odd": "DISABLED", "plain": "ENABLED", "resting": "DISABLED"}
    session.run("ALTER EVENT d.odd ENABLE")


def test_the_session_is_left_as_it_was(session: Session) -> None:
    read = "SELECT @@sql_mode, @@time_zone, @@character_set_client, @@collation_connection"
    before = session.row(read)
    disable_for_replica(session)
    enable_for_source(session, [])
    assert session.row(read) == before
