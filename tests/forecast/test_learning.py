"""Speeds from timings: robust, per class, and never a reason to fail."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.fleet import Server
from relight.forecast.estimate import estimate
from relight.forecast.learning import learn, speeds_of
from relight.forecast.timing import Timing, keep_timing
from relight.forecast.work import ASSUMED, FORESEEN, WORK
from relight.site import Site
from relight.store import layout
from tests.forecast.runs import MB, NOON, load, timing


def on_a_machine(number: int, draw: random.Random, **more: object) -> Timing:
    """Restores 100 MB/s behind 4 s, replays 50 MB/s behind 2 s, and all a bit off."""
    what = load(data=draw.uniform(200, 20_000), log=draw.uniform(50, 5_000), **more)
    times = {"restore": 4 + what.data_bytes / (100 * MB), "replay": 2 + what.log_bytes / (50 * MB), "judge": 3.0}
    return timing(f"run-{number}", what, {step: t * draw.lognormvariate(0, 0.15) for step, t in times.items()})


def test_speeds_that_were_learned_foretell_other_runs_and_four_of_five_fall_into_the_range() -> None:
    draw = random.Random(5)
    speeds = speeds_of(on_a_machine(n, draw) for n in range(40))
    assert speeds.runs == 40
    within = 0
    for number in range(500):
        held_out = on_a_machine(1000 + number, draw)
        spans = {one.step: one.span for one in estimate(held_out.load, speeds).steps}
        (restore,) = (one.seconds for one in held_out.steps if one.step == "restore")
        assert spans["restore"].seconds == pytest.approx(restore, rel=0.6)
        within += spans["restore"].low <= restore <= spans["restore"].high
    assert 0.72 < within / 500 < 0.95


def test_a_few_runs_that_went_wrong_move_nothing() -> None:
    draw = random.Random(6)
    good = [on_a_machine(n, draw) for n in range(30)]
    bad = [timing(f"bad-{n}", load(data=500), {"restore": 9000.0}) for n in range(4)]
    before, after = (estimate(load(data=5000), speeds_of(runs)).total.seconds for runs in (good, [*good, *bad]))
    assert after == pytest.approx(before, rel=0.15)


def test_each_class_of_hardware_has_its_own_speed_and_a_new_class_that_of_all() -> None:
    runs = [timing(f"{kind}-{n}", load(data=1000 * (n + 1), hardware=kind), {"restore": (n + 1) * pace})
            for kind, pace in (("old", 40.0), ("new", 10.0)) for n in range(6)]  # fmt: skip
    speeds = speeds_of(runs)
    restore = {kind: speeds.of(kind)["restore"] for kind in ("old", "new", "unheard-of")}
    assert [restore[kind].hardware for kind in restore] == ["old", "new", ""]
    at = {kind: rate.curve.seconds(3000 * MB) for kind, rate in restore.items()}
    assert at["old"] == pytest.approx(120, rel=0.05)
    assert at["new"] == pytest.approx(30, rel=0.05)
    assert at["new"] < at["unheard-of"] < at["old"]


def test_too_few_runs_of_a_class_count_with_all_others() -> None:
    runs = [timing(f"run-{n}", load(hardware="old"), {"restore": 30.0}) for n in range(6)]
    speeds = speeds_of([*runs, timing("one", load(hardware="new"), {"restore": 1.0})])
    assert speeds.of("new")["restore"].hardware == ""
    assert speeds.of("new")["restore"].runs == 7


def test_without_any_run_everything_is_assumed_and_said_to_be() -> None:
    found = estimate(load(), speeds_of([]))
    assert found.learned_from == 0
    assert set(ASSUMED) == set(WORK) == set(FORESEEN) == {one.step for one in found.steps}


def test_runs_of_one_size_do_not_make_large_shards_free() -> None:
    speeds = speeds_of(timing(f"run-{n}", load(data=30, log=1), {"restore": 3.0, "replay": 1.0}) for n in range(20))
    small, large = (estimate(load(data=size), speeds).total for size in (30, 1_000_000))
    assert large.seconds > 100 * small.seconds
    assert large.high / large.seconds > small.high / small.seconds, "nothing as large was ever seen"


def test_of_a_run_that_ended_twice_the_last_record_counts() -> None:
    twice = [timing("run-1", load(), {"restore": 500.0}), timing("run-1", load(), {"restore": 20.0}, minutes=5)]
    assert speeds_of(twice) == speeds_of(twice[1:])


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=12),
    st.integers(0, 10**13),
    st.integers(0, 10**13),
)
@settings(deadline=None)
def test_more_bytes_are_never_faster_whatever_was_measured(
    points: list[tuple[float, float]], one: int, other: int
) -> None:
    runs = [timing(f"run-{n}", load(data=data, log=data / 3), {"restore": took, "replay": took, "validate": took / 2})
            for n, (data, took) in enumerate(points)]  # fmt: skip
    speeds = speeds_of(runs)
    less, more = (estimate(load(data=size / MB, log=size / MB), speeds).total for size in sorted((one, other)))
    assert less.seconds <= more.seconds * 1.0000001
    assert less.low <= less.seconds <= less.high


def test_the_newest_timings_are_read_from_the_store_and_unreadable_ones_named(
    mysql_server: Callable[..., Server], site: Callable[..., Site]
) -> None:
    store = site(mysql_server("source")).store
    for number in range(5):
        keep_timing(store, timing(f"run-{number}", load(), {"restore": 20.0 + number}, minutes=number))
    broken = layout.timing(NOON + timedelta(hours=1), "broken")
    store.put(broken, b'{"version": 1')
    speeds = learn(store)
    assert speeds.runs == 5
    assert speeds.unreadable == (broken,)
    assert speeds.of("big")["restore"].runs == 5
