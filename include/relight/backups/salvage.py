"""Binary logs that lie in the data directory of a lost server: read without a server, and made fit to be shipped."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relight.backups.manifest import SegmentManifest
from relight.binlog.reader import open_log
from relight.binlog.scan import scan
from relight.binlog.transactions import LogSummary, summarize
from relight.errors import BinlogError
from relight.gtid import GtidSet

_LOG_FILE = re.compile(r"^(?P<base>.+)\.(?P<number>\d{6,})$")
_MAGIC = b"\xfebin"
_UUID = re.compile(r"^server-uuid\s*=\s*([0-9a-f-]{36})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class FoundLogs:
    """The binary logs of one directory, oldest first, as far as they can be read.

    ``problem``: why those behind them cannot; empty when all can.
    """

    folder: Path
    server_uuid: str
    files: tuple[tuple[Path, LogSummary], ...]
    problem: str

    @property
    def gtids(self) -> GtidSet:
        """The transactions in these files."""
        return functools.reduce(GtidSet.__or__, (summary.gtids for _, summary in self.files), GtidSet())

    @property
    def history(self) -> GtidSet:
        """These, and what the files say came before them."""
        before = (summary.previous_gtids for _, summary in self.files)
        return functools.reduce(GtidSet.__or__, before, self.gtids)


def find_logs(folder: Path, scratch: Path) -> FoundLogs | None:
    """Read what lies there. None: it is no data directory that was ever used, or has no logs.

    The last file of a server that crashed may end inside a transaction. Of it a copy is made in ``scratch``, up to the
    last whole transaction.
    """
    uuid = _server_uuid(folder)
    if uuid is None:
        return None
    files: list[tuple[Path, LogSummary]] = []
    problem = ""
    for path in _log_files(folder):
        try:
            whole = _whole(path, scratch)
            files.append((whole, summarize(whole)))
        except BinlogError as error:
            problem = f"{path.name}: {error}"
            break
    return FoundLogs(folder, uuid, tuple(files), problem) if files or problem else None


def known_before(uuid: str, archived: Sequence[SegmentManifest]) -> GtidSet | None:
    """What a server had executed before its first log file, as its archived ones tell; None: it has none.

    A server that was cloned or rebuilt has a history that is in no log file of its own.
    """
    before = [segment.previous_gtids for segment in archived if segment.server_uuid == uuid]
    return functools.reduce(GtidSet.__or__, before) if before else None


def _server_uuid(folder: Path) -> str | None:
    try:
        found = _UUID.search((folder / "auto.cnf").read_text(encoding="utf-8"))
    except OSError:
        return None
    return found[1] if found else None


def _log_files(folder: Path) -> Iterator[Path]:
    """Files that are binary logs by their first bytes, in the order of their numbers; relay logs are others'."""
    found = []
    for path in folder.iterdir():
        named = _LOG_FILE.match(path.name)
        if named and path.is_file() and not path.is_symlink() and _begins_like_a_log(path) and not _is_relay_log(path):
            found.append((int(named["number"]), path))
    yield from (path for _, path in sorted(found))


def _begins_like_a_log(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def _is_relay_log(path: Path) -> bool:
    # The flag stands in the header of the format description event, which comes first (see binlog.format).
    with path.open("rb") as stream:
        header = stream.read(len(_MAGIC) + 19)
    return len(header) == len(_MAGIC) + 19 and bool(header[len(_MAGIC) + 17] & 0x40)


def _whole(path: Path, scratch: Path) -> Path:
    """The file, or what is whole of it, under the same name."""
    with open_log(path) as log:
        cut = scan(log).cut_at
        size = log.size
    if cut is None or cut >= size:
        return path
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / path.name
    with path.open("rb") as source, copy.open("wb") as target:
        remaining = cut
        while remaining and (block := source.read(min(remaining, 1 << 20))):
            target.write(block)
            remaining -= len(block)
    return copy
