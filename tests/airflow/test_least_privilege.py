"""The README's smallest roles, in an Airflow with the FAB auth manager: they may what they are for, and nothing else."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.airflow_api.client import AirflowApi
from relight.credentials import Login
from relight.errors import AirflowRefused
from relight.lab.ports import free_ports
from tests.airflow.conftest import PROJECT
from tests.airflow.fleets import fleet
from tests.support.api_server import AIRFLOW, api_server, settings

pytestmark = pytest.mark.timeout(400)

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
COMMANDS = """
import json, sys
from airflow.cli.cli_parser import get_parser
for arguments in json.load(sys.stdin):
    parsed = get_parser().parse_args(arguments)
    parsed.func(parsed)
"""
PASSWORD = "of a test"
Asked = tuple[str, str, object]
RUN = "/api/v2/dags/restore/dagRuns/INC-1__shop-1"


def readme_roles() -> list[list[str]]:
    """The commands with which the README makes the roles."""
    lines = re.findall(r"^\$ airflow (roles .*)$", (PROJECT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) > 5
    return [shlex.split(line) for line in lines]


def user(name: str, role: str) -> list[str]:
    person = ["--username", name, "--password", PASSWORD, "--firstname", "A", "--lastname", "B", "--email", f"{name}@x"]
    return ["users", "create", "--role", role, *person]


@pytest.fixture(scope="module")
def url(watched: Path) -> Iterator[str]:
    """An API server with its own accounts; nothing runs what it is asked to start."""
    home, (port,) = watched / "fab", free_ports(1)
    home.mkdir()
    (home / "fleet.json").write_text(fleet("shop-1").model_dump_json(exclude_none=True), encoding="utf-8")
    environment = {
        **settings(home, port), "AIRFLOW__CORE__AUTH_MANAGER": FAB, "RELIGHT_FLEET": str(home / "fleet.json"),
    }  # fmt: skip
    subprocess.run([*AIRFLOW, "db", "migrate"], env=environment, cwd=home, check=True, capture_output=True)
    commands = [
        ["dags", "reserialize"], *readme_roles(), user("pager", "relight_trigger"), user("admin", "Admin"),
        user("person", "relight_trigger"), ["users", "add-role", "--username", "person", "--role", "relight_operator"],
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS], input=json.dumps(commands), env=environment, cwd=home, check=False, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with api_server(environment, home) as address:
        with AirflowApi(address, Login("admin", PASSWORD)) as admin:
            for dag in ("restore", "rehearse"):
                admin.unpause(dag)
        yield address


def refused(api: AirflowApi, asked: Asked) -> bool:
    """Whether the account may not do it. That there is nothing to do it to is no refusal."""
    try:
        api.send(*asked)
    except AirflowRefused as error:
        if "403" in str(error):
            return True
        if "404" not in str(error):
            raise
    return False


def started(incident: str) -> Asked:
    body = {"logical_date": None, "dag_run_id": f"{incident}__shop-1", "conf": {"shard": "shop-1"}}
    return "POST", "/api/v2/dags/restore/dagRuns", body


STARTING: dict[str, Asked] = {
    "see whether it is paused": ("GET", "/api/v2/dags/restore", None),
    "unpause": ("PATCH", "/api/v2/dags/restore", {"is_paused": False}),
    "follow": ("GET", RUN, None),
    "see tasks": ("GET", f"{RUN}/taskInstances", None),
    "see logs": ("GET", f"{RUN}/taskInstances/check/logs/1", None),
}
DECIDING: dict[str, Asked] = {
    "answer": ("PATCH", f"{RUN}/taskInstances/approve/-1/hitlDetails", {"chosen_options": ["Keep closed"], "params_input": {}}),
    "clear": ("POST", "/api/v2/dags/restore/clearTaskInstances", {"dry_run": True, "dag_run_id": "INC-1__shop-1"}),
    "mark as failed": ("PATCH", RUN, {"state": "failed"}),
}  # fmt: skip
NEVER: dict[str, Asked] = {
    "start another DAG": ("POST", "/api/v2/dags/rehearse/dagRuns", {"logical_date": None, "conf": {"shard": "shop-1"}}),
    "see another DAG's runs": ("GET", "/api/v2/dags/rehearse/dagRuns", None),
    "pause another DAG": ("PATCH", "/api/v2/dags/rehearse", {"is_paused": True}),
    "delete a run": ("DELETE", RUN, None),
    "see Connections": ("GET", "/api/v2/connections", None),
    "see Variables": ("GET", "/api/v2/variables", None),
    "change Variables": ("POST", "/api/v2/variables", {"key": "a", "value": "b"}),
    "change pools": ("POST", "/api/v2/pools", {"name": "a", "slots": 1}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("account", "may", "may_not"), [("pager", STARTING, DECIDING | NEVER), ("person", STARTING | DECIDING, NEVER)]
)
def test_a_role_of_the_readme_may_what_it_is_for_and_nothing_else(
    url: str, account: str, may: dict[str, Asked], may_not: dict[str, Asked]
) -> None:
    with AirflowApi(url, Login("admin", PASSWORD)) as admin:
        if not any(
            run["dag_run_id"] == "INC-1__shop-1" for run in admin.send("GET", RUN.rpartition("/")[0])["dag_runs"]
        ):
            admin.send(*started("INC-1"))
    may = {**may, "start": started(f"by-{account}")}
    with AirflowApi(url, Login(account, PASSWORD)) as api:
        denied = {what: refused(api, asked) for what, asked in (may_not | may).items()}
    assert denied == dict.fromkeys(may_not, True) | dict.fromkeys(may, False)
