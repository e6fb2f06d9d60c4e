"""Stream files: what was written is read back, in the order of the log, and a cut file is never taken for a whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.errors import CorruptEvent
from relight.lane.stream import Piece, Portion, StreamReader, StreamWriter, portions

FORMAT = b"format description"
GTID = "3e11fa47-71ca-11e1-9e33-c80aa9429562:night:7"

EVENTS = st.lists(st.binary(max_size=40), min_size=1, max_size=4).map(tuple)
LANES = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans(), EVENTS), max_size=12)
"""Pieces of one segment in log order: the stream that each goes to, statement, fence, events."""


def piece(transaction: int, number: int = 0, *events: bytes, fence: bool = False) -> Piece:
    return Piece(transaction, number, GTID, statement=fence, fence=fence, events=events or (b"event",))


def write(path: Path, *pieces: Piece) -> StreamWriter:
    writer = StreamWriter(path, FORMAT)
    for one in pieces:
        writer.write(one)
    writer.close()
    return writer


@given(LANES, st.integers(1, 4))
def test_streams_merged_again_are_the_log(lanes: list[tuple[int, bool, bool, tuple[bytes, ...]]], per: int) -> None:
    log = [
        Piece(n // per + 1, n % per, GTID, statement, fence, events)
        for n, (_, statement, fence, events) in enumerate(lanes)
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(stream) for stream in range(3)]
        for stream, path in enumerate(paths):
            mine = [one for one, (its, *_) in zip(log, lanes, strict=True) if its == stream]
            writer = write(path, *mine)
            assert writer.transactions == len({one.transaction for one in mine})
            assert writer.bytes == sum(len(event) for one in mine for event in one.events)
        readers = [StreamReader(path) for path in paths]
        merged = list(portions(readers))
    assert [one for portion in merged for one in portion.pieces] == log
    assert [portion.transaction for portion in merged] == sorted({one.transaction for one in log})
    assert all(reader.format_description == FORMAT for reader in readers)


def test_a_transaction_over_two_databases_is_one_portion_in_its_order(tmp_path: Path) -> None:
    write(tmp_path / "a", piece(1, 0), piece(1, 2), piece(3))
    write(tmp_path / "b", piece(1, 1), piece(2, 0, fence=True))
    done = list(portions([StreamReader(tmp_path / "b"), StreamReader(tmp_path / "a")]))
    assert [[one.number for one in portion.pieces] for portion in done] == [[0, 1, 2], [0], [0]]
    assert [portion.fence for portion in done] == [False, True, False]


def test_the_size_of_a_portion_is_that_of_its_events() -> None:
    assert Portion(1, (piece(1, 0, b"12", b"345"), piece(1, 1, b"6"))).size == 6


def test_a_file_cut_anywhere_is_never_taken_for_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    write(path, piece(1, 0, b"one", b""), piece(1, 1, b"two"), piece(2, 0, b"three", fence=True))
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptEvent, match=r"stream file .*\(.*whole") as found:
            list(StreamReader(path).pieces())
        assert "split" in found.value.hint


@pytest.mark.parametrize("content", [b"", b"RLSTRM", b"\xfebin and more", b"RLSTRM99" + bytes(40)])
def test_another_file_is_not_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(CorruptEvent, match="not a stream file"):
        StreamReader(tmp_path / "odd")


def test_events_larger_than_a_buffer_come_back_whole(tmp_path: Path) -> None:
    large = bytes(range(256)) * 20_000
    write(tmp_path / "large", piece(1, 0, large, b"", large[1:]))
    (portion,) = portions([StreamReader(tmp_path / "large")])
    assert portion.pieces[0].events == (large, b"", large[1:])
