"""Mounts that are made of the directory: it is, holds or lies in a layer of an overlay, the source of a FUSE mount.

A container without a volume runs on such a mount: the files that it has open belong to the overlay, with another device
and another name, and InnoDB's locks on them are not seen on the files below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from relight.guard.finding import Finding
from relight.guard.layers import LOWER, Part, parts_of
from relight.guard.mounts import Mount
from relight.guard.subject import Relation, Subject
from relight.guard.views import View, distinct


def made_of(subject: Subject, views: Sequence[View]) -> Iterator[Finding]:
    """Every mount of every view that is made of the directory, or may be: unknown counts as alive."""
    views = distinct(views)
    for shown in _by_device(views).values():
        view, mount = shown[0]
        # What the directory itself lies on is not made of it.
        if mount.device == subject.device:
            continue
        parts = parts_of(mount)
        if mount.kind == "overlay" and not parts:
            yield Finding("mount", f"what the overlay at {mount.point}{view.where} is made of cannot be seen")
        paths = _Paths(subject, [view for view, _ in shown], views[0], _bases(shown, parts))
        for part in parts:
            if paths.shows_the_whole_machine(part):
                continue  # it says nothing of one directory; who uses that by way of it has files open
            if relation := paths.relation(part):
                what = f"the {part.role} of a mount ({mount.kind}) at {mount.point}{view.where}"
                yield Finding("mount", f"{subject.top} {relation.text} {what}")


def _by_device(views: Sequence[View]) -> dict[str, list[tuple[View, Mount]]]:
    """The mounts that may be made of directories, each file system once, with whoever has it mounted."""
    found: dict[str, list[tuple[View, Mount]]] = {}
    for view in views:
        for mount in view.table:
            if mount.device.startswith("0:"):  # it has no device of its own
                found.setdefault(mount.device, []).append((view, mount))
    return found


def _bases(shown: Sequence[tuple[View, Mount]], parts: Sequence[Part]) -> list[Path]:
    """Directories that the relative paths of a mount may start from: container engines work in one that holds both the
    mount point and the other directories."""
    named = [Path(one) for part in parts for one in part.readings]
    if all(path.is_absolute() for path in named):
        return []
    known = [*(mount.point for _, mount in shown), *(path for path in named if path.is_absolute())]
    return list(dict.fromkeys(folder for path in known for folder in path.parents))


class _Paths:
    """Finds what the paths of one mount lead to, in the views of all that have it mounted and in one's own."""

    def __init__(self, subject: Subject, having: Sequence[View], own: View, bases: Sequence[Path]) -> None:
        self._subject = subject
        self._views = list(dict.fromkeys([own, *having]))
        self._bases = bases

    def shows_the_whole_machine(self, part: Part) -> bool:
        """Whether it is the root of this machine, laid below something else as tools do that try things out: nobody
        writes to it there."""
        root = Path("/")
        own = self._views[0]
        return part.role == LOWER and any(
            Path(text).is_absolute() and (place := own.place(Path(text))) is not None
            and place.identity == own.identity(root)
            for text in part.readings
        )  # fmt: skip

    def relation(self, part: Part) -> Relation | None:
        """How the directory stands to a part, in any reading and view."""
        for text in part.readings:
            path = Path(text)
            found = self._absolute(path) if path.is_absolute() else self._relative(path)
            if found is not None:
                return found
        return None

    def _absolute(self, path: Path) -> Relation | None:
        places = {place for view in self._views if (place := view.place(path)) is not None}
        for place in places:
            found = self._subject.to_place(place, str(path))
            if found is not None:
                return found
        return None if places else self._subject.to_tail(path)

    def _relative(self, path: Path) -> Relation | None:
        for base in self._bases:
            for place in {view.place(base / path) for view in self._views}:
                found = place and self._subject.to_identity(place.identity, str(base / path))
                if found:
                    return found
        return self._subject.to_relative(path)
