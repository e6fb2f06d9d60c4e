"""Pictures of the pages, from the lab that the demo has left running: a rehearsal goes on while they are taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx

from relight.errors import LabError
from relight.incident.naming import fresh_name
from relight.lab.airflow import LabAirflow
from relight.lab.airflow_client import AirflowClient
from relight.lab.browser import ARGUMENTS, find_browser
from relight.lab.place import Place
from relight.progress import Progress
from relight.server.environment import child_environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PATIENCE = 300
_AT_WORK = ("replay",)
"""Tasks of a rehearsal during which there is something to be seen."""


@dataclass(frozen=True)
class Shot:
    """One picture: of which page, how it is looked at."""

    name: str
    path: str
    scheme: Literal["light", "dark"] = "light"
    width: int = 1180
    height: int = 720
    until: str = "h1"
    """What must be there first, as a CSS selector."""


def take(place: Place, shard: str, folder: Path, progress: Progress) -> list[Path]:
    """Rehearse a shard and take pictures meanwhile; gives the files.

    :raises LabError: there is no Airflow running, or the rehearsal does not begin.
    """
    airflow = LabAirflow.of(place)
    client = airflow.client()
    folder.mkdir(exist_ok=True)
    progress.say("screenshots: looking over the fleet (DAG fleet_overview)")
    client.wait("fleet_overview", client.trigger("fleet_overview", {}), timeout=_PATIENCE)
    with _browser() as browser:
        session = _session(airflow)
        made = [_take(browser, client.url, session, shot, folder) for shot in (
            Shot("fleet", "fleet"), Shot("start", f"start?shard={shard}", height=1000),
        )]  # fmt: skip
        run_id = fresh_name("screenshots")
        progress.say(f"screenshots: rehearsing {shard}")
        client.trigger("rehearse", {"shard": shard}, run_id=run_id)
        _wait_for_work(client, run_id)
        made.append(
            _take(browser, client.url, session, Shot("incident", "incident", "dark", until=".lane progress"), folder)
        )
        client.wait("rehearse", run_id, timeout=_PATIENCE)
        run_page = Shot("run", f"run/rehearse/{run_id}", width=390, height=844)
        made.append(_take(browser, client.url, session, run_page, folder))
    return made


def _wait_for_work(client: AirflowClient, run_id: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        run = client.run("rehearse", run_id)
        if run.over:
            return
        if any(task.state == "running" and task.task_id in _AT_WORK for task in run.tasks):
            return
        time.sleep(0.3)
    raise LabError("the rehearsal does not begin", on=run_id, hint=f"look at it: {client.run_page('rehearse', run_id)}")


@contextmanager
def _browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 -- of the tests, and not installed everywhere

    found = find_browser(Place.find())
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=str(found.program), args=list(ARGUMENTS), env={**child_environment(found.environment)}
        )


def _session(airflow: LabAirflow) -> str:
    user, password = airflow.login
    answer = httpx.post(f"{airflow.url}/auth/token", json={"username": user, "password": password}, timeout=60)
    if answer.is_error:
        raise LabError("Airflow refused the login", on=airflow.url, why=str(answer.status_code))
    return str(answer.json()["access_token"])


def _take(browser: Browser, url: str, session: str, shot: Shot, folder: Path) -> Path:
    context = browser.new_context(viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme)
    context.add_cookies([{"name": "_token", "value": session, "url": url}])
    page = context.new_page()
    page.goto(f"{url}/relight/{shot.path}")
    page.locator(shot.until).first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)  # for what the page asks for itself
    file = folder / f"{shot.name}.png"
    page.screenshot(path=str(file))
    context.close()
    return file
