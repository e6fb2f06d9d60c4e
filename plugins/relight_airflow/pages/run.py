"""The page *Run*: one restore or rehearsal, while it goes on and after that; also a tab of the run in Airflow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from relight.errors import ObjectMissing
from relight.reporting.incident import RunCard, make_incident
from relight.reporting.page import newest_report, values_of
from relight_airflow.pages.access import SEES_THE_RUN
from relight_airflow.pages.foreseen import forecasts, foreseen, run_of
from relight_airflow.pages.rendering import page, part
from relight_airflow.pages.runs import is_paused, one_run
from relight_airflow.pages.site import site

router = APIRouter(dependencies=[SEES_THE_RUN])


@router.get("/run/{dag_id}/{run_id}")
def run(request: Request, dag_id: str, run_id: str) -> HTMLResponse:
    """Where it is, what it took, what was proved."""
    card = _card(dag_id, run_id)
    report = newest_report(site().store, run_of(card.now))
    values = values_of(report) if report else {"report": None}
    return page(request, "run.html.j2", card=card, parts=_parts(request, card), paused=is_paused(dag_id), **values)


@router.get("/run/{dag_id}/{run_id}/data")
def data(request: Request, dag_id: str, run_id: str) -> dict[str, Any]:
    """The parts of the page that change while the run goes on."""
    card = _card(dag_id, run_id)
    return {"active": int(card.kind in ("running", "waiting", "queued")), "parts": _parts(request, card)}


@router.get("/run/{dag_id}/{run_id}/certificate")
def certificate(dag_id: str, run_id: str) -> Response:
    """The signed certificate, as the store has it."""
    mine, store = run_of(_card(dag_id, run_id).now), site().store
    report = newest_report(store, mine)
    if report is None or not report.certificate:
        raise HTTPException(404, "the run has no certificate")
    try:
        content = store.get(report.certificate)
    except ObjectMissing:
        raise HTTPException(404, "the certificate is gone from the store") from None
    name = f"{mine.shard}-{report.certificate.rpartition('/')[2]}"
    return Response(
        content, media_type="application/json", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _card(dag_id: str, run_id: str) -> RunCard:
    found = one_run(dag_id, run_id)
    if found is None:
        raise HTTPException(404, "no such run, or none of a shard")
    (card,) = make_incident([found], forecasts(), datetime.now(UTC), foreseen([found])).cards
    return card


def _parts(request: Request, card: RunCard) -> list[tuple[str, str, str]]:
    asks = [("people", card.key, part(request, "live.html.j2", "question", card=card))] if card.asks else []
    return [
        ("runs", card.key, part(request, "live.html.j2", "run", card=card)), *asks,
        ("next", "next", part(request, "live.html.j2", "next", card=card)),
        ("tasks", "tasks", part(request, "live.html.j2", "tasks", card=card)),
    ]  # fmt: skip
