"""Replays a source's binary logs onto another server, without a store in between."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from relight.backups.manifest import SnapshotManifest, Table
from relight.credentials import Login
from relight.fleet import Limits, Server
from relight.gtid import GtidSet
from relight.lane import lane_progress
from relight.lane.applier import LaneApplier
from relight.lane.laning import content_of, make_lanes
from relight.lane.segments import lane_segment
from relight.lane.split_log import split_log
from relight.run_files import Lane, Lanes, SplitResult
from relight.server import mysqld
from relight.server.session import Session, connect, quoted
from relight.server.table_checksums import checksums
from tests.support.servers import Servers


@dataclass
class Replayed:
    """Logs split below a folder, and the server that they are replayed onto."""

    server: Server
    admin: Login
    folder: Path
    splits: list[SplitResult]
    lanes: Lanes
    limits: Limits = field(default_factory=Limits)
    use_net: bool = True

    def lane(self, lane: Lane) -> int:
        """Replay one lane from where it is. Gives how often its plan could not be kept."""
        with connect(self.server, self.admin) as session:
            session.run("SET SESSION sql_log_bin = 0")
            lane_progress.create_table(session)
            lane_progress.enter(session, [lane])

        with LaneApplier(self.server, self.admin, lane, self.limits, use_net=self.use_net) as applier:
            applier.replay(
                [lane_segment(self.folder / str(split.number), split, lane.databases) for split in self.splits],
                lambda _: None,
            )
            return applier.in_order_again

    def all(self) -> None:
        """Replay every lane."""
        for lane in self.lanes.lanes:
            self.lane(lane)


def copy_of(servers: Servers, source: Server, name: str, **options: str) -> Server:
    """A server on a copy of the source's data, taken while the source is down; the source is up afterwards."""
    mysqld.stop(source, servers.admin)
    copy = servers.make(name, options=options, empty=True)
    shutil.copytree(source.datadir, copy.datadir, ignore=shutil.ignore_patterns("auto.cnf", "binlog.*"))
    mysqld.start(source, servers.admin).close()
    mysqld.start(copy, servers.admin).close()
    return copy


def start_log(source: Session) -> None:
    """Empty the source's log: what follows is what will be replayed."""
    source.run(mysqld.gtid_history_reset_statement(source))


def logs_of(source: Session) -> list[Path]:
    """Close the source's active log; give every closed one."""
    source.run("FLUSH BINARY LOGS")
    base = Path(str(source.value("SELECT @@log_bin_basename"))).parent
    return [base / str(row[0]) for row in source.rows("SHOW BINARY LOGS")][:-1]


def split_logs(
    logs: list[Path], onto: Server, admin: Login, folder: Path, *, tables: tuple[Table, ...] = ()
) -> Replayed:
    """Split the logs below ``folder``, ready to be replayed. ``tables``: what is known of the base."""
    splits = []
    with connect(onto, admin) as session:
        folds = session.value("SELECT @@lower_case_table_names") != 0
        databases = tuple(str(row[0]) for row in session.rows("SHOW DATABASES"))
    for number, log in enumerate(logs):
        (folder / str(number)).mkdir(parents=True)
        splits.append(split_log(log, number, folder / str(number), folds_names=folds))
    snapshot = empty_snapshot(databases).model_copy(update={"tables": tables})
    lanes = make_lanes(snapshot, map(content_of, splits), shard="shard-1", most_groups=100)
    return Replayed(onto, admin, folder, splits, lanes)


def empty_snapshot(databases: tuple[str, ...] = ()) -> SnapshotManifest:
    """A snapshot of nothing: where only names of databases matter."""
    return SnapshotManifest(
        id="20261122T190211Z-1a2b3c4d", shard="shard-1", server_uuid="1a2b3c4d-0000-0000-0000-000000000000",
        server_name="shard-1-a", mysql_version="9.7.4", taken_at=datetime(2026, 11, 22, tzinfo=UTC), gtids=GtidSet(),
        databases=databases, tables=(), files=(), directories=(), parts=(), data_bytes=0, stored_bytes=0,
    )  # fmt: skip


def contents(session: Session) -> tuple[dict[str, int], dict[str, str]]:
    """Checksum and definition of every table but Relight's own."""
    session.run("SET SESSION time_zone = '+00:00'")  # in which defaults of TIMESTAMP columns are printed
    sums = {name: value for name, value in checksums(session).items() if not name.startswith("_relight.")}
    definitions = {}
    for name in sums:
        database, _, table = name.partition(".")
        definitions[name] = str(session.row(f"SHOW CREATE TABLE {quoted(database, table)}")[1])
    return sums, definitions
