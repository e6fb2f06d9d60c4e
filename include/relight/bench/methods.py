"""The ways to replay binary logs that are compared. Each starts with log files on disk and ends with
the last commit, on a server of its own that was copied from the same base."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from relight.bench.relighting import Job
from relight.errors import LabError
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.server import command
from relight.server.environment import PYTHON, child_environment
from relight.server.session import Session, connect


def pipe(job: Job) -> None:
    """``mysqlbinlog FILES | mysql``: what people do. Nothing is logged again, which is as fast as it gets."""
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as options:
        options.write(f'[client]\nuser={job.login.user}\npassword="{job.login.password}"\n')
        options.flush()
        reader = subprocess.Popen(
            [job.server.mysqlbinlog, "--no-defaults", "--skip-gtids", *job.logs], stdout=subprocess.PIPE,
            env=child_environment(), preexec_fn=command.die_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        writer = subprocess.Popen(
            [job.mysql, f"--defaults-file={options.name}", f"--socket={job.server.socket}", "--binary-mode",
             "--init-command=SET sql_log_bin = 0"],
            stdin=reader.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=child_environment(), preexec_fn=command.die_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        if reader.stdout:
            reader.stdout.close()  # the writer's alone: if it fails, the reader shall not wait for ever
        said = writer.communicate()[1].decode("utf-8", "replace")
    if reader.wait() or writer.returncode:
        raise LabError("mysqlbinlog | mysql failed", why=said[-300:])


def applier(job: Job, workers: int) -> None:
    """The server's own parallel applier, fed the files as relay logs.

    Set up as well as is known: workers commit in any order, and the log's own marks of which transactions
    depend on each other (by row, which is the only way since MySQL 8.4) say what may run side by side.
    """
    with connect(job.server, job.login) as session:
        session.run(f"SET GLOBAL replica_parallel_workers = {workers}")
        session.run("SET GLOBAL replica_preserve_commit_order = OFF")
        session.run("CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'nowhere.invalid'")
        # The server makes empty relay logs and lists them; then the files take their places. The last
        # one, which it holds open, stays as it is.
        index = Path(str(session.value("SELECT @@relay_log_index")))
        while len(files := _relay_logs(job.server, index)) <= len(job.logs):
            session.run("FLUSH RELAY LOGS")
        for log, place in zip(job.logs, files[:-1], strict=True):
            place.unlink()
            place.hardlink_to(log)
        session.run(f"CHANGE REPLICATION SOURCE TO RELAY_LOG_FILE = '{files[0].name}', RELAY_LOG_POS = 4")
        session.run("START REPLICA SQL_THREAD")
        _wait(session, job.gtids)


def _relay_logs(server: Server, index: Path) -> list[Path]:
    return [server.datadir / line.removeprefix("./") for line in index.read_text(encoding="utf-8").split()]


def _wait(session: Session, gtids: GtidSet) -> None:
    while session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 1)", str(gtids)) != 0:
        for of in ("worker", "coordinator"):
            for (message,) in session.rows(
                f"SELECT last_error_message FROM performance_schema.replication_applier_status_by_{of}"
                " WHERE last_error_number <> 0"
            ):
                raise LabError("the server's own applier failed", why=str(message)[:300])
        if session.value("SELECT service_state FROM performance_schema.replication_applier_status") != "ON":
            raise LabError("the server's own applier stopped before the end of the log")


def relight(job: Job, *, use_net: bool) -> None:
    """Relight: split by database, lanes side by side; every table in order, or as planned. In a process of its
    own, like the programs that the other methods start: what it takes to get that going is counted."""
    command.run([sys.executable, "-m", "relight.bench.relighting"], stdin=pickle.dumps((job, use_net)), also=PYTHON)


METHODS: Mapping[str, Callable[[Job], None]] = {
    "pipe": pipe,
    "applier_4": partial(applier, workers=4),
    "applier_8": partial(applier, workers=8),
    "applier_8_unlogged": partial(applier, workers=8),
    "ordered": partial(relight, use_net=False),
    "planned": partial(relight, use_net=True),
}

OPTIONS: Mapping[str, Mapping[str, str]] = {"applier_8_unlogged": {"log-replica-updates": "OFF"}}
"""Server options of one method alone. The server's own applier logs what it applies unless it is told not to when
the server starts: few know that it may be, and it takes a third less time then. Other methods never log again."""


def timed(job: Job, name: str) -> float:
    """Seconds that a method takes."""
    started = time.monotonic()
    METHODS[name](job)
    return time.monotonic() - started
