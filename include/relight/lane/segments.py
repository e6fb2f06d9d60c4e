"""What a lane reads of one split segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relight.backups.manifest import Surroundings
from relight.binlog.inner_loops import kernels as k
from relight.binlog.scan import Transactions
from relight.run_files import NAMES, SplitResult


@dataclass(frozen=True)
class LaneSegment:
    """The streams of a lane's databases, and where the names of the transactions in them are."""

    number: int
    files: tuple[Path, ...]
    names: TransactionNames
    surroundings: Surroundings | None = None
    """What the server that wrote it computed with."""


@dataclass(frozen=True)
class TransactionNames:
    """Tells what the transactions of a segment are called: for people, so it is only read when one is needed."""

    folder: Path
    file: str
    streams: Sequence[str]

    def of(self, number: int) -> str:
        """The GTID of a transaction, counted from 1; where it has none, the log file and its position in it."""
        stream, gno, begin = np.load(self.folder / NAMES, mmap_mode="r")[number - 1].tolist()
        return name_of(self.streams[stream], gno, self.file, begin)


def name_of(stream: str, number: int, file: str, begin: int) -> str:
    """How people are told of a transaction."""
    return f"{stream}:{number}" if stream else f"{file}:{begin}"


def save_names(folder: Path, transactions: Transactions) -> int:
    """Keep what :class:`TransactionNames` needs; gives the bytes of the file."""
    columns = [transactions.stream, transactions.table[:, k.T_NUMBER], transactions.begins]
    np.save(folder / NAMES, np.stack(columns, axis=1))
    return (folder / NAMES).stat().st_size


def lane_segment(folder: Path, split: SplitResult, databases: Sequence[str]) -> LaneSegment:
    """What the lane of these databases reads of a segment that was split into ``folder``."""
    files = tuple(folder / stream.file for stream in split.streams if stream.database in databases)
    names = TransactionNames(folder, split.file, split.sources)
    return LaneSegment(split.number, files, names, split.surroundings)
