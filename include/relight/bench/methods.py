"""The ways to replay binary logs that are compared. Each starts with log files on disk and ends with
the last commit, on a server of its own that was copied from the same base."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from relight.credentials import Login
from relight.errors import LabError
from relight.fleet import Limits, Server
from relight.gtid import GtidSet
from relight.lane import lane_progress
from relight.lane.applier import LaneApplier
from relight.lane.segments import lane_segment
from relight.lane.split_log import split_log
from relight.run_files import Lane, SplitResult
from relight.server import command
from relight.server.session import Session, connect
from relight.steps.lanes import default_connections, lanes_of, tie


@dataclass(frozen=True)
class Job:
    """Logs to be replayed onto a running server; ``processes`` work side by side."""

    server: Server
    login: Login
    mysql: Path
    logs: tuple[Path, ...]
    gtids: GtidSet
    folder: Path
    processes: int


def pipe(job: Job) -> None:
    """``mysqlbinlog FILES | mysql``: what people do. Nothing is logged again, which is as fast as it gets."""
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as options:
        options.write(f'[client]\nuser={job.login.user}\npassword="{job.login.password}"\n')
        options.flush()
        reader = subprocess.Popen(
            [job.server.mysqlbinlog, "--skip-gtids", *job.logs], stdout=subprocess.PIPE,
            preexec_fn=command.die_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        writer = subprocess.Popen(
            [job.mysql, f"--defaults-extra-file={options.name}", f"--socket={job.server.socket}", "--binary-mode",
             "--init-command=SET sql_log_bin = 0"],
            stdin=reader.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            preexec_fn=command.die_with_parent,  # noqa: PLW1509
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
    """Relight: split by database, lanes side by side; every table in order, or as planned."""
    folder = job.folder
    with ThreadPoolExecutor(job.processes) as pool:
        splits = list(pool.map(_split, job.logs, range(len(job.logs)), [folder] * len(job.logs)))
    volume: Counter[str] = Counter()
    for split in splits:
        volume.update({stream.database: stream.bytes for stream in split.streams})
    sets = tie(volume, volume, [t for split in splits for t in split.ties])
    lanes = lanes_of(sets, volume, default_connections())
    with connect(job.server, job.login) as session:
        session.run("SET SESSION sql_log_bin = 0")
        lane_progress.create_table(session)
        lane_progress.enter(session, lanes)

    def replay(lane: Lane) -> None:
        with LaneApplier(job.server, job.login, lane, Limits(), use_net=use_net) as lane_applier:
            segments = [lane_segment(folder / str(split.number), split, lane.databases) for split in splits]
            lane_applier.replay(segments, lambda _: None)

    with ThreadPoolExecutor(max(len(lanes), 1)) as pool:
        list(pool.map(replay, lanes))


def _split(log: Path, number: int, folder: Path) -> SplitResult:
    place = folder / str(number)
    place.mkdir(parents=True)
    return split_log(log, number, place)


METHODS: Mapping[str, Callable[[Job], None]] = {
    "pipe": pipe,
    "applier_4": partial(applier, workers=4),
    "applier_8": partial(applier, workers=8),
    "ordered": partial(relight, use_net=False),
    "planned": partial(relight, use_net=True),
}


def timed(job: Job, name: str) -> float:
    """Seconds that a method takes."""
    started = time.monotonic()
    METHODS[name](job)
    return time.monotonic() - started
