"""The folder that a measurement works in, and how nothing of it stays behind."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

from relight.errors import RelightError

_PREFIX = "relight-bench-"


@contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A folder that is gone afterwards, with every process started meanwhile, also when interrupted.

    Only SIGKILL leaves the folder; the next run removes it then.
    """
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        with (folder / "lock").open("w") as lock, _interruptible():
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / "lock").open("r+") as lock:  # held: that run still goes on
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


@contextmanager
def _interruptible() -> Iterator[None]:
    """On the first signal that asks for an end, kill what was started here and unwind."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    interrupted = False

    def end(_: int, __: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # ended by itself
                child.kill()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield
    except RelightError:
        # What unwinds may miss a server that was killed just now: that is no failure of its own.
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
