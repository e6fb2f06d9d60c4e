"""What a mount is made of: the directories of an overlay or another union, the source of a FUSE file system.

The kernel shows the paths as whoever mounted it wrote them, as they were in that process's namespace and working
directory at that time. So a path has several readings, and may lead nowhere here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relight.guard.mounts import Mount, plain
from relight.guard.proc import ancestors, arguments_of, process_ids

LOWER = "lower directory"
"""Nothing is written to it by way of the overlay."""
_OVERLAY = {
    "upperdir": "upper directory", "workdir": "work directory", "lowerdir": LOWER,
    "lowerdir+": LOWER, "datadir+": "data directory",
}  # fmt: skip
_TAKES_FROM = ("fuse", "ecryptfs", "shiftfs", "erofs")
"""Beginnings of the kinds whose source may be a path: bindfs, gocryptfs, ecryptfs, a file system in a file. Others have
a device there, a share, or any word."""
_BRANCHES = re.compile(r"^(?:br|dirs)[:=](.*)$")
"""How aufs and unionfs show their directories, each followed by its mode: ``br:/a=rw:/b=ro``."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_AUFS = Path("/sys/fs/aufs")
_BETWEEN = re.compile(r"[,:=]")


@dataclass(frozen=True)
class Part:
    """A directory, or a file, that a mount is made of."""

    role: str
    readings: tuple[str, ...]
    """What the path may be; the first is as it is written. Relative ones: to a directory that nobody knows any more."""


def parts_of(mount: Mount) -> tuple[Part, ...]:
    """Everything that the mount says about what it is made of."""
    if mount.kind == "overlay":
        return tuple(_overlay(mount.options))
    parts: list[Part] = []
    if mount.kind.startswith(_TAKES_FROM):
        parts += _source(mount)
    if mount.kind.startswith("fuse."):
        parts += _told_to_its_process(mount)
    if mount.kind in ("aufs", "unionfs"):
        parts += _branches(mount.options)
    return tuple(parts)


def _overlay(options: str) -> Iterator[Part]:
    for one in options.split(","):  # a comma within a path is written as a number
        name, _, value = one.partition("=")
        if name in _OVERLAY and value:
            # A list came with mount(2); each path that was added by fsconfig(2) stands for itself.
            paths = _listed(plain(value)) if name == "lowerdir" else [plain(value)]
            yield from (Part(_OVERLAY[name], _readings(path)) for path in paths)


def _listed(text: str) -> list[str]:
    """Separated by single or double colons; one with a backslash before it belongs to a path."""
    return re.findall(r"(?:\\.|[^:\\])+", text, re.DOTALL)


def _readings(text: str) -> tuple[str, ...]:
    """With its backslashes, and as the kernel reads it where they escape."""
    return tuple(dict.fromkeys([text, _ESCAPED.sub(r"\1", text)]))


def _source(mount: Mount) -> Iterator[Part]:
    if mount.source.startswith("/") and not mount.source.startswith(("//", "/dev/")):
        yield from (Part("source", (path,)) for path in mount.source.split(":") if path.startswith("/"))


def _branches(options: str) -> Iterator[Part]:
    for one in options.split(","):
        if shown := _BRANCHES.match(one):
            yield from (Part("branch", (plain(path.partition("=")[0]),)) for path in shown[1].split(":"))
        elif one.startswith("si="):
            for file in sorted((_AUFS / one.replace("=", "_")).glob("br[0-9]*")):
                yield Part("branch", (file.read_text(encoding="utf-8").strip().rpartition("=")[0],))


def _told_to_its_process(mount: Mount) -> Iterator[Part]:
    """What the process that serves a mount was told in its arguments (``-o lowerdir=/a:/b,upperdir=/c``): the options
    of a FUSE file system hold none of it. It names the mount point, so it is known by that."""
    for pid in set(process_ids()) - {os.getpid(), *ancestors()}:
        words = arguments_of(pid)[1:]
        if str(mount.point) in words:
            pieces = (piece for word in words for piece in _BETWEEN.split(word))
            paths = {piece for piece in pieces if piece.startswith("/") and piece not in ("/", str(mount.point))}
            yield from (Part(f"directory named to process {pid}", (path,)) for path in sorted(paths))
