"""Plans that end just before a transaction, or at a position of a log file."""

from __future__ import annotations

import pytest

from relight.backups.catalog import Catalog, CatalogSnapshot, Unreadable
from relight.errors import GapError, ObjectCorrupt, ObjectMissing, RelightError, TargetError
from relight.planning.plan import Plan
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from tests.backups.test_chain import A, B, gtids, segment
from tests.planning.test_resolve import (
    HOLE,
    LEFT_BEHIND,
    LOGS,
    NOW,
    ONE,
    TAIL_HOLE,
    WHOLE,
    at,
    catalog,
    short,
    snapshot,
)  # fmt: skip


def target(text: str) -> Target:
    """``a7``: before that transaction. ``4:500``, ``a4:500``: a position in file number 4 (of server a)."""
    if ":" not in text:
        return Target.parse(f"before:{A if text[0] == 'a' else B}:{text[1:]}")
    file, offset = text.split(":")
    server = {"a": f"{A}/", "b": f"{B}/"}.get(file[0], "")
    return Target.parse(f"position:{server}binlog.{int(file.strip('ab')):06d}:{offset}")


def plan(what: Catalog, text: str) -> Plan:
    return make_plan(what, target(text), NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a40", ("m25", "3(a26-30) 4(a31-40)!")),
        ("a35", ("m25", "3(a26-30) 4(a31-40)!")),
        ("a31", ("m25", "3(a26-30) 4(a31-40)!")),  # the first of its file, of which nothing will be taken
        ("a26", ("m25", "3(a26-30)!")),  # the snapshot ends exactly before it
        ("a25", ("m5", "1(a6-10) 2(a11-20) 3(a21-30)!")),  # the last transaction in the newer snapshot
        ("a6", ("m5", "1(a6-10)!")),
        ("4:500", ("m25", "3(a26-30) 4(a31-40)!")),
        ("a4:500", ("m25", "3(a26-30) 4(a31-40)!")),
        ("4:4", ("m25", "3(a26-30) 4(a31-40)!")),
        ("4:1000", ("m25", "3(a26-30) 4(a31-40)!")),  # the end of the file
        ("3:500", ("m5", "1(a6-10) 2(a11-20) 3(a21-30)!")),  # nobody knows on which side of it a21-25 lie
        ("2:500", ("m5", "1(a6-10) 2(a11-20)!")),
    ],
)
def test_the_newest_snapshot_that_surely_lies_before_the_target_is_used(text: str, expected: tuple[str, str]) -> None:
    made = plan(WHOLE, text)
    assert short(made) == expected
    assert made.end_gtids is None
    assert made.reaches == made.segments[-1].segment.last_commit
    assert not made.notes


TWO_WRITERS = (segment("a", 1, "", "a1-20", 1, 20), segment("b", 1, "a1-20", "b1-5", 30, 35))


@pytest.mark.parametrize(
    ("holds", "text", "expected"),
    [
        ("a1-20 b1-2", "b3", "1(b3-5)!"),
        ("a1-20", "b1", "1(b1-5)!"),
        ("a1-20 b1-2", "b2", "1(a6-20) 1(b1-5)!"),
        ("a1-20 b1-2", "a20", "1(a6-20)!"),
        ("a1-18 a20", "a19", "1(a6-20)!"),  # a replica that applied a20 first
        ("a1-19 b1", "a20", "1(a6-20)!"),  # the same with b1, which a log has behind a20
    ],
)
def test_a_snapshot_with_anything_behind_the_transaction_is_not_used(holds: str, text: str, expected: str) -> None:
    made = plan(catalog(ONE, snapshot(32, holds), *TWO_WRITERS), text)
    assert short(made)[1] == expected
    assert (made.snapshot.id == "m5") == expected.startswith("1(a6")


def test_before_a_transaction_that_a_failover_left_behind() -> None:
    assert short(plan(catalog(ONE, *LEFT_BEHIND), "a18")) == ("m5", "1(a6-10) 2(a11-20)!")
    assert short(plan(catalog(ONE, *LEFT_BEHIND), "b1")) == ("m5", "1(a6-10) 2(a11-15) 1(b1-5)!")


