"""The DAG files: they load, they are documented, and their order is the story's."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.airflow.conftest import PROJECT
from tests.airflow.fleets import fleet

DAG_IDS = {"restore", "rehearse", "rehearse_in_turn", "fence_check", "fleet_overview", "backup_full", "backup_binlogs"}


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from airflow.dag_processing.dagbag import DagBag

    path = tmp_path_factory.mktemp("fleet") / "fleet.yaml"
    document = fleet("shard-1", "shard-2").model_dump(mode="json", exclude_none=True)
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
    """The step functions of the DAG in their order, each once."""
    return list(dict.fromkeys(step for task in in_order(dag) if (step := step_of(task))))


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
        assert param.schema["type"] in ("string", "boolean", "integer"), name
        assert param.schema["title"], name
        assert param.description, name


def test_shards_are_chosen_from_the_fleet_file(bag: Any) -> None:
    def choices(dag_id: str) -> list[str]:
        return list(bag.dags[dag_id].params.get_param("shard").schema["enum"])

    assert choices("restore") == ["shard-1", "shard-2"]
    assert choices("rehearse") == ["shard-1", "shard-2"]
    assert choices("backup_full") == ["every shard", "shard-1", "shard-2"]


@pytest.mark.parametrize("dag_id", ["restore", "rehearse"])
def test_the_shard_is_never_guessed(bag: Any, dag_id: str) -> None:
    assert not bag.dags[dag_id].params.get_param("shard").has_value


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
    left_out = {recover.salvage, recover.promote, recover.announce, recover.rebuild_replica}
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


def test_a_dag_loads_without_a_fleet_file_so_that_its_first_task_can_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("RELIGHT_FLEET", "/nowhere/fleet.yaml")
    bag = DagBag()
    assert bag.import_errors == {}
    assert "enum" not in bag.dags["restore"].params.get_param("shard").schema
