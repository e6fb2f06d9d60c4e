"""A real rehearsal leaves a timing, from which its own restore is forecast."""

from __future__ import annotations

import math
from collections.abc import Callable

from relight.forecast.estimate import estimate
from relight.forecast.learning import learn
from relight.forecast.timing import Timing
from relight.forecast.work import IN_ORDER
from relight.planning.target import Target
from relight.recover import recover
from relight.site import Run, Site
from relight.step_records import load_records
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.store import layout
from tests.support.servers import Servers

NOT_REHEARSED = {"salvage", "prepare", "replica_first", "promote"}


def test_a_rehearsal_leaves_a_timing_from_which_its_own_restore_is_forecast(
    servers: Servers, site: Callable[..., Site]
) -> None:
    source, scratch = servers.make("source"), servers.make("scratch", empty=True)
    scratch = scratch.model_copy(update={"hardware": "small"})
    place = site(source, scratch=scratch)
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(100))")
        take_snapshot(place, "shard-1")
        for number in range(200):
            session.run("INSERT INTO d.t VALUES (%s, 'text')", number)
        ship_segments(place, "shard-1")
    run = Run(run_id="run-1", shard="shard-1", target=Target(kind="latest"), mode="rehearse")
    recover(place, run)
    (entry,) = place.store.list(layout.TIMINGS)
    timing = Timing.model_validate_json(place.store.get(entry.key))
    assert (timing.run_id, timing.mode, timing.load.hardware) == ("run-1", "rehearse", "small")
    assert timing.load.data_bytes > 1_000_000
    assert timing.load.log_bytes > 10_000
    assert (timing.load.databases, timing.tables, timing.load.segments) == (1, 1, 1)
    assert {one.step for one in timing.steps} == set(IN_ORDER) - NOT_REHEARSED | {"between"}
    foreseen = estimate(timing.load, learn(place.store))
    records = load_records(place.store, run)
    took = (records[-1].ended - records[0].started).total_seconds()
    assert foreseen.learned_from == 1
    assert math.isfinite(foreseen.total.high)
    # Without what was never measured: no rehearsal salvages or promotes.
    known = foreseen.total.seconds - sum(s.span.seconds for s in foreseen.steps if s.step in NOT_REHEARSED)
    assert took / 3 < known < took * 3
