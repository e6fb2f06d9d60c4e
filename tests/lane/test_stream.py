"""Stream files: what was written is read back, in the order of the log, and a cut file is never taken for a whole."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.binlog import format as f
from relight.errors import CorruptEvent
from relight.lane.stream import Chunk, Piece, Rows, StreamReader, StreamWriter, chunks
from tests.support.made_events import Made, as_rows

FORMAT = b"format description"
GTID = "3e11fa47-71ca-11e1-9e33-c80aa9429562:night:7"
STREAMS = 3
TABLES = tuple(Made((4, -1), (0,), name=f"t{n}", database=f"d{n % STREAMS}") for n in range(6))


def rows(table: int = 0, *values: bytes, first: int = 1, places: tuple[int, ...] | None = None) -> Rows:
    """An insert for each value, in a transaction of its own."""
    made = TABLES[table]
    events = [made.rows_event(f.WRITE_ROWS, [((bytes(4), value),)] * (n + 1)) for n, value in enumerate(values)]
    return as_rows(made, events, range(1, len(events) + 1), first=first, places=places)


def piece(
    transaction: int = 1, order: int = 0, *events: bytes, statement: bool = True, fence: bool = False, xa: bool = False
) -> Piece:
    return Piece(transaction, GTID, statement, fence, events or (b"event",), order, xa)


@dataclass(frozen=True)
class Told:
    """What a chunk's rows say, to be compared."""

    table: tuple[str, str]
    facts: tuple[tuple[int, ...], ...]
    events: tuple[bytes, ...]
    flags: tuple[bool, bool]

    @classmethod
    def by(cls, one: Rows) -> Told:
        facts = (tuple(values.tolist()) for values in (one.transactions, one.places, one.counts))
        bounds = zip(one.starts.tolist(), one.ends.tolist(), strict=True)
        return cls(
            one.table.name, tuple(facts), tuple(one.data[a:b].tobytes() for a, b in bounds), (one.full, one.cascades_logged)
        )  # fmt: skip


PIECES = st.lists(
    st.tuples(
        st.integers(0, STREAMS - 1), st.booleans(), st.booleans(), st.booleans(),
        st.lists(st.binary(max_size=40), min_size=1, max_size=4).map(tuple),
    ), min_size=1, max_size=4,
)  # fmt: skip
"""Of one transaction: the stream of each piece, statement, fence, XA, events."""
TABLE_ROWS = st.lists(
    st.tuples(
        st.sampled_from(range(len(TABLES))), st.booleans(), st.booleans(),
        st.lists(st.binary(max_size=60), min_size=1, max_size=4),
    ), min_size=1, max_size=4, unique_by=lambda one: one[0],
)  # fmt: skip
"""Of one chunk: tables, whether their images are full, whether cascades were logged, a value for each event."""


@given(st.lists(st.one_of(PIECES, TABLE_ROWS), max_size=8))
def test_streams_merged_again_are_the_log(log: list[list[tuple[object, ...]]]) -> None:
    written: list[tuple[list[Piece], list[Told]]] = []
    last = 0
    with tempfile.TemporaryDirectory() as folder:
        writers = [StreamWriter(Path(folder) / str(n), FORMAT) for n in range(STREAMS)]
        sizes = [0] * STREAMS
        for chunk, content in enumerate(log, start=1):
            pieces, told = [], []
            for order, one in enumerate(content):
                if len(one) == 5:
                    stream, statement, fence, xa, events = one
                    made = Piece(last + 1, GTID, statement, fence, events, order, xa)
                    writers[stream].piece(chunk, made)
                    pieces.append(made)
                    sizes[stream] += made.size
                else:
                    table, full, cascades_logged, values = one
                    found = rows(table, *values, first=last + 1)
                    found = Rows(found.table, found.transactions, found.places, found.counts, found.data, found.starts,
                                 found.ends, full, cascades_logged)  # fmt: skip
                    writers[table % STREAMS].rows(chunk, table, found)
                    told.append(Told.by(found))
                    sizes[table % STREAMS] += found.size
            last += 4
            written.append((pieces, told))
        for writer in writers:
            writer.close()
        assert [writer.bytes for writer in writers] == sizes
        readers = [StreamReader(writer.path) for writer in writers]
        merged = [(c.number, list(c.pieces), [Told.by(one) for one in c.rows], c.size) for c in chunks(readers)]
    assert [pieces for _, pieces, _, _ in merged] == [pieces for pieces, _ in written]
    for (_, _, found, _), (_, told) in zip(merged, written, strict=True):
        assert sorted(found, key=lambda one: one.table) == sorted(told, key=lambda one: one.table)
    assert [number for number, *_ in merged] == list(range(1, len(written) + 1))
    assert sum(size for *_, size in merged) == sum(sizes)
    assert all(reader.format_description == FORMAT for reader in readers)


