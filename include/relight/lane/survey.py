"""What a log file means for the lanes of a restore, told when it is shipped: so that a plan knows its lanes and
modes, and lanes can start, before the logs are fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relight.accounting import xa_of
from relight.backups.manifest import SegmentSurvey
from relight.binlog.reader import open_log
from relight.binlog.scan import scan
from relight.errors import BinlogError
from relight.lane.splitter import Splitter
from relight.lane.stream import Piece, Rows


class _Counted:
    """Counts what would be written to the stream of a database."""

    def __init__(self) -> None:
        self.bytes = 0

    def rows(self, _chunk: int, _slot: int, rows: Rows) -> None:
        """Rows events of one table."""
        self.bytes += rows.data.size

    def piece(self, _chunk: int, piece: Piece) -> None:
        """A piece of a transaction that stands alone."""
        self.bytes += piece.size


class _Counts:
    """Stands in for the streams of a split."""

    def __init__(self) -> None:
        self.counts: dict[str, _Counted] = {}

    def of(self, database: str) -> _Counted:
        """The count of a database."""
        return self.counts.setdefault(database, _Counted())

    def settle(self) -> None:
        """Nothing is kept back."""


def survey(path: Path, folds_names: bool = False) -> SegmentSurvey:
    """Go through a log file as a split would, and write nothing. ``folds_names``: see :class:`Splitter`.

    What no replay could carry is told too, in words; the rest of the file is still worth having.
    """
    counts = _Counts()
    with open_log(path) as log:
        splitter = Splitter(log, counts, str, folds_names=folds_names)
        try:
            transactions = scan(log).transactions
            splitter.split(transactions, np.ones(len(transactions), dtype=bool))
        except BinlogError as problem:
            return SegmentSurvey(problem=str(problem))
    books = splitter.books
    return SegmentSurvey(
        bytes={database: count.bytes for database, count in counts.counts.items()},
        ties=tuple(sorted(books.ties, key=str)), partial_images=tuple(sorted(books.partial_images)),
        numbered=tuple(sorted(books.numbered)), xa=xa_of(splitter.journal.operations()),
        silent_cascades=tuple(sorted(books.silent_cascades)),
    )  # fmt: skip
