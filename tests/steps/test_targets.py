"""Targets inside a log file cut where `mysqlbinlog` shows them, in logs that a real server wrote and shipped."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.credentials import EnvironmentCredentials
from relight.errors import TargetError
from relight.fleet import Fleet, Server, Shard, StoreSettings
from relight.gtid import Gtid, GtidSet
from relight.lab.s3 import S3Server
from relight.lab.template import Logins
from relight.planning.plan import load_plan
from relight.planning.target import Target
from relight.progress import Silent
from relight.run_files import load_split
from relight.site import Run, Site
from relight.steps.plan import plan_run
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.steps.split import split_segment
from relight.store.s3 import open_store
from tests.conftest import environment_of
from tests.support.servers import Servers

OTHER = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
EVENT = re.compile(r"^# at (\d+)$", re.MULTILINE)
TRANSACTION = re.compile(r"^# at (\d+)\n#.*\tGTID\t(?:.|\n)*?^SET @@SESSION\.GTID_NEXT= '([^']+)'", re.MULTILINE)


@dataclass
class Written:
    """A shard whose last log file began behind its snapshot, and what mysqlbinlog shows of that file."""

    site: Site
    server_uuid: str
    file: str
    transactions: list[tuple[int, Gtid]]
    """Position and GTID, in the order of the file."""
    positions: list[int]
    """Of every event."""
    size: int

    def taken(self, target: Target) -> GtidSet:
        """What planning and splitting take of the file."""
        run = Run(run_id=str(target), shard="shard-1", target=target)
        plan_run(self.site, run)
        (planned,) = load_plan(self.site.store, run).segments
        assert (planned.segment.file, planned.last) == (self.file, True)
        split_segment(self.site, run, 0)
        return load_split(run.folder(self.site.fleet), 0).taken

    def first(self, count: int) -> GtidSet:
        """The first transactions of the file."""
        return GtidSet.of(gtid for _, gtid in self.transactions[:count])


@pytest.fixture(scope="module")
def source(module_servers: Servers) -> Server:
    return module_servers.make("source")


@pytest.fixture(scope="module")
def written(source: Server, module_servers: Servers, s3_server: S3Server, logins: Logins) -> Written:
    """Two servers' transactions and tagged ones, between each other in one file."""
    settings = StoreSettings(bucket=s3_server.bucket, prefix="targets", endpoint=s3_server.endpoint)
    fleet = Fleet(fleet="test", store=settings, shards=(Shard(name="shard-1", source=source),))
    credentials = EnvironmentCredentials(environment_of(logins, s3_server.login))
    site = Site(fleet, open_store(settings, s3_server.login), credentials, Silent())
    with module_servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT)")
        take_snapshot(site, "shard-1")
        session.run("FLUSH BINARY LOGS")
        # Tags are known since 8.3.
        tag = "AUTOMATIC:night" if source_has_tags(str(session.value("SELECT VERSION()"))) else f"{OTHER}:9"
        for gtid in ("AUTOMATIC", f"{OTHER}:7", "AUTOMATIC", tag, f"{OTHER}:3", "AUTOMATIC"):
            session.run("SET gtid_next = %s", gtid)
            session.run("INSERT INTO d.t VALUES ()")
        session.run("SET gtid_next = 'AUTOMATIC'")
        ship_segments(site, "shard-1")
        path = source.datadir / str(session.rows("SHOW BINARY LOGS")[-2][0])
        server_uuid = str(session.value("SELECT @@server_uuid"))
    text = shown(source, path)
    transactions = [(int(position), Gtid.parse(gtid)) for position, gtid in TRANSACTION.findall(text)]
    assert len(transactions) == 6
    assert len({gtid.stream for _, gtid in transactions}) >= 2
    positions = [int(position) for position in EVENT.findall(text)]
    return Written(site, server_uuid, path.name, transactions, positions, path.stat().st_size)


def source_has_tags(version: str) -> bool:
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) >= (8, 3)


def shown(source: Server, log: Path) -> str:
    """What mysqlbinlog prints."""
    return subprocess.run([source.mysqlbinlog, log], text=True, capture_output=True, check=True).stdout


def test_a_restore_to_before_a_transaction_takes_all_that_the_log_has_before_it(written: Written) -> None:
    for index, (_, gtid) in enumerate(written.transactions):
        assert written.taken(Target.parse(f"before:{gtid}")) == written.first(index)


def test_the_number_before_is_another_transaction_where_several_servers_wrote(written: Written) -> None:
    (before_seven,) = [i for i, (_, gtid) in enumerate(written.transactions) if gtid == Gtid(OTHER, 7)]
    (three,) = [i for i, (_, gtid) in enumerate(written.transactions) if gtid == Gtid(OTHER, 3)]
    assert before_seven < three
    assert Gtid(OTHER, 3) not in written.taken(Target.parse(f"before:{OTHER}:7"))


@pytest.mark.parametrize("named", ["", "SERVER-UUID/"])
def test_a_restore_to_a_position_takes_every_transaction_that_begins_before_it(written: Written, named: str) -> None:
    where = f"position:{named.replace('SERVER-UUID', written.server_uuid)}{written.file}"
    for position in (4, *written.positions, written.size):
        begun = sum(begins < position for begins, _ in written.transactions)
        assert written.taken(Target.parse(f"{where}:{position}")) == written.first(begun), position


def test_one_byte_behind_its_beginning_a_transaction_is_taken(written: Written) -> None:
    for index, (begins, _) in enumerate(written.transactions):
        for offset, expected in ((-1, index), (0, index), (1, index + 1)):
            taken = written.taken(Target.parse(f"position:{written.file}:{begins + offset}"))
            assert taken == written.first(expected)


def test_a_position_behind_the_end_of_the_file_is_refused_with_its_size(written: Written) -> None:
    with pytest.raises(TargetError, match=f"has {written.size} bytes"):
        written.taken(Target.parse(f"position:{written.file}:{written.size + 1}"))
