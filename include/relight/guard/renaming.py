"""Renames directories, never onto anything. For :mod:`relight.guard.clearance` alone."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from relight.durable import write_out

_NO_REPLACE = 1
_HERE = -100
_CANNOT = (errno.ENOSYS, errno.EINVAL)
"""The kernel, or the file system, does not know the flag."""


def move(old: Path, new: Path) -> None:
    """Give a directory another name on the same file system, for good: it is so after a power failure too.

    rename(2) alone would replace an empty directory that has appeared there.

    :raises OSError: there is something of that name, or it is on another file system.
    """
    code = _rename(old, new)
    if code in _CANNOT:
        if os.path.lexists(new):
            code = errno.EEXIST
        else:
            old.rename(new)
            code = 0
    if code:
        raise OSError(code, os.strerror(code), str(old), None, str(new))
    for folder in {old.parent, new.parent}:
        write_out(folder)


def _rename(old: Path, new: Path) -> int:
    """The error's number, 0 if all went well."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return errno.ENOSYS
    failed: int = library.renameat2(_HERE, os.fsencode(old), _HERE, os.fsencode(new), ctypes.c_uint(_NO_REPLACE))
    return ctypes.get_errno() if failed else 0
