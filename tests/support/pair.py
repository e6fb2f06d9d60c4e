"""A source and the server that its log is replayed onto: both start with nothing, so that tests can share them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relight.fleet import Server
from relight.lane import lane_progress
from relight.server.session import Session, quoted
from relight.server.table_checksums import SYSTEM_DATABASES
from tests.support.replaying import Replayed, contents, logs_of, split_logs, start_log
from tests.support.servers import Servers


@dataclass
class Pair:
    """Two servers with the same contents, until :meth:`start` is over and the source is written to."""

    servers: Servers
    source: Server
    rebuilt: Server

    @contextmanager
    def on_both(self) -> Iterator[list[Session]]:
        """A session on each."""
        with self.servers.connect(self.source) as source, self.servers.connect(self.rebuilt) as rebuilt:
            yield [source, rebuilt]

    def start(self, base: Iterable[str]) -> None:
        """Forget what earlier tests left, run the statements of ``base`` on both, and begin the log that is replayed."""
        statements = list(base)
        with self.on_both() as sessions:
            for session in sessions:
                clean(session)
                for statement in statements:
                    session.run(statement)
            start_log(sessions[0])

    def split(self, folder: Path) -> Replayed:
        """The source's log, ready to be replayed."""
        with self.servers.connect(self.source) as session:
            logs = logs_of(session)
        return split_logs(logs, self.rebuilt, self.servers.admin, folder)

    def assert_equal(self) -> None:
        """Checksums, definitions and row counts of all tables are the same."""
        with self.on_both() as (source, rebuilt):
            differences = different(contents(rebuilt)[0], contents(source)[0])
            differences |= different(contents(rebuilt)[1], contents(source)[1])
            differences |= different(row_counts(rebuilt), row_counts(source))
        assert not differences, differences

    def assert_finished(self) -> None:
        """Every lane says that it is through, and that nothing is in the air."""
        with self.servers.connect(self.rebuilt) as session:
            states = lane_progress.load_all(session)
        assert states
        for state in states:
            assert state.finished
            assert state.fence is None
            assert not state.torn


def different(found: Mapping[str, object], expected: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """What is not the same: what was found, and what is right."""
    names = found.keys() | expected.keys()
    return {n: (found.get(n), expected.get(n)) for n in sorted(names) if found.get(n) != expected.get(n)}


def clean(session: Session) -> None:
    """Drop everything of applications, and of replays."""
    for kind, length, _, data in session.rows("XA RECOVER CONVERT XID"):
        text = str(data).removeprefix("0x")  # it would hold on to its tables
        session.run(f"XA ROLLBACK x'{text[: 2 * length]}', x'{text[2 * length :]}', {kind}")
    session.run("SET SESSION sql_log_bin = 0")
    for database in databases(session):
        session.run(f"DROP DATABASE {quoted(database)}")
    for user, host in session.rows("SELECT user, host FROM mysql.user WHERE user LIKE 'app%%'"):
        session.run("DROP USER %s@%s", user, host)


def databases(session: Session) -> list[str]:
    """All but the server's own; Relight's is among them."""
    return [str(row[0]) for row in session.rows("SHOW DATABASES") if row[0] not in SYSTEM_DATABASES]


def row_counts(session: Session) -> dict[str, int]:
    """How many rows each table of applications has."""
    tables: Sequence[tuple[str, str]] = [
        (str(database), str(table))
        for database, table in session.rows(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
        )
        if database not in (*SYSTEM_DATABASES, lane_progress.DATABASE)
    ]
    return {f"rows in {d}.{t}": int(session.value(f"SELECT COUNT(*) FROM {quoted(d, t)}")) for d, t in tables}
