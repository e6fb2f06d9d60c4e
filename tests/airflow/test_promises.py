"""A task says that its run will miss its promise: in the log, as a metric, to whoever listens; and fails never for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from relight.fleet import Tier
from relight.overview.promises import Miss
from relight.planning.target import Target
from relight.site import Run, Site
from relight.steps.restore import restore_snapshot
from tests.airflow.test_operators import Log
from tests.overview import made
from tests.overview.conftest import Place, place

__all__ = ["place"]

RUN = Run(run_id="r", shard="a", target=Target(kind="latest"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Miss, Any]]:
    """What a listener has heard."""
    from relight_airflow import promises

    heard: list[tuple[Miss, Any]] = []
    monkeypatch.setattr(promises, "LISTENERS", [lambda miss, context: heard.append((miss, context))])
    return heard


def after_restore(site: Site, minutes: float) -> Log:
    """The end of step restore, so long after the run began; gives the log."""
    from relight_airflow import promises

    log = Log()
    context = {"dag_run": SimpleNamespace(start_date=datetime.now(UTC) - timedelta(minutes=minutes))}
    promises.after_step(restore_snapshot, site, RUN, context, log)
    return log


def test_who_listens_is_told_once_and_so_is_the_log(place: Place, told: list[tuple[Miss, Any]]) -> None:
    site = place("a", tiers=(Tier(tier=1, objective_minutes=60),))
    made.measured(site.store, replay_bytes_per_s=1000)
    made.plan(site.store, RUN, 40 * 60 * 1000)
    assert after_restore(site, 10).lines == []
    (line,) = after_restore(site, 30).lines
    assert "a: predicted to miss its promise: back after 1 h 10 min" in line
    assert after_restore(site, 40).lines == []
    ((miss, context),) = told
    assert (miss.shard, miss.objective) == ("a", 3600)
    assert context["dag_run"]


def test_that_it_cannot_be_told_is_said_and_stops_nothing(place: Place, told: list[tuple[Miss, Any]]) -> None:
    (line,) = after_restore(place("a", tiers=(Tier(tier=1, objective_minutes=60),)), 90).lines
    assert "whether the restore keeps its promise cannot be told: no such object in the store" in line
    assert told == []


def test_where_nothing_is_promised_nothing_is_looked_at(place: Place, told: list[tuple[Miss, Any]]) -> None:
    assert after_restore(place("a"), 10_000).lines == []
    assert told == []


def test_every_step_of_a_restore_has_the_name_of_its_records() -> None:
    from relight import recover
    from relight.forecast.work import BETWEEN, FIRST, FORESEEN
    from relight.steps.stepping import STEP_NAME

    names = {getattr(step, STEP_NAME) for step in recover.STEPS}
    # Replicas that are made before the opening are made by the same step as all others.
    assert set(FORESEEN) - {BETWEEN, FIRST} <= names
