"""Folders that last no longer than their process, though it be killed: the next one removes what it finds of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_RANDOM = "[a-z0-9_]{8}"
"""How :func:`tempfile.mkdtemp` ends a name: nothing else that begins like ours is taken for one."""
_SECONDS = 60
"""So old a folder must be before it counts as left behind: a new one is not locked at once."""


@contextlib.contextmanager
def passing_folder(above: Path, prefix: str) -> Iterator[Path]:
    """A new folder in ``above``, for this process alone, while it is needed."""
    above.mkdir(parents=True, exist_ok=True)
    remove_left_behind(above, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=above))
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # given back by the kernel when this process ends, however it ends
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_left_behind(above: Path, prefix: str) -> None:
    """Remove the folders of that prefix whose process has ended."""
    name = re.compile(re.escape(prefix) + _RANDOM)
    for folder in (one for one in above.iterdir() if name.fullmatch(one.name)):
        # Somebody else may remove it too, or it may be another account's: then it is theirs.
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(handle).st_mtime < time.time() - _SECONDS:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(handle)
