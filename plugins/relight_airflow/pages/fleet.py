"""The page *Fleet*: every shard on an ordinary day."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from relight.overview.keeping import newest
from relight.reporting.board import make_board
from relight_airflow.pages.access import SEES_RESTORES
from relight_airflow.pages.rendering import page
from relight_airflow.pages.site import site

router = APIRouter(dependencies=[SEES_RESTORES])


@router.get("/fleet")
def fleet(request: Request) -> HTMLResponse:
    """All shards, from the newest overview in the store."""
    here, now = site(), datetime.now(UTC)
    overview = newest(here.store, now)
    board = make_board(overview, now) if overview else None
    return page(request, "fleet.html.j2", view="fleet", fleet=here.fleet.fleet, overview=overview, board=board)
