"""What the operating system says of a file or folder, as an error of Relight's: with its path, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from relight.errors import MachineError

_FULL = "free space there, and do it again: it goes on where it was"
_REFUSED = {
    errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EFBIG: _FULL,
    errno.EROFS: "mount it writable, or name another folder in the fleet file",
    errno.EACCES: "give the account that Relight runs as access to it",
    errno.EPERM: "give the account that Relight runs as access to it",
    errno.EIO: "the disk has an error: see the kernel's log",
    errno.EMFILE: "raise the limit of open files (ulimit -n) for the account that Relight runs as",
    errno.ENFILE: "raise the machine's limit of open files",
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG,
         errno.EBUSY, errno.ESTALE, errno.EXDEV, errno.ENODEV, errno.ENXIO),
        "look what lies there; the fleet file names the folders that Relight uses",
    ),
}  # fmt: skip
"""What to do about each; other numbers come from networks and processes, or from mistakes in the code."""


@contextmanager
def machine_errors(where: str = "") -> Iterator[None]:
    """Turn what the operating system says of a file into an error of Relight's. ``where`` it may be, if it does not
    say: a disk that is full has no name.

    :raises MachineError: it refused a file or a folder.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        raise MachineError(
            "the machine refuses a file", on=" and ".join(names) or where, why=error.strerror or str(error),
            hint=_REFUSED[error.errno],
        ) from error  # fmt: skip
