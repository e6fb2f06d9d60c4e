"""Relight as a method to be measured: from log files on disk to the last commit, with no store in between.

``python -m relight.bench.relighting`` is not for people: it takes a pickled job.
"""

from __future__ import annotations

import pickle
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from relight.credentials import Login
from relight.fleet import Limits, Server
from relight.gtid import GtidSet
from relight.lane import lane_progress
from relight.lane.applier import LaneApplier
from relight.lane.laning import default_connections, lanes_of, tie
from relight.lane.segments import lane_segment
from relight.lane.split_log import split_log
from relight.run_files import Lane, SplitResult
from relight.server.session import connect


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


def replay(job: Job, *, use_net: bool) -> None:
    """Split by database, lanes side by side; every table in order, or as planned."""
    folder = job.folder
    with ThreadPoolExecutor(job.processes) as pool:
        splits = list(pool.map(_split, job.logs, range(len(job.logs)), [folder] * len(job.logs)))
    volume: Counter[str] = Counter()
    for split in splits:
        volume.update({stream.database: stream.bytes for stream in split.streams})
    sets = tie(volume, volume, [t for split in splits for t in split.ties])
    lanes = lanes_of(sets, volume, default_connections(), {name for split in splits for name in split.numbered})
    with connect(job.server, job.login) as session:
        session.run("SET SESSION sql_log_bin = 0")
        lane_progress.create_table(session)
        lane_progress.enter(session, lanes)

    def replay_lane(lane: Lane) -> None:
        with LaneApplier(job.server, job.login, lane, Limits(), use_net=use_net) as lane_applier:
            segments = [lane_segment(folder / str(split.number), split, lane.databases) for split in splits]
            lane_applier.replay(segments, lambda _: None)

    with ThreadPoolExecutor(max(len(lanes), 1)) as pool:
        list(pool.map(replay_lane, lanes))


def _split(log: Path, number: int, folder: Path) -> SplitResult:
    place = folder / str(number)
    place.mkdir(parents=True)
    return split_log(log, number, place)


if __name__ == "__main__":
    _job, _use_net = pickle.load(sys.stdin.buffer)  # noqa: S301 -- from the process that started this
    replay(_job, use_net=_use_net)
