"""Splitting a log: a damaged one leaves nothing that a later step could take for a split."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.binlog.reader import open_log
from relight.errors import CorruptEvent, PlanError, TruncatedLog
from relight.gtid import GtidSet
from relight.lane.stream import StreamReader, portions
from relight.run_files import load_split
from relight.steps.split import split_log
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers


@pytest.fixture(scope="module")
def log(module_servers: Servers) -> Path:
    """A log of two databases: a definition each, then one transaction over both."""
    with module_servers.connect(module_servers.make("writer")) as session:
        session.run("CREATE DATABASE a")
        session.run("CREATE DATABASE b")
        start_log(session)
        for name in ("a", "b"):
            session.run(f"CREATE TABLE {name}.t (id INT PRIMARY KEY)")
        session.run("BEGIN")
        for statement in ("INSERT INTO a.t VALUES (1), (2)", "INSERT INTO b.t VALUES (1)", "DELETE FROM a.t LIMIT 1"):
            session.run(statement)
        session.run("COMMIT")
        return logs_of(session)[0]


def test_a_log_is_split_into_one_stream_for_each_database(log: Path, tmp_path: Path) -> None:
    result = split_log(log, 3, tmp_path)
    assert (result.number, result.transactions, result.row_events) == (3, 3, 3)
    assert {stream.database: stream.transactions for stream in result.streams} == {"a": 2, "b": 2}
    assert result.taken.count() == 3
    readers = [StreamReader(tmp_path / stream.file) for stream in result.streams]
    assert [len(portion.pieces) for portion in portions(readers)] == [1, 1, 3]


def test_a_truncated_log_is_not_split(log: Path, tmp_path: Path) -> None:
    with open_log(log) as opened:
        last = list(opened.events())[-2]
    short = tmp_path / "binlog.000007"
    for size in (last.position, last.position + 5):  # without its end; inside an event
        short.write_bytes(log.read_bytes()[:size])
        with pytest.raises(TruncatedLog, match=r"binlog\.000007 at"):
            split_log(short, 0, tmp_path)
    with pytest.raises(PlanError, match="was not split"):
        load_split(tmp_path, 0)


def test_a_flipped_byte_in_a_log_stops_its_split(log: Path, tmp_path: Path) -> None:
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "binlog.000007"
    damaged.write_bytes(content)
    with pytest.raises(CorruptEvent, match=r"binlog\.000007 at"):
        split_log(damaged, 0, tmp_path)


def test_transactions_that_are_not_wanted_leave_no_stream(log: Path, tmp_path: Path) -> None:
    result = split_log(log, 0, tmp_path, wanted=lambda opened: iter(()))
    assert (result.streams, result.taken, result.operations) == ((), GtidSet(), ())
    assert list(tmp_path.iterdir()) == []