def test_a_position_is_found_in_its_own_file_although_another_server_logged_the_same() -> None:
    replica = segment("b", 7, "", "a1-40 b1-5", 1, 50)
    made = plan(catalog(ONE, *LOGS, replica), "4:500")
    assert (made.segments[-1].segment, made.segments[-1].take) == (LOGS[3], gtids("a31-40"))
    assert all(planned.take <= gtids("a6-30") for planned in made.segments[:-1])
    assert [planned.last for planned in made.segments] == [False] * (len(made.segments) - 1) + [True]


def test_a_position_in_what_a_failover_left_behind() -> None:
    assert short(plan(catalog(ONE, *LEFT_BEHIND), "2:500")) == ("m5", "1(a6-10) 2(a11-20)!")


SAME_NAME = catalog(
    ONE, segment("a", 1, "", "a1-10", 1, 10), segment("a", 2, "a1-10", "a11-20", 11, 20),
    segment("b", 2, "a1-20", "b1-5", 30, 35),
)  # fmt: skip


def choices(what: Catalog, text: str) -> list[Target]:
    """What the refusal offers."""
    with pytest.raises(TargetError, match="several log files have that name") as caught:
        plan(what, text)
    return [Target.parse(word) for word in caught.value.hint.split() if word.startswith("position:")]


def test_a_file_name_that_two_servers_used_is_refused_with_both_to_choose_from() -> None:
    offered = choices(SAME_NAME, "2:500")
    assert [str(one) for one in offered] == [f"position:{A}/binlog.000002:500", f"position:{B}/binlog.000002:500"]
    plans = [make_plan(SAME_NAME, one, NOW) for one in offered]
    assert [short(made)[1] for made in plans] == ["1(a6-10) 2(a11-20)!", "1(a6-10) 2(a11-20) 2(b1-5)!"]
    with pytest.raises(TargetError) as caught:
        plan(SAME_NAME, "2:500")
    assert f"binlog.000002 of {A} was written 2026-11-22T12:11:00Z to 2026-11-22T12:20:00Z" in caught.value.why


def test_a_file_name_that_one_server_used_twice_is_told_apart_by_its_digest() -> None:
    again = segment("a", 2, "a1-20", "a21-30", 21, 30).model_copy(update={"log_sha256": "1a2b3c4d" * 8})
    what = catalog(ONE, LOGS[0], LOGS[1], again)
    for text in ("2:500", "a2:500"):
        offered = choices(what, text)
        assert [one.position.file for one in offered] == ["binlog.000002.00000000", "binlog.000002.1a2b3c4d"]
        plans = [make_plan(what, one, NOW) for one in offered]
        assert [made.segments[-1].segment for made in plans] == [LOGS[1], again]


def test_only_files_that_are_long_enough_are_offered() -> None:
    short_one = segment("b", 4, "a1-40", "b1-5", 50, 55).model_copy(update={"log_bytes": 300})
    offered = choices(catalog(ONE, *LOGS, short_one), "4:500")
    assert [one.position.server_uuid for one in offered] == [A]


