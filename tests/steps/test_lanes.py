"""Which databases must share a lane, and how lanes are spread over tasks."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relight.backups.manifest import ForeignKey, SnapshotManifest, Table
from relight.gtid import GtidSet
from relight.lane.splitter import Tie
from relight.run_files import Lane, SplitResult, StreamInfo
from relight.steps.lanes import foreign_key_ties, make_groups, make_lanes, tie
from tests.support.replaying import empty_snapshot

UUID = "1a2b3c4d-0000-0000-0000-000000000000"
NAMES = ("a", "b", "c", "d", "e")


def split(number: int, streams: dict[str, int], ties: tuple[Tie, ...] = ()) -> SplitResult:
    infos = tuple(StreamInfo(database=d, file=f"{d}.stream", bytes=b, transactions=1) for d, b in streams.items())
    return SplitResult(
        number=number, taken=GtidSet.parse(f"{UUID}:{number + 1}"), transactions=1, row_events=1,
        log_bytes=sum(streams.values()), streams=infos, ties=ties, operations=(), seconds=0.0,
    )  # fmt: skip


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
