"""A source, and two servers that its logs are replayed onto: both must end as the source did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relight.accounting import TableName, expected_rows
from relight.backups.manifest import Definition, Table
from relight.errors import LaneBlocked
from relight.fleet import Limits, Server
from relight.lane import lane_progress
from relight.run_files import Lane, SplitResult
from relight.server.schema import read_tables
from relight.server.session import Row, Session, quoted
from relight.server.table_checksums import SYSTEM_DATABASES
from relight.verify.counting import count_rows, doubt_silent_cascades, expected_counts
from tests.support.proving import base_definitions, prove
from tests.support.replaying import Replayed, contents, split_logs
from tests.support.servers import Servers

_OPTIONS = {
    "event-scheduler": "OFF", "max-binlog-size": "1G", "innodb-lock-wait-timeout": "5",
    "innodb-redo-log-capacity": "128M",
    # The kernel has so few slots for it that some twenty servers take them all.
    "innodb-use-native-aio": "OFF",
}  # fmt: skip
_SETTINGS = ("binlog_checksum", "binlog_row_metadata", "binlog_row_image", "local_infile", "binlog_format")
_OURS = "('relight', 'replication', 'shop', 'root', 'mysql.sys', 'mysql.session', 'mysql.infoschema')"
_DEFINITIONS = (
    "SELECT table_schema, table_name, view_definition, definer, security_type, character_set_client,"
    " collation_connection FROM information_schema.views WHERE table_schema <> 'sys' ORDER BY 1, 2",
    "SELECT routine_schema, routine_name, routine_definition, definer, sql_mode, character_set_client"
    " FROM information_schema.routines WHERE routine_schema <> 'sys' ORDER BY 1, 2",
    "SELECT trigger_schema, trigger_name, event_object_table, action_order, action_statement, definer, sql_mode"
    " FROM information_schema.triggers WHERE trigger_schema <> 'sys' ORDER BY 1, 2",
    "SELECT event_schema, event_name, event_definition, interval_value, interval_field, status, definer, sql_mode,"
    " time_zone FROM information_schema.events ORDER BY 1, 2",
    "SELECT schema_name, default_collation_name FROM information_schema.schemata ORDER BY 1",
    f"SELECT user, host, authentication_string, plugin, account_locked FROM mysql.user WHERE user NOT IN {_OURS}"
    " ORDER BY 1, 2",
    f"SELECT * FROM mysql.global_grants WHERE user NOT IN {_OURS} ORDER BY 1, 2, 3",
    "SELECT * FROM mysql.role_edges ORDER BY 1, 2, 3, 4",
    "SELECT * FROM mysql.default_roles ORDER BY 1, 2, 3, 4",
    "SELECT host, db, user, select_priv, insert_priv, execute_priv FROM mysql.db ORDER BY 1, 2, 3",
    "SELECT host, db, user, table_name, table_priv, column_priv FROM mysql.tables_priv ORDER BY 1, 2, 3, 4",
)


@dataclass(frozen=True)
class State:
    """Everything that replay has to get right on one server."""

    sums: dict[str, int]
    tables: dict[str, str]
    definitions: dict[str, list[Row]]

    @classmethod
    def of(cls, session: Session) -> State:
        """As it is now."""
        session.run("SET SESSION sql_mode = '', sql_quote_show_create = ON")
        found = {q: [row for row in session.rows(q) if row[0] != lane_progress.DATABASE] for q in _DEFINITIONS}
        return cls(*contents(session), found)


@dataclass
class Twins:
    """One source, two servers for its logs. ``planned`` is replayed as it would be in a restore, ``ordered`` without
    the net effect and in small batches. ``empty`` shows what the log's statements make of definitions.

    A test calls :meth:`prepare` for what is there before the log begins, writes within :meth:`writing`, and
    calls :meth:`replay`.
    """

    servers: Servers
    source: Server
    planned: Server
    ordered: Server
    empty: Server
    folder: Path = Path()
    logs: list[Path] = field(default_factory=list)
    _tables: tuple[Table, ...] = ()
    _definitions: tuple[Definition, ...] = ()
    _replayed: list[Replayed] = field(default_factory=list)
    _replays: int = 0

    @classmethod
    def start(cls, servers: Servers, **options: str) -> Twins:
        """Start all of them."""
        with ThreadPoolExecutor() as pool:
            jobs = [
                pool.submit(servers.make, name, options={**_OPTIONS, **options})
                for name in ("source", "planned", "ordered", "empty")
            ]
            return cls(servers, *(job.result() for job in jobs))

    @property
    def all(self) -> tuple[Server, Server, Server]:
        """Source first."""
        return self.source, self.planned, self.ordered

    def begin(self, folder: Path) -> None:
        """A test begins; it may write to the folder."""
        self.folder = folder
        self.logs = []
        self._replays = 0

    def clean(self) -> None:
        """Forget everything that a test left behind."""
        for server in self.all:
            with self.servers.connect(server) as session:
                _clean(session)

    def prepare(self, *statements: str) -> None:
        """Run statements on all three servers, before the log begins."""
        for server in self.all:
            with self.servers.connect(server) as session:
                for statement in statements:
                    session.run(statement)

    def run_on_source(self, *statements: str) -> None:
        """Run statements in a session of their own."""
        with self.servers.connect(self.source) as session:
            for statement in statements:
                session.run(statement)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session on the source. The logs that were begun meanwhile, closed, are ``logs`` afterwards."""
        with self.servers.connect(self.source) as control:
            control.run("FLUSH BINARY LOGS")
            begun = _active(control)
            self._tables = tuple(read_tables(control, lambda _: None))
            self._definitions = base_definitions(control)
            with self.servers.connect(self.source) as session:
                yield session
            control.run("FLUSH BINARY LOGS")
            self.logs = _logs_from(control, begun)

    def replay(
        self, logs: Sequence[Path] | None = None, *, inconclusive: Sequence[TableName] = ()
    ) -> list[SplitResult]:
        """Split the logs, replay them onto both servers, and compare these with the source; rows are counted too.

        :param logs: instead of those that were written.
        :param inconclusive: tables of which the log does not say how many rows they have; no others may be.
        """
        splits = self.apply(self.logs if logs is None else logs)
        self.compare()
        self._compare_counts(splits, set(inconclusive))
        self.prove(inconclusive)
        return splits

    def prove(self, inconclusive: Collection[TableName] = ()) -> None:
        """The servers are as the source is, so whatever the verification finds is a false alarm."""
        for replayed in self._replayed:
            verdicts, checks = prove(
                replayed, self._tables, self._definitions, seed=self._replays, empty=self.empty
            )  # fmt: skip
            wrong = [v for v in verdicts if v.verdict == "mismatch"]
            assert not wrong, f"false alarm: {wrong}"
            alarms = [(c.check, c.findings) for c in checks if c.verdict == "mismatch"]
            assert not alarms, f"false alarm: {alarms}"
            doubted = {(v.database, v.table) for v in verdicts if v.verdict == "inconclusive"}
            assert doubted <= set(inconclusive), f"inconclusive: {doubted}"

    def apply(self, logs: Sequence[Path]) -> list[SplitResult]:
        """Split the logs and replay them onto both servers."""
        splits: list[SplitResult] = []
        self._replayed = []
        for server, use_net in ((self.planned, True), (self.ordered, False)):
            self._replays += 1
            folder = self.folder / f"split-{self._replays}"
            replayed = split_logs(list(logs), server, self.servers.admin, folder, tables=self._tables)
            replayed.use_net = use_net
            if not use_net:
                replayed.limits = Limits(transactions_per_batch=3)
            replay_lanes(replayed)
            self._replayed.append(replayed)
            splits = replayed.splits
        return splits

    def state(self) -> State:
        """What the source has."""
        with self.servers.connect(self.source) as session:
            return State.of(session)

    def compare(self, wanted: State | None = None) -> None:
        """Both servers are like the source, or as it was."""
        wanted = wanted or self.state()
        for server in (self.planned, self.ordered):
            with self.servers.connect(server) as session:
                found = State.of(session)
            _must_be_equal(server, found.tables, wanted.tables)
            _must_be_equal(server, found.sums, wanted.sums)
            _must_be_equal(server, found.definitions, wanted.definitions)

    def doubted(self, splits: Sequence[SplitResult]) -> set[TableName]:
        """The tables of which the log does not say how many rows they have, with all that is known of definitions."""
        operations = [o for split in splits for o in split.operations]
        found = expected_counts(self._tables, self._definitions, operations)
        return {name for name, one in found.items() if one.rows is None}

    def _compare_counts(self, splits: Sequence[SplitResult], inconclusive: set[TableName]) -> None:
        counted = {(table.database, table.name): table.rows for table in self._tables}
        expected = expected_rows(counted, [o for split in splits for o in split.operations])
        silent = {name for split in splits for name in split.silent_cascades}
        expected = doubt_silent_cascades(expected, self._tables, silent)
        with self.servers.connect(self.source) as session:
            found = _counts(session)
        doubted = {name for name, one in expected.items() if one.rows is None}
        assert doubted == inconclusive, f"inconclusive: {doubted}"
        told = {n: e.rows for n, e in expected.items() if n not in inconclusive and n[0] not in SYSTEM_DATABASES}
        _must_be_equal(self.source, told, {name: rows for name, rows in found.items() if name not in inconclusive})


