"""The sample of last images: drawn fairly, by the seed, and never stale."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.binlog import format as f
from relight.lane.lane_progress import Position
from relight.verify.images import Image, LastImages
from tests.support.made_events import Made, as_rows

TABLE = Made(widths=(4, -1), key=(0,))
Change = tuple[str, int, int]
"""What happens to which key, and the new value."""

CHANGES = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "move"]), st.integers(0, 9), st.integers(0, 255)), max_size=60
)


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def row(key: int, value: int) -> tuple[bytes, bytes]:
    return number(key), bytes([value])


def take(images: LastImages, history: list[Change], at_once: int = 4) -> dict[int, int | None]:
    """Let the changes happen, several transactions to a chunk; gives what each key has at the end, None if gone."""
    state: dict[int, int] = {}
    ends: dict[int, int | None] = {}
    events = []
    for what, key, value in history:
        before = row(key, state[key]) if key in state else None
        if what == "put":
            events.append(
                TABLE.rows_event(f.UPDATE_ROWS, [(before, row(key, value))]) if before
                else TABLE.rows_event(f.WRITE_ROWS, [(row(key, value),)])
            )  # fmt: skip
            state[key] = ends[key] = value
        elif before and what == "delete":
            events.append(TABLE.rows_event(f.DELETE_ROWS, [(before,)]))
            del state[key]
            ends[key] = None
        elif before and what == "move" and (key + 1) % 10 not in state:
            other = (key + 1) % 10
            events.append(TABLE.rows_event(f.UPDATE_ROWS, [(before, row(other, value))]))
            del state[key]
            ends[key], state[other], ends[other] = None, value, value
    for first in range(0, len(events), at_once):
        portion = events[first : first + at_once]
        rows = as_rows(TABLE, portion, [1] * len(portion), first=first + 1)
        images.take(rows, TABLE.key, segment=0)
    return ends


def told(image: Image) -> tuple[int, int | None]:
    """Key and value of an image, None where the row is gone: read by its place in the event."""
    kind = image.event[4]
    body = image.event[f.HEADER_SIZE :]
    at = 8 + 2 + 1 + (2 if kind == f.UPDATE_ROWS else 1)
    for _ in range(image.index):
        at += 1 + 4 + 1 + body[at + 5]
    key = struct.unpack_from("<I", body, at + 1)[0]
    there = kind == f.WRITE_ROWS or (kind == f.UPDATE_ROWS and image.index % 2 == 1)
    return key, body[at + 6] if there else None


@given(CHANGES, st.integers(1, 9))
def test_every_touched_row_has_its_last_image(history: list[Change], at_once: int) -> None:
    images = LastImages(seed=1)
    wanted = take(images, history, at_once)
    found = {name: (rows, touched) for name, rows, touched in images.tables()}
    if not wanted:
        assert found == {}
        return
    rows, touched = found["t"]
    assert touched == len(rows)
    assert dict(map(told, rows)) == wanted
    assert len(rows) == len(wanted)


@given(CHANGES, st.integers(1, 3), st.integers(0, 2**64 - 1))
def test_a_smaller_sample_is_not_stale_either(history: list[Change], most: int, seed: int) -> None:
    images = LastImages(seed=seed, most=most)
    wanted = take(images, history)
    for _, rows, touched in images.tables():
        assert len(rows) == min(most, len(wanted)) or touched == len(rows)
        assert dict(map(told, rows)).items() <= wanted.items()


def test_the_seed_draws_the_sample_and_every_row_has_its_chance() -> None:
    history: list[Change] = [("put", key, 0) for key in range(10)]
    drawn = []
    for seed in range(300):
        images = LastImages(seed=seed, most=3)
        take(images, history)
        again = LastImages(seed=seed, most=3)
        take(again, history)
        (found,), (same,) = (
            [sorted(told(one)[0] for one in rows) for _, rows, _ in s.tables()] for s in (images, again)
        )
        assert found == same
        drawn += found
    assert len(drawn) == 900
    assert all(40 <= drawn.count(key) <= 140 for key in range(10)), "90 each, if it is fair"


def test_how_many_rows_were_touched_is_estimated_from_a_sample() -> None:
    images = LastImages(seed=1, most=500)
    take(images, [("put", key, 0) for key in range(20_000)], 500)
    ((_, rows, touched),) = images.tables()
    assert len(rows) == 500
    assert 15_000 < touched < 25_000, "within five standard deviations, which are 4.5 % each"


def test_large_rows_make_a_smaller_sample_not_a_larger_process() -> None:
    images = LastImages(seed=1, most_bytes=2000)
    take(images, [("put", key, 0) for key in range(10)] * 20)
    ((_, rows, _),) = images.tables()
    assert 0 < len(rows) <= 10
    images = LastImages(seed=1, most_bytes=100)
    take(images, [("put", key, 0) for key in range(10)])
    ((_, rows, touched),) = images.tables()
    assert touched > len(rows)
    assert sum(len(one.event) for one in rows) <= 200


def test_what_is_forgotten_is_not_told_but_what_comes_after_is() -> None:
    images = LastImages(seed=1)
    take(images, [("put", 1, 1), ("put", 2, 2)])
    images.forget("t")
    assert list(images.tables()) == []
    take(images, [("put", 2, 3)])
    ((_, rows, _),) = images.tables()
    assert [told(one) for one in rows] == [(2, 3)]


def test_rows_of_the_table_as_it_was_before_another_shape_are_not_told() -> None:
    images = LastImages(seed=1)
    take(images, [("put", 1, 1)])
    wider = Made(widths=(4, -1, 2), key=(0,))
    event = wider.rows_event(f.WRITE_ROWS, [((number(7), b"x", b"yy"),)])
    images.take(as_rows(wider, [event], [1]), wider.key, segment=3)
    ((_, rows, _),) = images.tables()
    assert [one.at for one in rows] == [Position(3, 1)]


@pytest.mark.parametrize("index", [0, 2])
def test_of_an_event_with_several_rows_the_right_one_is_told(index: int) -> None:
    images = LastImages(seed=1)
    event = TABLE.rows_event(f.WRITE_ROWS, [(row(key, 10 * key),) for key in (3, 4, 5)])
    images.take(as_rows(TABLE, [event], [3]), TABLE.key, segment=0)
    ((_, rows, _),) = images.tables()
    assert sorted(told(one) for one in rows)[index] == ((3, 30), (4, 40), (5, 50))[index]
