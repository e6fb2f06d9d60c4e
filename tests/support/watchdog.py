"""Ends what a test run left running, also when the run itself is killed.

``python watchdog.py FOLDER PARENT`` waits until its parent, whose id is given, is gone, kills every
process that works in or has files open below FOLDER (which only the parent's tests use), and removes it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path


def main(folder: Path, parent: int) -> None:
    """Wait for the parent's end, then clean up."""
    while os.getppid() == parent:
        time.sleep(0.2)
    end_all_below(folder)
    remove(folder)


def remove(folder: Path) -> None:
    """Remove the folder, also if something that was just killed still adds to it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def end_all_below(folder: Path) -> None:
    """Kill what runs below the folder, until nothing does: a process may just be starting another."""
    for _ in range(50):
        found = running_below(folder)
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not found:
            return
        time.sleep(0.1)


def running_below(folder: Path) -> set[int]:
    """Processes, except this one and its parent, with their working directory or a file below the folder."""
    real = folder.resolve()
    found = set()
    for entry in os.scandir("/proc"):
        other = entry.name.isdigit() and int(entry.name) not in (os.getpid(), os.getppid())
        if other and any(real in path.parents or path == real for path in _paths(Path(entry.path))):
            found.add(int(entry.name))
    return found


def _paths(process: Path) -> list[Path]:
    paths = []
    try:
        links = [process / "cwd", *(process / "fd").iterdir()]
    except OSError:
        return _named(process)  # ended meanwhile, or another account's
    for link in links:
        try:
            paths.append(link.readlink())
        except PermissionError:
            return _named(process)  # another account's: not every root may look into it
        except OSError:
            continue
    return paths


def _named(process: Path) -> list[Path]:
    """The paths among a process's arguments, which everybody may see."""
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return [Path(os.fsdecode(argument)) for argument in arguments if argument.startswith(b"/")]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
