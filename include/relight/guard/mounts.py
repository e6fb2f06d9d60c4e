"""What is mounted where.

proc(5), "mountinfo": a mount shows a directory of a file system (its root) at a place (its mount point). So a
directory has other names wherever it, or something above it, is mounted once more; what it is on its file
system (:class:`Location`) is the same everywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from relight.guard.proc import PROC

_OCTAL = re.compile(rb"\\([0-7]{3})")
_GONE = "//deleted"
"""Behind the root of a mount whose directory was removed."""


@dataclass(frozen=True)
class Mount:
    """One line of a mountinfo file."""

    number: int
    parent: int
    device: str
    root: Path
    point: Path
    kind: str
    source: str
    options: str
    """Those of the file system, not those of this mount; as the kernel writes them, see :func:`plain`."""


@dataclass(frozen=True)
class Location:
    """A place on a file system, whatever it is called in a mount namespace."""

    device: str
    path: Path

    def holds(self, other: Location) -> bool:
        """Whether the other is the same place, or one below it."""
        return self.device == other.device and other.path.is_relative_to(self.path)


class Table:
    """Every mount of a namespace, in the order in which they were made."""

    def __init__(self, listed: Iterable[Mount]) -> None:
        self._listed = tuple(listed)

    def __iter__(self) -> Iterator[Mount]:
        return iter(self._listed)

    @cached_property
    def _below(self) -> dict[int, dict[Path, Mount]]:
        """For each mount those that are mounted into it, by their mount point."""
        found: dict[int, dict[Path, Mount]] = {}
        for mount in self:
            if mount.parent != mount.number:
                found.setdefault(mount.parent, {}).setdefault(mount.point, mount)
        return found

    @cached_property
    def _first(self) -> Mount | None:
        numbers = {mount.number for mount in self}
        return next((mount for mount in self if mount.parent not in numbers or mount.parent == mount.number), None)

    def covering(self, path: Path) -> Mount | None:
        """The mount that a path without symbolic links leads into; None where none covers it, as in some chroots."""
        current, passed = self._first, [*reversed(path.parents), path]
        while current is not None:
            # The mount points within a mount that the path passes; the first of them hides what lies below it.
            below = self._below.get(current.number, {})
            point = next((place for place in passed if place in below), None)
            if point is None:
                break
            current = below[point]
        return current if current is not None and path.is_relative_to(current.point) else None


def mounts_of(process: int | str = "self") -> Table:
    """Every mount of a process's namespace. :raises OSError: they cannot be seen."""
    return parsed((PROC / str(process) / "mountinfo").read_bytes().splitlines())


def parsed(lines: Iterable[bytes]) -> Table:
    """The lines of a mountinfo file."""
    return Table(_parsed(line) for line in lines)


def _parsed(line: bytes) -> Mount:
    fields = line.split(b" ")
    kind, source, *options = fields[fields.index(b"-") + 1 :]
    root, point = plain(fields[3]).removesuffix(_GONE), plain(fields[4])
    # A driver may write a blank into its options.
    told, device = os.fsdecode(b" ".join(options)), os.fsdecode(fields[2])
    return Mount(
        int(fields[0]), int(fields[1]), device, Path(root), Path(point), plain(kind), plain(source), told
    )  # fmt: skip


def plain(text: bytes | str) -> str:
    """The kernel writes blanks, backslashes and, in options, commas as octal numbers."""
    raw = text if isinstance(text, bytes) else os.fsencode(text)
    return os.fsdecode(_OCTAL.sub(_byte, raw))


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])


def locate(table: Table, path: Path) -> Location | None:
    """Where a path of that namespace leads; None where no mount covers it, as in some chroots."""
    mount = table.covering(path)
    return None if mount is None else Location(mount.device, mount.root / path.relative_to(mount.point))


def points_below(table: Table, directory: Path) -> frozenset[Path]:
    """Mount points strictly below a directory."""
    return frozenset(m.point for m in table if m.point != directory and m.point.is_relative_to(directory))


def hides_processes(table: Table) -> bool:
    """Whether /proc was mounted so that it shows an account its own processes only."""
    proc = [mount for mount in table if mount.point == PROC and mount.kind == "proc"]
    options = proc[-1].options.split(",") if proc else []
    return any(one.startswith("hidepid=") and one not in ("hidepid=0", "hidepid=off") for one in options)
