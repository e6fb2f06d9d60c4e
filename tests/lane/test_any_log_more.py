"""Replay is right, and proved so, for what few logs hold."""

from __future__ import annotations

import pytest

from relight.server.session import Session
from tests.lane.test_any_log import BASE
from tests.support.twins import Twins

PROXIES = "SELECT user, host, proxied_user, proxied_host, with_grant FROM mysql.proxies_priv ORDER BY 1, 2, 3, 4"


def run(session: Session, *statements: str) -> None:
    for statement in statements:
        session.run(statement)


def test_proxies_are_granted_by_an_account_that_has_all_on_everything_and_no_more(twins: Twins) -> None:
    twins.prepare(*BASE)
    lend = (
        "INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor)"
        " SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', -1), SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '', '', 1, 'test'",
        "FLUSH LOCAL PRIVILEGES",
    )
    back = ("DELETE FROM mysql.proxies_priv WHERE Grantor = 'test'", "FLUSH LOCAL PRIVILEGES")
    try:
        with twins.writing() as session, twins.servers.connect(twins.source) as unlogged:
            run(unlogged, "SET SESSION sql_log_bin = 0", *lend)
            run(
                session, "CREATE USER one, two, three", "GRANT PROXY ON one TO two WITH GRANT OPTION", "GRANT PROXY ON ''@'' TO three",
                "REVOKE PROXY ON ''@'' FROM three", "GRANT PROXY ON three TO one",
            )  # fmt: skip
            run(unlogged, *back)
        twins.replay()
        with twins.servers.connect(twins.source) as session:
            wanted = session.rows(PROXIES)
        assert len(wanted) == 3, "with that of root"
        for server in (twins.planned, twins.ordered):
            with twins.servers.connect(server) as session:
                assert session.rows(PROXIES) == wanted
    finally:
        with twins.servers.connect(twins.source) as session:
            run(session, "SET SESSION sql_log_bin = 0", *back)


@pytest.mark.parametrize("made", ["before the log", "in the log"])
def test_a_table_that_is_not_made_since_a_view_has_its_name_is_not_missed(twins: Twins, made: str) -> None:
    view = "CREATE VIEW a.v AS SELECT n FROM a.bag"
    twins.prepare(*BASE, *([view] if made == "before the log" else []))
    with twins.writing() as session:
        run(session, *([view] if made == "in the log" else []), "CREATE TABLE IF NOT EXISTS a.v (n INT)")
        session.run("CREATE TABLE IF NOT EXISTS a.real (n INT)")
    twins.apply(twins.logs)
    twins.compare()
    twins.prove()


def test_a_vector_that_was_widened_is_written_in_its_width(twins: Twins) -> None:
    twins.prepare(*BASE, "CREATE TABLE a.v (id INT PRIMARY KEY, v VECTOR(2))", "CREATE TABLE a.w (v VECTOR(2))")
    with twins.writing() as session:
        for table in ("v (id, v) VALUES ({n}, {v})", "w (v) VALUES ({v})"):
            session.run("INSERT INTO a." + table.format(n=1, v="TO_VECTOR('[1,2]')"))
            session.run(f"ALTER TABLE a.{table[0]} MODIFY v VECTOR(100)")
            session.run("INSERT INTO a." + table.format(n=2, v="TO_VECTOR(CONCAT('[', REPEAT('1.5,', 99), '2]'))"))
            session.run(f"UPDATE a.{table[0]} SET v = TO_VECTOR(CONCAT('[', REPEAT('3,', 79), '4]'))")
    twins.replay()


def test_a_counter_for_each_group_of_rows_is_not_held_against_the_whole_table(twins: Twins) -> None:
    twins.prepare(*BASE, "CREATE TABLE a.g (kind INT, n INT AUTO_INCREMENT, PRIMARY KEY (kind, n)) ENGINE=MyISAM")
    with twins.writing() as session:
        run(session, "INSERT INTO a.g (kind) VALUES (1), (1), (2)", "INSERT INTO a.g (kind) VALUES (1), (1), (3), (2)")
    twins.replay()


@pytest.mark.parametrize("modes", ["NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"])
def test_a_statement_is_read_as_its_sql_mode_has_it(twins: Twins, modes: str) -> None:
    """Else it cannot be read, and then nothing is known of its database any more."""
    twins.prepare(*BASE, "CREATE TABLE a.gone (id INT)", "INSERT INTO a.gone VALUES (1)")
    slash = "back\\" if "NO_BACKSLASH" in modes else "back\\\\"
    quoted = ('"a"', '"it\'s"') if "ANSI" in modes else ("a", "`it's`")
    with twins.writing() as session:
        run(
            session, f"SET SESSION sql_mode = '{modes}'",
            f"CREATE TABLE {quoted[0]}.{quoted[1]} (v VARCHAR(9) DEFAULT '{slash}', w INT COMMENT 'RENAME x') COMMENT '{slash}'",
            f"INSERT INTO {quoted[0]}.{quoted[1]} VALUES ('{slash}', 1), ('''', 2)",
            f"ALTER TABLE a.bag COMMENT '{slash}', ADD COLUMN more VARCHAR(9) DEFAULT '{slash}'",
            f"CREATE TABLE a.dropped (v INT) COMMENT '{slash}'", "DROP TABLE a.dropped",
            f"ALTER TABLE a.gone COMMENT '{slash}', RENAME TO {quoted[0]}.stays",
        )  # fmt: skip
    twins.replay()
