"""Splitting a log: a damaged one leaves nothing that a later step could take for a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relight.binlog.reader import open_log
from relight.binlog.scan import Mask, Transactions
from relight.errors import CorruptEvent, PlanError, TruncatedLog
from relight.gtid import GtidSet
from relight.lane.segments import lane_segment
from relight.lane.split_log import split_log
from relight.lane.stream import StreamReader, chunks
from relight.run_files import load_split
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers
from tests.support.slow_log import transactions


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
    assert (result.number, result.file, result.transactions, result.row_events) == (3, log.name, 3, 3)
    assert (result.log_bytes, result.cut_at) == (log.stat().st_size, None)
    assert {stream.database for stream in result.streams} == {"a", "b"}
    assert result.taken.count() == 3
    readers = [StreamReader(tmp_path / stream.file) for stream in result.streams]
    assert [reader.format_description for reader in readers] == [readers[0].format_description] * 2
    found = list(chunks(readers))
    assert [(len(chunk.pieces), len(chunk.rows)) for chunk in found] == [(1, 0), (1, 0), (0, 2)]
    assert [chunk.last for chunk in found] == [1, 2, 3]
    assert {rows.table.name: rows.counts.tolist() for rows in found[2].rows} == {("a", "t"): [2, 1], ("b", "t"): [1]}
    assert sum(stream.bytes for stream in result.streams) == sum(chunk.size for chunk in found)


def test_a_transaction_is_told_by_the_name_that_its_server_gave_it(log: Path, tmp_path: Path) -> None:
    result = split_log(log, 0, tmp_path, name="binlog.000099")
    with open_log(log) as opened:
        expected = [str(one.gtid) for one in transactions(opened)]
    names = lane_segment(tmp_path, result, ["a"]).names
    assert [names.of(number) for number in range(1, 4)] == expected
    assert result.file == "binlog.000099"
    assert result.sources == (expected[0].rpartition(":")[0],)


def test_a_lane_reads_the_streams_of_its_databases_only(log: Path, tmp_path: Path) -> None:
    result = split_log(log, 5, tmp_path)
    files = {stream.database: tmp_path / stream.file for stream in result.streams}
    assert lane_segment(tmp_path, result, ["b", "quiet"]).files == (files["b"],)
    assert set(lane_segment(tmp_path, result, ["a", "b"]).files) == set(files.values())
    assert lane_segment(tmp_path, result, ["quiet"]).files == ()


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
    assert list(tmp_path.iterdir()) == [short]


def test_what_a_crashed_server_had_not_finished_is_left_out_of_the_last_log_only(log: Path, tmp_path: Path) -> None:
    with open_log(log) as opened:
        *whole, unfinished = transactions(opened)
    content = bytearray(log.read_bytes()[: unfinished.position + 150])
    content[4 + 17] |= 1  # the file was not closed
    path = tmp_path / "binlog.000007"
    path.write_bytes(content)
    with pytest.raises(TruncatedLog, match=rf"binlog\.000007 at {unfinished.position}"):
        split_log(path, 0, tmp_path, may_be_cut=False)
    assert list(tmp_path.iterdir()) == [path]
    result = split_log(path, 0, tmp_path)
    assert result.cut_at == unfinished.position
    assert (result.transactions, result.taken) == (2, GtidSet.of(one.gtid for one in whole))


def test_a_flipped_byte_in_a_log_stops_its_split(log: Path, tmp_path: Path) -> None:
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "binlog.000007"
    damaged.write_bytes(content)
    with pytest.raises(CorruptEvent, match=r"binlog\.000007 at"):
        split_log(damaged, 0, tmp_path)
    assert list(tmp_path.iterdir()) == [damaged]


def test_transactions_that_are_not_wanted_leave_no_stream(log: Path, tmp_path: Path) -> None:
    def nothing(found: Transactions) -> Mask:
        return np.zeros(len(found), dtype=bool)

    result = split_log(log, 0, tmp_path, nothing)
    assert (result.streams, result.taken, result.operations) == ((), GtidSet(), ())
    assert (result.transactions, result.row_events) == (0, 0)
    assert not list(tmp_path.glob("*.stream"))


def test_a_chosen_transaction_keeps_its_number_in_the_file(log: Path, tmp_path: Path) -> None:
    def last(found: Transactions) -> Mask:
        return np.arange(len(found)) == len(found) - 1

    result = split_log(log, 0, tmp_path, last)
    (chunk,) = chunks([StreamReader(tmp_path / stream.file) for stream in result.streams])
    assert (chunk.last, result.transactions, result.taken.count()) == (3, 1, 1)
    with open_log(log) as opened:
        assert lane_segment(tmp_path, result, ["a"]).names.of(chunk.last) == str(list(transactions(opened))[2].gtid)
