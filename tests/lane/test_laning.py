"""Which databases must share a lane, and how lanes are spread over tasks."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relight.backups.manifest import ForeignKey, SnapshotManifest, Table, Tie
from relight.gtid import GtidSet
from relight.lane.laning import (
    Content,
    content_of,
    default_connections,
    foreign_key_ties,
    lanes_of,
    make_groups,
    make_lanes,
    tie,
)
from relight.lane.writers import MOST_CONNECTIONS
from relight.run_files import Lane, SplitResult, StreamInfo
from tests.support.replaying import empty_snapshot

UUID = "1a2b3c4d-0000-0000-0000-000000000000"
NAMES = ("a", "b", "c", "d", "e")


def split(number: int, streams: dict[str, int], ties: tuple[Tie, ...] = ()) -> Content:
    return Content(streams, ties, GtidSet.parse(f"{UUID}:{number + 1}"), 1, sum(streams.values()))


def test_what_a_split_found_is_what_lanes_are_made_from() -> None:
    infos = tuple(StreamInfo(database=d, file=f"{d}.stream", bytes=b, file_bytes=b) for d, b in (("a", 1), ("b", 2)))
    result = SplitResult(
        number=4, file="binlog.000005", sources=(UUID,), taken=GtidSet.parse(f"{UUID}:5"), transactions=1, row_events=1,
        log_bytes=3, streams=infos, ties=(("a", "b"),), operations=(), seconds=0.0, names_bytes=0,
    )  # fmt: skip
    assert content_of(result) == split(4, {"a": 1, "b": 2}, (("a", "b"),))


def with_foreign_key(snapshot: SnapshotManifest, child: str, parent: str) -> SnapshotManifest:
    key = ForeignKey(
        name="fk", columns=("p",), parent_database=parent, parent_table="t", on_delete="CASCADE", on_update="CASCADE"
    )
    table = Table(database=child, name="t", engine="InnoDB", rows=0, foreign_keys=(key,), create="CREATE TABLE t ()")
    return snapshot.model_copy(update={"tables": (*snapshot.tables, table)})


@pytest.mark.parametrize(
    ("ties", "expected"),
    [
        ([], [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ([("a", "c")], [["a", "c"], ["b"], ["d"], ["e"]]),
        ([("a", "c"), ("c", "e")], [["a", "c", "e"], ["b"], ["d"]]),
        ([("e", "d"), ("b", "a"), ("d", "a")], [["a", "b", "d", "e"], ["c"]]),
        ([("a", "b", "c")], [["a", "b", "c"], ["d"], ["e"]]),
        ([("b",), ()], [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ([("a", "an_alias"), ("an_alias", "b")], [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ([None], [["a", "b", "c", "d", "e"]]),
    ],
)
def test_databases_are_tied_by_what_names_them_and_by_nothing_else(ties: list[Tie], expected: list[list[str]]) -> None:
    assert tie(NAMES, NAMES, ties) == expected


def test_two_that_are_tied_through_one_that_has_nothing_to_replay_share_a_lane() -> None:
    assert tie(["a", "c"], NAMES, [("a", "b"), ("b", "c")]) == [["a", "c"]]


@given(st.sets(st.sampled_from(NAMES)), st.lists(st.lists(st.sampled_from(NAMES), max_size=3).map(tuple), max_size=6))
def test_lanes_are_exactly_what_is_connected(active: set[str], ties: list[tuple[str, ...]]) -> None:
    lanes = tie(active, NAMES, ties)
    assert sorted(name for lane in lanes for name in lane) == sorted(active), "a database is lost or in two lanes"
    reach = {name: {name} for name in NAMES}
    for _ in NAMES:
        for members in ties:
            joined = set().union(*(reach[m] for m in members))
            reach.update({m: joined | reach[m] for m in joined})
    for lane in lanes:
        assert set(lane) == reach[lane[0]] & active


def test_a_foreign_key_between_databases_ties_them_though_no_statement_does() -> None:
    snapshot = with_foreign_key(with_foreign_key(empty_snapshot(("a", "b", "c")), "a", "b"), "c", "c")
    assert foreign_key_ties(snapshot) == [("a", "b")]
    lanes = make_lanes(snapshot, [split(0, {"a": 1, "b": 2, "c": 3})], shard="shard-1", most_groups=9)
    assert [(lane.name, lane.bytes) for lane in lanes.lanes] == [("a+b", 3), ("c", 3)]


def test_a_tie_of_one_log_holds_for_all_logs() -> None:
    splits = [split(0, {"a": 1, "b": 1}), split(1, {"a": 1}, (("a", "b"),)), split(2, {"b": 1, "c": 1})]
    lanes = make_lanes(empty_snapshot(), splits, shard="shard-1", most_groups=9)
    assert [lane.databases for lane in lanes.lanes] == [("a", "b"), ("c",)]
    assert [lane.number for lane in lanes.lanes] == [0, 1]
    assert (lanes.segments, lanes.transactions, lanes.log_bytes) == (3, 3, 5)
    assert str(lanes.end_gtids) == f"{UUID}:1-3"


def test_every_database_is_validated_also_one_that_the_log_never_touched_but_not_the_server_s_own() -> None:
    lanes = make_lanes(empty_snapshot(("quiet",)), [split(0, {"a": 1, "mysql": 1})], shard="s", most_groups=9)
    assert lanes.databases == ("a", "quiet")
    assert [lane.name for lane in lanes.lanes] == ["a", "mysql"], "accounts are replayed in a lane of their own"


def test_without_anything_to_replay_there_is_no_lane_and_the_snapshot_is_the_end() -> None:
    lanes = make_lanes(empty_snapshot(("a",)), [], shard="s", most_groups=9)
    assert (lanes.lanes, lanes.groups, lanes.databases, str(lanes.end_gtids)) == ((), (), ("a",), "")


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 8))
@example([0, 0, 0], 2)
def test_groups_are_bounded_balanced_and_hold_every_lane_once(sizes: list[int], most: int) -> None:
    lanes = [Lane(number=i, name=f"d{i}", databases=(f"d{i}",), bytes=size) for i, size in enumerate(sizes)]
    groups = make_groups(lanes, "shard-1", most)
    assert len(groups) == min(most, len(lanes))
    assert [group.number for group in groups] == list(range(len(groups)))
    assert sorted(n for group in groups for n in group.lanes) == list(range(len(lanes)))
    assert all(group.lanes for group in groups), "a task would have nothing to do"
    for group in groups:
        assert group.bytes == sum(lanes[n].bytes for n in group.lanes)
    if groups:  # the bound of largest-first: never more than one lane above the mean
        assert max(g.bytes for g in groups) <= sum(sizes) / len(groups) + max(sizes)


def test_a_task_is_named_for_its_largest_lane_and_says_how_many_more_there_are() -> None:
    lanes = [Lane(number=i, name=n, databases=(n,), bytes=b) for i, (n, b) in enumerate([("s", 1), ("l", 9), ("m", 5)])]
    assert [g.label for g in make_groups(lanes, "shard-1", 2)] == ["shard-1/l", "shard-1/m and 1 more"]
    assert make_groups(lanes, "shard-1", 2) == make_groups(list(reversed(lanes)), "shard-1", 2)


@pytest.mark.parametrize(
    ("sizes", "connections", "expected"),
    [
        ([100], 4, [4]),
        ([50, 50], 4, [2, 2]),
        ([900, 50, 50], 10, [9, 1, 1]),
        ([0, 0], 4, [1, 1]),
        ([1, 1000], 8, [1, 8]),
        ([10], 0, [1]),
        ([1000, 1], 256, [MOST_CONNECTIONS, 1]),
    ],
)
def test_a_lane_gets_connections_by_its_part_of_all_bytes_and_at_least_one(
    sizes: list[int], connections: int, expected: list[int]
) -> None:
    volume = {NAMES[n]: size for n, size in enumerate(sizes)}
    assert [lane.connections for lane in lanes_of([[name] for name in volume], volume, connections)] == expected


@given(st.lists(st.integers(0, 10**12), max_size=30), st.integers(0, 300))
def test_connections_stay_within_bounds_and_grow_with_the_lane(sizes: list[int], connections: int) -> None:
    volume = {f"d{n}": size for n, size in enumerate(sizes)}
    lanes = lanes_of([[name] for name in volume], volume, connections)
    assert [(lane.number, lane.name, lane.bytes) for lane in lanes] == [(n, f"d{n}", s) for n, s in enumerate(sizes)]
    assert all(1 <= lane.connections <= MOST_CONNECTIONS for lane in lanes)
    assert sum(lane.connections for lane in lanes) <= connections + len(lanes)
    by_size = [lane.connections for lane in sorted(lanes, key=lambda lane: lane.bytes)]
    assert by_size == sorted(by_size)


def test_tied_databases_are_one_lane_with_the_connections_of_both() -> None:
    (both, other) = lanes_of([["a", "b"], ["c"]], {"a": 30, "b": 30, "c": 20}, 8)
    assert (both.name, both.databases, both.bytes, both.connections) == ("a+b", ("a", "b"), 60, 6)
    assert other.connections == 2


def test_the_machine_is_given_at_least_four_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, expected in ((1, 4), (2, 4), (8, 16), (None, 4)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert default_connections() == expected
