"""Runs and tasks made into cards: what each is at, who is waited for, how long it will take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relight.forecast.estimate import estimate
from relight.forecast.learning import Speeds
from relight.forecast.values import Load, Span
from relight.reporting.incident import make_incident
from relight.reporting.running import LiveBar, RunNow, TaskNow

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OWN = estimate(
    Load(
        shard="a", tier=1, host="h", hardware="default", network="default", stored_bytes=10**11, data_bytes=10**11,
        log_bytes=10**10, segments=1, databases=1, replicas=0,
    ),
    Speeds(runs=0, rates=()),
)  # fmt: skip
HOUR = Span(seconds=3600, low=3000, high=4000)


def at(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def task(name: str, state: str = "running", began: float = 5, **more: object) -> TaskNow:
    return TaskNow(task=name, state=state, started=at(began), **more)  # type: ignore[arg-type]


def run(shard: str, *tasks: TaskNow, state: str = "running", began: float | None = 10) -> RunNow:
    started = None if began is None else at(began)
    ended = NOW if state in ("success", "failed") else None
    return RunNow(dag="restore", run=f"i__{shard}", shard=shard, state=state, started=started, ended=ended, tasks=tasks)


def test_who_waits_for_a_person_comes_first_then_what_has_failed() -> None:
    found = make_incident(
        [run("done", state="success"), run("queued", state="queued", began=None), run("runs", task("plan")),
         run("failed", task("guard", "failed"), state="failed"), run("asks", task("approve", "awaiting_input", waits=True))],
        {}, NOW,
    )  # fmt: skip
    assert [(card.now.shard, card.kind) for card in found.cards] == [
        ("asks", "waiting"), ("failed", "failed"), ("runs", "running"), ("queued", "queued"), ("done", "success"),
    ]  # fmt: skip
    assert found.active == 3
    assert [one.task for one in found.cards[1].failed] == ["guard"]


def test_the_step_that_is_furthest_is_named_with_how_much_of_it_is_done() -> None:
    tasks = [
        task("split", "running"),
        *(task("replay", state, index=i) for i, state in enumerate(["success", "running", "running"])),
    ]
    (card,) = make_incident([run("a", *tasks)], {}, NOW).cards
    assert card.doing == "replaying logs, 1 of 3"


def test_a_step_that_this_page_does_not_know_is_called_by_its_own_name() -> None:
    (card,) = make_incident([run("a", task("something_new"))], {}, NOW).cards
    assert card.doing == "something_new"


def test_bars_of_tasks_that_are_over_are_not_shown_and_speeds_add_up() -> None:
    def bar(done: int) -> LiveBar:
        return LiveBar(label="orders", done=done, total=100, speed=10, at=NOW)

    tasks = [
        task("restore_snapshot", "success", bars=(bar(100),)),
        task("replay", index=0, bars=(bar(40),)),
        task("replay", index=1, bars=(bar(60),)),
    ]
    (card,) = make_incident([run("a", *tasks)], {}, NOW).cards
    assert [(name, one.share) for name, one in card.bars] == [("replay", 0.4), ("replay", 0.6)]
    assert card.speed == 20


@pytest.mark.parametrize(("began", "left", "late"), [(10, 3000, 0), (60, 0, 0), (70, 0, 200)])
def test_what_is_left_is_the_forecast_less_what_has_passed(began: float, left: float, late: float) -> None:
    found = make_incident([run("a", task("replay"), began=began)], {"a": HOUR}, NOW)
    (card,) = found.cards
    assert card.left is not None
    assert (card.left.seconds, card.late) == (left, late)
    assert found.left == left


def test_nothing_is_left_once_the_shard_takes_writes_or_a_person_is_waited_for() -> None:
    runs = [run("a", task("promote", "success"), task("replicas")), run("b", task("approve", waits=True))]
    assert [card.left for card in make_incident(runs, {"a": HOUR, "b": HOUR}, NOW).cards] == [None, None]


def test_a_chart_covers_everything_from_the_first_beginning_to_now() -> None:
    found = make_incident(
        [
            run("a", task("plan", "success", began=10).model_copy(update={"ended": at(5)})),
            run("b", task("plan", began=2.5)),
        ],
        {},
        NOW,
    )
    stripes = {card.now.shard: card.stripes[0] for card in found.cards}
    assert (stripes["a"].left, stripes["a"].width) == (0, 50)
    assert (stripes["b"].left, stripes["b"].width) == (75, 25)


def test_no_runs_are_no_trouble() -> None:
    found = make_incident([], {}, NOW)
    assert (found.cards, found.active, found.began) == ((), 0, None)


def test_the_scale_of_a_chart_seldom_changes() -> None:
    def span(seconds: float) -> float:
        return make_incident([run("a", began=seconds / 60)], {}, NOW).span

    assert [span(one) for one in (570.5, 585, 600)] == [600, 600, 600]
    assert span(600.5) == 660
    assert span(90_000) == 100_800


def test_a_run_with_a_forecast_of_its_own_is_told_by_what_its_steps_have_done() -> None:
    def left(*tasks: TaskNow) -> float:
        (card,) = make_incident([run("a", *tasks)], {"a": HOUR}, NOW, {"restore/i__a": OWN}).cards
        assert card.left is not None
        return card.left.seconds

    def over(name: str, **more: object) -> TaskNow:
        return task(name, "success", began=1, **more).model_copy(update={"ended": NOW})

    before = [over(name) for name in ("salvage", "plan", "guard")]
    bar = LiveBar(label="snapshot", done=75, total=100, speed=1, at=NOW)
    begun, most, done = (
        left(*before),
        left(*before, task("restore_snapshot", bars=(bar,))),
        left(*before, over("restore_snapshot")),
    )
    assert begun > most > done
    replays = [over("plan_lanes"), over("split", index=0), over("replay", index=0), task("replay", index=1)]
    assert (
        done > left(*before, over("restore_snapshot"), *replays) > left(*before, over("restore_snapshot"), *replays[:3])
    )


def test_a_card_carries_its_run_and_its_incident() -> None:
    ours, by_hand = run("a"), run("a").model_copy(update={"run": "manual__2026-11-24T12:00:00+00:00"})
    assert (ours.incident, by_hand.incident) == ("i", "")


@pytest.mark.parametrize("later", ["queued", "running", "success", "failed"])
def test_a_failed_run_that_a_later_one_has_replaced_counts_no_more(later: str) -> None:
    old = run("a", task("guard", "failed"), state="failed", began=30).model_copy(update={"run": "old__a"})
    other = run("b", state="failed", began=40)
    rehearsed = run("a", state="success", began=1).model_copy(update={"dag": "rehearse", "mode": "rehearse"})
    new = run("a", state=later, began=None if later == "queued" else 5)
    found = make_incident([old, other, rehearsed, new], {}, NOW)
    kinds = {card.key: card.kind for card in found.cards}
    assert kinds["restore/old__a"] == "replaced"
    assert kinds["restore/i__b"] == "failed"
    counts = {kind: count for kind, _, count in found.counts}
    assert counts["failed"] == 1 + (later == "failed")
    assert found.cards[-1].key == "restore/old__a", "what needs nobody comes last"
    alone = make_incident([old, rehearsed], {}, NOW)
    assert [card.kind for card in alone.cards if card.now.mode == "promote"] == ["failed"], (
        "a rehearsal replaces nothing"
    )


def test_a_run_that_was_stopped_is_called_so_and_its_bar_is_not_full() -> None:
    over = [task(name, "success") for name in ("check", "plan")]
    never = [TaskNow(task=name, state="skipped") for name in ("replay", "promote", "report", "watcher")]
    (card,) = make_incident([run("a", *over, task("guard", "failed"), *never, state="failed")], {}, NOW).cards
    assert (card.word, card.done, card.total) == ("cancelled", 2, 7)


def test_the_bar_of_a_run_that_failed_shows_how_far_it_came() -> None:
    rest = [TaskNow(task=name, state="upstream_failed") for name in ("replay", "promote")]
    passed_over = task("salvage", "skipped")
    watcher = task("watcher", "failed")
    tasks = [task("check", "success"), passed_over, task("guard", "failed"), *rest, task("report", "success"), watcher]
    (card,) = make_incident([run("a", *tasks, state="failed")], {}, NOW).cards
    assert (card.word, card.done, card.total) == ("failed", 3, 7)
    (well,) = make_incident([run("a", task("check", "success"), *rest[:1], state="success")], {}, NOW).cards
    assert (well.done, well.total) == (2, 2)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (run("a", task("guard", "failed"), state="failed"), "the server stays closed"),
        (run("a", task("promote", "success"), task("replicas", "failed"), state="failed"), "takes writes"),
        (run("a", state="queued", began=None), "wait"),
        (run("a", state="success"), "relight backup full a"),
        (run("a", state="success").model_copy(update={"mode": "rehearse"}), "Nothing"),
        (run("a", TaskNow(task="watcher", state="skipped"), state="failed"), "start a new run"),
    ],
    ids=["failed", "failed once open", "queued", "done", "rehearsed", "cancelled"],
)  # fmt: skip
def test_each_run_says_what_to_do_next(made: RunNow, said: str) -> None:
    (card,) = make_incident([made], {}, NOW).cards
    assert said in card.next
