"""What is mounted where, seen through every mount namespace that a visible process lives in.

proc(5), "mountinfo": a mount shows a directory of a file system (its root) at a place (its mount point). So a
directory has other names wherever it, or something above it, is mounted once more; what it is on its file
system (:class:`Location`) is the same everywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from relight.guard.finding import Finding
from relight.guard.proc import PROC, command_of, namespace_of, process_ids

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
    options: str
    """Those of the file system, not those of this mount."""


@dataclass(frozen=True)
class Location:
    """A place on a file system, whatever it is called in a mount namespace."""

    device: str
    path: Path

    def holds(self, other: Location) -> bool:
        """Whether the other is the same place, or one below it."""
        return self.device == other.device and other.path.is_relative_to(self.path)


Table = tuple[Mount, ...]
Arrangement = tuple[str, Path, Location | None]


def mounts_of(process: int | str = "self") -> Table:
    """Every mount of a process's namespace. :raises OSError: they cannot be seen."""
    return tuple(_parsed(line) for line in (PROC / str(process) / "mountinfo").read_bytes().splitlines())


def _parsed(line: bytes) -> Mount:
    fields = [os.fsdecode(_OCTAL.sub(_byte, field)) for field in line.split(b" ")]
    kind, _, options = fields[fields.index("-") + 1 :][:3]
    root = Path(fields[3].removesuffix(_GONE))
    return Mount(int(fields[0]), int(fields[1]), fields[2], root, Path(fields[4]), kind, options)


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])


def locate(table: Table, path: Path) -> Location | None:
    """Where a path of that namespace leads; None where no mount covers it, as in some chroots."""
    numbers = {mount.number for mount in table}
    current = next((m for m in table if m.parent not in numbers or m.parent == m.number), None)
    while current is not None:
        # The mount points within a mount that the path passes; the first of them hides what lies below it.
        passed = [m for m in table if m.parent == current.number != m.number and path.is_relative_to(m.point)]
        if not passed:
            break
        current = min(passed, key=lambda mount: len(mount.point.parts))
    if current is None or not path.is_relative_to(current.point):
        return None
    return Location(current.device, current.root / path.relative_to(current.point))


def points_below(table: Table, directory: Path) -> frozenset[Path]:
    """Mount points strictly below a directory."""
    return frozenset(m.point for m in table if m.point != directory and m.point.is_relative_to(directory))


def other_namespaces() -> dict[str, int]:
    """A process of every mount namespace but one's own, as far as they can be seen."""
    own = namespace_of("self", "mnt")
    found: dict[str, int] = {}
    for pid in process_ids():
        name = namespace_of(pid, "mnt")
        if name is not None and name != own:
            found.setdefault(name, pid)
    return found


def mounted(directory: Path, *, to_be_renamed: bool) -> Iterator[Finding]:
    """What is mounted on, from or below a directory, in every namespace. A file system of its own that is mounted
    there and nowhere else speaks against renaming only.

    :param directory: without symbolic links.
    """
    table = mounts_of()
    location = locate(table, directory)
    yield from _at(table, directory, to_be_renamed=to_be_renamed)
    for point in sorted(points_below(table, directory)):
        yield Finding("mount", f"something is mounted on {point}")
    if location is None:
        return
    arranged = _arrangements(table)
    known = {arrangement for mount, arrangement in arranged if mount.point.is_relative_to(directory)}
    for mount, arrangement in arranged:
        if location.holds(_source(mount)) and arrangement not in known:
            yield Finding("mount", f"{directory} is also mounted at {mount.point}{_part(mount, location)}")
    known |= {arrangement for _, arrangement in arranged}
    for pid in sorted(other_namespaces().values()):
        yield from _elsewhere(pid, directory, location, known)


def _at(table: Table, directory: Path, *, to_be_renamed: bool) -> Iterator[Finding]:
    here = [mount for mount in table if mount.point == directory]
    if here and to_be_renamed:
        yield Finding(
            "mount", f"{directory} is a mount point, which cannot be set aside; use a directory below it"
        )  # fmt: skip
    elif here and here[-1].root != Path("/"):
        yield Finding("mount", f"{directory} is a mount point: of {here[-1].root} on device {here[-1].device}")


def _elsewhere(pid: int, directory: Path, location: Location, known: AbstractSet[Arrangement]) -> Iterator[Finding]:
    """Mounts of another namespace that ours does not have."""
    try:
        table = mounts_of(pid)
    except OSError:
        return  # ended meanwhile; or another account's, whose processes are looked at one by one
    where = f"in the mount namespace of process {pid} ({command_of(pid)})"
    for mount, arrangement in _arrangements(table):
        if arrangement in known:
            continue
        if location.holds(_source(mount)):
            yield Finding("mount", f"{directory} is mounted at {mount.point}{_part(mount, location)} {where}")
        elif arrangement[2] is not None and location.holds(arrangement[2]):
            below = arrangement[2].path.relative_to(location.path)
            yield Finding("mount", f"something is mounted on {directory / below} {where}")


def _arrangements(table: Table) -> list[tuple[Mount, Arrangement]]:
    """For each mount what is mounted, and on which place of which file system. It is the same in a namespace, or below
    a mount, that was made by copying a whole tree of mounts; nobody has mounted this directory in particular there."""
    numbered = {mount.number: mount for mount in table}
    return [(mount, (mount.device, mount.root, _place(mount, numbered.get(mount.parent)))) for mount in table]


def _place(mount: Mount, above: Mount | None) -> Location | None:
    """Where a mount point lies, on the file system that it is mounted into; None for the root of the tree."""
    if above is None or above is mount or not mount.point.is_relative_to(above.point):
        return None
    return Location(above.device, above.root / mount.point.relative_to(above.point))


def _source(mount: Mount) -> Location:
    return Location(mount.device, mount.root)


def _part(mount: Mount, location: Location) -> str:
    part = mount.root.relative_to(location.path)
    return "" if part == Path() else f" (its {part})"


def hides_processes(table: Table) -> bool:
    """Whether /proc was mounted so that it shows an account its own processes only."""
    proc = [mount for mount in table if mount.point == PROC and mount.kind == "proc"]
    options = proc[-1].options.split(",") if proc else []
    return any(one.startswith("hidepid=") and one not in ("hidepid=0", "hidepid=off") for one in options)
