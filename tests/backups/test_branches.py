"""Timelines and collisions, decided purely."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relight.backups.branches import branch_of, summaries
from relight.backups.catalog import Catalog
from relight.backups.collisions import refuse_restarted
from relight.backups.manifest import SegmentManifest
from relight.cli.branches import show_branches
from relight.errors import HistoryConflict, PlanError, TargetError
from relight.fencing.timelines import Timeline
from relight.gtid import GtidSet
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from tests.backups.test_chain import NOON, A, B, gtids, segment
from tests.planning.test_resolve import NOW, catalog, plan, short, snapshot


def timeline(number: int, server: str, began_with: str | None, *, at: float = 60, parent: int = 0) -> Timeline:
    uuid = {"a": A, "b": B}.get(server, f"{server * 8}-0000-0000-0000-000000000000")
    return Timeline(
        number=number, parent=parent, server_uuid=uuid, birth=f"{uuid}:1",
        began_with=None if began_with is None else gtids(began_with), began_at=NOON + timedelta(minutes=at),
        run_id=f"run-{number}", why="restore",
    )  # fmt: skip


OLD = (segment("a", 1, "", "a1-10", 1, 10), segment("a", 2, "a1-10", "a11-20", 11, 20))
"""The bad transaction is a15."""
UNDONE = timeline(1, "b", "a1-14")


def test_before_a_log_of_the_new_timeline_is_shipped_latest_is_what_it_began_with() -> None:
    what = catalog(snapshot(5, "a1-5"), *OLD, timelines=(UNDONE,))
    assert short(plan(what, "latest")) == ("m5", "1(a6-10) 2(a11-14)")
    assert plan(what, "latest").end_gtids == gtids("a1-14")
    assert plan(what, "latest").timeline == 1


def test_a_snapshot_that_holds_what_was_given_up_is_not_built_upon() -> None:
    what = catalog(snapshot(5, "a1-5"), snapshot(18, "a1-18"), *OLD, timelines=(UNDONE,))
    assert plan(what, "latest").snapshot.id == "m5"
    with pytest.raises(PlanError, match="present history"):
        plan(catalog(snapshot(18, "a1-18"), *OLD, timelines=(UNDONE,)), "latest")


def test_the_old_source_s_later_logs_do_not_belong_to_the_new_timeline() -> None:
    late = segment("a", 3, "a1-20", "a21-30", 90, 95, shipped=100)
    what = catalog(snapshot(5, "a1-5"), *OLD, late, segment("b", 1, "a1-14", "b1-3", 70, 80), timelines=(UNDONE,))
    assert short(plan(what, "latest")) == ("m5", "1(a6-10) 2(a11-14) 1(b1-3)")


def test_a_failover_inside_the_new_timeline_is_followed_as_ever() -> None:
    c = "cccccccc-0000-0000-0000-000000000000"
    taken_over = segment("b", 9, "a1-14 b1-3", "b4-4").model_copy(
        update={"server_uuid": c, "gtids": GtidSet.parse(f"{c}:1-5"), "key": "s/segments/c",
                "last_commit": NOON + timedelta(minutes=99), "first_commit": NOON + timedelta(minutes=98)}
    )  # fmt: skip
    what = catalog(snapshot(5, "a1-5"), *OLD, segment("b", 1, "a1-14", "b1-3", 70, 80), taken_over, timelines=(UNDONE,))
    made = plan(what, "latest")
    assert made.end_gtids == gtids("a1-14 b1-3") | GtidSet.parse(f"{c}:1-5")


def test_a_restore_of_the_older_timeline_is_asked_for_by_its_number() -> None:
    what = catalog(snapshot(5, "a1-5"), *OLD, segment("b", 1, "a1-14", "b1-3", 70, 80), timelines=(UNDONE,))
    made = make_plan(what, Target(kind="latest"), NOW, timeline=0)
    assert (made.end_gtids, made.timeline) == (gtids("a1-20"), 0)
    with pytest.raises(TargetError, match="no such timeline") as refused:
        make_plan(what, Target(kind="latest"), NOW, timeline=7)
    assert "it has 0, 1" in refused.value.why


@pytest.mark.parametrize("text", [f"gtid:{A}:17", f"before:{A}:17", f"position:{A}/binlog.000002:500"])
def test_a_place_that_was_given_up_is_refused_with_the_number_to_ask_for(text: str) -> None:
    what = catalog(snapshot(5, "a1-5"), *OLD, segment("b", 1, "a1-14", "b1-3", 70, 80), timelines=(UNDONE,))
    with pytest.raises(TargetError, match="another timeline") as refused:
        make_plan(what, Target.parse(text), NOW)
    assert "--timeline 0" in refused.value.hint
    assert make_plan(what, Target.parse(text), NOW, timeline=0).timeline == 0


def test_a_transaction_that_both_have_is_reached_in_the_present_one() -> None:
    what = catalog(snapshot(5, "a1-5"), *OLD, segment("b", 1, "a1-14", "b1-3", 70, 80), timelines=(UNDONE,))
    assert make_plan(what, Target.parse(f"gtid:{A}:12"), NOW).timeline == 1


def test_without_a_record_and_without_a_log_nobody_knows_where_it_began() -> None:
    what = catalog(snapshot(5, "a1-5"), *OLD, timelines=(timeline(1, "b", None),))
    with pytest.raises(PlanError, match="nobody knows where the present timeline began"):
        branch_of(what)
    shipped = catalog(
        snapshot(5, "a1-5"), *OLD, segment("b", 1, "a1-14", "b1-3", 70, 80), timelines=(timeline(1, "b", None),)
    )
    assert branch_of(shipped).within == gtids("a1-14 b1-3")


def test_nothing_is_planned_while_nobody_can_tell_which_timelines_there_are() -> None:
    what = catalog(
        snapshot(5, "a1-5"), *OLD, undecided="a claim cannot be read (s/fence/000001.claim.json): it is empty"
    )
    for text in ("latest", "a12", "20"):
        with pytest.raises(PlanError, match="not known which timeline the shard follows"):
            plan(what, text)


def test_what_each_timeline_gave_up_is_told() -> None:
    what = catalog(snapshot(5, "a1-5"), snapshot(18, "a1-18"), *OLD, timelines=(UNDONE,))
    before, after = summaries(what)
    assert (before.present, before.snapshots, before.segments) == (False, ("m5", "m18"), 2)
    assert (after.present, after.given_up) == (True, gtids("a15-20"))


def other(one: SegmentManifest, digest: str = "f") -> SegmentManifest:
    return one.model_copy(update={"log_sha256": digest * 64, "key": one.key.replace("00000000", digest * 8)})


@pytest.mark.parametrize("later", [
    other(segment("a", 1, "", "a1-8", 30, 31)),  # numbered from 1 once more, in the first file
    other(segment("a", 7, "a1-14", "a15-25", 30, 31)),  # a crash that lost the last numbers
])  # fmt: skip
def test_logs_of_one_server_that_overlap_with_other_contents_are_refused(later: SegmentManifest) -> None:
    with pytest.raises(HistoryConflict, match="different contents"):
        plan(catalog(snapshot(5, "a1-5"), *OLD, later), "latest")


def test_a_file_that_was_shipped_before_it_was_closed_is_the_same_file() -> None:
    cut, whole = segment("a", 3, "a1-20", "a21-24", 21, 24), other(segment("a", 3, "a1-20", "a21-30", 21, 30))
    for logs in ((cut, whole), (whole, cut)):
        assert plan(catalog(snapshot(5, "a1-5"), *OLD, *logs), "latest").end_gtids == gtids("a1-30")


def test_logs_of_two_servers_may_hold_the_same_transactions() -> None:
    replica = other(segment("b", 1, "", "a1-20", 1, 20))
    assert plan(catalog(snapshot(5, "a1-5"), *OLD, replica), "latest").end_gtids == gtids("a1-20")


def test_a_snapshot_that_holds_what_was_committed_long_after_it_is_not_built_upon() -> None:
    anew = segment("a", 1, "", "a1-30", 40, 60)
    with pytest.raises(HistoryConflict, match="committed long after snapshot m5"):
        plan(catalog(snapshot(5, "a1-5"), anew), "latest")
    # Clocks differ a little.
    assert plan(catalog(snapshot(5, "a1-5"), segment("a", 1, "", "a1-30", 15, 60)), "latest").end_gtids == gtids(
        "a1-30"
    )


@pytest.mark.parametrize(
    ("executed", "known"), [("a1-20", True), ("a1-25 b1", True), ("a1-19", False), ("", False), ("a1-3 a5-30", False)]
)
def test_what_a_server_has_had_it_has(executed: str, known: bool) -> None:
    what: Catalog = catalog(snapshot(5, "a1-5"), *OLD)
    if known:
        refuse_restarted(what, A, gtids(executed))
    else:
        with pytest.raises(HistoryConflict, match="does not know of it any more"):
            refuse_restarted(what, A, gtids(executed))


def test_a_server_may_lack_what_others_had_before_it() -> None:
    refuse_restarted(catalog(snapshot(5, "a1-5"), *OLD), B, gtids("a1-14 b1-9"))


def test_a_copy_with_transactions_of_its_own_replica_is_used_and_said() -> None:
    c = "cccccccc-0000-0000-0000-000000000000"
    errant = snapshot(5, "a1-5")
    errant = errant.model_copy(update={
        "reference": errant.reference.model_copy(update={"gtids": gtids("a1-5") | GtidSet.parse(f"{c}:1")})
    })  # fmt: skip
    made = plan(catalog(errant, *OLD), "latest")
    assert made.snapshot.id == "m5"
    assert any(f"{c}:1" in note for note in made.notes)


def test_timelines_are_drawn_as_branches_with_what_each_gave_up(capsys: pytest.CaptureFixture[str]) -> None:
    again = timeline(2, "c", "a1-14 b1-2", at=90, parent=1)
    other = timeline(3, "d", "a1-20", at=95)
    what = catalog(
        snapshot(5, "a1-5"), *OLD, segment("b", 1, "a1-14", "b1-3", 70, 80), timelines=(UNDONE, again, other)
    )
    show_branches("s", summaries(what))
    drawn = [
        line.replace("│", " ").replace("├──", " ").replace("└──", " ") for line in capsys.readouterr().out.splitlines()
    ]
    places = {
        line.split(":")[0].strip(): len(line) - len(line.lstrip())
        for line in drawn
        if "timeline " in line and "gave" not in line
    }
    assert places["timeline 0"] < places["timeline 1"] < places["timeline 2"]
    assert places["timeline 3, the present one"] == places["timeline 1"]
    text = " ".join(" ".join(drawn).split())
    assert f"gave up 6 transactions of timeline 0: {A}:15-20" in text
    assert f"gave up 1 transactions of timeline 1: {B}:3" in text
