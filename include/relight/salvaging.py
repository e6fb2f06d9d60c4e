"""Binary logs that lie in the data directory of a lost server: read without a server, and made fit to be shipped."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relight.backups.manifest import SegmentManifest
from relight.binlog.reader import open_log
from relight.binlog.scan import scan
from relight.binlog.transactions import LogSummary, summarize
from relight.durable import not_for_others
from relight.errors import BinlogError
from relight.gtid import GtidSet
from relight.guard.directory import contents_of
from relight.guard.logs import is_relay_log, logs_in
from relight.server.identity import server_uuid


@dataclass(frozen=True)
class FoundLogs:
    """The binary logs of one directory that may not be archived, oldest first, as far as they can be read.

    ``problem``: why those behind them cannot; empty when all can.
    """

    folder: Path
    server_uuid: str
    files: tuple[tuple[Path, LogSummary], ...]
    known: GtidSet
    """The transactions of files that were not read, since all that they may hold is archived."""
    problem: str

    @property
    def gtids(self) -> GtidSet:
        """The transactions in these files, and in those that were not read."""
        return functools.reduce(GtidSet.__or__, (summary.gtids for _, summary in self.files), self.known)

    @property
    def history(self) -> GtidSet:
        """These, and what the files say came before them."""
        before = (summary.previous_gtids for _, summary in self.files)
        return functools.reduce(GtidSet.__or__, before, self.gtids)


def find_logs(folder: Path, archived: GtidSet, scratch: Path) -> FoundLogs | None:
    """Read what lies there and may not be archived yet. None: it is no data directory that was ever used, or has no
    logs.

    The last file of a server that crashed may end inside a transaction. Of it a copy is made in ``scratch``, up to the
    last whole transaction.
    """
    uuid = _server_uuid(folder)
    if uuid is None:
        return None
    files: list[tuple[Path, LogSummary]] = []
    known, problems = GtidSet(), list[str]()
    for path, claimed in logs_in(contents_of(folder), problems):
        if is_relay_log(path):
            continue
        if claimed and claimed <= archived:
            known = known | claimed
            continue
        try:
            whole = _whole(path, scratch)
            files.append((whole, summarize(whole)))
        except BinlogError as error:
            problems.append(f"{path.name}: {error}")
            break
    return FoundLogs(folder, uuid, tuple(files), known, "; ".join(problems)) if files or known or problems else None


def known_before(uuid: str, archived: Sequence[SegmentManifest]) -> GtidSet | None:
    """What a server had executed before its first log file, as its archived ones tell; None: it has none.

    A server that was cloned or rebuilt has a history that is in no log file of its own.
    """
    before = [segment.previous_gtids for segment in archived if segment.server_uuid == uuid]
    return functools.reduce(GtidSet.__or__, before) if before else None


def _server_uuid(folder: Path) -> str | None:
    try:
        return server_uuid(folder) or None
    except (OSError, ValueError):
        return None  # whose logs these are nobody can tell; the guard has a finding about that


def _whole(path: Path, scratch: Path) -> Path:
    """The file, or what is whole of it, under the same name."""
    with open_log(path) as log:
        cut = scan(log).cut_at
        size = log.size
    if cut is None or cut >= size:
        return path
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / path.name
    with path.open("rb") as source, open(copy, "wb", opener=not_for_others) as target:
        remaining = cut
        while remaining and (block := source.read(min(remaining, 1 << 20))):
            target.write(block)
            remaining -= len(block)
    return copy