def write(path: Path, *content: tuple[int, Piece | Rows]) -> StreamReader:
    """A stream file of these chunks."""
    writer = StreamWriter(path, FORMAT)
    for chunk, one in content:
        if isinstance(one, Piece):
            writer.piece(chunk, one)
        else:
            writer.rows(chunk, [table.name for table in TABLES].index(one.table.name[1]), one)
    writer.close()
    return StreamReader(path)


def test_a_transaction_over_two_databases_is_one_chunk_in_its_order(tmp_path: Path) -> None:
    one = write(tmp_path / "a", (1, piece(1, 0)), (1, piece(1, 2)), (3, piece(3)))
    other = write(tmp_path / "b", (1, piece(1, 1)), (2, piece(2, 0, fence=True)))
    done = list(chunks([other, one]))
    assert [[one.order for one in chunk.pieces] for chunk in done] == [[0, 1, 2], [0], [0]]
    assert [(chunk.number, chunk.last) for chunk in done] == [(1, 1), (2, 2), (3, 3)]
    assert [[one.fence for one in chunk.pieces] for chunk in done] == [[False] * 3, [True], [False]]


def test_rows_of_two_databases_are_one_chunk_that_ends_with_the_later_transaction(tmp_path: Path) -> None:
    one = write(tmp_path / "a", (1, rows(0, b"x", b"y", first=1)), (1, rows(3, b"z", first=7)))
    other = write(tmp_path / "b", (1, rows(1, b"w", first=5)), (2, rows(1, b"later", first=8)))
    done = list(chunks([one, other]))
    assert [(chunk.number, chunk.last, len(chunk.rows)) for chunk in done] == [(1, 7, 3), (2, 8, 1)]


def test_a_part_of_rows_is_those_events_only() -> None:
    whole = rows(0, b"a", b"bb", b"ccc", b"d", first=10)
    part = whole.part(1, 3)
    assert Told.by(part).events == Told.by(whole).events[1:3]
    assert part.transactions.tolist() == [11, 12]
    assert part.size == sum(len(event) for event in Told.by(whole).events[1:3])
    assert whole.part(2, 2).size == 0


def test_the_size_of_a_chunk_is_that_of_its_events() -> None:
    pieces = (piece(1, 0, b"12", b"345"), piece(1, 1, b"6"))
    found = rows(0, b"abc")
    assert Chunk(1, 1, (), pieces).size == 6
    assert Chunk(1, 1, (found,), ()).size == int((found.ends - found.starts).sum())


def test_a_table_whose_definition_changes_keeps_each_rows_definition(tmp_path: Path) -> None:
    before, after = Made((4,), name="t"), Made((4, -2), name="t")
    writer = StreamWriter(tmp_path / "s", FORMAT)
    for chunk, (slot, made) in enumerate([(0, before), (1, after), (0, before)]):
        writer.rows(chunk, slot, as_rows(made, [made.rows_event(f.WRITE_ROWS, [])], [0]))
    writer.close()
    read = [chunk.rows[0].table.map.widths for chunk in StreamReader(tmp_path / "s").chunks()]
    assert read == [(4,), (4, -2), (4,)]


def test_a_file_cut_anywhere_is_never_taken_for_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    write(path, (1, piece(1, 0, b"one", b"")), (1, piece(1, 1, b"two")), (2, rows(0, b"abc", b"d")),
          (3, piece(9, 0, b"three", fence=True)))  # fmt: skip
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptEvent, match=r"stream file .*\(.*whole") as found:
            list(StreamReader(path).chunks())
        assert "split" in found.value.hint


@pytest.mark.parametrize("content", [b"", b"RLSTRM", b"\xfebin and more", b"RLSTRM99" + bytes(40)])
def test_another_file_is_not_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(CorruptEvent, match="not a stream file"):
        StreamReader(tmp_path / "odd")


def test_what_is_larger_than_a_buffer_comes_back_whole(tmp_path: Path) -> None:
    large = bytes(range(256)) * 20_000
    made = Made((-3,), name="t0", database="d0")
    events = [made.rows_event(f.WRITE_ROWS, [((large,),)]), made.rows_event(f.WRITE_ROWS, [((b"",),)])]
    read = write(tmp_path / "large", (1, piece(1, 0, large, b"", large[1:])), (2, as_rows(made, events, [1, 1])))
    first, second = read.chunks()
    assert first.pieces[0].events == (large, b"", large[1:])
    assert list(Told.by(second.rows[0]).events) == events


def test_rows_stay_readable_when_the_reader_has_gone_on(tmp_path: Path) -> None:
    """Their memory is given back when the next chunk is asked for; whoever kept them reads it again."""
    read = write(tmp_path / "s", *((n, rows(0, b"x" * 50, first=n)) for n in range(1, 200)))
    kept = [one for chunk in read.chunks() for one in chunk.rows]
    assert [one.transactions.tolist() for one in kept] == [[n] for n in range(1, 200)]
    assert len({np.asarray(one.data[one.starts[0] : one.ends[0]]).tobytes() for one in kept}) == 1
