"""The DAG files: they load, they are documented, and their order is the story's."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.airflow.conftest import PROJECT
from tests.airflow.fleets import fleet

DAG_IDS = {
    "restore", "restore_fleet", "rehearse", "rehearse_in_turn", "fence_check", "fleet_overview", "backup_full",
    "backup_binlogs",
}  # fmt: skip


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from airflow.dag_processing.dagbag import DagBag

    path = tmp_path_factory.mktemp("fleet") / "fleet.yaml"
    document = fleet("shard-1", "shard-2").model_dump(mode="json", exclude_none=True)
    document["limits"]["rehearsals"] = 3
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELIGHT_FLEET", str(path))
        yield DagBag()


def in_order(dag: Any) -> list[Any]:
    """The tasks from first to last, ties in the order in which the file adds them."""
    done: list[Any] = []
    waiting = list(dag.tasks)
    while waiting:
        ready = next(t for t in waiting if t.upstream_task_ids <= {d.task_id for d in done})
        waiting.remove(ready)
        done.append(ready)
    return done


def step_of(task: Any) -> str | None:
    found = task.partial_kwargs.get("step") if task.is_mapped else getattr(task, "step", None)
    return str(found) if found else None


def steps(dag: Any) -> list[str]:
    """The step functions of the DAG in their order; once where one follows itself."""
    return [step for step, _ in groupby(filter(None, map(step_of, in_order(dag))))]


def function(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_file_loads(bag: Any) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == DAG_IDS


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_a_person_in_an_incident_finds_a_runbook_an_owner_and_the_dag_by_its_tag(bag: Any, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    assert len(dag.doc_md) > 300
    assert dag.description
    assert "relight" in dag.tags
    assert dag.owner == "database operations"


@pytest.mark.parametrize("path", sorted((PROJECT / "dags").glob("*.py")), ids=lambda path: path.name)
def test_dag_files_hold_parameters_and_order_only(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 100
    assert not any(line.lstrip().startswith(("def ", "class ", "import relight.", "from relight.")) for line in lines)


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_parameter_has_a_type_a_title_and_an_explanation(bag: Any, dag_id: str) -> None:
    for name, param in bag.dags[dag_id].params.items():
        types = param.schema["type"] if isinstance(param.schema["type"], list) else [param.schema["type"]]
        assert set(types) <= {"string", "boolean", "integer", "number", "array", "null"}, name
        assert param.schema["title"], name
        assert param.description, name


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_what_must_be_said_is_open_in_the_form_and_what_is_rarely_needed_is_folded(bag: Any, dag_id: str) -> None:
    folded = {name for name, param in bag.dags[dag_id].params.items() if param.schema.get("section")}
    rare = {
        "restore": {"skip_gtids", "timeline", "salvage", "approved_by", "approval_reason", "fleet_run"},
        "restore_fleet": {"salvage", "approved_by", "approval_reason"},
    }  # fmt: skip
    assert folded == rare.get(dag_id, set())


def test_the_command_line_takes_for_granted_what_the_form_does(bag: Any) -> None:
    from relight.airflow_api.orders import _DEFAULTS, Order
    from relight.planning.target import Target

    form = bag.dags["restore"].params
    assert {name: form[name] for name in form if name not in ("shard", "fleet_run")} == dict(_DEFAULTS)
    conf = Order(incident="i", shard="shard-1", target=Target(kind="latest")).conf()
    assert conf == {"shard": "shard-1", **_DEFAULTS}


def test_so_many_rehearsals_go_on_at_once_as_the_fleet_file_says(bag: Any) -> None:
    assert bag.dags["rehearse"].max_active_runs == 3


@pytest.mark.parametrize("dag_id", ["restore", "restore_fleet", "rehearse"])
def test_people_are_told_of_the_end_of_a_run(bag: Any, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    assert dag.has_on_success_callback
    assert dag.has_on_failure_callback


def test_shards_are_chosen_from_the_fleet_file(bag: Any) -> None:
    def choices(dag_id: str) -> list[str]:
        return list(bag.dags[dag_id].params.get_param("shard").schema["enum"])

    assert choices("restore") == ["shard-1", "shard-2"]
    assert choices("rehearse") == ["shard-1", "shard-2"]
    assert choices("backup_full") == ["every shard", "shard-1", "shard-2"]


@pytest.mark.parametrize("dag_id", ["restore", "rehearse"])
def test_the_shard_is_never_guessed(bag: Any, dag_id: str) -> None:
    assert not bag.dags[dag_id].params.get_param("shard").has_value


def test_many_shards_are_chosen_from_the_fleet_file_too(bag: Any) -> None:
    assert bag.dags["restore_fleet"].params.get_param("shards").schema["examples"] == ["shard-1", "shard-2"]
    assert not bag.dags["restore_fleet"].params.get_param("incident").has_value, "it is never guessed"


def test_as_many_restores_may_run_as_the_fleet_file_allows(bag: Any) -> None:
    assert bag.dags["restore"].max_active_runs == 16


def test_the_task_that_waits_for_many_restores_holds_no_worker(bag: Any) -> None:
    conduct = bag.dags["restore_fleet"].get_task("conduct")
    assert conduct.mode == "reschedule"
    assert [task.task_id for task in in_order(bag.dags["restore_fleet"])] == ["check", "choose", "conduct", "report"]


def test_every_kind_of_sabotage_can_be_chosen(bag: Any) -> None:
    from relight.sabotage import SABOTAGES

    choices = bag.dags["rehearse"].params.get_param("sabotage").schema["enum"]
    assert choices == ["in turn", "none", *SABOTAGES]


def test_a_person_is_asked_between_the_judgement_and_the_signature(bag: Any) -> None:
    approve = bag.dags["restore"].get_task("approve")
    assert approve.upstream_task_ids == {"judge"}
    assert approve.downstream_task_ids == {"certify"}
    assert approve.defaults == ["Keep closed"], "who does not answer has not approved"
    assert approve.response_timeout


def test_the_restore_dag_tells_the_same_story_as_the_library(bag: Any) -> None:
    from relight import recover

    found = [function(step) for step in steps(bag.dags["restore"])]
    assert found == [step for step in recover.STEPS if step is not recover.drill]


def test_a_rehearsal_has_no_step_that_could_promote(bag: Any) -> None:
    from relight import recover

    found = [function(step) for step in steps(bag.dags["rehearse"])]
    left_out = {recover.salvage, recover.prepare, recover.promote, recover.announce, recover.rebuild_replica}
    assert found == [step for step in recover.STEPS if step not in left_out]


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_step_that_a_task_names_exists(bag: Any, dag_id: str) -> None:
    assert all(callable(function(step)) for step in steps(bag.dags[dag_id]))


@pytest.mark.parametrize("dag_id", ["restore", "rehearse"])
def test_clean_up_does_not_turn_a_failed_run_green(bag: Any, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    (leaf,) = (task for task in dag.tasks if not task.downstream_task_ids)
    assert leaf.task_id == "watcher"
    assert leaf.trigger_rule == "one_failed"
    lenient = {task.task_id for task in dag.tasks if task.trigger_rule == "all_done"}
    assert lenient == {"tear_down", "report"}
    assert lenient < leaf.upstream_task_ids
    # The strict chain reaches the watcher too, so that a failure anywhere in it does.
    assert leaf.upstream_task_ids - lenient <= {"replicas", "announce", "drill"}


@pytest.mark.parametrize("dag_id", ["restore", "rehearse"])
def test_lanes_and_databases_have_names_in_the_grid(bag: Any, dag_id: str) -> None:
    mapped = {task.task_id: task.partial_kwargs for task in bag.dags[dag_id].tasks if task.is_mapped}
    assert {"split", "replay", "validate"} <= set(mapped)
    assert all("part" in kwargs["map_index_template"] for kwargs in mapped.values())


def test_one_check_at_a_time_so_that_two_runs_cannot_both_claim_a_server(bag: Any) -> None:
    assert bag.dags["restore"].get_task("check").max_active_tis_per_dag == 1


def test_a_mistake_in_the_code_is_not_tried_five_times(bag: Any) -> None:
    from airflow.sdk import RetryAction
    from airflow.sdk.exceptions import AirflowException

    policy = bag.dags["restore"].get_task("plan").retry_policy
    assert policy.evaluate(TypeError("a mistake"), 1, 4).action == RetryAction.FAIL
    for passing in (AirflowException("store away"), ConnectionResetError(), SystemExit(143)):
        assert policy.evaluate(passing, 1, 4).action == RetryAction.RETRY


@pytest.mark.parametrize(
    ("dag_id", "task_id"), [("restore", "replay"), ("rehearse", "replay"), ("backup_full", "snapshot")]
)
def test_who_died_with_its_machine_goes_on_soon_and_a_store_may_be_away_for_minutes(
    bag: Any, dag_id: str, task_id: str
) -> None:
    task = bag.dags[dag_id].get_task(task_id)
    assert task.retry_exponential_backoff
    delays = [task.retry_delay.total_seconds() * 2**n for n in range(task.retries)]
    assert delays[0] <= 5
    assert 120 < sum(delays) < 600


def test_a_dag_loads_without_a_fleet_file_so_that_its_first_task_can_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("RELIGHT_FLEET", "/nowhere/fleet.yaml")
    bag = DagBag()
    assert bag.import_errors == {}
    assert "enum" not in bag.dags["restore"].params.get_param("shard").schema
