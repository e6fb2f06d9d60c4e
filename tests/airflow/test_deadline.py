"""The deadline of a restore is that of its shard's tier, in Airflow's own database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from relight.fleet import Tier
from tests.airflow.conftest import PROJECT
from tests.airflow.fleets import fleet

MAKES_RUNS = """
import json, sys
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.deadline import Deadline
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.timetables.base import DataInterval
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from airflow._shared.timezones import timezone
from sqlalchemy import select

bag = DagBag(dag_folder=sys.argv[1])
assert not bag.import_errors, bag.import_errors
with create_session() as session:
    from airflow.models.dagbundle import DagBundleModel
    session.merge(DagBundleModel(name="dags-folder"))
sync_bag_to_db(bag, "dags-folder", None)
with create_session() as session:
    dag = SerializedDagModel.get("restore", session=session).dag
    for number, conf in enumerate(json.loads(sys.argv[2])):
        dag.create_dagrun(
            run_id=f"r{number}", run_after=timezone.utcnow(), conf=conf, run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST, state=DagRunState.QUEUED, session=session,
        )
with create_session() as session:
    found = session.execute(
        select(DagRun.run_id, DagRun.queued_at, Deadline.deadline_time).join(Deadline, Deadline.dagrun_id == DagRun.id)
    )
    print("DEADLINES", json.dumps({run: (due - queued).total_seconds() for run, queued, due in found}))
"""


def made_runs(folder: Path, confs: list[dict[str, str]]) -> dict[str, float]:
    """Makes these runs of DAG restore in a database of their own; gives the seconds each has, if it has a deadline."""
    tiers = (Tier(tier=1, objective_minutes=45), Tier(tier=3, objective_minutes=120))
    document = fleet("shard-1", "shard-2", "shard-3").model_copy(update={"tiers": tiers})
    shards = [shard.model_copy(update={"tier": n}) for n, shard in enumerate(document.shards, start=1)]
    document = document.model_copy(update={"shards": tuple(shards)})
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(document.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    environment = {
        **os.environ, "AIRFLOW_HOME": str(folder), "RELIGHT_FLEET": str(file),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "PYTHONPATH": os.pathsep.join([str(PROJECT / "plugins"), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MAKES_RUNS, str(PROJECT / "dags"), json.dumps(confs)], env=environment, text=True,
        capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("DEADLINES ")]
    return dict(json.loads(line.removeprefix("DEADLINES ")))


def test_each_run_has_the_deadline_of_its_tier_and_none_where_nothing_is_promised(tmp_path: Path) -> None:
    found = made_runs(tmp_path, [
        {"shard": "shard-1", "mode": "promote"}, {"shard": "shard-2", "mode": "promote"},
        {"shard": "shard-3", "mode": "promote"}, {"shard": "shard-1", "mode": "rehearse"},
    ])  # fmt: skip
    assert found == {"r0": 45 * 60, "r2": 120 * 60}


def test_a_fleet_file_that_cannot_be_read_means_no_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from relight_airflow.deadline import objective_of

    file = tmp_path / "fleet.yaml"
    monkeypatch.setenv("RELIGHT_FLEET", str(file))
    assert objective_of("shard-1", "promote") is None
    known = fleet("shard-1").model_copy(update={"tiers": (Tier(tier=1, objective_minutes=45),)})
    file.write_text(yaml.safe_dump(known.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    assert objective_of("shard-1", "promote") == timedelta(minutes=45)
