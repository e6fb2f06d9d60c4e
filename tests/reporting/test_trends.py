"""Rehearsals over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from relight.rehearsal.history import RehearsalRecord, ShardHistory
from relight.reporting.trends import DAYS, make_trends
from relight.sabotage import SABOTAGES

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def record(days_ago: float, seconds: float, **more: object) -> RehearsalRecord:
    ended = NOW - timedelta(days=days_ago)
    given = {"outcome": "done", "certificate": "c", **more}
    return RehearsalRecord(
        shard="a",
        run_id=f"r{days_ago}",
        target="latest",
        began=ended,
        ended=ended,
        restore_seconds=seconds,
        **given,  # type: ignore[arg-type]
    )


def history(*records: RehearsalRecord) -> list[ShardHistory]:
    return [
        ShardHistory(
            shard="a", rehearsable=True, rehearsals=tuple(sorted(records, key=lambda one: one.ended, reverse=True))
        )
    ]


def test_the_longest_reaches_the_top_and_now_is_at_the_right() -> None:
    (trend,) = make_trends(history(record(DAYS / 2, 50), record(0, 100)), NOW, 30).trends
    assert [(dot.x, dot.y) for dot in trend.dots] == [(50, 50), (100, 100)]
    assert trend.line == "50.0,50.00 100.0,0.00"


def test_a_restore_that_has_become_slower_is_told_against_what_was_usual() -> None:
    (trend,) = make_trends(history(record(9, 100), record(6, 110), record(3, 90), record(0, 200)), NOW, 30).trends
    assert trend.change == 2.0
    assert make_trends(history(record(3, 90), record(0, 200)), NOW, 30).trends[0].change is None


def test_what_failed_is_in_the_plot_and_not_on_the_line() -> None:
    (trend,) = make_trends(history(record(9, 100), record(6, 10, outcome="failed", certificate="")), NOW, 30).trends
    assert [dot.failed for dot in trend.dots] == [False, True]
    assert trend.line.count(",") == 1


def test_coverage_falls_when_a_proof_grows_old() -> None:
    days = [share for _, share in make_trends(history(record(40, 100)), NOW, 30).coverage]
    assert len(days) == DAYS + 1
    assert days[:20] == [0] * 20
    assert days[20:51] == [100] * 31
    assert days[51:] == [0] * 10


def test_sabotages_are_counted_and_those_that_were_missed_are_told() -> None:
    missed = record(0, 90, outcome="failed", problem="drill: a sabotage was not found")
    found = make_trends(history(missed, record(3, 90, sabotage="drop_row", caught_by=("row counts",))), NOW, 30)
    assert {one.kind: one.found for one in found.sabotages} == {**dict.fromkeys(SABOTAGES, 0), "drop_row": 1}
    assert found.missed == (missed,)
