"""The recovery of a fleet, played through."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.fleet import Limits
from relight.forecast.estimate import estimate, estimate_all
from relight.forecast.learning import Speeds, speeds_of
from relight.forecast.order import soonest_end
from relight.forecast.plot import plot
from relight.forecast.queues import Resource, Stage, play
from relight.forecast.simulate import Recovery, simulate
from relight.forecast.values import Load
from tests.forecast.runs import load

NOTHING_KNOWN = speeds_of([])
WIDE = Limits(restores=1000, store_tasks=1000, network_tasks=1000, host_tasks=1000)


def fleet(*sizes: float, **more: object) -> list[Load]:
    return [load(f"shard-{n}", data=size, log=size / 4, **more) for n, size in enumerate(sizes)]


def alone(loads: list[Load], speeds: Speeds = NOTHING_KNOWN) -> list[float]:
    return [estimate(one, speeds).total.seconds for one in loads]


def work(loads: list[Load]) -> float:
    """All steps of all shards, one after the other."""
    return sum(
        one.span.seconds for each in estimate_all(loads, NOTHING_KNOWN) for one in each.steps if one.step != "replica"
    )


def test_one_worker_does_one_thing_after_the_other() -> None:
    loads = fleet(3000, 500, 9000, 100)
    found = simulate(loads, NOTHING_KNOWN, WIDE, 1)
    assert found.last.seconds == pytest.approx(work(loads))
    assert found.bottleneck.kind == "workers"


def test_without_limits_it_takes_as_long_as_the_largest_shard() -> None:
    loads = fleet(3000, 500, 9000, 100)
    found = simulate(loads, NOTHING_KNOWN, WIDE)
    assert found.last.seconds == pytest.approx(max(alone(loads)))
    assert found.first.seconds == pytest.approx(min(alone(loads)))
    assert found.bottleneck.kind == "largest"
    assert "shard-2" in found.bottleneck.why
    assert found.halving.workers is None
    assert "shard-2" in found.halving.why


@pytest.mark.parametrize(
    ("limits", "more", "kind"),
    [
        (WIDE.model_copy(update={"restores": 1}), {}, "restores"),
        (WIDE.model_copy(update={"store_tasks": 1}), {}, "store"),
        (WIDE.model_copy(update={"host_tasks": 1}), {"host": "one"}, "hosts"),
    ],
)  # fmt: skip
def test_the_limit_that_holds_everything_up_is_named(limits: Limits, more: dict[str, object], kind: str) -> None:
    loads = fleet(*[2000] * 12, **more)
    found = simulate(loads, NOTHING_KNOWN, limits)
    assert found.bottleneck.kind == kind
    assert f"limits.{'host_tasks' if kind == 'hosts' else kind.removesuffix('s')}" in found.bottleneck.why
    freed = limits.model_copy(update={{"hosts": "host_tasks", "store": "store_tasks"}.get(kind, kind): 1000})
    assert simulate(loads, NOTHING_KNOWN, freed).last.seconds == pytest.approx(found.bottleneck.without_seconds)


def test_where_replicas_come_first_a_shard_is_opened_later_and_the_network_may_hold_everything_up() -> None:
    (at_once,) = simulate(fleet(2000, replicas=2), NOTHING_KNOWN, WIDE).shards
    (later,) = simulate(fleet(2000, replicas=2, replicas_first=2), NOTHING_KNOWN, WIDE).shards
    assert later.back.seconds == pytest.approx(at_once.whole)
    assert later.whole == later.back.seconds == pytest.approx(later.alone.seconds)
    narrow = WIDE.model_copy(update={"network_tasks": 1})
    found = simulate(fleet(*[2000] * 12, replicas=2, replicas_first=2), NOTHING_KNOWN, narrow)
    assert found.bottleneck.kind == "networks"
    assert "limits.network_tasks" in found.bottleneck.why


def test_two_limits_that_only_help_together_are_not_blamed_on_the_largest_shard() -> None:
    limits = WIDE.model_copy(update={"restores": 1})
    found = simulate(fleet(*[2000] * 12, log_bytes=0), NOTHING_KNOWN, limits, 1)
    assert found.bottleneck.kind == "several"
    assert "limits.restores" in found.bottleneck.why
    assert "Airflow" in found.bottleneck.why


def test_a_shard_keeps_its_place_until_its_replicas_are_there() -> None:
    limits = WIDE.model_copy(update={"restores": 1})
    (one, other) = simulate(fleet(2000, 2000, replicas=2), NOTHING_KNOWN, limits).shards
    assert one.back.seconds < one.whole == other.began


@given(st.lists(st.floats(10, 50_000), min_size=8, max_size=40), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_so_many_workers_really_halve_the_time_or_nothing_does(sizes: list[float], workers: int) -> None:
    loads = fleet(*sizes)
    found = simulate(loads, NOTHING_KNOWN, WIDE, workers)
    if found.halving.workers is None:
        assert simulate(loads, NOTHING_KNOWN, WIDE).last.seconds > found.last.seconds / 2
        return
    again = simulate(loads, NOTHING_KNOWN, WIDE, found.halving.workers)
    assert again.last.seconds == pytest.approx(found.halving.seconds)
    assert again.last.seconds <= found.last.seconds / 2 * 1.000001
    fewer = simulate(loads, NOTHING_KNOWN, WIDE, found.halving.workers - 1)
    assert fewer.last.seconds > found.last.seconds / 2


@given(st.lists(st.tuples(st.integers(1, 3), st.floats(1, 5000)), min_size=1, max_size=20))
@settings(deadline=None)
def test_lower_tiers_come_first_and_then_the_longest(shards: list[tuple[int, float]]) -> None:
    loads = [load(f"s-{n:02}", data=size, tier=tier) for n, (tier, size) in enumerate(shards)]
    forecasts = estimate_all(loads, NOTHING_KNOWN)
    order = soonest_end(zip(loads, forecasts, strict=True))
    assert sorted(order) == sorted(one.shard for one in loads)
    key = {one.shard: (one.tier, -total.total.seconds) for one, total in zip(loads, forecasts, strict=True)}
    assert all(key[a] <= key[b] for a, b in pairwise(order))


def check(found: Recovery, loads: list[Load], workers: int) -> None:
    """What holds of every recovery."""
    assert found.first.seconds <= found.half.seconds <= found.ninety.seconds <= found.last.seconds <= found.whole
    assert found.last.seconds >= max(alone(loads)) * 0.999999
    assert found.last.seconds >= work(loads) / workers * 0.999999
    for one in found.shards:
        assert one.back.seconds - one.began >= one.alone.seconds * 0.999999
        assert one.back.low <= one.back.seconds <= one.back.high


@given(
    st.lists(st.tuples(st.floats(1, 5000), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=25),
    st.integers(1, 9), st.builds(Limits, restores=st.integers(1, 9), store_tasks=st.integers(1, 4),
                                 network_tasks=st.integers(1, 3), host_tasks=st.integers(1, 3)),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_no_shard_is_faster_than_alone_and_no_recovery_than_its_work(
    shards: list[tuple[float, int, int]], workers: int, limits: Limits
) -> None:
    loads = [load(f"s-{n:02}", data=size, replicas=replicas, host=f"h{host}", network=f"n{host % 2}")
             for n, (size, replicas, host) in enumerate(shards)]  # fmt: skip
    check(simulate(loads, NOTHING_KNOWN, limits, workers), loads, workers)


def test_no_more_tasks_hold_a_resource_than_it_has_places() -> None:
    shards = [[Stage(0, 10.0, (0, 1), opens=True)] for _ in range(6)]
    played = play(shards, [Resource("store", "", 2), Resource("workers", "", 3)], 6)
    assert played.opened == [10, 10, 20, 20, 30, 30]
    assert played.waited_for[0] == 4
    assert played.busy == [60, 60]


def test_the_chart_of_a_large_fleet_is_one_small_file_with_both_colour_schemes() -> None:
    chart = plot(simulate(fleet(*range(100, 3100)), NOTHING_KNOWN, Limits(), 32))
    assert "prefers-color-scheme: dark" in chart
    assert "3,000 shards" in chart
    assert len(chart) < 100_000
