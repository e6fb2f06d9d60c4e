"""Replays in processes that can be killed at any moment.

They are forked off a process that has everything imported, so that fifty of them take seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.forkserver import set_forkserver_preload
from typing import NoReturn

from relight.errors import RelightError
from relight.run_files import Lane
from tests.support.replaying import Replayed

Prepare = Callable[[], None]

_context = multiprocessing.get_context("forkserver")
set_forkserver_preload(["tests.support.dying"])


class Child:
    """A process that replays one lane; ``prepare`` runs in it first, and may arrange for its death."""

    def __init__(self, replayed: Replayed, lane: Lane, prepare: Prepare | None = None) -> None:
        self._outcome, theirs = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_replay, args=(theirs, replayed, lane, prepare), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end. Its sessions may go on for a while."""
        self._process.kill()
        self._process.join()

    def wait(self, seconds: float) -> bool:
        """Give it so much time to end. Tells whether it has."""
        self._process.join(seconds)
        return not self._process.is_alive()

    def end(self) -> bool:
        """Wait for its end. False when it died before it was through; what it raised is raised here."""
        try:
            error = self._outcome.recv()
        except EOFError:
            error = None
            done = False
        else:
            done = error is None
        self._process.join()
        self._outcome.close()
        if error is not None:
            raise error
        return done


def _replay(outcome: Connection, replayed: Replayed, lane: Lane, prepare: Prepare | None) -> None:
    if prepare is not None:
        prepare()
    try:
        replayed.lane(lane)
    except RelightError as error:
        outcome.send(error)
    else:
        outcome.send(None)


def die(*_: object, **__: object) -> NoReturn:
    """End this process as the kernel would when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
