"""Transactions and query events, as the server that wrote them tells of them itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.query import Query, read_query, with_usual_quotes
from relight.binlog.reader import open_log
from relight.binlog.transactions import LogSummary, previous_gtids, query_text, summarize
from relight.errors import UnsupportedEvent
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.server.session import Session
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers
from tests.support.slow_log import Transaction, transactions


@dataclass
class Written:
    """Logs of a server, and when they were written."""

    server: Server
    logs: list[Path]
    executed: list[GtidSet]
    """What the server had executed before the first log, and after each."""
    began: datetime
    ended: datetime

    def queries(self) -> Iterator[Query]:
        for path in self.logs:
            for transaction in transactions_of(path):
                yield from (read_query(event) for event in transaction.events if event.type == f.QUERY)


def write(session: Session) -> list[GtidSet]:
    """Three logs: plain, tagged and compressed. Gives what was executed before and after each."""
    executed = [gtids(session)]
    session.run("CREATE DATABASE d")
    session.run("CREATE DATABASE `d é`")
    session.run("CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50))")
    for n in range(5):
        session.run("BEGIN")
        session.run("INSERT INTO d.t (v) VALUES (%s), ('x')", str(n))
        session.run("UPDATE d.t SET v = 'y' WHERE id = 1")
        session.run("ROLLBACK" if n == 3 else "COMMIT")
    session.run("FLUSH BINARY LOGS")
    executed.append(gtids(session))
    session.run("SET SESSION gtid_next = 'AUTOMATIC:night'")
    session.run("INSERT INTO d.t (v) VALUES ('tagged')")
    session.run("CREATE TABLE `d é`.`t'` (id INT PRIMARY KEY) COMMENT 'é☃'")
    session.run("SET SESSION gtid_next = 'AUTOMATIC'")
    session.run("USE `d é`")
    session.run("SET SESSION time_zone = 'SYSTEM', lc_time_names = 'de_DE', sql_mode = 'ANSI_QUOTES'")
    session.run("SET SESSION auto_increment_increment = 7")
    session.run('CREATE VIEW v AS SELECT v FROM "d".t')
    session.run("DROP TABLE IF EXISTS d.nothing")
    session.run("FLUSH BINARY LOGS")
    executed.append(gtids(session))
    session.run("SET SESSION binlog_transaction_compression = ON, binlog_rows_query_log_events = ON")
    session.run("INSERT INTO d.t (v) SELECT v FROM d.t")
    session.run("SET SESSION binlog_format = 'STATEMENT'")
    session.run("SET @v = 'user variable'")
    session.run("INSERT INTO d.t (v) VALUES (@v)")
    session.run("FLUSH BINARY LOGS")
    executed.append(gtids(session))
    return executed


def gtids(session: Session) -> GtidSet:
    return GtidSet.parse(session.value("SELECT @@GLOBAL.gtid_executed"))


@pytest.fixture(scope="module")
def written(module_servers: Servers) -> Written:
    server = module_servers.make("writer")
    with module_servers.connect(server) as session:
        start_log(session)
        began = datetime.now(UTC)
        executed = write(session)
        return Written(server, logs_of(session)[:3], executed, began, datetime.now(UTC))


def transactions_of(path: Path) -> list[Transaction]:
    with open_log(path) as log:
        return list(transactions(log))


def test_a_summary_says_what_the_server_executed_meanwhile(written: Written) -> None:
    for path, before, after in zip(written.logs, written.executed, written.executed[1:], strict=False):
        summary = summarize(path)
        assert summary.previous_gtids == before
        assert summary.gtids == after - before
        assert summary.transactions == summary.gtids.count()
        assert summary.size == path.stat().st_size
    assert any(":" in stream for stream in written.executed[-1].streams), "no tagged GTID was written"


def test_events_begin_where_the_server_says_that_they_do(written: Written, module_servers: Servers) -> None:
    with module_servers.connect(written.server) as session:
        for path in written.logs:
            shown = {int(row[1]) for row in session.rows(f"SHOW BINLOG EVENTS IN '{path.name}'")}
            with open_log(path) as log:
                assert {event.position for event in log.events()} == shown - {4}
            starts = [
                int(row[1]) for row in session.rows(f"SHOW BINLOG EVENTS IN '{path.name}'")
                if row[2] in ("Gtid", "Gtid_tagged_log_event", "Gtid_tagged")
            ]  # fmt: skip
            assert [transaction.position for transaction in transactions_of(path)] == starts


def test_commit_times_are_when_the_commits_were(written: Written) -> None:
    times = [one.committed for path in written.logs for one in transactions_of(path)]
    assert times == sorted(times)
    second = timedelta(seconds=1)
    assert written.began - second <= times[0] <= times[-1] <= written.ended + second
    assert len({time.microsecond for time in times}) > 1, "only whole seconds were read"
    summary = summarize(written.logs[0])
    assert (summary.first_commit, summary.last_commit) == (times[0], times[summary.transactions - 1])


def test_a_replica_s_log_tells_the_source_s_commit_time(servers: Servers) -> None:
    source = servers.make("source")
    (replica,) = servers.make_replicas(source, 1)
    with servers.connect(source) as session, servers.connect(replica) as other:
        other.run("STOP REPLICA SQL_THREAD")
        session.run("CREATE DATABASE late")
        done, executed = datetime.now(UTC), session.value("SELECT @@GLOBAL.gtid_executed")
        time.sleep(1.5)
        other.run("START REPLICA SQL_THREAD")
        assert other.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 30)", executed) == 0
        last = [one for path in logs_of(other) for one in transactions_of(path)][-1]
    assert query_text(last.events[-1]) == b"CREATE DATABASE late"
    assert abs(last.committed - done) < timedelta(seconds=1)


def test_a_log_without_transactions_has_an_empty_summary_that_still_says_what_came_before(
    written: Written, module_servers: Servers
) -> None:
    with module_servers.connect(written.server) as session:
        session.run("FLUSH BINARY LOGS")
        path = logs_of(session)[-1]
        executed = gtids(session)
    assert summarize(path) == LogSummary(executed, GtidSet(), None, None, 0, path.stat().st_size)
    with open_log(path) as log:
        assert previous_gtids(log) == executed


def test_a_transaction_without_a_gtid_is_refused_and_named(servers: Servers) -> None:
    server = servers.make("anonymous", options={"gtid-mode": "OFF_PERMISSIVE", "enforce-gtid-consistency": "OFF"})
    with servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        path = logs_of(session)[-1]
    with pytest.raises(UnsupportedEvent, match=r"binlog\.\d+ at \d+, ANONYMOUS_GTID\): a transaction without a GTID"):
        summarize(path)


def test_a_query_tells_its_default_database_and_the_ones_it_changes(written: Written) -> None:
    found = {query.sql: query for query in written.queries()}
    assert found["CREATE DATABASE d"].updated == ("d",)
    created = found["CREATE TABLE `d é`.`t'` (id INT PRIMARY KEY) COMMENT 'é☃'"]
    assert (created.database, created.updated, created.error_code) == ("", ("d é",), 0)
    view = next(query for sql, query in found.items() if sql.startswith("CREATE") and " VIEW " in sql)
    assert (view.database, view.updated) == ("d é", ("d é",)), "found behind time zone, locale and increments"
    assert found["INSERT INTO d.t (v) VALUES (@v)"].updated == ("d",)


def test_more_databases_than_the_server_lists_are_not_taken_for_none(written: Written, module_servers: Servers) -> None:
    with module_servers.connect(written.server) as session:
        for names in (range(17), range(254), range(255)):
            tables = ", ".join(f"many{n}.t" for n in names)
            for n in names:
                session.run(f"CREATE DATABASE IF NOT EXISTS many{n}")
                session.run(f"CREATE TABLE IF NOT EXISTS many{n}.t (a INT)")
            session.run("FLUSH BINARY LOGS")
            session.run(f"DROP TABLE {tables}")
            (transaction,) = transactions_of(logs_of(session)[-1])
            updated = read_query(transaction.events[-1]).updated
            assert updated is None or set(updated) == {f"many{n}" for n in names}
    assert updated is None


@pytest.mark.parametrize(
    ("mode", "sql", "usual"),
    [
        (0, "SELECT 'a\\'', \"b\"", "SELECT 'a\\'', \"b\""),
        (4, "SELECT 'a\\'\"', \"b`\"\"\\\" -- \"x", "SELECT 'a\\'\"', `b``\"\\` -- \"x"),
        (1 << 20, "SELECT 'a\\', \"b\\\" # '", "SELECT 'a\\\\', \"b\\\\\" # '"),
        (1 << 20 | 4, "SELECT 'a\\', \"b\\\" /* '\\ */", "SELECT 'a\\\\', `b\\` /* '\\ */"),
        (4, "SELECT `\"`, '\"'", "SELECT `\"`, '\"'"),
        (4, 'SELECT "open', 'SELECT "open'),
    ],
)  # fmt: skip
def test_quotes_are_read_as_the_sql_mode_of_the_statement_has_them(mode: int, sql: str, usual: str) -> None:
    assert with_usual_quotes(sql, mode) == usual
