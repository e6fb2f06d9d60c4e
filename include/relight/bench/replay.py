"""``relight bench replay``: every method on every workload, on the same base, with the same settings."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relight.backups.manifest import Value
from relight.bench.methods import Job, timed
from relight.bench.workloads import Workload, create, write
from relight.errors import LabError
from relight.fleet import ProcessControl, Server
from relight.gtid import GtidSet
from relight.lab.mysql import MySQL
from relight.lab.options import write_options
from relight.lab.ports import free_ports
from relight.lab.template import Template
from relight.server import mysqld
from relight.server.table_checksums import checksums

METHODS = ("pipe", "applier_4", "applier_8", "ordered", "planned")
_OPTIONS = {
    # The same for every method: nothing is flushed per commit, nothing is written twice.
    "innodb-flush-log-at-trx-commit": "0", "sync-binlog": "0", "innodb-doublewrite": "OFF",
    "innodb-change-buffering": "none",
    "innodb-buffer-pool-size": "2G", "innodb-redo-log-capacity": "2G", "max-binlog-size": "64M",
    "event-scheduler": "OFF", "relay-log-recovery": "OFF", "relay-log-purge": "OFF", "skip-replica-start": "ON",
    "replica-parallel-workers": "4",
}  # fmt: skip


class Measured(Value):
    """Seconds (medians) of one workload, and how often faster the plan was than the others."""

    log_bytes: int
    transactions: int
    pipe_s: float
    applier_s: float
    ordered_s: float
    planned_s: float
    ratio_pipe: float
    ratio_applier: float
    checksums_equal: bool


class Bench(Value):
    """A whole run, with the machine that it was measured on."""

    machine: str
    runs: int
    workloads: dict[str, Measured]


@dataclass(frozen=True)
class Size:
    """How large the histories are."""

    rows: int
    transactions: int
    runs: int


def run_bench(
    folder: Path,
    mysql: MySQL,
    template: Template,
    workloads: Sequence[Workload],
    size: Size,
    say: Callable[[str], None],
) -> Bench:
    """Measure; ``folder`` is used for everything and left empty.

    :raises LabError: a method failed, or ended with other rows than the source.
    """
    found = {w.name: _measure(folder / w.name, mysql, template, w, size, say) for w in workloads}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, MySQL {mysql.text}"
    return Bench(machine=machine, runs=size.runs, workloads=found)


def _measure(
    folder: Path, mysql: MySQL, template: Template, workload: Workload, size: Size, say: Callable[[str], None]
) -> Measured:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"{workload.name}: writing {size.transactions:,} transactions")
    base = _base(folder, mysql, template, workload, size)
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(size.runs):
        for name in METHODS:
            seconds[name].append(_one(folder, mysql, template, base, name))
            say(f"{workload.name}: {name} {seconds[name][-1]:.2f} s")
    shutil.rmtree(folder)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    applier = min(middle["applier_4"], middle["applier_8"])
    return Measured(
        log_bytes=base.log_bytes, transactions=size.transactions, pipe_s=round(middle["pipe"], 3),
        applier_s=round(applier, 3), ordered_s=round(middle["ordered"], 3), planned_s=round(middle["planned"], 3),
        ratio_pipe=round(middle["pipe"] / middle["planned"], 1), ratio_applier=round(applier / middle["planned"], 1),
        checksums_equal=True,
    )  # fmt: skip


@dataclass(frozen=True)
class _Base:
    """A data directory before the history, the logs of the history, and what it ends with."""

    data: Path
    logs: tuple[Path, ...]
    log_bytes: int
    gtids: GtidSet
    sums: dict[str, int]


def _base(folder: Path, mysql: MySQL, template: Template, workload: Workload, size: Size) -> _Base:
    data = folder / "base"
    with _server(folder / "source", mysql, template) as source, mysqld.start(source, template.logins.admin) as session:
        create(session, workload, size.rows)
        mysqld.stop(source, template.logins.admin)
        _copy(source.datadir, data)
        with mysqld.start(source, template.logins.admin) as again:
            again.run(mysqld.gtid_history_reset_statement(again))
            write(source, template.logins.admin, workload, size.transactions)
            again.run("FLUSH BINARY LOGS")
            names = [str(row[0]) for row in again.rows("SHOW BINARY LOGS")][:-1]
            gtids = GtidSet.parse(str(again.value("SELECT @@GLOBAL.gtid_executed")))
            sums = checksums(again)
        (folder / "logs").mkdir()
        logs = tuple(folder / "logs" / name for name in names)
        for log in logs:
            shutil.copyfile(source.datadir / log.name, log)
    return _Base(data, logs, sum(log.stat().st_size for log in logs), gtids, sums)


def _one(folder: Path, mysql: MySQL, template: Template, base: _Base, name: str) -> float:
    with _server(folder / name, mysql, template, data=base.data) as server:
        mysqld.start(server, template.logins.admin).close()
        job = Job(
            server, template.logins.admin, mysql.mysql, base.logs, base.gtids, folder / name / "streams",
            os.cpu_count() or 1,
        )  # fmt: skip
        seconds = timed(job, name)
        with mysqld.start(server, template.logins.admin) as session:
            found = {table: value for table, value in checksums(session).items() if not table.startswith("_relight.")}
    if found != base.sums:
        different = sorted(t for t in {*found, *base.sums} if found.get(t) != base.sums.get(t))
        raise LabError(f"method {name} ended with other rows than the source", on=", ".join(different))
    return seconds


@contextmanager
def _server(home: Path, mysql: MySQL, template: Template, *, data: Path | None = None) -> Iterator[Server]:
    """A server that exists for one measurement; its folder is removed afterwards."""
    server = Server(
        name=home.name, port=free_ports(1)[0], datadir=home / "data", socket=home / "s", options_file=home / "my.cnf",
        workdir=home / "work", mysqld=mysql.mysqld, mysqlbinlog=mysql.mysqlbinlog,
        control=ProcessControl(kind="process"),
    )  # fmt: skip
    server.workdir.mkdir(parents=True)
    write_options(server, mysql, server_id=1 if data is None else 2, extra=_OPTIONS)
    if data is None:
        template.copy_to(server.datadir)
    else:
        _copy(data, server.datadir)
    try:
        yield server
    finally:
        mysqld.stop(server, template.logins.admin)
        shutil.rmtree(home)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("auto.cnf", "binlog.*", "relay.*"))
