"""How long work tells how far it is.

Steps report to a :class:`Progress`; what becomes of it (bars on a terminal, lines in a task's
log, nothing) is the caller's business.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TransferSpeedColumn
from rich.progress import Progress as RichBars


class Progress(Protocol):
    """Takes reports: ``total`` and ``done`` are counted in bytes unless the label says otherwise."""

    def start(self, label: str, total: int) -> None:
        """A piece of work named ``label`` begins."""
        ...

    def advance(self, label: str, amount: int) -> None:
        """``amount`` more of it is done."""
        ...

    def say(self, text: str) -> None:
        """One line for people."""
        ...


class Silent:
    """Reports go nowhere."""

    def start(self, label: str, total: int) -> None:
        """Nothing."""

    def advance(self, label: str, amount: int) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


class Lines:
    """Plain lines, at most one per label every ``interval`` seconds: for logs and pipes."""

    def __init__(self, stream: IO[str] | None = None, interval: float = 5.0) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._interval = interval
        self._work: dict[str, list[float]] = {}

    def start(self, label: str, total: int) -> None:
        """Remember the total; the first line comes with the first report."""
        self._work[label] = [0, total, 0.0]

    def advance(self, label: str, amount: int) -> None:
        """A line, when the last one is old enough or the work is complete."""
        work = self._work.setdefault(label, [0, 0, 0.0])
        work[0] += amount
        now = time.monotonic()
        complete = bool(work[1]) and work[0] >= work[1]
        if complete or now - work[2] >= self._interval:
            work[2] = now
            share = f"{100 * work[0] / work[1]:.0f} %" if work[1] else f"{work[0]:.0f}"
            self.say(f"{label}: {share}")

    def say(self, text: str) -> None:
        """Write the line."""
        print(text, file=self._stream, flush=True)


class Bars:
    """Progress bars on a terminal."""

    def __init__(self, bars: RichBars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def start(self, label: str, total: int) -> None:
        """Add a bar, or begin it anew."""
        if label in self._tasks:
            self._bars.reset(self._tasks[label], total=total)
        else:
            self._tasks[label] = self._bars.add_task(label, total=total or None)

    def advance(self, label: str, amount: int) -> None:
        """Move the bar."""
        if label not in self._tasks:
            self.start(label, 0)
        self._bars.advance(self._tasks[label], amount)

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._bars.console.print(text, highlight=False, markup=False)


@contextmanager
def on_terminal(console: Console) -> Iterator[Progress]:
    """Bars where the console is a terminal, else plain lines."""
    if not console.is_terminal:
        yield Lines(console.file)
        return
    columns = (
        TextColumn("{task.description}", table_column=None),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with RichBars(*columns, console=console) as bars:
        yield Bars(bars)
