"""Servers whose defaults for sessions are all the worst: Relight's own sessions do not have them."""

from __future__ import annotations

from collections.abc import Callable

from relight.fleet import Server
from relight.planning.target import Target
from relight.recover import recover
from relight.run_files import load_checks, load_verdicts
from relight.server.session import Session
from relight.server.table_checksums import checksums
from relight.site import Run, Site
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from tests.support.servers import Servers, kill, remove_under

HOSTILE = {
    "max_execution_time": "1", "wait_timeout": "1", "interactive_timeout": "1", "net_read_timeout": "1",
    "net_write_timeout": "1", "lock_wait_timeout": "1", "innodb_lock_wait_timeout": "1", "sql_select_limit": "1",
    "max_join_size": "1", "sql_big_selects": "OFF", "cte_max_recursion_depth": "1", "group_concat_max_len": "4",
    "autocommit": "OFF", "completion_type": "RELEASE", "transaction_read_only": "ON", "sql_safe_updates": "ON",
    "transaction_isolation": "'READ-UNCOMMITTED'", "foreign_key_checks": "OFF", "unique_checks": "OFF",
    "sql_auto_is_null": "ON", "explicit_defaults_for_timestamp": "OFF", "time_zone": "'+13:00'",
    "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,IGNORE_SPACE,"
    "NO_UNSIGNED_SUBTRACTION,REAL_AS_FLOAT,NO_DIR_IN_CREATE,NO_AUTO_VALUE_ON_ZERO'",
    "character_set_client": "latin1", "character_set_results": "latin1", "collation_connection": "latin1_german1_ci",
    "character_set_server": "latin1", "default_collation_for_utf8mb4": "utf8mb4_general_ci", "lc_messages": "'de_DE'",
    "lc_time_names": "'de_DE'", "sql_quote_show_create": "OFF", "show_create_table_verbosity": "ON",
    "show_gipk_in_create_table_and_information_schema": "OFF", "information_schema_stats_expiry": "86400",
    "sql_require_primary_key": "ON", "sql_generate_invisible_primary_key": "ON", "default_storage_engine": "MyISAM",
    "default_tmp_storage_engine": "MyISAM", "default_week_format": "3", "div_precision_increment": "0",
    "old_alter_table": "ON", "updatable_views_with_limit": "NO", "max_sort_length": "4", "max_error_count": "0",
    "session_track_gtids": "ALL_GTIDS", "session_track_state_change": "ON", "session_track_system_variables": "'*'",
    "session_track_transaction_info": "CHARACTERISTICS", "innodb_strict_mode": "OFF", "big_tables": "ON",
    "terminology_use_previous": "BEFORE_8_0_26", "print_identified_with_as_hex": "ON", "sql_notes": "OFF",
    "windowing_use_high_precision": "OFF", "block_encryption_mode": "'aes-256-cbc'", "tmp_table_size": "1024",
    "max_heap_table_size": "16384", "sort_buffer_size": "32768", "optimizer_switch": "'use_invisible_indexes=on'",
    "min_examined_row_limit": "1000", "low_priority_updates": "ON", "sql_warnings": "ON", "sql_buffer_result": "ON",
}  # fmt: skip
"""As they are written in ``SET GLOBAL``."""

AS_THE_SERVER_HAS_IT = {
    # What statements of the source were computed with: lanes have the source's instead.
    "group_concat_max_len", "time_zone", "default_storage_engine", "default_tmp_storage_engine", "default_week_format",
    "div_precision_increment", "windowing_use_high_precision", "block_encryption_mode",
    # A privilege is needed, and lanes and the witness turn off what hinders them.
    "sql_require_primary_key", "sql_generate_invisible_primary_key", "innodb_strict_mode", "min_examined_row_limit",
    "low_priority_updates", "max_error_count",
    # These change no result that Relight reads: how it is got, or what is told beside it.
    "character_set_server", "default_collation_for_utf8mb4", "old_alter_table", "updatable_views_with_limit",
    "max_sort_length", "session_track_gtids", "session_track_state_change", "session_track_system_variables",
    "session_track_transaction_info", "big_tables", "terminology_use_previous", "print_identified_with_as_hex",
    "sql_notes", "tmp_table_size", "max_heap_table_size", "sort_buffer_size", "optimizer_switch", "sql_warnings",
    "sql_buffer_result",
}  # fmt: skip

