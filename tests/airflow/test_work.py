"""How work is divided among mapped tasks."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.planning.target import Target
from relight.site import Run

RUN = Run(run_id="r", shard="shard-1", target=Target(kind="latest"))


@given(st.integers(min_value=1, max_value=3000))
def test_every_item_is_done_once_and_in_order_by_at_most_200_tasks(count: int) -> None:
    from relight_airflow.work import TASKS, portions

    made = portions([(i, f"file {i}") for i in range(count)], nothing="none")
    assert list(chain.from_iterable(portion["keys"] for portion in made)) == list(range(count))
    assert len(made) == min(count, TASKS)
    sizes = [len(portion["keys"]) for portion in made]
    assert max(sizes) - min(sizes) <= 1


def test_nothing_to_do_is_still_one_task_so_that_what_follows_is_not_skipped() -> None:
    from relight_airflow.work import databases, lane_groups, portions, segments

    assert portions([], nothing="no segments") == [{"keys": [], "part": "no segments"}]
    assert len(segments(None, RUN, {"files": []})) == 1
    assert len(lane_groups(None, RUN, {"groups": []})) == 1
    assert len(databases(RUN, {"databases": []})) == 1


def test_a_task_is_named_for_what_it_works_on() -> None:
    from relight_airflow.work import databases, lane_groups, portions, segments

    groups: list[dict[str, Any]] = [{"number": 0, "label": "shard-1/orders"}, {"number": 1, "label": "shard-1/stock"}]
    assert lane_groups(None, RUN, {"groups": groups}) == [
        {"keys": [0], "part": "shard-1/orders"},
        {"keys": [1], "part": "shard-1/stock"},
    ]
    assert segments(None, RUN, {"files": ["binlog.000001"]}) == [{"keys": [0], "part": "binlog.000001"}]
    assert databases(RUN, {"databases": ["orders"]})[0]["part"] == "shard-1/orders"
    assert portions([(i, f"d{i}") for i in range(401)], nothing="")[0]["part"] == "d0 and 1 more"


@pytest.mark.parametrize("count", [0, 2])
def test_replicas_are_in_the_order_of_the_fleet_file(count: int) -> None:
    from relight_airflow.work import replicas
    from tests.airflow.fleets import fleet

    class Site:
        fleet = None

    site = Site()
    site.fleet = fleet("shard-1", replicas=count)
    made = replicas(site, RUN, {})
    assert [portion["keys"] for portion in made] == ([[]] if count == 0 else [["shard-1-b"], ["shard-1-c"]])
