"""Logs that end early, and logs with something in them that must not be guessed at."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.errors import BinlogError, TruncatedLog, UnsupportedEvent
from relight.lane.split_log import split_log
from relight.server.session import Session
from tests.lane.test_any_log import BASE, change
from tests.lane.test_any_log_xa import xa
from tests.support.older_logs import Raw, read, write
from tests.support.servers import kill
from tests.support.twins import Twins


def write_all_kinds(session: Session) -> None:
    """A few transactions of every form."""
    change(session, 3, 3)
    session.run("CREATE TABLE b.made (id INT PRIMARY KEY)")
    xa(session, "'x'", "INSERT INTO b.made VALUES (1)")
    session.run("XA COMMIT 'x'")
    xa(session, "'y'", "INSERT INTO b.made VALUES (2)", end="XA COMMIT 'y' ONE PHASE")
    session.run("CREATE TABLE b.copied SELECT * FROM b.made")
    session.run("SET SESSION binlog_transaction_compression = ON")
    change(session, 4, 2)
    session.run("SET SESSION binlog_transaction_compression = OFF, binlog_format = STATEMENT")
    session.run("INSERT INTO b.made VALUES (RAND() * 1000 + 10)")
    session.run("SET @v = 5")
    session.run("INSERT INTO b.made VALUES (@v)")


def ends_of_transactions(log: Path) -> list[int]:
    """Where the file may end with nothing missing, as seen from the outside: in front of every GTID event."""
    events, found, position = read(log), [], len(f.MAGIC)
    sizes = [f.HEADER_SIZE + len(event.body) + f.CHECKSUM_SIZE for event in events]
    for event, size in zip(events, sizes, strict=True):
        if event.type in (f.GTID, f.ANONYMOUS_GTID, f.ROTATE):
            found.append(position)
        position += size
    return found


def cut(log: Path, size: int, path: Path, *, in_use: bool) -> Path:
    """The beginning of a log, as a file that its server had open, or had closed."""
    content = bytearray(log.read_bytes()[:size])
    content[len(f.MAGIC) + 17] |= f.IN_USE * in_use
    path.write_bytes(content)
    return path


def test_cut_anywhere_what_is_whole_is_taken_and_what_is_not_is_told(twins: Twins, tmp_path: Path) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        write_all_kinds(session)
    (log,) = twins.logs
    ends = ends_of_transactions(log)
    number = 0
    for size in range(ends[0], log.stat().st_size, 7):
        for at in {size, *(end for end in ends if size <= end < size + 7)}:
            number += 1
            path = cut(log, at, tmp_path / "cut", in_use=True)
            folder = tmp_path / f"split-{number}"
            folder.mkdir()
            result = split_log(path, 0, folder)
            whole = [end for end in ends if end <= at]
            assert result.transactions == len(whole) - 1, f"cut at {at}"
            if at < ends[-1]:  # the ROTATE that is cut off at last belongs to no transaction
                assert result.cut_at == (None if at in ends else whole[-1]), f"cut at {at}"
            closed = cut(log, at, tmp_path / "closed", in_use=False)
            if at not in ends:
                with pytest.raises(TruncatedLog, match="closed at "):
                    split_log(closed, 0, folder)
                with pytest.raises(TruncatedLog, match="cut at "):
                    split_log(path, 0, folder, may_be_cut=False)