SCHEMA = (
    "CREATE DATABASE a", "CREATE DATABASE `größe`",
    "CREATE TABLE a.parent (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50), doc JSON, at TIMESTAMP NOT NULL)",
    "CREATE TABLE a.child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id))",
    "CREATE TABLE a.heap (v INT, c CHAR(7))", "CREATE TABLE `größe`.`straße` (`maß` INT PRIMARY KEY, n INT)",
    "CREATE VIEW a.seen AS SELECT id, v FROM a.parent WHERE id > 1",
    "CREATE PROCEDURE a.p() SELECT COUNT(*) FROM a.heap",
    "CREATE TRIGGER a.tr BEFORE INSERT ON a.heap FOR EACH ROW SET NEW.v = NEW.v + 1",
    "CREATE EVENT a.hourly ON SCHEDULE EVERY 1 HOUR STARTS '2035-01-01' DO DELETE FROM a.heap",
    "INSERT INTO a.parent (v, at) VALUES ('a', '2026-01-01'), ('b', '2026-01-02'), ('c', '2026-01-03')",
    "INSERT INTO a.child VALUES (1, 1), (2, 2)", "INSERT INTO a.heap VALUES (1, 'x'), (1, 'x'), (2, 'y')",
)  # fmt: skip
LATER = (
    "INSERT INTO a.parent (v, doc, at) VALUES ('ä', '{\"a\": [1, null]}', '2026-02-01'), ('e', 'null', '2026-02-02')",
    "UPDATE a.parent SET v = 'zwei' WHERE id = 2", "INSERT INTO a.child VALUES (3, 3)", "DELETE FROM a.heap WHERE v = 3",
    "INSERT INTO a.heap VALUES (7, 'z'), (8, 'z')", "INSERT INTO `größe`.`straße` VALUES (1, 1), (2, 2)",
    "ALTER TABLE a.parent ADD COLUMN late INT DEFAULT 3", "ALTER TABLE `größe`.`straße` ADD KEY (n)",
    "INSERT INTO a.parent (v, at) VALUES ('f', '2026-02-03')", "CREATE TABLE a.made (n INT)", "INSERT INTO a.made VALUES (1)",
    "CREATE USER app@'%' IDENTIFIED BY 'hunter2-app'", "GRANT SELECT ON a.* TO app@'%'",
)  # fmt: skip


def hostile(servers: Servers, name: str, **more: bool) -> Server:
    script = servers.folder / f"{name}.sql"
    script.write_text("".join(f"SET GLOBAL {setting} = {value};\n" for setting, value in HOSTILE.items()))
    return servers.make(name, options={"init-file": str(script)}, **more)


def settings(session: Session) -> dict[str, str]:
    return {str(name): str(value) for name, value in session.rows("SHOW SESSION VARIABLES")}


def test_no_default_of_a_server_reaches_a_session_that_would_hit_it(servers: Servers) -> None:
    with servers.connect(servers.make("usual")) as usual, servers.connect(hostile(servers, "hostile")) as other:
        expected, found = settings(usual), settings(other)
        assert other.value("SELECT @@GLOBAL.max_execution_time") == 1, "the file was not run"
    different = {name for name in expected if found[name] != expected[name]}
    assert different & HOSTILE.keys() <= AS_THE_SERVER_HAS_IT


def test_a_shard_of_servers_with_hostile_defaults_is_backed_up_restored_proved_and_followed(
    servers: Servers, site: Callable[..., Site]
) -> None:
    source, scratch = hostile(servers, "source"), hostile(servers, "scratch", empty=True)
    replica = hostile(servers, "replica", empty=True)
    place, alone = site(source, [replica], scratch=scratch), site(source, scratch=scratch)
    with servers.connect(source) as session:
        _run(session, SCHEMA)
        take_snapshot(alone, "shard-1")
        _run(session, LATER)
        ship_segments(alone, "shard-1")
        wanted = checksums(session)
        shown = session.rows("SELECT * FROM a.parent ORDER BY id")
    kill(source)
    remove_under(source)
    run = Run.model_validate(
        {"run_id": "run-1", "shard": "shard-1", "target": Target.parse("latest"), "mode": "promote"}
    )
    assert recover(place, run).outcome == "done"
    for server in (source, replica):
        with servers.connect(server) as session:
            assert checksums(session) == wanted
            assert session.rows("SELECT * FROM a.parent ORDER BY id") == shown
    folder = run.folder(place.fleet)
    assert {v.verdict for v in load_verdicts(folder)} == {"match"}
    assert {f"{c.check} {c.on}": c.verdict for c in load_checks(folder) if c.verdict != "match"} == {}
    assert sum(v.compared for v in load_verdicts(folder)) >= 4


def _run(session: Session, statements: tuple[str, ...]) -> None:
    session.run("SET SESSION sql_require_primary_key = OFF, sql_generate_invisible_primary_key = OFF")
    for statement in statements:
        session.run(statement)
