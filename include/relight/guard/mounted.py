"""The same directory under other names: what is mounted on it, from it or below it, in every mount namespace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from relight.guard.finding import Finding
from relight.guard.mounts import Location, Mount, Table, points_below
from relight.guard.views import View

Arrangement = tuple[str, Path, Location | None]


def mounted(directory: Path, views: Sequence[View], *, to_be_renamed: bool) -> Iterator[Finding]:
    """What is mounted on, from or below a directory. A file system of its own that is mounted there and nowhere else
    speaks against renaming only.

    :param views: the first is one's own.
    :param directory: without symbolic links.
    """
    table, location = views[0].table, views[0].locate(directory)
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
    numbers = {mount.number for mount in table}
    for view in views[1:]:
        # A mount that has a number of ours is ours, seen from another root directory.
        others = [
            (mount, arrangement) for mount, arrangement in _arrangements(view.table) if mount.number not in numbers
        ]
        yield from _elsewhere(view, others, directory, location, known)


def _at(table: Table, directory: Path, *, to_be_renamed: bool) -> Iterator[Finding]:
    here = [mount for mount in table if mount.point == directory]
    if here and to_be_renamed:
        yield Finding(
            "mount", f"{directory} is a mount point, which cannot be set aside; use a directory below it"
        )  # fmt: skip
    elif here and here[-1].root != Path("/"):
        yield Finding("mount", f"{directory} is a mount point: of {here[-1].root} on device {here[-1].device}")


def _elsewhere(
    view: View, arranged: Sequence[tuple[Mount, Arrangement]], directory: Path, location: Location,
    known: AbstractSet[Arrangement],
) -> Iterator[Finding]:  # fmt: skip
    """Mounts of another namespace that ours does not have."""
    for mount, arrangement in arranged:
        if arrangement in known:
            continue
        if location.holds(_source(mount)):
            yield Finding("mount", f"{directory} is mounted at {mount.point}{_part(mount, location)}{view.where}")
        elif arrangement[2] is not None and location.holds(arrangement[2]):
            below = arrangement[2].path.relative_to(location.path)
            yield Finding("mount", f"something is mounted on {directory / below}{view.where}")


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
