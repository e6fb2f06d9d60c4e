"""Sessions: what errors say, and what they must never say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from relight.credentials import Login
from relight.errors import RelightError, ServerUnreachable, StatementFailed
from relight.fleet import Server
from relight.server import session as sessions
from relight.server.session import Session, connect, kill_open_sessions, quoted
from tests.support.servers import Servers, kill

SECRET = "hunter2-Zq9"


@pytest.fixture(scope="module")
def server(module_servers: Servers) -> Server:
    return module_servers.make("spoken-to")


@pytest.fixture
def session(server: Server, module_servers: Servers) -> Iterator[Session]:
    with module_servers.connect(server) as session:
        yield session


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE USER IF EXISTS u IDENTIFIED BY '{SECRET}'",
        f"CREATE USERS u IDENTIFIED BY '{SECRET}'",
        f"CREATE USER u IDENTIFIED BY '{SECRET}' NONSENSE",
        f"CREATE USER u IDENTIFIED BY '{SECRET}",
        f"CREATE USER u IDENTIFIED BY 'it''s {SECRET}' NONSENSE",
        f"CREATE USER u IDENTIFIED BY 'it\\'s {SECRET}' NONSENSE",
        f'CREATE USER u IDENTIFIED BY "{SECRET}" NONSENSE',
        f'CREATE USERS u IDENTIFIED BY "{SECRET}"',
        f"ALTER USER nobody@nowhere IDENTIFIED BY '{SECRET}'",
        f"CREATE USER u IDENTIFIED WITH nothing AS '{SECRET}'",
        f"CREATE USER u IDENTIFIED WITH caching_sha2_password AS '{SECRET}'",
        f"SET PASSWORD FOR nobody = '{SECRET}'",
        f"SET PASSWORD FOR nobody@x TO RANDOM REPLACE '{SECRET}'",
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'h', SOURCE_PASSWORD='{SECRET}', NONSENSE = 1",
        f"CHANGE MASTER TO MASTER_PASSWORD = '{SECRET}'",
        f"START REPLICA USER = 'u' PASSWORD = '{SECRET}' NONSENSE",
        f"START GROUP_REPLICATION USER='u', PASSWORD='{SECRET}'",
        f"CLONE INSTANCE FROM u@127.0.0.1:1 IDENTIFIED BY '{SECRET}'",
        f"CLONE INSTANCES FROM u@127.0.0.1:1 IDENTIFIED BY '{SECRET}'",
    ],
)
def test_a_password_in_a_refused_statement_is_not_repeated(session: Session, statement: str) -> None:
    for sent in (statement, statement.encode()):
        with pytest.raises(RelightError) as refused:
            session.run(sent)
        assert SECRET not in refused.value.with_hint()
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__, "the driver's own error, which quotes the statement, would be shown"


def test_a_value_that_travels_apart_from_its_statement_is_not_shown(session: Session) -> None:
    with pytest.raises(StatementFailed) as refused:
        session.run("CREATE USER u@localhost IDENTIFIED BY %s NONSENSE", SECRET)
    assert SECRET not in str(refused.value)


def test_a_refused_login_says_who_and_where_but_not_the_password(server: Server) -> None:
    with pytest.raises(StatementFailed, match=r"refused the login \(spoken-to\): 1045 .*'stranger'") as refused:
        connect(server, Login("stranger", SECRET))
    assert SECRET not in refused.value.with_hint()
    assert not refused.value.retryable
    assert SECRET not in repr(Login("stranger", SECRET))


def test_nobody_there_is_worth_another_try(server: Server, tmp_path: Path, admin: Login) -> None:
    gone = server.model_copy(update={"socket": tmp_path / "none", "port": 1})
    with pytest.raises(ServerUnreachable, match="no connection") as missing:
        connect(gone, admin, timeout=2)
    assert missing.value.retryable
    assert admin.password not in missing.value.with_hint()


def test_elsewhere_the_connection_is_encrypted(server: Server, tmp_path: Path, admin: Login) -> None:
    remote = server.model_copy(update={"socket": tmp_path / "none"})
    with connect(remote, admin) as session:
        assert session.row("SHOW STATUS LIKE 'Ssl_cipher'")[1] != ""


def test_a_refused_statement_is_named_and_a_long_one_shortened(session: Session) -> None:
    with pytest.raises(StatementFailed, match=r"1146 .*exist in: SELECT \* FROM mysql\.nothing"):
        session.rows("SELECT *\n  FROM mysql.nothing")
    with pytest.raises(StatementFailed, match="near 'NONSENSE' at line 1"):
        session.run("CREATE TABLE d.t (a INT) NONSENSE")
    with pytest.raises(StatementFailed) as refused:
        session.run(b"BINLOG '" + b"A" * 10_000 + b"'")
    assert len(str(refused.value)) < 500


def test_one_row_is_asked_for_and_exactly_one_is_given(session: Session) -> None:
    assert session.row("SELECT 1, 2") == (1, 2)
    for query, count in (("SELECT 1 WHERE FALSE", 0), ("SELECT 1 UNION SELECT 2", 2)):
        with pytest.raises(StatementFailed, match=f"{count} rows instead of one"):
            session.row(query)


def test_a_server_that_dies_in_the_middle_is_unreachable_not_a_refusal(servers: Servers) -> None:
    server = servers.make("mortal")
    with servers.connect(server) as session:
        kill(server)
        for _ in range(2):
            with pytest.raises(ServerUnreachable):
                session.run("SELECT 1")


def test_statements_under_way_are_ended_on_the_server(server: Server, module_servers: Servers) -> None:
    ended: list[RelightError] = []

    def work(session: Session) -> None:
        try:
            session.run("DO SLEEP(120)")
        except RelightError as error:
            ended.append(error)

    with module_servers.connect(server) as busy, module_servers.connect(server) as other:
        thread = Thread(target=work, args=(busy,))
        thread.start()
        running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'DO SLEEP(120)'"
        while not other.value(running):
            time.sleep(0.02)
        sessions._open.pop(id(other))  # the test's own, which is to stay
        kill_open_sessions()
        thread.join(10)
        assert ended
        assert other.value(running) == 0
    assert not sessions._open


@pytest.mark.parametrize("name", ["plain", "a`b", "``", "a.b", "é☃", "x y;--"])
def test_any_identifier_can_be_quoted(session: Session, name: str) -> None:
    session.run(f"CREATE DATABASE {quoted(name)}")
    session.run(f"CREATE TABLE {quoted(name, 't`t')} (a INT)")
    assert session.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", name) == [("t`t",)]
    session.run(f"DROP DATABASE {quoted(name)}")
