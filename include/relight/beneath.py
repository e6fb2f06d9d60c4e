"""Files below one directory, opened so that no name and no link leads out of it.

Every component is opened by itself, below the directory before it and never through a symbolic link, so that it does
not matter what a name says, nor what another process puts in its way meanwhile. (``openat2`` with RESOLVE_BENEATH does
the same in one call, on newer kernels.)
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from relight.errors import ServerError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Beneath:
    """A directory that files are made in. A context manager; safe to use from several threads.

    Paths are relative, with ``/``. Everything that goes wrong is a ServerError that names the directory and the path.
    """

    def __init__(self, descriptor: int, shown: Path) -> None:
        self._descriptor = descriptor
        self._shown = shown

    @classmethod
    def new(cls, above: Path, *names: str, mode: int) -> Self:
        """A fresh, empty directory ``above/names...``. What was there under its name is removed; if that is a link,
        the link. ``above`` itself is trusted, and may be one."""
        shown = above.joinpath(*names)
        with _said(shown, ""):
            above.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _said(above, "/".join(names)):
                for name in names[:-1]:
                    descriptor = _stepped(descriptor, name, make=True)
                _remove(names[-1], descriptor)
                os.mkdir(_checked(names[-1]), mode, dir_fd=descriptor)
                descriptor = _stepped(descriptor, names[-1], make=False)
                os.fchmod(descriptor, mode)  # whatever the process's mask says
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, shown)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def make_directory(self, path: str) -> None:
        """Make a directory, and those above it as far as they are missing."""
        with _said(self._shown, path):
            os.close(self._opened(path.split("/"), make=True))

    def make_file(self, path: str, size: int) -> None:
        """Make a file of so many zero bytes, which must not be there yet."""
        with _said(self._shown, path), self._file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            os.ftruncate(descriptor, size)

    @contextmanager
    def writing(self, path: str, offset: int) -> Iterator[BinaryIO]:
        """A file made here, to be written to from ``offset`` on, without a buffer."""
        with _said(self._shown, path), self._file(path, os.O_WRONLY) as descriptor:
            os.lseek(descriptor, offset, os.SEEK_SET)
            file = os.fdopen(descriptor, "r+b", buffering=0, closefd=False)
            yield file

    @contextmanager
    def _file(self, path: str, flags: int) -> Iterator[int]:
        *above, name = path.split("/")
        folder = self._opened(above, make=False)
        try:
            descriptor = os.open(_checked(name), flags | _FILE, 0o640, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise OSError(0, "it is not a file of its own: something else was put in its place")
            yield descriptor
        finally:
            os.close(descriptor)

    def _opened(self, names: list[str], *, make: bool) -> int:
        descriptor = os.dup(self._descriptor)
        try:
            for name in names:
                descriptor = _stepped(descriptor, name, make=make)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _stepped(descriptor: int, name: str, *, make: bool) -> int:
    """The directory of that name below the one that is open, which is closed. On failure it stays open."""
    if make:
        try:
            os.mkdir(_checked(name), 0o750, dir_fd=descriptor)
        except FileExistsError:
            pass  # whether it is a directory shows when it is opened
    below = os.open(_checked(name), _DIRECTORY, dir_fd=descriptor)
    os.close(descriptor)
    return below


def _checked(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise OSError(0, "its name leads elsewhere")
    return name


def _remove(name: str, folder: int) -> None:
    """Whatever has that name, without following it."""
    try:
        found = os.stat(_checked(name), dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


@contextmanager
def _said(folder: Path, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ServerError(
            "a file cannot be written where it belongs", on=str(folder / path) if not path.startswith("/") else path,
            why=why, hint="look what is there: a full or read-only disk, or something that was put there meanwhile",
        ) from None  # fmt: skip
