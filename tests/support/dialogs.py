"""Airflow's own forms in a real browser, filled in as a person would: the trigger dialog of a DAG, a question's answer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect
from sqlalchemy import JSON, Boolean, Engine, bindparam, create_engine, text

from relight.credentials import Login
from relight.fleet import Fleet
from relight.lab.airflow_client import AirflowClient
from relight.lab.ports import free_ports
from tests.support.api_server import AIRFLOW, api_server, settings

USER, PASSWORD = "ada", "of a test"
SOON = 60_000


@dataclass
class Desk:
    """An Airflow whose forms can be filled in; nothing runs what they start."""

    url: str
    client: AirflowClient
    database: Engine

    def runs(self, dag_id: str) -> dict[str, dict[str, Any]]:
        """The conf of every run, by the run's id."""
        found = self.client.send("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        return {one["dag_run_id"]: one["conf"] for one in found}


def connection(login: Login) -> str:
    """A Connection to a store, as an environment variable holds it."""
    return json.dumps({"conn_type": "aws", "login": login.user, "password": login.password})


@contextmanager
def desk(home: Path, fleet: Fleet, **more: str) -> Iterator[Desk]:
    """An API server that knows the project's DAGs, with one account. ``more``: settings of its environment."""
    home.mkdir()
    (port,) = free_ports(1)
    (home / "fleet.json").write_text(fleet.model_dump_json(exclude_none=True), encoding="utf-8")
    passwords = home / "simple_auth_manager_passwords.json.generated"
    passwords.write_text(json.dumps({USER: PASSWORD}), encoding="ascii")
    environment = {
        **settings(home, port), "RELIGHT_FLEET": str(home / "fleet.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin", **more,
    }  # fmt: skip
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        subprocess.run([*AIRFLOW, *command], env=environment, cwd=home, check=True, capture_output=True)
    database = create_engine(environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with api_server(environment, home) as url, AirflowClient(url, USER, PASSWORD) as client:
        yield Desk(url, client, database)
    database.dispose()


@dataclass
class Dialog:
    """The open trigger dialog of a DAG. Fields are named by their titles' parameter, as the conf is."""

    page: Page

    @classmethod
    def of(cls, page: Page) -> Dialog:
        """Open it from the page of a DAG."""
        page.get_by_test_id("trigger-dag-button").or_(page.get_by_role("button", name="Trigger")).first.click()
        opened = cls(page)
        expect(opened.submit).to_be_visible(timeout=SOON)
        return opened

    @property
    def box(self) -> Locator:
        """All of it."""
        return self.page.get_by_role("dialog").first

    @property
    def submit(self) -> Locator:
        """The button that starts the run."""
        return self.box.get_by_role("button", name="Trigger", exact=True)

    def choose(self, name: str, value: str) -> None:
        """One of a list, or one more of several."""
        self._field(name, "[role=combobox]").fill(value)
        self.page.get_by_role("option", name=value, exact=True).first.click()

    def switch(self, name: str) -> None:
        """On or off."""
        self._field(name, "[data-part=control]").click()

    def fill(self, name: str, value: str) -> None:
        """Text or a number."""
        self._field(name, "input, textarea").fill(value)

    def change_my_mind(self) -> None:
        """Write into each empty field and take it out again."""
        for section in self._sections():
            self._open(section)
            for field in self.box.locator("input[name^=element_]").all():
                if field.is_visible() and field.get_attribute("type") in (None, "text") and not field.input_value():
                    field.fill("1")
                    field.fill("")

    def _field(self, name: str, inside: str) -> Locator:
        group = self.box.locator(f"[name=element_{name}]").first.locator("xpath=ancestor::*[@role='group'][1]")
        found = group.locator(inside).first
        for section in self._sections():
            if found.is_visible():
                break
            self._open(section)
        expect(found).to_be_visible()
        return found

    def _sections(self) -> list[Locator]:
        names = ("Run Parameters", "Exceptions")
        found = [self.box.get_by_role("button", name=name, exact=True) for name in names]
        return [one for one in found if one.count()]

    def _open(self, section: Locator) -> None:
        """One is open at a time."""
        if section.get_attribute("aria-expanded") == "false":
            section.click()
            expect(section).to_have_attribute("aria-expanded", "true")
            self.page.wait_for_timeout(300)  # it slides


def waiting(database: Engine, run_id: str, asking: Any) -> None:
    """Make a task of a run wait for a person. ``asking``: the operator, which knows what it would ask."""
    with database.begin() as db:
        there = {"run_id": run_id, "task": asking.task_id}
        state = "UPDATE task_instance SET state = 'awaiting_input', start_date = :at WHERE run_id = :run_id AND task_id = :task"
        db.execute(text(state), {**there, "at": f"{datetime.now(UTC):%F %T}"})
        question = (
            "INSERT INTO hitl_detail (ti_id, options, subject, body, defaults, multiple, params, assignees, created_at, "
            "params_input) SELECT id, :options, :subject, '', :defaults, :multiple, :params, '[]', :at, '{}' "
            "FROM task_instance WHERE run_id = :run_id AND task_id = :task"
        )
        typed = [bindparam(name, type_=JSON) for name in ("options", "defaults", "params")]
        db.execute(text(question).bindparams(*typed, bindparam("multiple", type_=Boolean)), {
            **there, "options": asking.options, "subject": asking.subject, "defaults": asking.defaults,
            "multiple": False, "params": asking.serialized_params, "at": f"{datetime.now(UTC):%F %T}",
        })  # fmt: skip