def replay_lanes(replayed: Replayed) -> None:
    """Every lane, those once more that had to wait for others; each must go as it was planned."""
    waiting: list[Lane] = list(replayed.lanes.lanes)
    while waiting:
        blocked: list[Lane] = []
        for lane in waiting:
            try:
                again = replayed.lane(lane)
            except LaneBlocked:
                blocked.append(lane)
                if len(blocked) == len(waiting):
                    raise
            else:
                assert again == 0, f"lane {lane.name} could not be replayed as planned"
        waiting = blocked


def _must_be_equal(server: Server, found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    names = sorted({*found, *wanted})
    differences = {n: (found.get(n), wanted.get(n)) for n in names if found.get(n) != wanted.get(n)}
    assert not differences, f"{server.name} has other contents than it should have: {differences}"


def _databases(session: Session) -> list[str]:
    found = (str(row[0]) for row in session.rows("SHOW DATABASES"))
    return [name for name in found if name not in (*SYSTEM_DATABASES, lane_progress.DATABASE)]


def _counts(session: Session) -> dict[TableName, int]:
    return {name: count for database in _databases(session) for name, count in count_rows(session, database).items()}


def _active(session: Session) -> str:
    return str(session.rows("SHOW BINARY LOG STATUS")[0][0])


def _logs_from(session: Session, first: str) -> list[Path]:
    base = Path(str(session.value("SELECT @@log_bin_basename"))).parent
    names = [str(row[0]) for row in session.rows("SHOW BINARY LOGS")]
    return [base / name for name in names[names.index(first) : -1]]


def _clean(session: Session) -> None:
    for row in session.rows("XA RECOVER CONVERT XID"):
        format_id, trid_length, branch_length, data = int(row[0]), int(row[1]), int(row[2]), str(row[3])[2:]
        trid, branch = data[: 2 * trid_length], data[2 * trid_length : 2 * (trid_length + branch_length)]
        session.run(f"XA ROLLBACK X'{trid}',X'{branch}',{format_id}")
    session.run("SET SESSION foreign_key_checks = 0")
    for database in (*_databases(session), lane_progress.DATABASE):
        session.run(f"DROP DATABASE IF EXISTS {quoted(database)}")
    for user, host in session.rows(f"SELECT user, host FROM mysql.user WHERE user NOT IN {_OURS}"):
        session.run("DROP USER %s@%s", user, host)
    for name in _SETTINGS:
        wanted = {"binlog_checksum": "CRC32", "binlog_row_metadata": "FULL", "local_infile": "OFF"}.get(name, "DEFAULT")
        session.run(f"SET GLOBAL {name} = {wanted}")
    session.run("SET GLOBAL enforce_gtid_consistency = ON")
    modes = ("OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON")
    for mode in modes[modes.index(str(session.value("SELECT @@GLOBAL.gtid_mode"))) + 1 :]:
        session.run(f"SET GLOBAL gtid_mode = {mode}")
