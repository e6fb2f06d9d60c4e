"""The page *Fleet*: every shard on an ordinary day, and which are down or being restored at this moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from relight.overview.card import Overview
from relight.overview.health import NOW, WORDS
from relight.overview.keeping import newest
from relight.reporting.board import make_board
from relight.site import Site
from relight_airflow.pages.access import SEES_RESTORES, ReadableDags
from relight_airflow.pages.answering import ANSWERING
from relight_airflow.pages.rendering import page, part
from relight_airflow.pages.runs import restoring
from relight_airflow.pages.site import site

router = APIRouter(dependencies=[SEES_RESTORES])

_MARKS = "marks.html.j2"


@router.get("/fleet")
def fleet(request: Request, dags: ReadableDags) -> HTMLResponse:
    """All shards, from the newest overview in the store. What is newer is asked for by the page itself."""
    here, now = site(), datetime.now(UTC)
    overview = newest(here.store, now)
    board = make_board(as_they_answer(here, overview), now, restoring(dags)) if overview else None
    return page(request, "fleet.html.j2", view="fleet", fleet=here.fleet.fleet, overview=overview, board=board, now=NOW)


@router.get("/fleet/now")
def at_this_moment(request: Request, dags: ReadableDags) -> dict[str, Any]:
    """``shards``: those that are down or being restored: state and cell, as HTML, by name. ``usual``: the cell of each
    health, for those that are so no longer. ``asked``: whether the servers were, else the overview says who is down."""
    here, now = site(), datetime.now(UTC)
    overview = newest(here.store, now)
    found = make_board(as_they_answer(here, overview), now, restoring(dags)).rows if overview else ()
    urgent = [row for row in found if row.state in NOW]
    return {
        "asked": ANSWERING.down(here.fleet) is not None,
        "shards": {row.card.shard: [row.state, part(request, _MARKS, "state", row=row)] for row in urgent},
        "usual": {
            name: part(request, _MARKS, "mark", kind=name, word=WORDS[name]) for name in WORDS if name not in NOW
        },
    }


def as_they_answer(here: Site, overview: Overview) -> Overview:
    """The overview, with what is known of the servers since."""
    down = ANSWERING.down(here.fleet)
    if down is None:
        return overview
    cards = (card.model_copy(update={"down": card.shard in down}) for card in overview.cards)
    return overview.model_copy(update={"cards": tuple(cards)})
