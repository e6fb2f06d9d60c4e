"""Airflow for the tests: its settings must stand before anything imports it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.lab.executors import Local
from relight.lab.services import Services

PROJECT = Path(__file__).resolve().parents[2]
HOME = Path(tempfile.mkdtemp(prefix="relight-airflow-"))

os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(PROJECT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(PROJECT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
)
# Airflow does this for its own processes.
sys.path.append(str(PROJECT / "plugins"))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Airflow writes its settings and logs there."""
    yield
    shutil.rmtree(HOME, ignore_errors=True)


UNSCHEDULED = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}
"""Settings of an Airflow that begins no run by itself: else what the tests see would depend on the time of day."""

_ONLY = os.environ.get("RELIGHT_TEST_DATABASE")
"""The database of every Airflow, where it is set: see ``make test-databases``."""
DATABASES = [_ONLY] if _ONLY else ["sqlite", "postgresql"]
"""For modules that are run on each."""


def executor_on(database: str, services: Services) -> Local:
    """Tasks are run by the scheduler; Airflow's database is ``sqlite`` or ``postgresql``."""
    return Local({"sqlite": None, "postgresql": services}[database])


@pytest.fixture(scope="module")
def executor(request: pytest.FixtureRequest, services: Services) -> Local:
    """On the database that the module names as ``DATABASE``."""
    return executor_on(_ONLY or request.module.DATABASE, services)
