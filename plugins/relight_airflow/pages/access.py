"""Who may see the pages: whoever Airflow lets see the DAGs that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends

SEES_RESTORES = Depends(requires_access_dag("GET", param_dag_id="restore"))
"""May look at DAG ``restore``: what lets a person see the fleet."""

SEES_REHEARSALS = Depends(requires_access_dag("GET", param_dag_id="rehearse"))
"""May look at DAG ``rehearse``."""

SEES_THE_RUN = Depends(requires_access_dag("GET"))
"""May look at the DAG that the page's address names as ``dag_id``."""


def readable_dags(user: GetUserDep) -> Sequence[str]:
    """The DAGs of which the person who asks may see runs."""
    manager: Any = get_auth_manager()
    return sorted(manager.get_authorized_dag_ids(user=user, method="GET"))


ReadableDags = Annotated[Sequence[str], Depends(readable_dags)]


def account_name(user: GetUserDep) -> str:
    """What Airflow calls the person who asks, and will call whoever starts a run."""
    return str(user.get_name())


AccountName = Annotated[str, Depends(account_name)]
