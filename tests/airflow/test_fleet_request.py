"""What a restore of many shards refuses before it touches anything, and what it asks of each run."""

from __future__ import annotations

from typing import Any

import pytest

from relight.errors import FleetError, RelightError, TargetError
from tests.airflow.fleets import fleet


def read(*, of: Any = fleet("shop-1", "shop-2"), **params: Any) -> Any:  # noqa: B008
    from relight_airflow.fleet_request import read_fleet_request

    given = {
        "incident": "INC 7", "shards": None, "pattern": "", "tier": None, "all_down": False, "target_kind": "latest",
        "target_value": "", "mode": "promote", "salvage": True, "approved_by": "", "approval_reason": "", **params,
    }  # fmt: skip
    return read_fleet_request(of, given)


def test_each_shard_s_run_is_asked_what_was_asked_of_all() -> None:
    from relight_airflow.request import read_request

    approval = {"approved_by": "Ann", "approval_reason": "seen"}
    asked = read(pattern="*", target_kind="time", target_value="2026-11-22T19:00:00Z", **approval)
    conf = asked.conf("shop-2", "manual__1")
    assert (asked.incident, conf["fleet_run"]) == ("INC-7", "manual__1")
    run = read_request(fleet("shop-1", "shop-2"), run_id="r", params=conf)
    assert (run.shard, str(run.target), run.approved_by) == ("shop-2", "time:2026-11-22T19:00:00+00:00", "Ann")


@pytest.mark.parametrize("nothing", [None, "", "  "], ids=["null", "empty", "blanks"])
def test_what_was_left_empty_says_nothing_of_many_either(nothing: str | None) -> None:
    empty = dict.fromkeys(("target_value", "approved_by", "approval_reason"), nothing)
    assert read(tier=1, pattern=nothing, **empty).target.kind == "latest"
    with pytest.raises(FleetError, match="no shards are chosen"):
        read(pattern=nothing)


def test_an_approval_of_many_is_given_by_whoever_is_signed_in() -> None:
    from relight_airflow.fleet_request import read_fleet_request
    from relight_airflow.request import read_request

    params = {"incident": "i", "tier": 1, "target_kind": "latest", "mode": "promote", "approval_reason": "seen"}
    conf = read_fleet_request(fleet("shop-1"), params, requested_by="ada").conf("shop-1", "")
    run = read_request(fleet("shop-1"), run_id="r", params=conf, requested_by="ada")
    assert (run.approved_by, run.approval_reason) == ("ada", "seen")


def test_a_run_of_many_is_asked_nothing_that_a_restore_does_not_know() -> None:
    from airflow.dag_processing.dagbag import DagBag

    assert set(read(tier=1).conf("shop-1", "")) <= set(DagBag().dags["restore"].params)


@pytest.mark.parametrize("kind", ["gtid", "before", "position"])
def test_a_target_of_one_shard_s_log_is_refused(kind: str) -> None:
    with pytest.raises(TargetError, match="not a target for several shards"):
        read(pattern="*", target_kind=kind, target_value="3e11fa47-71ca-11e1-9e33-c80aa9429562:7")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "no shards are chosen"),
        ({"shards": ["shop-9"]}, "unknown shards"),
        ({"pattern": "*", "incident": "  "}, "needs a name"),
        ({"pattern": "*", "target_kind": "time", "target_value": "yesterday"}, "yesterday"),
        ({"pattern": "*", "target_kind": "time"}, "no time given"),
        ({"pattern": "*", "target_value": "2026-11-22T19:00:00Z"}, "without a use"),
        ({"pattern": "*", "approved_by": "Ann"}, "half an approval"),
        (
            {"pattern": "*", "mode": "rehearse", "approved_by": "Ann", "approval_reason": "x"},
            "an approval without a use",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(params: dict[str, Any], said: str) -> None:
    with pytest.raises(RelightError, match=said):
        read(**params)


def test_a_rehearsal_of_many_names_those_that_have_no_scratch_server() -> None:
    with pytest.raises(FleetError, match=r"shop-1.*1 of 1"):
        read(of=fleet("shop-1", scratch=False), pattern="*", mode="rehearse")
    assert read(of=fleet("shop-1", scratch=False), pattern="*").mode == "promote"
