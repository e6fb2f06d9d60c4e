"""The page *Rehearsals*: what is proved of the fleet, how long it takes, and whether sabotages are found."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from relight.fleet import Fleet
from relight.overview.card import Overview
from relight.overview.keeping import newest
from relight.rehearsal.history import coverage, load_history
from relight.reporting.page import WITHIN_DAYS
from relight.reporting.trends import make_trends
from relight_airflow.pages.access import SEES_REHEARSALS
from relight_airflow.pages.rendering import page
from relight_airflow.pages.site import shard_named, site

router = APIRouter(dependencies=[SEES_REHEARSALS])

_MOST = 40
"""The records of so many shards are read for one page; of a larger fleet those that were rehearsed last."""

_ROWS = 60
"""So many rehearsals are in the table."""


@router.get("/rehearsals")
def rehearsals(request: Request, shard: str = "") -> HTMLResponse:
    """The history of one shard, or of those that were rehearsed last."""
    here, now = site(), datetime.now(UTC)
    overview = newest(here.store, now)
    shard = shard.strip()
    names = [shard_named(here, shard).name] if shard else _rehearsed_last(here.fleet, overview)
    histories = load_history(here.store, here.fleet, names)
    found = sorted((one for each in histories for one in each.rehearsals), key=lambda one: one.ended, reverse=True)
    return page(
        request, "rehearsals.html.j2", view="rehearsals", fleet=here.fleet, shard=shard, histories=histories,
        trends=make_trends(histories, now, WITHIN_DAYS), covered=coverage(histories, now, WITHIN_DAYS),
        all_shown=len(names) == len(here.fleet.shards), newest=found[:_ROWS],
        more=len(found) - _ROWS,
    )  # fmt: skip


def _rehearsed_last(fleet: Fleet, overview: Overview | None) -> list[str]:
    if len(fleet.shards) <= _MOST:
        return [one.name for one in fleet.shards]
    known = {one.name for one in fleet.shards}
    proved = sorted(
        (-card.proved_at.timestamp(), card.shard) for card in (overview.cards if overview else ())
        if card.proved_at and card.shard in known
    )  # fmt: skip
    return [name for _, name in proved[:_MOST]] or [one.name for one in fleet.shards[:_MOST]]