@pytest.mark.parametrize(
    ("what", "text", "kind", "why", "hint"),
    [
        (WHOLE, "a5", TargetError, "first one was taken at 2026-11-22T12:05:00Z", "time:2026-11-22T12:05:00Z"),
        (WHOLE, "a41", TargetError, "go up to 40", "latest"),
        (WHOLE, "b1", TargetError, f"nothing of {B}", "latest"),
        (HOLE, "a15", GapError, f"{A}:11-20", "time:2026-11-22T12:10:00Z"),
        (TAIL_HOLE, "a35", GapError, f"{A}:21-30", "time:2026-11-22T12:20:00Z"),
        (WHOLE, "4:1001", TargetError, "has 1000 bytes", f"position:{A}/binlog.000004:1000"),
        (WHOLE, "1:500", TargetError, "when binlog.000001", "--target before:UUID:N"),
        (WHOLE, "1:500", TargetError, f"they lie: {A}:1-5", "time:2026-11-22T12:05:00Z"),
        (HOLE, "3:500", GapError, f"{A}:11-20", "after them: --target time:2026-11-22T12:25:00Z"),
        (TAIL_HOLE, "4:500", GapError, f"{A}:21-30", "time:2026-11-22T12:20:00Z"),
        (catalog(ONE, LOGS[3]), "4:500", GapError, f"{A}:6-30", "time:2026-11-22T12:05:00Z"),
        (WHOLE, "5:500", TargetError, "go from binlog.000001 to binlog.000004", "relight catalog s"),
        (WHOLE, "b4:500", TargetError, f"no log of {B}", "relight catalog s"),
        (catalog(ONE), "4:500", TargetError, "no log of this shard", "relight catalog s"),
    ],
)
def test_a_target_out_of_reach_is_an_error_that_says_how_to_go_on(
    what: Catalog, text: str, kind: type[RelightError], why: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        plan(what, text)
    assert type(caught.value) is kind
    assert why in caught.value.why
    assert hint in caught.value.hint
    points = [word.strip(",;") for word in caught.value.hint.split() if word.startswith(("time:", "position:"))]
    assert not points or any(_reachable(what, point) for point in points)


def _reachable(what: Catalog, point: str) -> bool:
    try:
        make_plan(what, Target.parse(point), NOW)
    except RelightError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "lost", "fails"),
    [
        ("a35", 3, True), ("a35", 2, True), ("a28", 3, False), ("a15", 1, True),
        ("4:500", 3, True), ("4:500", 2, True), ("4:500", 1, False), ("3:500", 3, False), ("3:500", 1, True),
    ],
)  # fmt: skip
def test_a_segment_whose_object_is_gone_stops_only_plans_that_need_it(text: str, lost: int, fails: bool) -> None:
    what = catalog(ONE, snapshot(25, "a1-25"), *LOGS, missing=(LOGS[lost].key,))
    if fails:
        with pytest.raises(ObjectMissing) as caught:
            plan(what, text)
        assert caught.value.on == LOGS[lost].key
    else:
        assert short(plan(what, text)) == short(plan(WHOLE, text))


@pytest.mark.parametrize("text", ["a15", "2:500"])
def test_a_damaged_snapshot_that_alone_would_do_is_named(text: str) -> None:
    damaged: CatalogSnapshot = snapshot(5, "a1-5", missing=("s/snapshots/m5/parts/0002.zst",))
    with pytest.raises(ObjectMissing) as caught:
        plan(catalog(damaged, snapshot(25, "a1-25"), *LOGS), text)
    assert caught.value.on == "s/snapshots/m5/parts/0002.zst"


def test_a_file_whose_manifest_cannot_be_read_is_not_mistaken_for_another() -> None:
    key = f"s/segments/{B}/binlog.000004.1a2b3c4d.json"
    what = catalog(ONE, snapshot(25, "a1-25"), *LOGS, unreadable=(Unreadable(key=key, why="not JSON"),))
    for text in ("4:500", "b4:500"):
        with pytest.raises(ObjectCorrupt, match="not JSON") as caught:
            plan(what, text)
        assert caught.value.on == key
    assert short(plan(what, "a4:500")) == short(plan(WHOLE, "4:500"))
    with pytest.raises(ObjectCorrupt):
        make_plan(what, Target.parse("position:binlog.000004.1a2b3c4d:500"), NOW)


def test_a_snapshot_taken_between_two_files_is_used_for_the_second() -> None:
    assert short(plan(catalog(ONE, snapshot(31, "a1-30"), *LOGS), "4:500")) == ("m31", "4(a31-40)!")
    assert plan(catalog(ONE, snapshot(31, "a1-30"), *LOGS), "4:500").reaches == at(40)
