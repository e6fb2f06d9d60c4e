"""What came of an incident, and how far apart its shards are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from relight.incident.outcome import IncidentReport, RunReport, ShardOutcome, keep, outcome, outcomes, skew
from relight.planning.target import Target
from relight.site import Site
from relight.store import layout
from tests.airflow.fleets import server

AT = datetime(2026, 11, 22, 19, tzinfo=UTC)
LATEST = Target(kind="latest")


def done(shard: str, seconds: float) -> ShardOutcome:
    return ShardOutcome(shard=shard, outcome="done", run_id=f"i__{shard}", reaches=AT + timedelta(seconds=seconds))


def test_the_skew_is_between_the_earliest_and_the_latest_that_were_restored() -> None:
    lost = done("z", 900).model_copy(update={"outcome": "failed"})
    assert skew(LATEST, [done("a", 7), done("b", -2.5), done("c", 0), lost]) == 9.5
    assert skew(LATEST, [done("a", 7), lost]) is None


def test_with_a_target_in_time_every_shard_has_the_same_cut() -> None:
    assert skew(Target.parse("time:2026-11-22T19:00:00Z"), [done("a", -1), done("b", -60)]) == 0.0


def test_what_airflow_says_of_a_run_counts_more_than_its_report() -> None:
    old = RunReport(problems=("guard: pid 7",), seconds=3, reaches=AT, data_loss_window_s=60)
    assert outcome("a", "i__a", "failed", old).why == "guard: pid 7"
    assert outcome("a", "i__a", "done", old).why == ""
    assert "log of the task" in outcome("a", "i__a", "failed", old.model_copy(update={"problems": ()})).why
    assert outcome("a", "i__a", "failed", None).seconds is None


def test_reports_are_gathered_from_the_store_and_one_of_all_is_left(site: Callable[..., Site]) -> None:
    store = site(server("a", "a.example.net")).store
    body = RunReport(problems=(), seconds=12, reaches=AT, data_loss_window_s=4).model_dump_json()
    for number, seconds in ((1, 99), (2, 12)):
        key = f"shard-1/runs/restore__inc__shard-1/report-2026112{number}T000000Z.json"
        store.put(key, body.replace("12.0", f"{seconds}.0", 1).replace("{", '{"later": 1, ', 1).encode())
    found = outcomes(store, "inc", LATEST, {"shard-1": "done", "shard-2": "failed"}, parallel=2)
    assert [(one.shard, one.outcome, one.seconds) for one in found] == [
        ("shard-1", "done", 12),
        ("shard-2", "failed", None),
    ]
    report = IncidentReport(
        incident="inc", requested_by="admin", target="latest", mode="promote", began=AT, at_once=8,
        ended=AT + timedelta(seconds=30), skew_s=skew(LATEST, found), shards=tuple(found),
    )  # fmt: skip
    assert IncidentReport.model_validate_json(store.get(keep(store, report))) == report
    assert [one.key for one in store.list(layout.incidents("inc"))]
    assert report.in_lines()[0] == "shard-1: done in 12 s, reaches 2026-11-22T19:00:00Z, 4 s are lost"
    assert report.in_lines()[-1] == "1 of 2 shards in 30 s, no two points in time to compare"
