"""A restore that is asked for twice is one restore, and never another one than was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from relight.airflow_api.orders import Order, Placed, differences, place, place_many
from relight.airflow_api.states import RunState
from relight.cli.via_airflow import _say
from relight.errors import AirflowConflict, FleetError
from relight.gtid import GtidSet
from relight.planning.target import Target

GTID = "3e11fa47-71ca-11e1-9e33-c80aa9429562:23"


def order(target: str = "latest", **changed: Any) -> Order:
    return Order(incident="inc-7", shard="shard-1", target=Target.parse(target), **changed)


class Airflow:
    """Stands for Airflow: keeps runs by their id, each once."""

    def __init__(self, *, paused: bool = False) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.paused = {"restore", "restore_fleet"} if paused else set()
        self.state = "running"

    def is_paused(self, dag: str) -> bool:
        return dag in self.paused

    def unpause(self, dag: str) -> None:
        assert dag in self.paused, "an account that may not do this must not need it"
        self.paused.remove(dag)

    def start(self, _dag: str, conf: dict[str, Any], *, run_id: str) -> str:
        if run_id in self.runs:
            raise AirflowConflict("there is one")
        self.runs[run_id] = conf
        return run_id

    def run(self, dag: str, run_id: str) -> RunState:
        return RunState(run_id, self.state, (), dag, self.runs[run_id])


def test_the_second_order_joins_the_restore_of_the_first() -> None:
    api: Any = Airflow(paused=True)
    name = "inc-7__shard-1"
    assert place(api, order()) == Placed(dag_id="restore", run_id=name, joined=False, unpaused=("restore",))
    assert place(api, order()) == Placed(dag_id="restore", run_id=name, joined=True)
    assert list(api.runs) == [name]


@pytest.mark.parametrize("state", ["success", "failed"])
def test_who_joins_a_restore_that_is_over_is_told_that_nothing_is_restored_again(
    state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shard may have been lost once more since."""
    api: Any = Airflow()
    place(api, order())
    api.state = state
    placed = place(api, order())
    assert (placed.joined, placed.over) == (True, state)
    _say(placed, "")
    assert "nothing is restored again by it" in capsys.readouterr().err


def test_what_was_started_with_curl_is_joined_too() -> None:
    api: Any = Airflow()
    api.start("restore", {"shard": "shard-1"}, run_id="inc-7__shard-1")
    assert place(api, order()).joined


@pytest.mark.parametrize("nothing", [None, " "], ids=["null", "blanks"])
def test_what_was_started_with_airflows_form_is_joined_too(nothing: str | None) -> None:
    api: Any = Airflow()
    empty = dict.fromkeys(("target_value", "skip_gtids", "approved_by", "approval_reason"), nothing)
    api.start("restore", {"shard": "shard-1", **empty}, run_id="inc-7__shard-1")
    assert place(api, order()).joined


def test_another_restore_of_the_same_name_is_not_joined() -> None:
    api: Any = Airflow()
    place(api, order())
    with pytest.raises(AirflowConflict, match="target_kind is 'latest' there, 'before' here") as caught:
        place(api, order(f"before:{GTID}"))
    assert "mode" not in caught.value.why


def test_a_target_fills_both_fields_of_the_form() -> None:
    conf = order(f"before:{GTID}").conf()
    assert (conf["target_kind"], conf["target_value"]) == ("before", GTID)
    assert not differences(conf, dict(conf))


def test_several_shards_are_one_run_that_is_called_like_the_incident() -> None:
    api: Any = Airflow(paused=True)
    shards = ["shard-1", "shard-2"]
    placed = place_many(api, order("time:2026-11-22T19:00:00Z"), shards)
    assert (placed.dag_id, placed.run_id, placed.joined) == ("restore_fleet", "inc-7", False)
    assert set(placed.unpaused) == {"restore", "restore_fleet"}, "a run of many starts runs of the other"
    conf = api.runs["inc-7"]
    assert (conf["incident"], conf["shards"], conf["target_kind"]) == ("inc-7", shards, "time")
    assert place_many(api, order("time:2026-11-22T19:00:00Z"), shards).joined
    with pytest.raises(AirflowConflict, match="shards is"):
        place_many(api, order("time:2026-11-22T19:00:00Z"), ["shard-1", "shard-3"])


def test_what_belongs_to_one_shard_is_not_asked_of_several() -> None:
    api: Any = Airflow()
    with pytest.raises(FleetError, match="transactions belong to one shard"):
        place_many(api, order(skip=GtidSet.parse(GTID)), ["a", "b"])
    assert not api.runs
