"""What tasks inherit from the process that they are forked from: else each of them imports it all anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.conftest import PROJECT
from tests.airflow.fleets import fleet

SCRIPT = """
import json, sys
sys.argv = ["airflow", *sys.argv[1:]]
import airflow
from relight_airflow import preload
preload.on_starting(None)
sys.modules.get("celery.signals") and sys.modules["celery.signals"].import_modules.send(sender=None)
before = set(sys.modules)
from pkgutil import resolve_name
from airflow.dag_processing.dagbag import DagBag
tasks = [task for dag in DagBag().dags.values() for task in dag.tasks]
named = [task.partial_kwargs.get("step") if task.is_mapped else getattr(task, "step", None) for task in tasks]
steps = sorted({name for name in named if name})
for name in steps:
    resolve_name(name)
from relight.credentials import Login
from relight.store.s3 import open_store
from relight_airflow.place import _read, fleet
open_store(fleet().store, Login("a", "b"))
later = [name for name in set(sys.modules) - before if name.startswith(("relight", "boto", "numba", "pydantic"))]
print(json.dumps({
    "later": sorted(later), "steps": steps, "read": _read.cache_info().misses,
    "pages": [name for name in sys.modules if name.startswith("relight_airflow.pages")],
}))
"""


def loaded(tmp_path: Path, *command: str) -> dict[str, Any]:
    """What a process that was started by ``airflow COMMAND`` still loads when it parses the DAGs and does their steps."""
    path = tmp_path / "fleet.json"
    path.write_text(fleet("shard-1").model_dump_json(exclude_none=True), encoding="utf-8")
    environment = {
        **os.environ, "RELIGHT_FLEET": str(path), "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "PYTHONPATH": str(PROJECT / "plugins"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command], check=False, capture_output=True, text=True, env=environment,
        timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("command", ["scheduler", "dag-processor", "celery worker"])
def test_a_task_finds_everything_loaded_by_the_process_that_it_is_forked_from(tmp_path: Path, command: str) -> None:
    found = loaded(tmp_path, *command.split())
    assert found["later"] == []
    assert len(found["steps"]) > 15
    assert found["read"] == 1, "the fleet file is read once, by the parent"
    assert found["pages"] == []


def test_commands_that_run_no_tasks_do_not_wait_for_that(tmp_path: Path) -> None:
    assert "relight.steps.restore" in loaded(tmp_path, "triggerer")["later"]
