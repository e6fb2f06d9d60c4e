"""What the lab has running: processes by name, each with a mark that guards against reused ids.

Everything that is started detached is registered here, whoever starts it, so that ``lab down``
ends it. A process is registered as the leader of its own session (``start_new_session=True``);
ending it ends the session and all that descends from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from relight.errors import LabError
from relight.server.environment import child_environment

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class State:
    """The registry, a small JSON file. Safe to be used by several programs at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(
        self, name: str, arguments: Sequence[str | Path], *, cwd: Path, log: Path,
        environment: Mapping[str, str] | None = None, also: Collection[str] = (),
    ) -> int:  # fmt: skip
        """Start a detached process that outlives this one, register it and give its id.

        Both output streams are appended to ``log``. Of this process's environment it sees what
        :func:`child_environment` passes on (more with ``also``), and ``environment``.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [os.fspath(a) for a in arguments], cwd=cwd, stdin=subprocess.DEVNULL, stdout=output,
                    stderr=output, start_new_session=True, env=child_environment(environment, also=also),
                )  # fmt: skip
        except OSError as error:
            raise LabError(f"{name} cannot be started", on=str(arguments[0]), why=str(error)) from None
        self.register(name, process.pid)
        return process.pid

    def register(self, name: str, pid: int) -> None:
        """Remember a process that leads its own session."""
        with self._changing() as processes:
            processes[name] = {"pid": pid, "mark": mark(pid)}

    def running(self) -> dict[str, int]:
        """Names and ids of those registered processes that are still alive."""
        with self._changing() as processes:
            return {name: int(str(e["pid"])) for name, e in processes.items() if _alive(e)}

    def end(self, name: str, *, grace: float = 10) -> bool:
        """End a process with all of its session: asked first, killed after ``grace`` seconds.

        Gives whether anything was there to end. Unknown names are fine.
        """
        with self._changing() as processes:
            entry = processes.get(name)
        if entry is None:
            return False
        leader = int(str(entry["pid"]))
        stranger = mark(leader) not in ("", entry["mark"])
        members = {} if stranger else _family(leader)
        ended = end_processes(members, grace=grace)
        with self._changing() as processes:
            if processes.get(name) == entry:
                del processes[name]
        return ended

    def end_all(self) -> list[str]:
        """End everything that is registered, the youngest first; gives the names of those that were running."""
        with self._changing() as processes:
            names = list(reversed(processes))
        return [name for name in names if self.end(name)]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, dict[str, object]]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                processes = json.loads(self._path.read_text(encoding="utf-8"))["processes"]
            except FileNotFoundError:
                processes = {}
            before = json.dumps(processes)
            yield processes
            if json.dumps(processes) != before:
                temporary = self._path.with_suffix(".new")
                temporary.write_text(json.dumps({"processes": processes}, indent=1), encoding="utf-8")
                temporary.replace(self._path)


def end_processes(pids: Mapping[int, str], *, grace: float, ask: int = signal.SIGTERM) -> bool:
    """Send ``ask`` to processes, wait, and kill those that are still there after ``grace`` seconds.

    ``pids`` maps each id to its :func:`mark`: an id that names another process by now is left alone.
    """
    ours = {pid: known for pid, known in pids.items() if known}  # without a mark: gone when it was looked at
    found = bool(_remaining(ours))
    _signal(ours, ask)
    if not _wait(lambda: not _remaining(ours), grace):
        _signal(ours, signal.SIGKILL)
        if not _wait(lambda: not _remaining(ours), 10):
            raise LabError("processes cannot be ended", on=", ".join(map(str, _remaining(ours))))
    return found


def mark(pid: int) -> str:
    """What tells a process from a later one with the same id; empty when there is none (or a zombie)."""
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)  # one of ours that ended stays a zombie until it is waited for
    stat = _stat(pid)
    # One of ours that is still a zombie has threads that are about to end: it is not gone yet.
    gone = not stat or (stat[0] == "Z" and int(stat[1]) != os.getpid())
    return "" if gone else f"{_BOOT.read_text().strip()}:{stat[19]}"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: state, parent, group, session, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _alive(entry: Mapping[str, object]) -> bool:
    return mark(int(str(entry["pid"]))) == entry["mark"] != ""


def _family(leader: int) -> dict[int, str]:
    """The members of a session and everything that descends from them, with their marks."""
    stats = {int(e.name): _stat(int(e.name)) for e in os.scandir("/proc") if e.name.isdigit()}
    family = {pid for pid, stat in stats.items() if pid == leader or (stat and int(stat[3]) == leader)}
    grown = True
    while grown:
        children = {pid for pid, stat in stats.items() if stat and int(stat[1]) in family}
        grown = not children <= family
        family |= children
    return {pid: mark(pid) for pid in family if mark(pid)}


def _remaining(pids: Mapping[int, str]) -> list[int]:
    return [pid for pid, known in pids.items() if mark(pid) == known]


def _signal(pids: Mapping[int, str], number: int) -> None:
    for pid in _remaining(pids):
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.kill(pid, number)


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
