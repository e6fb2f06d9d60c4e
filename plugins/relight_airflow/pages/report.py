"""The report of a run, as its last step has written it: one document to print or to send."""

from __future__ import annotations

from typing import Any

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from relight.planning.target import Target
from relight.reporting.page import newest_page
from relight.site import Run
from relight_airflow.pages.access import SEES_THE_RUN
from relight_airflow.pages.site import site

router = APIRouter(dependencies=[SEES_THE_RUN])

_NOT_YET = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>No report yet</title><body>"
    "<p>This run has no report yet. Task <code>report</code> writes it at the end, also after a failure.</p>"
)
_OWN_STYLE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'"
"""The report is one file, so its style stands in it."""


@router.get("/report/{dag_id}/{run_id}")
def report(dag_id: str, run_id: str) -> HTMLResponse:
    """The newest report of a run of ``restore`` or ``rehearse``."""
    found = newest_page(site().store, run_of(dag_id, run_id))
    return HTMLResponse(found or _NOT_YET, headers={"Content-Security-Policy": _OWN_STYLE})


def run_of(dag_id: str, run_id: str) -> Run:
    """Where a run of Airflow keeps its objects. 404 if there is none, or none of a shard."""
    with create_session() as session:
        conf: Any = session.scalar(select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if not isinstance(conf, dict) or not conf.get("shard"):
        raise HTTPException(404, "no such run, or none of a shard")
    return Run(run_id=f"{dag_id}__{run_id}", shard=str(conf["shard"]), target=Target(kind="latest"))
