"""The simulated fleet: its arithmetic, and once for real, small."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.bench.fleet_made_up import made_up, made_up_fleet
from relight.bench.fleet_results import answers, ideal, most_at_once
from relight.fleet import StoreSettings
from relight.fleet_file import load_fleet

AT = datetime(2026, 11, 22, tzinfo=UTC)


@given(st.lists(st.floats(0, 100), min_size=1), st.integers(1, 9))
def test_no_schedule_is_shorter_than_the_ideal(seconds: list[float], at_once: int) -> None:
    found = ideal(seconds, at_once)
    assert found >= max(seconds)
    assert found >= sum(seconds) / at_once - 1e-6
    assert found <= sum(seconds) + 1e-6


def test_what_begins_as_another_ends_is_not_beside_it() -> None:
    def span(begin: int, end: int) -> tuple[datetime, datetime]:
        return AT + timedelta(seconds=begin), AT + timedelta(seconds=end)

    assert most_at_once([span(0, 2), span(2, 4), span(1, 3)]) == 2
    assert most_at_once([]) == 0


def test_answers_in_short() -> None:
    assert answers([3, 1, 2]).model_dump() == {"calls": 3, "median_ms": 2, "p95_ms": 2, "worst_ms": 3}


def test_a_made_up_fleet_is_the_same_each_time_and_thousands_are_read_in_a_second(tmp_path: Path) -> None:
    shards = made_up(2000, speedup=60)
    assert shards == made_up(2000, speedup=60)
    fleet = made_up_fleet(shards, StoreSettings(bucket="made-up"), at_once=8)
    path = tmp_path / "fleet.yaml"
    path.write_text(fleet.model_dump_json(exclude_none=True), encoding="utf-8")
    began = time.process_time()
    assert load_fleet(path) == fleet
    assert time.process_time() - began < 5


@pytest.mark.timeout(400)
def test_a_fleet_is_restored_through_a_real_airflow_and_what_that_costs_is_told(tmp_path: Path) -> None:
    relight, kept = Path(sys.executable).parent / "relight", tmp_path / "fleet.json"
    asked = ["bench", "fleet", "--shards", "3", "--at-once", "2", "--speedup", "600", "--json", "--save", str(kept)]
    done = subprocess.run([relight, *asked], text=True, capture_output=True, check=False, timeout=380)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads(kept.read_text())
    assert (found["shards"], found["done"], found["failed"], found["tasks_per_restore"]) == (3, 3, 0, 5)
    assert found["most_at_once"] == 2
    assert found["in_store_pool"] == 3, "the scheduler uses the pools that the cluster policy gives"
    assert found["wall_s"] > found["ideal_s"] > 0
    assert found["overhead_per_shard_s"] > 0
