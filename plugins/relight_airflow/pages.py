"""Pages that Airflow's API server serves, behind its login and its permissions on DAGs."""

from __future__ import annotations

import logging
from typing import Any

from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from relight.errors import RelightError
from relight.planning.target import Target
from relight.reporting.page import newest_page
from relight.site import Run
from relight_airflow.place import open_site

app = FastAPI(title="Relight")

_NOT_YET = (
    "<!doctype html><meta charset=utf-8><title>No report yet</title><body style='font:15px system-ui;margin:2rem'>"
    "<p>This run has no report yet. Task <code>report</code> writes it at the end, also after a failure.</p>"
)


@app.get("/report/{dag_id}/{run_id}", dependencies=[Depends(requires_access_dag("GET"))])
def report(dag_id: str, run_id: str) -> HTMLResponse:
    """The newest report of a run of ``restore`` or ``rehearse``."""
    shard = _shard_of(dag_id, run_id)
    if shard is None:
        raise HTTPException(404, "no such run, or none of a shard")
    run = Run(run_id=f"{dag_id}__{run_id}", shard=shard, target=Target(kind="latest"))
    try:
        page = newest_page(open_site(logging.getLogger(__name__)).store, run)
    except RelightError as error:
        raise HTTPException(503, error.with_hint()) from None
    return HTMLResponse(page or _NOT_YET)


def _shard_of(dag_id: str, run_id: str) -> str | None:
    with create_session() as session:
        conf: Any = session.scalar(select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return str(conf["shard"]) if isinstance(conf, dict) and conf.get("shard") else None
