"""A restore that will miss its promise is said to, once, while it can still be helped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relight.errors import ObjectMissing
from relight.fleet import Tier
from relight.forecast.values import Forecast, Span, StepForecast
from relight.forecast.work import IN_ORDER
from relight.overview.promises import Miss, foresee, missed, still_to_come, watch
from relight.planning.target import Target
from relight.site import Run, Site
from relight.store.parallel import in_parallel
from tests.overview import made
from tests.overview.conftest import Place

RUN = Run(run_id="r", shard="a", target=Target(kind="latest"))
BEGAN = datetime(2026, 11, 24, 3, tzinfo=UTC)


def foreseen(**seconds: float) -> Forecast:
    spans = {step: Span(seconds=s, low=s / 2, high=2 * s) for step, s in seconds.items()}
    steps = tuple(StepForecast(step=step, span=span) for step, span in spans.items())
    return Forecast(shard="a", total=spans["restore"], steps=steps, learned_from=5)


FORECAST = foreseen(plan=10, restore=600, split=300, replay=1000, validate=200, promote=20)


def test_what_is_left_are_the_steps_behind_and_of_those_side_by_side_the_longest() -> None:
    assert still_to_come(FORECAST, "plan").seconds == 600 + 1000 + 220
    assert still_to_come(FORECAST, "restore").seconds == 1000 + 220
    assert still_to_come(FORECAST, "split").seconds == 220
    assert still_to_come(FORECAST, "replay").seconds == 220
    assert still_to_come(FORECAST, "promote").seconds == 0


def test_time_between_steps_is_left_in_the_share_of_the_steps_that_are() -> None:
    forecast = foreseen(restore=600, between=10 * len(IN_ORDER))
    assert still_to_come(forecast, IN_ORDER[-1]).seconds == 0
    assert still_to_come(forecast, IN_ORDER[-4]).seconds == pytest.approx(30)


@pytest.mark.parametrize(("elapsed", "said"), [(100, False), (1770, False), (1790, True)])
def test_a_miss_is_predicted_from_what_has_passed_and_what_is_left(elapsed: float, said: bool) -> None:
    miss = missed(RUN, FORECAST, "restore", elapsed, 3000)
    assert (miss is not None) == said
    if miss is not None:
        assert miss.predicted.seconds == elapsed + 1220
        assert "19 min more than foreseen" in str(miss)
        assert "step replay alone is foreseen to take 16 min" in str(miss)


def after(site: Site, step: str, minutes: float, run: Run = RUN) -> Miss | None:
    return watch(site, run, step, BEGAN, BEGAN + timedelta(minutes=minutes))


@pytest.fixture
def site(place: Place) -> Site:
    """Promised: an hour. Replaying takes 40 minutes, everything else a few seconds."""
    made_site = place("a", tiers=(Tier(tier=1, objective_minutes=60),))
    made.measured(made_site.store, replay_bytes_per_s=1000)
    made.plan(made_site.store, RUN, 40 * 60 * 1000)
    return made_site


def test_it_is_said_as_soon_as_it_is_known_and_only_once(site: Site) -> None:
    assert after(site, "salvage", 90) is None, "nothing is known before there is a plan"
    assert after(site, "plan", 1) is None
    assert after(site, "restore", 15) is None
    miss = after(site, "restore", 25)
    assert miss is not None
    assert (miss.shard, miss.run_id, miss.objective) == ("a", "r", 3600)
    assert 3900 < miss.predicted.seconds < 4000
    assert after(site, "replay", 80) is None
    assert Miss.model_validate_json(site.store.get(f"{RUN.folder_key}/predicted-miss.json")) == miss


def test_of_many_tasks_at_the_same_moment_one_says_it(site: Site) -> None:
    found = in_parallel(lambda _: after(site, "replay", 70), range(8), 8)
    assert sum(miss is not None for miss in found) == 1


def test_the_forecast_of_a_run_stays_what_it_was_when_it_was_planned(site: Site) -> None:
    first = foresee(site, RUN)
    made.measured(site.store, replay_bytes_per_s=1, other_seconds=99)
    assert foresee(site, RUN) == first


def test_nothing_is_promised_of_rehearsals_and_of_tiers_without_an_objective(site: Site, place: Place) -> None:
    assert after(site, "replay", 600, RUN.model_copy(update={"mode": "rehearse"})) is None
    assert after(place("a"), "replay", 600) is None, "nothing is even read: that store has no plan"


def test_steps_that_do_not_hold_up_the_opening_are_not_looked_at(site: Site) -> None:
    assert after(site, "replica", 600) is None
    assert after(site, "announce", 600) is None


def test_a_run_without_a_plan_says_so(place: Place) -> None:
    with pytest.raises(ObjectMissing):
        after(place("a", tiers=(Tier(tier=1, objective_minutes=60),)), "plan", 1)
