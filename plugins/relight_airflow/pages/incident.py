"""The page *Incident*: restores while they run. It asks for news every few seconds and shows what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from relight.forecast.values import Span
from relight.overview.keeping import newest
from relight.reporting.incident import Incident, make_incident
from relight_airflow.pages.access import SEES_RESTORES, ReadableDags
from relight_airflow.pages.rendering import page, part
from relight_airflow.pages.runs import recent_runs
from relight_airflow.pages.site import site

router = APIRouter(dependencies=[SEES_RESTORES])

_MINUTE = 60


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
    return make_incident(recent_runs(dags, now), forecasts(), now)


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


def forecasts() -> Mapping[str, Span]:
    """Per shard, as the newest overview foresees it: looked up once a minute."""
    return _forecasts(int(datetime.now(UTC).timestamp() // _MINUTE))


@lru_cache(maxsize=1)
def _forecasts(_minute: int) -> Mapping[str, Span]:
    overview = newest(site().store, datetime.now(UTC))
    return {card.shard: card.forecast for card in overview.cards if card.forecast} if overview else {}
