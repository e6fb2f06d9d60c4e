"""One binary log file into stream files, and what was found in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from relight.binlog.reader import LogFile, open_log
from relight.binlog.scan import Mask, Transactions, scan
from relight.errors import TruncatedLog
from relight.lane.segments import name_of, save_names
from relight.lane.splitter import Splitter, Streams
from relight.run_files import SplitResult, StreamInfo


def everything(transactions: Transactions) -> Mask:
    """Choose all transactions of a file."""
    return np.ones(len(transactions), dtype=bool)


def split_log(
    path: Path, number: int, folder: Path, choose: Callable[[Transactions], Mask] = everything, *, name: str = "",
    may_be_cut: bool = True, folds_names: bool = False,
) -> SplitResult:  # fmt: skip
    """Split one log file: stream files in ``folder``, and what was found.

    The whole file is checked before anything of it is written.

    :param choose: which transactions to take. ``name``: what people know the file as.
    :param may_be_cut: whether a file that its server did not close may end in the middle of a transaction; only
        the last one of a history may.
    :param folds_names: see :class:`~relight.lane.splitter.Splitter`.
    :raises BinlogError: it cannot be read, or holds what cannot be carried; says where.
    """
    with open_log(path) as log:
        log.path = path.with_name(name or path.name)
        scanned = scan(log)
        if scanned.cut_at is not None and not may_be_cut:
            raise log.error(TruncatedLog, scanned.cut_at, None, "the file ends inside a transaction")
        return _split(
            log,
            number,
            folder,
            scanned.transactions,
            choose(scanned.transactions),
            scanned.cut_at,
            folds_names=folds_names,
        )


def _split(
    log: LogFile, number: int, folder: Path, transactions: Transactions, chosen: Mask, cut_at: int | None,
    *, folds_names: bool,
) -> SplitResult:  # fmt: skip
    streams = Streams(folder, log.format.plain)

    def name(which: int) -> str:
        stream = transactions.streams[transactions.stream[which - 1]]
        gno, begin = transactions.gno[which - 1], transactions.begins[which - 1]
        return name_of(stream, int(gno), log.path.name, int(begin))

    splitter = Splitter(log, streams, name, folds_names=folds_names)
    splitter.split(transactions, chosen)
    streams.close()
    names_bytes = save_names(folder, transactions)
    return SplitResult(
        number=number, file=log.path.name, sources=transactions.streams, taken=transactions.gtids(chosen),
        transactions=int(chosen.sum()), row_events=splitter.row_events, log_bytes=log.size,
        streams=tuple(
            StreamInfo(database=database, file=one.path.name, bytes=one.bytes, file_bytes=one.written)
            for database, one in streams.writers.items()
        ),
        ties=tuple(sorted(splitter.books.ties, key=str)), operations=splitter.journal.operations(),
        silent_cascades=tuple(sorted(splitter.books.silent_cascades)), cut_at=cut_at, seconds=0,
        numbered=tuple(sorted(splitter.books.numbered)), names_bytes=names_bytes,
    )  # fmt: skip
