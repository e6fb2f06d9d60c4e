"""The report of a run, as its last step has written it: one document to print or to send."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from relight.reporting.page import newest_page
from relight_airflow.pages.access import SEES_THE_RUN
from relight_airflow.pages.foreseen import run_of
from relight_airflow.pages.runs import one_run
from relight_airflow.pages.site import site

router = APIRouter(dependencies=[SEES_THE_RUN])

_OWN_STYLE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'"
"""The report is one file, so its style stands in it."""


@router.get("/report/{dag_id}/{run_id}")
def report(dag_id: str, run_id: str) -> HTMLResponse:
    """The newest report of a run of ``restore`` or ``rehearse``."""
    found = one_run(dag_id, run_id)
    if found is None:
        raise HTTPException(404, "no such run, or none of a shard")
    written = newest_page(site().store, run_of(found))
    if written is None:
        raise HTTPException(404, "the run has no report yet: task report writes it at the end, also after a failure")
    return HTMLResponse(written, headers={"Content-Security-Policy": _OWN_STYLE})
