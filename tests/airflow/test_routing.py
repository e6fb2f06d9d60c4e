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
