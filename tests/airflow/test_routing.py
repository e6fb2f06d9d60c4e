"""Each task goes to the worker of the machine that it touches, and the policy never fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.airflow.fleets import fleet

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
FLEET = fleet("shard-1", "shard-2")


@dataclass
class Task:
    task_id: str
    map_index: int = -1


@dataclass
class DagRun:
    dag_id: str
    conf: dict[str, Any] | None = field(default_factory=dict)
    run_after: datetime = NOW


@pytest.fixture
def fleet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(FLEET.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    monkeypatch.setenv("RELIGHT_FLEET", str(path))
    return path


def queue(task: Task, run: DagRun | None) -> str | None:
    from relight_airflow.routing import queue_of

    return queue_of(task, run)


@pytest.mark.parametrize(
    "task_id", ["plan", "guard", "restore_snapshot", "split", "replay", "judge", "promote", "report"]
)
def test_a_restore_works_on_the_machine_of_the_source(fleet_file: Path, task_id: str) -> None:
    assert queue(Task(task_id, 0), DagRun("restore", {"shard": "shard-2"})) == "shard-2-a"


def test_each_replica_is_rebuilt_on_its_own_machine(fleet_file: Path) -> None:
    run = DagRun("restore", {"shard": "shard-1"})
    assert [queue(Task("replicas", index), run) for index in (0, 1)] == ["shard-1-b", "shard-1-c"]


def test_a_rehearsal_works_on_the_machine_of_the_scratch_server(fleet_file: Path) -> None:
    assert queue(Task("replay", 3), DagRun("restore", {"shard": "shard-1", "mode": "rehearse"})) == "shard-1-x"
    assert queue(Task("replay", 3), DagRun("rehearse", {"shard": "shard-1"})) == "shard-1-x"


def test_logs_are_shipped_on_the_machine_of_the_source(fleet_file: Path) -> None:
    assert [queue(Task("ship", index), DagRun("backup_binlogs")) for index in (0, 1)] == ["shard-1-a", "shard-2-a"]


def test_backups_are_taken_on_the_machine_of_the_backup_server(fleet_file: Path) -> None:
    every, one = DagRun("backup_full"), DagRun("backup_full", {"shard": "shard-2"})
    assert [queue(Task("snapshot", index), every) for index in (0, 1)] == ["shard-1-b", "shard-2-b"]
    assert queue(Task("snapshot", 0), one) == "shard-2-b"


@pytest.mark.parametrize("task_id", ["check", "watcher", "databases", "approve"])
def test_a_task_that_touches_no_machine_does_not_wait_for_one(fleet_file: Path, task_id: str) -> None:
    assert queue(Task(task_id), DagRun("restore", {"shard": "shard-1"})) is None


def test_another_team_s_dag_is_left_alone(fleet_file: Path) -> None:
    assert queue(Task("plan"), DagRun("reports", {"shard": "shard-1"})) is None


@pytest.mark.parametrize(
    ("task", "run"),
    [
        (Task("plan"), None),
        (Task("plan"), DagRun("restore", {"shard": "shard-9"})),
        (Task("plan"), DagRun("restore", None)),
        (Task("snapshot", 7), DagRun("backup_full")),
        (Task("snapshot"), DagRun("backup_full")),
    ],
)
def test_what_has_no_answer_stays_on_the_default_queue(fleet_file: Path, task: Task, run: DagRun | None) -> None:
    assert queue(task, run) is None


def test_a_broken_fleet_file_does_not_stop_the_scheduler(fleet_file: Path) -> None:
    fleet_file.write_text("fleet: [", encoding="utf-8")
    assert queue(Task("plan"), DagRun("restore", {"shard": "shard-1"})) is None
    fleet_file.unlink()
    assert queue(Task("plan"), DagRun("restore", {"shard": "shard-1"})) is None


def test_a_changed_fleet_file_is_read_again(fleet_file: Path) -> None:
    run = DagRun("restore", {"shard": "shard-1"})
    assert queue(Task("plan"), run) == "shard-1-a"
    fleet_file.write_text(fleet_file.read_text().replace("queue: shard-1-a", "queue: elsewhere"), encoding="utf-8")
    assert queue(Task("plan"), run) == "elsewhere"


def pool(task: Task, run: DagRun | None) -> str | None:
    from relight_airflow.routing import pool_of

    return pool_of(task, run)


def test_tasks_of_many_restores_take_turns_at_store_network_and_machine(fleet_file: Path) -> None:
    run = DagRun("restore", {"shard": "shard-2", "fleet_run": "manual__1"})
    assert pool(Task("restore_snapshot"), run) == pool(Task("split", 3), run) == "relight_store"
    assert pool(Task("replicas", 1), run) == pool(Task("first_replicas", 0), run) == "relight_network_default"
    assert pool(Task("replay", 0), run) == pool(Task("validate", 0), run) == "relight_host_127.1.1.1"
    assert [pool(Task(name), run) for name in ("check", "plan", "promote", "report")] == [None] * 4


def test_a_restore_by_itself_needs_no_pool_which_might_not_exist(fleet_file: Path) -> None:
    assert pool(Task("restore_snapshot"), DagRun("restore", {"shard": "shard-2"})) is None
    assert pool(Task("restore_snapshot"), DagRun("restore", {"shard": "shard-2", "fleet_run": ""})) is None
    assert pool(Task("restore_snapshot"), DagRun("rehearse", {"shard": "shard-2", "fleet_run": "x"})) is None
    assert pool(Task("restore_snapshot"), None) is None


def test_every_pool_that_a_task_is_given_is_one_that_is_made(fleet_file: Path) -> None:
    from relight_airflow.pools import pools_for

    made = pools_for(FLEET, FLEET.shards)
    run = DagRun("restore", {"shard": "shard-1", "fleet_run": "x"})
    tasks = [
        Task(name, index)
        for name in ("restore_snapshot", "split", "replay", "validate", "replicas")
        for index in (0, 1)
    ]
    assert {pool(task, run) for task in tasks} <= set(made)
    assert made["relight_store"] == FLEET.limits.store_tasks


@pytest.mark.parametrize("queues", [3, 3000])
def test_thousands_of_shards_are_each_done_once_and_on_their_own_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queues: int
) -> None:
    from relight_airflow import work

    many = fleet(*(f"s-{n}" for n in range(3000)), scratch=False, replicas=0)
    shards = [
        one.model_copy(update={"source": one.source.model_copy(update={"queue": f"q-{n % queues}", "port": 1 + n})})
        for n, one in enumerate(many.shards)
    ]
    many = many.model_copy(update={"shards": tuple(shards)})
    path = tmp_path / "fleet.yaml"
    path.write_text(many.model_dump_json(exclude_none=True), encoding="utf-8")  # JSON is YAML
    monkeypatch.setenv("RELIGHT_FLEET", str(path))
    whole = work.shard_portions(many, "backup_binlogs", tuple(one.name for one in shards))
    assert sorted(key for portion in whole for key in portion["keys"]) == sorted(one.name for one in shards)
    lists = work.bands(many, "backup_binlogs")
    assert (lists, len(whole)) == ((1, 198) if queues == 3 else (3, 3000))
    for number in range(0, len(whole), 97):
        band, index = divmod(number, work.MOST_MAPPED)
        task = Task(work.with_band("ship", band), index)
        expected = {many.shard(key).source.queue for key in whole[number]["keys"]}
        assert {queue(task, DagRun("backup_binlogs"))} == expected
    assert queue(Task(work.with_band("ship", lists), 0), DagRun("backup_binlogs")) is None
    assert queue(Task(work.with_band("shards", lists - 1), 0), DagRun("backup_binlogs")) is None
