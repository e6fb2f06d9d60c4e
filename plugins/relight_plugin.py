"""What Relight adds to Airflow: pages of its own, a tab of each run, and deadlines that know the fleet file.

Airflow imports this file in every process, tasks included, so nothing that takes long is imported unless this is the
API server.
"""

from __future__ import annotations

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from relight_airflow import preload
from relight_airflow.deadline import RestoreObjective


def _apps() -> list[dict[str, Any]]:
    if sys.argv[1:2] != ["api-server"]:
        return []
    from relight_airflow.pages.app import app

    return [{"app": app, "url_prefix": "/relight", "name": "relight"}]


class RelightPlugin(AirflowPlugin):
    """The pages about the fleet, and the one of a run where people look for it."""

    name = "relight"
    listeners = [preload]  # noqa: RUF012 -- Airflow declares it as an attribute of instances
    fastapi_apps = _apps()
    deadline_references = [RestoreObjective]  # noqa: RUF012 -- Airflow declares it as an attribute of instances
    external_views = [  # noqa: RUF012 -- Airflow declares it as an attribute of instances
        {
            "name": "Relight", "href": "relight/fleet", "destination": "nav", "url_route": "relight",
            "nav_top_level": True,
        },
        {
            "name": "Relight", "href": "relight/run/{DAG_ID}/{RUN_ID}", "destination": "dag_run",
            "url_route": "relight-run", "category": "relight",
        },
    ]  # fmt: skip
