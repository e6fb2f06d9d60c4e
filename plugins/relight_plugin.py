"""What Relight adds to Airflow: the report, as a tab of each run; and deadlines that know the fleet file.

Airflow imports this file in every process, tasks included, so nothing that takes long is imported unless this is the
API server.
"""

from __future__ import annotations

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from relight_airflow.deadline import RestoreObjective


def _apps() -> list[dict[str, Any]]:
    if sys.argv[1:2] != ["api-server"]:
        return []
    from relight_airflow.pages import app

    return [{"app": app, "url_prefix": "/relight", "name": "relight"}]


class RelightPlugin(AirflowPlugin):
    """The report of a run, where people look for it."""

    name = "relight"
    fastapi_apps = _apps()
    deadline_references = [RestoreObjective]  # noqa: RUF012 -- Airflow declares it as an attribute of instances
    external_views = [  # noqa: RUF012 -- Airflow declares it as an attribute of instances
        {
            "name": "Relight report", "href": "relight/report/{DAG_ID}/{RUN_ID}", "destination": "dag_run",
            "url_route": "relight-report", "category": "relight",
        }
    ]  # fmt: skip
