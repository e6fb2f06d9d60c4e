"""The page *Restore*: pick shards and a point, see the plan and what would be lost, then start.

It only shows. What starts a run is Airflow's own API, called by the browser as the person who is signed in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from relight.backups.catalog import load_catalog
from relight.errors import RelightError
from relight.overview.keeping import newest
from relight.planning.resolve import make_plan
from relight.reporting.choice import PlanView, no_plan, plan_view, reachable
from relight.site import Site
from relight_airflow.pages.access import SEES_RESTORES
from relight_airflow.pages.foreseen import forecasts
from relight_airflow.pages.rendering import page, part
from relight_airflow.pages.site import site
from relight_airflow.request import read_request

router = APIRouter(dependencies=[SEES_RESTORES])

MOST_PLANNED = 12
"""So many shards are planned for one look; each has its catalog read. The others are planned by their own run."""

Shards = Annotated[list[str], Query()]


@router.get("/start")
def start(request: Request, shard: Annotated[list[str] | None, Query()] = None) -> HTMLResponse:
    """The form, with the shards of the address chosen."""
    here = site()
    overview = newest(here.store, datetime.now(UTC))
    return page(
        request, "start.html.j2", view="start", fleet=here.fleet, chosen=set(shard or ()), dags=_dags(),
        most=MOST_PLANNED, cards={card.shard: card for card in overview.cards} if overview else {},
    )  # fmt: skip


@router.get("/start/reach")
def reach(request: Request, shard: Shards) -> dict[str, Any]:
    """The lines of time of some shards, as HTML."""
    here, now = site(), datetime.now(UTC)
    lines = [_told(name, lambda name=name: reachable(_catalog(here, name), now)) for name in shard[:MOST_PLANNED]]  # type: ignore[misc] # mypy cannot infer a lambda with a default
    return {"html": part(request, "choice.html.j2", "lines", lines=lines)}


@router.get("/start/plan")
def plan(
    request: Request, shard: Shards, target_kind: str = "latest", target_value: str = "", mode: str = "promote",
    more: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:  # fmt: skip
    """What a restore of each shard would do, as HTML. ``possible``: whether every plan that was made leads there.

    ``more``: how many others are chosen. The names of thousands would not fit into an address.
    """
    here = site()
    params = {"target_kind": target_kind, "target_value": target_value, "mode": mode}
    views = [
        _told(name, lambda name=name: _plan(here, {**params, "shard": name}))  # type: ignore[misc] # the same
        for name in shard[:MOST_PLANNED]
    ]
    others = more + len(shard) - len(views)
    return {
        "html": part(request, "choice.html.j2", "plans", plans=views, more=others, mode=mode),
        "possible": bool(views) and not any(view.error for view in views),
    }


def _plan(here: Site, params: dict[str, str]) -> PlanView:
    run, now = read_request(here.fleet, run_id="plan", params=params), datetime.now(UTC)
    made = make_plan(
        _catalog(here, run.shard), run.target, now, reserve=here.fleet.limits.disk_reserve, timeline=run.timeline
    )
    return plan_view(made, run.server(here.fleet).name, forecasts().get(run.shard), now)


def _catalog(here: Site, shard: str) -> Any:
    return load_catalog(here.store, here.fleet.shard(shard).name, parallel=here.fleet.store.parallel)


def _told(shard: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except RelightError as error:
        return no_plan(shard, error)


def _dags() -> dict[str, bool]:
    """The DAGs that bring shards back, and whether each is paused."""
    wanted = select(DagModel.dag_id, DagModel.is_paused).where(
        DagModel.dag_id.in_(("restore", "restore_fleet")), DagModel.is_stale.is_(False)
    )
    with create_session() as session:
        return {str(dag): bool(paused) for dag, paused in session.execute(wanted)}
