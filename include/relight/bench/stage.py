"""Servers that exist for one measurement, the histories they start from, and the comparison at the end."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from relight.bench.relighting import Job
from relight.bench.workloads import Workload, create, write
from relight.errors import LabError
from relight.fleet import ProcessControl, Server
from relight.gtid import GtidSet
from relight.lab.addresses import PORT, free_addresses
from relight.lab.mysql import MySQL
from relight.lab.options import write_options
from relight.lab.template import Template
from relight.server import mysqld
from relight.server.session import Session
from relight.server.table_checksums import checksums

_OPTIONS = {
    # The same for every method: nothing is flushed per commit, nothing is written twice.
    "innodb-flush-log-at-trx-commit": "0", "sync-binlog": "0", "innodb-doublewrite": "OFF",
    "innodb-change-buffering": "none", "max-binlog-size": "64M", "event-scheduler": "OFF", "skip-replica-start": "ON",
    # Only the server's own applier looks at these: relay logs stay and are taken as they lie there.
    "relay-log-recovery": "OFF", "relay-log-purge": "OFF",
}  # fmt: skip
LARGE = {"innodb-buffer-pool-size": "2G", "innodb-redo-log-capacity": "2G"}
SMALL = {"innodb-buffer-pool-size": "128M", "innodb-redo-log-capacity": "64M"}
"""For quick runs: little to start with, little to stop."""

_COPIED_REDO = "64M"
"""Of the server whose data directory all others begin with: they would copy gigabytes of empty redo log."""

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A folder to work in, the programs, and a way to say what is being done."""

    folder: Path
    mysql: MySQL
    template: Template
    say: Callable[[str], None]
    options: Mapping[str, str]

    def server(self, name: str) -> Server:
        """A server below the folder; nothing of it is there yet."""
        home = self.folder / name
        return Server(
            name=name, host=free_addresses(1)[0], port=PORT, datadir=home / "data",
            socket=home / "s", options_file=home / "my.cnf", workdir=home / "work", mysqld=self.mysql.mysqld,
            mysqlbinlog=self.mysql.mysqlbinlog, control=ProcessControl(kind="process"),
        )  # fmt: skip

    @contextmanager
    def running(self, server: Server, *, server_id: int) -> Iterator[Session]:
        """Start the server on the data directory that it has, and kill it in the end: nobody needs it then."""
        write_options(server, self.mysql, server_id=server_id, extra={**_OPTIONS, **self.options})
        process = mysqld.spawn(server, outlives=False)
        try:
            with mysqld.wait_until_up(server, self.template.logins.admin, process=process) as session:
                yield session
        finally:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class History:
    """A data directory as it was before the log, the log, and what it leads to."""

    data: Path
    logs: tuple[Path, ...]
    log_bytes: int
    transactions: int
    gtids: GtidSet
    sums: Mapping[str, int]


@contextmanager
def history(stage: Stage, workload: Workload, *, rows: int, transactions: int) -> Iterator[History]:
    """Write a history; it is removed in the end."""
    base = stage.server("base")
    source = stage.server("source")
    try:
        stage.say(f"{workload.name}: making tables of {rows:,} rows")
        _make_base(stage, base, workload, rows)
        stage.say(f"{workload.name}: writing {transactions:,} transactions")
        yield _write_history(stage, base, source, workload, transactions)
    finally:
        for server in (base, source):
            shutil.rmtree(server.datadir.parent, ignore_errors=True)


def _make_base(stage: Stage, base: Server, workload: Workload, rows: int) -> None:
    login = stage.template.logins.admin
    stage.template.copy_to(base.datadir)
    small = dataclasses.replace(stage, options={**stage.options, "innodb-redo-log-capacity": _COPIED_REDO})
    with small.running(base, server_id=1) as session:
        create(base, login, workload, rows)
        session.close()  # a server that is asked to stop waits for its sessions
        mysqld.stop(base, login)


def _write_history(stage: Stage, base: Server, source: Server, workload: Workload, transactions: int) -> History:
    _copy(base.datadir, source.datadir)
    with stage.running(source, server_id=1) as session:
        write(source, stage.template.logins.admin, workload, transactions)
        session.run("FLUSH BINARY LOGS")
        logs = tuple(source.datadir / str(row[0]) for row in session.rows("SHOW BINARY LOGS"))[:-1]
        gtids = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
        sums = checksums(session)
    for path in source.datadir.iterdir():
        if path not in logs:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return History(base.datadir, logs, sum(log.stat().st_size for log in logs), transactions, gtids, sums)


def measure(stage: Stage, past: History, name: str, method: Callable[[Job], T]) -> T:
    """What ``method`` gives, on a server of its own.

    :raises LabError: it ended with other rows than the source.
    """
    server = stage.server(name)
    home = server.datadir.parent
    login = stage.template.logins.admin
    try:
        _copy(past.data, server.datadir)
        with stage.running(server, server_id=2) as session:
            os.sync()  # nobody's time shall go into writing out the copies
            job = Job(
                server, login, stage.mysql.mysql, past.logs, past.gtids, home / "streams", len(os.sched_getaffinity(0))
            )
            found = method(job)
            compare(name, checksums(session), past.sums)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return found


def compare(name: str, found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Every table of the source, no others, and the same rows in them; Relight's own table aside.

    :raises LabError: something differs.
    """
    ours = {table: value for table, value in found.items() if not table.startswith("_relight.")}
    different = sorted(t for t in {*ours, *expected} if ours.get(t) != expected.get(t))
    if different or not expected:
        raise LabError(f"method {name} ended with other rows than the source", on=", ".join(different) or "no tables")


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("auto.cnf", "binlog.*", "relay.*"))
    target.chmod(0o750)
