"""The page *Incident*: restores while they run. It asks for news every few seconds and shows what has changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from relight.reporting.incident import Incident, make_incident
from relight_airflow.pages.access import SEES_RESTORES, ReadableDags
from relight_airflow.pages.foreseen import forecasts, foreseen
from relight_airflow.pages.rendering import page, part
from relight_airflow.pages.runs import recent_runs

router = APIRouter(dependencies=[SEES_RESTORES])


@router.get("/incident")
def incident(request: Request, dags: ReadableDags) -> HTMLResponse:
    """The whole page, as it is now; without scripts it stays so."""
    found = _now(dags)
    return page(request, "incident.html.j2", view="incident", incident=found, parts=_parts(request, found))


@router.get("/incident/data")
def data(request: Request, dags: ReadableDags) -> dict[str, Any]:
    """What the page is made of: HTML of each part, in order. ``active``: how many restores go on."""
    found = _now(dags)
    return {"active": found.active, "parts": _parts(request, found)}


def _now(dags: ReadableDags) -> Incident:
    now = datetime.now(UTC)
    runs = recent_runs(dags, now)
    return make_incident(runs, forecasts(), now, foreseen(runs))


def _parts(request: Request, found: Incident) -> list[tuple[str, str, str]]:
    """Where it stands, its name, its HTML."""

    def made(macro: str, **values: Any) -> str:
        return part(request, "live.html.j2", macro, **values)

    asking = [card for card in found.cards if card.asks]
    return [
        ("summary", "summary", made("summary", incident=found)),
        *(("people", card.key, made("question", card=card)) for card in asking),
        *(("runs", card.key, made("run", card=card)) for card in found.cards),
        *(("gantt", card.key, made("gantt", card=card)) for card in found.cards),
        ("axis", "axis", made("axis", incident=found)),
    ]
