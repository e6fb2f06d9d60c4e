"""Replays in a process of its own, and tells how much memory that took.

The process is a new one because the kernel counts from a process's beginning: what the command line and
the writing of the log took shall not be in it. ``python -m relight.bench.peak`` is not for people.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
import threading
import time
from pathlib import Path

import psutil

from relight.backups.manifest import Value
from relight.bench.relighting import Job, replay
from relight.server import command
from relight.server.environment import PYTHON

_INTERVAL = 0.1


class Watched(Value):
    """Seconds of a replay; the peak of its largest process, which the kernel kept; and the peak of all of
    its processes together, looked at as it starts and ten times a second, with what they share counted once."""

    seconds: float
    largest_process_bytes: int
    together_bytes: int


def replay_watched(job: Job) -> Watched:
    """Relight as planned, in a process of its own."""
    told = command.run([sys.executable, "-m", "relight.bench.peak"], stdin=pickle.dumps(job), also=PYTHON)
    return Watched.model_validate_json(told)


def _replay(job: Job) -> Watched:
    stop = threading.Event()
    together = [0]
    watcher = threading.Thread(target=_watch, args=(stop, together), daemon=True)
    watcher.start()
    started = time.monotonic()
    replay(job, use_net=True)
    seconds = time.monotonic() - started
    stop.set()
    watcher.join()
    return Watched(seconds=round(seconds, 3), largest_process_bytes=_largest(), together_bytes=together[0])


def _watch(stop: threading.Event, together: list[int]) -> None:
    me = psutil.Process()
    over = False
    while not over:  # a replay shorter than the interval is looked at too, as it starts
        family = [os.getpid(), *(child.pid for child in me.children(recursive=True))]
        together[0] = max(together[0], sum(map(_proportional, family)))
        over = stop.wait(_INTERVAL)


def _proportional(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0  # ended meanwhile
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def _largest() -> int:
    # This process's own ru_maxrss would begin with what the process that started it had.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


if __name__ == "__main__":
    print(_replay(pickle.load(sys.stdin.buffer)).model_dump_json())  # noqa: S301 -- from the process that started this
