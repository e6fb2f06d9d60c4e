"""From catalog and target to a plan, or to an error that names the nearest reachable point."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from relight.backups.catalog import Catalog, CatalogSnapshot, Unreadable
from relight.backups.manifest import SegmentManifest
from relight.errors import GapError, ObjectCorrupt, ObjectMissing, PlanError, RelightError, TargetError
from relight.planning.disk import BESIDE_BYTES
from relight.planning.plan import Plan, SnapshotReference
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from tests.backups.test_chain import NOON, A, B, gtids, segment

NOW = NOON + timedelta(hours=3)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def snapshot(minutes: float, holds: str, *, missing: tuple[str, ...] = ()) -> CatalogSnapshot:
    """A snapshot of 5000 bytes, named after its minute."""
    reference = SnapshotReference(
        id=f"m{minutes:g}", manifest_key=f"s/snapshots/m{minutes:g}/manifest.json", manifest_sha256="0" * 64,
        server_uuid=A, mysql_version="9.7.4", taken_at=at(minutes), gtids=gtids(holds), data_bytes=5000,
        stored_bytes=500,
    )  # fmt: skip
    return CatalogSnapshot(reference=reference, server_name="db", databases=1, tables=1, rows=1, missing=missing)


def catalog(*entries: CatalogSnapshot | SegmentManifest, **more: object) -> Catalog:
    snapshots = tuple(entry for entry in entries if isinstance(entry, CatalogSnapshot))
    segments = tuple(entry for entry in entries if isinstance(entry, SegmentManifest))
    return Catalog(shard="s", snapshots=snapshots, segments=segments, **more)  # type: ignore[arg-type]


ONE, TWO = snapshot(5, "a1-5"), snapshot(25, "a1-25")
LOGS = (
    segment("a", 1, "", "a1-10", 1, 10),
    segment("a", 2, "a1-10", "a11-20", 11, 20),
    segment("a", 3, "a1-20", "a21-30", 21, 30),
    segment("a", 4, "a1-30", "a31-40", 31, 40),
)
WHOLE = catalog(ONE, TWO, *LOGS)


def target(text: str) -> Target:
    """``latest``, ``a7``, or minutes after noon."""
    if text == "latest":
        return Target(kind="latest")
    if text[0] in "ab":
        return Target.parse(f"gtid:{A if text[0] == 'a' else B}:{text[1:]}")
    return Target.parse(f"time:{at(float(text)).isoformat()}")


def plan(what: Catalog, text: str) -> Plan:
    return make_plan(what, target(text), NOW)


def short(made: Plan) -> tuple[str, str]:
    """Snapshot, then per segment its number, what is taken, and a ! where the target lies."""
    taken = (
        f"{int(p.segment.file[-6:])}({str(p.take).replace(A + ':', 'a').replace(B + ':', 'b')})" + "!" * p.last
        for p in made.segments
    )
    return made.snapshot.id, " ".join(taken)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", ("m25", "3(a26-30) 4(a31-40)")),
        ("35", ("m25", "3(a26-30) 4(a31-40)!")),  # in the middle of a file
        ("30", ("m25", "3(a26-30)")),  # exactly the last commit of a file
        ("30.5", ("m25", "3(a26-30)")),  # between two files
        ("31", ("m25", "3(a26-30) 4(a31-40)!")),  # exactly the first commit of a file
        ("40", ("m25", "3(a26-30) 4(a31-40)")),  # exactly the last commit there is
        ("25", ("m25", "3(a26-30)!")),  # exactly when the snapshot was taken: the log goes on beyond
        ("24.9", ("m5", "1(a6-10) 2(a11-20) 3(a21-30)!")),  # just before it
        ("5", ("m5", "1(a6-10)!")),
        ("a35", ("m25", "3(a26-30) 4(a31-40)!")),
        ("a40", ("m25", "3(a26-30) 4(a31-40)!")),
        ("a26", ("m25", "3(a26-30)!")),
        ("a25", ("m25", "")),  # the snapshot ends exactly there
        ("a24", ("m5", "1(a6-10) 2(a11-20) 3(a21-30)!")),
        ("a6", ("m5", "1(a6-10)!")),
        ("a5", ("m5", "")),
    ],
)
def test_targets_are_reached_from_the_newest_snapshot_before_them(text: str, expected: tuple[str, str]) -> None:
    assert short(plan(WHOLE, text)) == expected


@pytest.mark.parametrize(
    ("text", "end", "reaches"),
    [
        ("latest", "a1-40", 40), ("35", None, 35), ("30.5", "a1-30", 30.5), ("40", "a1-40", 40), ("a35", None, 40),
        ("a25", "a1-25", 25),
    ],
)  # fmt: skip
def test_a_plan_says_what_it_ends_with_where_that_is_known(text: str, end: str | None, reaches: float) -> None:
    made = plan(WHOLE, text)
    assert made.end_gtids == (None if end is None else gtids(end))
    assert made.reaches == at(reaches)


def test_a_plan_counts_what_is_fetched_and_what_the_disk_must_take() -> None:
    made = make_plan(WHOLE, target("latest"), NOW, reserve=1.5)
    assert made.download_bytes == 500 + 2 * 100
    # The data; two logs, in the tables and split beside them; one of them whole and packed; servers without data.
    assert made.disk_bytes == 1.5 * (5000 + 2 * 2 * 1000 + (1000 + 100) + BESIDE_BYTES)
    assert made.made_at == NOW
    assert Plan.model_validate_json(made.model_dump_json()) == made


HOLE = catalog(ONE, TWO, LOGS[0], LOGS[2], LOGS[3])  # a11-20 are nowhere
TAIL_HOLE = catalog(ONE, LOGS[0], LOGS[1], LOGS[3])  # a21-30 are nowhere


@pytest.mark.parametrize(
    ("what", "text", "expected"),
    [
        (HOLE, "latest", ("m25", "3(a26-30) 4(a31-40)")),
        (HOLE, "7", ("m5", "1(a6-10)!")),
        (HOLE, "10", ("m5", "1(a6-10)")),
        (HOLE, "a10", ("m5", "1(a6-10)!")),
        (HOLE, "a25", ("m25", "")),
        (TAIL_HOLE, "20", ("m5", "1(a6-10) 2(a11-20)")),
        (TAIL_HOLE, "a15", ("m5", "1(a6-10) 2(a11-20)!")),
    ],
)
def test_a_hole_that_is_not_on_the_way_does_not_matter(what: Catalog, text: str, expected: tuple[str, str]) -> None:
    assert short(plan(what, text)) == expected


@pytest.mark.parametrize(
    ("what", "text", "kind", "why", "hint"),
    [
        (catalog(), "latest", PlanError, "", "relight backup full s"),
        (catalog(*LOGS), "latest", PlanError, "", "relight backup full s"),
        (WHOLE, "240", TargetError, "it is 2026-11-22T15:00:00Z now", "latest"),
        (WHOLE, "4.9", TargetError, "first one was taken at 2026-11-22T12:05:00Z", "time:2026-11-22T12:05:00Z"),
        (WHOLE, "a4", TargetError, "first one was taken at", "time:2026-11-22T12:05:00Z"),
        (WHOLE, "41", TargetError, "committed at 2026-11-22T12:40:00Z", "latest"),
        (WHOLE, "a41", TargetError, "go up to 40", "latest"),
        (WHOLE, "b1", TargetError, f"nothing of {B}", "latest"),
        (HOLE, "15", GapError, f"10 of them are in no log of the store: {A}:11-20", "time:2026-11-22T12:10:00Z"),
        (HOLE, "15", GapError, "before binlog.000003", "after them: --target time:2026-11-22T12:25:00Z"),
        (HOLE, "a15", GapError, f"{A}:11-20", "time:2026-11-22T12:10:00Z"),
        (HOLE, "a22", GapError, f"{A}:11-20", "time:2026-11-22T12:25:00Z"),
        (TAIL_HOLE, "latest", GapError, f"{A}:21-30", "time:2026-11-22T12:20:00Z"),
        (TAIL_HOLE, "35", GapError, f"{A}:21-30", "time:2026-11-22T12:20:00Z"),
        (TAIL_HOLE, "a35", GapError, f"{A}:21-30", "time:2026-11-22T12:20:00Z"),
        (catalog(ONE, LOGS[3]), "latest", GapError, f"{A}:6-30", "time:2026-11-22T12:05:00Z"),
    ],
)
def test_a_target_out_of_reach_is_an_error_that_names_the_nearest_point(
    what: Catalog, text: str, kind: type[RelightError], why: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        plan(what, text)
    assert type(caught.value) is kind
    assert why in caught.value.why
    assert hint in caught.value.hint


@pytest.mark.parametrize("what", [HOLE, TAIL_HOLE, WHOLE, catalog(ONE), catalog(ONE, LOGS[3])])
@pytest.mark.parametrize("text", ["latest", "1", "15", "35", "100", "a2", "a15", "a22", "a35", "a99", "b1"])
def test_every_hint_leads_somewhere(what: Catalog, text: str) -> None:
    try:
        plan(what, text)
    except RelightError as error:
        points = [word.strip(",;") for word in error.hint.split() if word.startswith(("time:", "gtid:"))]
        if "latest" in error.hint:
            points.append("latest")
        assert points
        made = [_reachable(what, point) for point in points]
        assert any(made)


def _reachable(what: Catalog, point: str) -> bool:
    try:
        make_plan(what, Target.parse(point), NOW)
    except RelightError:
        return False
    return True


def test_a_snapshot_alone_is_reached_by_latest_and_by_its_own_time() -> None:
    assert short(plan(catalog(ONE), "latest")) == ("m5", "")
    assert short(plan(catalog(ONE), "5")) == ("m5", "")


def test_a_damaged_snapshot_is_passed_over_and_the_plan_says_so() -> None:
    damaged = snapshot(25, "a1-25", missing=("s/snapshots/m25/parts/0002.zst",))
    made = plan(catalog(ONE, damaged, *LOGS), "latest")
    assert made.snapshot.id == "m5"
    assert "m25" in made.notes[0]


def test_missing_parts_of_the_only_snapshot_are_named() -> None:
    damaged = snapshot(5, "a1-5", missing=("s/snapshots/m5/parts/0002.zst",))
    with pytest.raises(ObjectMissing) as caught:
        plan(catalog(damaged, *LOGS), "latest")
    assert caught.value.on == "s/snapshots/m5/parts/0002.zst"
    with pytest.raises(ObjectMissing):
        plan(catalog(damaged, TWO, *LOGS), "7")


@pytest.mark.parametrize(
    ("text", "lost", "fails"),
    [
        ("latest", 3, True), ("latest", 2, True), ("latest", 0, False), ("latest", 1, False), ("35", 3, True),
        ("28", 3, False), ("a35", 3, True), ("a35", 2, True), ("a28", 3, False), ("15", 1, True),
    ],
)  # fmt: skip
def test_a_segment_whose_object_is_gone_stops_only_plans_that_need_it(text: str, lost: int, fails: bool) -> None:
    what = catalog(ONE, TWO, *LOGS, missing=(LOGS[lost].key,))
    if fails:
        with pytest.raises(ObjectMissing) as caught:
            plan(what, text)
        assert caught.value.on == LOGS[lost].key
    else:
        assert short(plan(what, text)) == short(plan(WHOLE, text))


def test_an_unreadable_manifest_stops_a_plan_unless_later_logs_prove_it_irrelevant() -> None:
    def unreadable(number: int) -> Catalog:
        key = f"s/segments/{A}/binlog.{number:06d}.00000000.json"
        return catalog(ONE, TWO, *LOGS, unreadable=(Unreadable(key=key, why="not JSON"),))

    assert short(plan(unreadable(2), "latest")) == short(plan(WHOLE, "latest"))
    with pytest.raises(ObjectCorrupt, match=r"binlog\.000005"):
        plan(unreadable(5), "latest")
    assert short(plan(unreadable(5), "35")) == short(plan(WHOLE, "35"))


def test_a_time_inside_a_file_of_the_old_source_is_reached_after_a_failover() -> None:
    what = catalog(
        ONE, segment("a", 1, "", "a1-10", 1, 10), segment("a", 2, "a1-10", "a11-20", 11, 20),
        segment("b", 1, "a1-20", "b1-5", 30, 35),
    )  # fmt: skip
    assert short(plan(what, "15")) == ("m5", "1(a6-10) 2(a11-20)!")
    assert short(plan(what, "25")) == ("m5", "1(a6-10) 2(a11-20)")
    assert short(plan(what, "latest")) == ("m5", "1(a6-10) 2(a11-20) 1(b1-5)")


LEFT_BEHIND = (
    segment("a", 1, "", "a1-10", 1, 10), segment("a", 2, "a1-10", "a11-20", 11, 20),
    segment("b", 1, "a1-15", "b1-5", 30, 35),
)  # fmt: skip


def test_what_a_failover_left_behind_is_not_mixed_in_but_can_be_asked_for() -> None:
    what = catalog(ONE, *LEFT_BEHIND)
    made = plan(what, "latest")
    assert made.end_gtids == gtids("a1-15 b1-5")
    assert str(gtids("a16-20")) in made.notes[0]
    assert short(plan(what, "a18")) == ("m5", "1(a6-10) 2(a11-20)!")


def test_a_snapshot_of_a_history_that_was_left_behind_is_not_built_upon() -> None:
    """The shard was restored to a point before the newer snapshot, and went on from there."""
    abandoned = snapshot(19, "a1-19")
    assert plan(catalog(ONE, abandoned, *LEFT_BEHIND), "latest").snapshot.id == "m5"
    with pytest.raises(PlanError, match="present history"):
        plan(catalog(abandoned, *LEFT_BEHIND), "latest")


def test_a_snapshot_of_a_shard_with_two_writers_ends_only_where_a_log_proves_it() -> None:
    after = snapshot(50, "a1-20 b1-5")
    logs = (segment("a", 2, "", "a1-20", 11, 20), segment("b", 1, "a1-20", "b1-5", 30, 35))
    assert short(plan(catalog(ONE, after, *logs), "b5")) == ("m50", "")
    assert short(plan(catalog(ONE, after, *logs), "a20")) == ("m5", "2(a6-20)!")
    assert short(plan(catalog(ONE, after, logs[0]), "a20")) == ("m5", "2(a6-20)!")


def test_a_replica_that_lagged_when_the_snapshot_was_taken_gets_the_rest_from_the_log() -> None:
    lagging = snapshot(28, "a1-22")
    assert short(plan(catalog(lagging, *LOGS), "28")) == ("m28", "3(a23-30)!")


def test_clocks_that_were_set_back_do_not_make_a_plan_take_what_lies_behind_the_target() -> None:
    what = catalog(ONE, LOGS[0], segment("a", 2, "a1-10", "a11-20", 11, 20), segment("a", 3, "a1-20", "a21-30", 15, 25))
    assert short(plan(what, "16")) == ("m5", "1(a6-10) 2(a11-20)!")
