"""The page *Restore*: pick shards and a point, see the plan and what would be lost, then start.

It only shows. What starts a run is Airflow's own API, called by the browser as the person who is signed in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from relight.backups.catalog import load_catalog
from relight.errors import RelightError
from relight.forecast.loads import databases_of, forecast_of_plan
from relight.incident.naming import incident_id, run_id
from relight.overview.health import WORDS
from relight.overview.keeping import newest
from relight.planning.resolve import make_plan
from relight.reporting.choice import PlanView, no_plan, plan_view, reachable
from relight.site import Site
from relight_airflow.pages.access import SEES_RESTORES, AccountName
from relight_airflow.pages.fleet import as_they_answer
from relight_airflow.pages.foreseen import speeds
from relight_airflow.pages.rendering import page, part
from relight_airflow.pages.runs import paused_dags
from relight_airflow.pages.site import site
from relight_airflow.request import read_request

router = APIRouter(dependencies=[SEES_RESTORES])

MOST_PLANNED = 12
"""So many shards are planned for one look; each has its catalog read. The others are planned by their own run."""

Shards = Annotated[list[str], Query()]


@router.get("/start")
def start(request: Request, account: AccountName, shard: Annotated[list[str] | None, Query()] = None) -> HTMLResponse:
    """The form, with the shards of the address chosen."""
    here, wanted = site(), [name.strip() for name in shard or () if name.strip()]
    overview = newest(here.store, datetime.now(UTC))
    cards = as_they_answer(here, overview).cards if overview else ()
    known = {one.name for one in here.fleet.shards}
    return page(
        request, "start.html.j2", view="start", fleet=here.fleet, chosen=set(wanted),
        dags=paused_dags("restore", "restore_fleet"), most=MOST_PLANNED,
        cards={card.shard: card for card in cards}, words=WORDS, account=account,
        unknown=[name[:80] for name in wanted if name not in known][:MOST_PLANNED],
    )  # fmt: skip


@router.get("/start/reach")
def reach(request: Request, shard: Shards) -> dict[str, Any]:
    """The lines of time of some shards, as HTML."""
    here, now = site(), datetime.now(UTC)
    lines = [_told(name, lambda name=name: reachable(_catalog(here, name), now)) for name in shard[:MOST_PLANNED]]  # type: ignore[misc] # mypy cannot infer a lambda with a default
    return {"html": part(request, "choice.html.j2", "lines", lines=lines)}


class Asked(BaseModel):
    """The fields of the form, as they stand in an address: parameters of DAG ``restore``."""

    target_kind: str = "latest"
    target_value: str = ""
    mode: str = "promote"
    skip_gtids: str = ""
    timeline: str = ""
    approval_reason: str = ""
    incident: str = ""


@router.get("/start/plan")
def plan(
    request: Request, account: AccountName, asked: Annotated[Asked, Depends()], shard: Shards,
    more: Annotated[int, Query(ge=0, le=10**6)] = 0,
) -> dict[str, Any]:  # fmt: skip
    """What a restore of each shard would do, as HTML. ``possible``: whether every plan that was made leads there.
    ``run_id``: what its run is called, empty where Airflow finds a name.

    ``more``: how many others are chosen. The names of thousands would not fit into an address.
    """
    here = site()
    views = [
        _told(name, lambda name=name: _plan(here, asked, name, account))  # type: ignore[misc] # the same
        for name in shard[:MOST_PLANNED]
    ]
    others, possible = more + len(shard) - len(views), bool(views) and not any(view.error for view in views)
    return {
        "html": part(request, "choice.html.j2", "plans", plans=views, more=others, mode=asked.mode),
        "possible": possible,
        "run_id": _run_id(asked.incident, shard, more) if possible else "",
    }


def _plan(here: Site, asked: Asked, shard: str, account: str) -> PlanView:
    if asked.incident.strip():
        incident_id(asked.incident)  # that it is a name is seen before anything is started
    params = {**asked.model_dump(exclude={"incident"}), "shard": shard}
    run, now = read_request(here.fleet, run_id="plan", params=params, requested_by=account), datetime.now(UTC)
    catalog = load_catalog(here.store, run.shard, parallel=here.fleet.store.parallel)
    made = make_plan(
        catalog, run.target, now, reserve=here.fleet.limits.disk_reserve, skip=run.skip, timeline=run.timeline
    )
    onto = run.server(here.fleet)
    foreseen = forecast_of_plan(made, databases_of(catalog, made), here.fleet, speeds(), onto=onto)
    return plan_view(made, onto.name, foreseen.total, now)


def _run_id(incident: str, shards: list[str], more: int) -> str:
    """The same that the command line gives it, so that asking twice is asking once."""
    if not incident.strip():
        return ""
    name = incident_id(incident)
    return name if len(shards) + more > 1 else run_id(name, shards[0])


def _catalog(here: Site, shard: str) -> Any:
    return load_catalog(here.store, here.fleet.shard(shard).name, parallel=here.fleet.store.parallel)


def _told(shard: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except RelightError as error:
        return no_plan(shard, error)
