"""The directory that is asked about, under all that it is known by, and how another place stands to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from relight.guard.directory import Contents
from relight.guard.mounts import Location
from relight.guard.views import Place, View

Identity = tuple[int, int]


@dataclass(frozen=True)
class Relation:
    """How the directory stands to a place: it is that, holds it, or lies in it."""

    text: str
    """To be followed by what that place is: ``is``, ``holds x,``, ``lies in /srv,``."""


class Subject:
    """A data directory, by the identities of what is in it and above it, and by where it lies on its file system.

    :param views: the first is one's own.
    :param formerly: its name until a moment ago, which paths may still have that were written down before.
    """

    def __init__(self, contents: Contents, views: Sequence[View], formerly: Path | None = None) -> None:
        self.top = contents.top
        self._contents = contents
        self._views = views
        self._own = views[0]
        self._formerly = formerly
        self._mount = self._own.table.covering(contents.real)

    @cached_property
    def device(self) -> str | None:
        """Of the file system that it lies on, as mountinfo has it."""
        return None if self._mount is None else self._mount.device

    @cached_property
    def _inside(self) -> dict[Identity, Path]:
        return {(entry.info.st_dev, entry.info.st_ino): entry.path for entry in reversed(self._contents.entries)}

    @cached_property
    def _above(self) -> dict[Identity, Path]:
        """Directories that it lies in, as far as one mount shows them: what is made of a directory does not show what
        is mounted below that."""
        found = {}
        for path in self.real.parents:
            identity = self._own.identity(path)
            if self._mount is not None and path.is_relative_to(self._mount.point) and identity is not None:
                found[identity] = path
        return found

    @property
    def real(self) -> Path:
        """Its name without symbolic links."""
        return self._contents.real

    @cached_property
    def names(self) -> tuple[Path, ...]:
        """What it is called, and was called until a moment ago, without symbolic links."""
        return (self.real,) if self._formerly is None else (self.real, Path(os.path.realpath(self._formerly)))

    @cached_property
    def _locations(self) -> tuple[Location, ...]:
        return tuple(location for location in map(self._own.locate, self.names) if location is not None)

    @cached_property
    def _folders(self) -> dict[str, list[Path]]:
        """Directories in it by their last name, as they were called before too."""
        found: dict[str, list[Path]] = {}
        for entry in self._contents.entries:
            if entry.is_(stat.S_IFDIR):
                for name in self.names:
                    path = name / entry.path.relative_to(self.real)
                    found.setdefault(path.name, []).append(path)
        return found

    def to_identity(self, identity: Identity | None, name: str) -> Relation | None:
        """By device and inode, which are the same under every name."""
        if identity in self._inside:
            path = self._inside[identity]
            return Relation("is" if path == self.real else f"holds {path},")
        return Relation(f"lies in {name},") if identity in self._above else None

    def holds_file(self, identity: Identity | None, name: str) -> bool:
        """Whether a file is one of those in it; also one opened by way of an overlay of which it is a layer."""
        return identity in self._inside or self._shows_through(identity, name)

    def _shows_through(self, identity: Identity | None, name: str) -> bool:
        if identity is None or name not in self._contents.names_of(identity[1]):
            return False
        shown = f"{os.major(identity[0])}:{os.minor(identity[0])}"
        return any(mount.device == shown and mount.kind == "overlay" for view in self._views for mount in view.table)

    def holds_place(self, there: Location | None) -> bool:
        """Whether a place is in it, whether there is still something or not."""
        return there is not None and any(here.holds(there) for here in self._locations)

    def to_place(self, place: Place, name: str) -> Relation | None:
        """By device and inode, and by the place on the file system, whatever is mounted where."""
        return self.to_identity(place.identity, name) or self._to_location(place.location, name)

    def _to_location(self, there: Location | None, name: str) -> Relation | None:
        if there is None:
            return None
        for here in self._locations:
            if there == here:
                return Relation("is")
            if here.holds(there):
                return Relation(f"holds {name},")
            if there.holds(here):
                return Relation(f"lies in {name},")
        return None

    def to_tail(self, path: Path) -> Relation | None:
        """Of a path that leads nowhere here: whether some last part of it, whatever is mounted above that elsewhere, is
        the place on the file system, or one above it, or one in it that is there."""
        for number in range(1, len(path.parts)):
            tail = Path("/", *path.parts[number:])
            for here in self._locations:
                if here.path.is_relative_to(tail):
                    return Relation(f"may lie in {path},")
                if tail.is_relative_to(here.path) and self.real.joinpath(tail.relative_to(here.path)).exists():
                    return Relation(f"may hold {path},")
        return None

    def to_relative(self, path: Path) -> Relation | None:
        """Whether a directory in it, or one that it lies in, could be meant by a path from an unknown place."""
        wanted = path.parts
        if not wanted or ".." in wanted:
            return None
        above = [one for one in self._above.values() if one.name == path.name]
        for place in (*self._folders.get(path.name, ()), *above):
            if place.parts[-len(wanted) :] == wanted:
                inside = any(place.is_relative_to(name) for name in self.names)
                return Relation(f"may hold {path}," if inside else f"may lie in {path},")
        return None
