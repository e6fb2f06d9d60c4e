"""What lies in a data directory: its files as they are now, links, who it says it is, when it was last written."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from relight.guard import mounts
from relight.guard.finding import Finding
from relight.server.identity import server_uuid

_WRITTEN_BY_SERVERS = re.compile(
    r"^(ibdata\d+|ibtmp\d+|ib_logfile\d+|#ib_redo\d+(_tmp)?|undo_\d+|.*\.ib[du]|.*\.dblwr|.*\.\d{6,})$"
)
"""Redo logs, binary logs, relay logs, and what else of InnoDB is only ever written by a server."""


@dataclass(frozen=True)
class Entry:
    """A file, directory, link or socket."""

    path: Path
    info: os.stat_result

    def is_(self, kind: int) -> bool:
        """Of the type ``stat.S_IFREG``, ``S_IFLNK`` and so on."""
        return stat.S_IFMT(self.info.st_mode) == kind


@dataclass(frozen=True)
class Contents:
    """A directory and everything below it, but not what is mounted there."""

    top: Path
    """As it was named."""
    real: Path
    """Without symbolic links."""
    entries: tuple[Entry, ...]
    """The directory itself is the first. Empty: it is not there."""
    unreadable: tuple[str, ...]

    @property
    def identities(self) -> frozenset[tuple[int, int]]:
        """Device and inode of everything."""
        return frozenset((entry.info.st_dev, entry.info.st_ino) for entry in self.entries)

    @property
    def owner(self) -> int | None:
        """The account that owns the directory."""
        return self.entries[0].info.st_uid if self.entries else None

    @cached_property
    def _names(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for entry in self.of_kind(stat.S_IFREG):
            found.setdefault(entry.info.st_ino, []).append(entry.path.name)
        return found

    def names_of(self, inode: int) -> list[str]:
        """Names of the files with this inode, whatever their device."""
        return self._names.get(inode, [])

    def of_kind(self, kind: int) -> Iterator[Entry]:
        """The entries of one type."""
        return (entry for entry in self.entries if entry.is_(kind))


def contents_of(directory: Path) -> Contents:
    """Look at everything once. What cannot be read is named."""
    top = Path(os.path.abspath(directory))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    real = Path(os.path.realpath(top))  # unlike Path.resolve, no error where links go round in circles
    points = mounts.points_below(mounts.mounts_of(), real)
    entries: list[Entry] = []
    unreadable: list[str] = []
    waiting = [real]
    while waiting:
        path = waiting.pop()
        try:
            entries.append(Entry(path, path.lstat()))
            if entries[-1].is_(stat.S_IFDIR) and path not in points:
                waiting += sorted(path.iterdir(), reverse=True)
        except FileNotFoundError:
            continue  # the directory is not there; or a file has gone meanwhile, and whoever did that is alive
        except OSError as error:
            unreadable.append(f"{path} cannot be looked into: {error.strerror}")
    return Contents(top, real, tuple(entries), tuple(unreadable))


def concealed(contents: Contents) -> Iterator[Finding]:
    """What could not be looked at."""
    yield from (Finding("hidden", f"{text}; run as root") for text in contents.unreadable)


def links(contents: Contents) -> Iterator[Finding]:
    """The directory is a symbolic link, or holds some that lead out of it."""
    if contents.top.is_symlink():
        yield Finding("link", f"{contents.top} is a symbolic link; name the real directory, {contents.real}")
    for entry in contents.of_kind(stat.S_IFLNK):
        goal = Path(os.path.realpath(entry.path))
        if not goal.is_relative_to(contents.real):
            yield Finding("link", f"{entry.path} leads out of it, to {goal}")


def last_written(contents: Contents) -> Entry | None:
    """The file that a server has written last."""
    written = [entry for entry in contents.of_kind(stat.S_IFREG) if _WRITTEN_BY_SERVERS.match(entry.path.name)]
    return max(written, key=lambda entry: entry.info.st_mtime_ns, default=None)


def written_lately(contents: Contents, quiet: timedelta, now: datetime) -> Iterator[Finding]:
    """A log or data file was written within ``quiet``, by whomever; or has a time that is yet to come."""
    newest = last_written(contents)
    if newest is None or not quiet:
        return
    ago = (now - moment(newest)).total_seconds()
    if ago < quiet.total_seconds():
        when = f"{ago:.0f} s ago" if ago >= 0 else f"{-ago:.0f} s in the future"
        yield Finding("recent write", f"{newest.path.relative_to(contents.real)} was written {when}")


def moment(entry: Entry) -> datetime:
    """When a file was last written."""
    return datetime.fromtimestamp(entry.info.st_mtime, UTC)


def identity(contents: Contents) -> Iterator[Finding]:
    """Something is wrong with what the directory says about itself."""
    try:
        server_uuid(contents.real)
    except (ValueError, OSError) as error:
        yield Finding("identity", f"it is not known whose data {contents.top} holds: {error}")
