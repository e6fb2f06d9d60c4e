"""A restore that touches nothing and takes its time: for measuring what Airflow itself costs a large fleet.

The DAG is called ``restore`` too and has the most important of its tasks, so ``restore_fleet`` drives it, and queues
and pools are given, as in earnest. The DAG file is ``simulated_dag.py``, which ``relight bench fleet`` copies.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import chain

from relight.incident.outcome import RunReport
from relight.site import Run
from relight_airflow import request
from relight_airflow.failures import plain_errors
from relight_airflow.operators import CHECK, RelightOperator
from relight_airflow.place import fleet, open_site

TIMES = "RELIGHT_SIMULATED_TIMES"
"""Names the JSON file with the seconds of each shard's tasks: ``{"shard": {"replay": 2.5}}``."""

SLEEPING = ("restore_snapshot", "replay", "validate")


class SimulatedCheckOperator(RelightOperator):
    """Reads the request, as ``check`` of a restore does."""

    def execute(self, context: Any) -> dict[str, Any]:
        """The run."""
        dag_run = context["dag_run"]
        with plain_errors(self.log):
            name = f"{dag_run.dag_id}__{dag_run.run_id}"
            return request.read_request(fleet(), run_id=name, params=context["params"]).model_dump(mode="json")


class SimulatedStepOperator(RelightOperator):
    """Sleeps as long as the step would have taken, scaled down."""

    def execute(self, context: Any) -> float:
        """The seconds."""
        run = Run.model_validate(context["ti"].xcom_pull(task_ids=CHECK))
        seconds = float(json.loads(Path(os.environ[TIMES]).read_text(encoding="utf-8"))[run.shard][self.task_id])
        time.sleep(seconds)
        return seconds


class SimulatedReportOperator(RelightOperator):
    """Leaves a report in the store, as far as ``restore_fleet`` reads it."""

    def execute(self, context: Any) -> None:
        """Write it."""
        ti, now = context["ti"], datetime.now(UTC)
        run = Run.model_validate(ti.xcom_pull(task_ids=CHECK))
        seconds = sum(ti.xcom_pull(task_ids=list(SLEEPING)))
        report = RunReport(problems=(), seconds=seconds, reaches=now, data_loss_window_s=0)
        with plain_errors(self.log):
            key = f"{run.folder_key}/report-{now:%Y%m%dT%H%M%S%fZ}.json"
            open_site(self.log).store.put(key, report.model_dump_json().encode("utf-8"))


def simulated_tasks() -> None:
    """Add the tasks of a simulated restore to the current DAG: five."""
    steps = [SimulatedStepOperator(task_id=name) for name in SLEEPING]
    chain(SimulatedCheckOperator(task_id=CHECK), *steps, SimulatedReportOperator(task_id="report"))
