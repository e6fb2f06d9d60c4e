"""The machine's mounts as its processes see them: one view for each mount namespace and root directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from relight.guard import mounts
from relight.guard.mounts import Location, Table
from relight.guard.proc import PROC, command_of, namespace_of, process_ids

_MOST_LINKS = 40
"""As many symbolic links as the kernel follows in one path."""


@dataclass(frozen=True)
class Place:
    """Where a path leads in a view."""

    identity: tuple[int, int] | None
    """Device and inode."""
    location: Location | None


class View:
    """What is mounted where, as one process sees it."""

    def __init__(self, pid: int | None, table: Table) -> None:
        """:param pid: None: this process."""
        self.pid = pid
        self.table = table
        self._root = "" if pid is None else str(PROC / str(pid) / "root")
        self._places: dict[str, Place | None] = {}

    @cached_property
    def where(self) -> str:
        """For a person; empty for this process's own."""
        return "" if self.pid is None else f" in the mount namespace of process {self.pid} ({command_of(self.pid)})"

    @cached_property
    def arrangement(self) -> frozenset[object]:
        """The same for two views in which every path leads to the same place: one is a copy of the other."""
        return frozenset([(m.device, m.root, m.point) for m in self.table] + [self.identity(Path("/"))])

    def place(self, path: Path) -> Place | None:
        """Where a path leads, symbolic links followed as in this view; None where there is nothing."""
        text = str(path)
        if text not in self._places:
            found = self._resolved(path)
            real = None if found is None else Path(found)
            self._places[text] = None if real is None else Place(self.identity(real), self.locate(real))
        return self._places[text]

    def _resolved(self, path: Path) -> str | None:
        waiting, found, links = list(reversed(path.parts[1:])), "", 0
        while waiting:
            part = waiting.pop()
            found = found.rpartition("/")[0] if part == ".." else f"{found}/{part}"
            try:
                goal = os.readlink(f"{self._root}{found or '/'}")  # noqa: PTH115 -- called for every part of every path
            except OSError as error:
                if error.errno == errno.EINVAL:
                    continue  # it is no link
                return None
            links += 1
            if links > _MOST_LINKS:
                return None
            found = "" if goal.startswith("/") else found.rpartition("/")[0]
            waiting += reversed([one for one in goal.split("/") if one not in ("", ".")])
        return found or "/"

    def identity(self, path: Path) -> tuple[int, int] | None:
        """Device and inode of a path without symbolic links."""
        try:
            info = os.lstat(f"{self._root}{path}")  # that of another root directory ends with a slash, and is followed
        except OSError:
            return None
        return info.st_dev, info.st_ino

    def locate(self, path: Path) -> Location | None:
        """See :func:`relight.guard.mounts.locate`."""
        return mounts.locate(self.table, path)


def distinct(views: Sequence[View]) -> list[View]:
    """One of each that are alike; the first stays the first."""
    found: dict[frozenset[object], View] = {}
    for view in views:
        found.setdefault(view.arrangement, view)
    return list(found.values())


def all_views() -> list[View]:
    """This process's own, then those of others, as far as they can be seen."""
    return [View(None, mounts.mounts_of()), *_others()]


def _others() -> Iterator[View]:
    """One process of each mount namespace but one's own; and of each root directory in it, since what is mounted
    outside that is not shown."""
    seen = {_world("self")}
    for pid in sorted(process_ids()):
        world = _world(pid)
        if None not in world and world not in seen:
            seen.add(world)
            try:
                yield View(pid, mounts.mounts_of(pid))
            except OSError:
                continue  # ended meanwhile; or another account's, whose processes are looked at one by one


def _world(pid: int | str) -> tuple[str | None, str | None]:
    try:
        root = str((PROC / str(pid) / "root").readlink())
    except OSError:
        root = None
    return namespace_of(pid, "mnt"), root
