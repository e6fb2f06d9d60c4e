"""Files that survive a power failure, or are not there: never empty, never short, never half a name.

A kernel may write a new name to disk before the bytes behind it. So whoever finds a file under its name can believe
it only if its content was written out before it got that name, and its folder after it.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_FEW: Final = 32
"""So many files are written out one by one."""


@contextmanager
def written_beside(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A file to write to, which appears as ``path`` when the block ends, for good; not at all if it fails.

    The folder must be there. What was there under the name is replaced, be it a link: nothing is written through it.

    :param mode: of the file; None: what the process makes files with.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666 if mode is None else mode)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    write_out(path.parent)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that appears under its name at once and for good, or not at all. Makes its folder."""
    make_folder(path.parent)
    with written_beside(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, as far as they are missing; their names survive too."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        write_out(one.parent)


def not_for_others(path: str, flags: int) -> int:
    """An opener for files that hold rows: they are made with mode 0640."""
    return os.open(path, flags, 0o640)


def write_out(folder: Path) -> None:
    """Make the names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_out_below(folder: Path) -> None:
    """Make everything below a folder survive, itself included.

    Once, at the end, is cheaper than after every write; and of many files it is cheaper to write out all that the
    file system has in memory than one after the other.

    :raises OSError: the disk has not taken it.
    """
    if sum(len(names) for _, _, names in os.walk(folder)) <= _FEW or not _sync_file_system(folder):
        for _, _, names, descriptor in os.fwalk(folder, topdown=False, follow_symlinks=False):
            for name in names:
                _write_out_file(name, descriptor)
            os.fsync(descriptor)
    write_out(folder.parent)


def _write_out_file(name: str, folder: int) -> None:
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return  # links and sockets are names, and go with their folder
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(folder: Path) -> bool:
    """syncfs(2) of the file system that the folder is on. False: the C library does not have it."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        return False
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if library.syncfs(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)
    return True
