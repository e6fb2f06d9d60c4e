"""Announcing in a Connection of a real Airflow: its API server runs here, on a database of its own."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from relight.credentials import EnvironmentCredentials
from relight.errors import AnnounceFailed, AnnounceUnavailable, CredentialsMissing, FleetError
from relight.lab.ports import free_ports
from tests.announcing.endpoints import endpoint
from tests.support.api_server import AIRFLOW, api_server, settings

pytestmark = pytest.mark.timeout(300)


@dataclass
class Airflow:
    """A running API server and the database behind it."""

    home: Path
    url: str

    @property
    def passwords(self) -> dict[str, str]:
        path = self.home / "simple_auth_manager_passwords.json.generated"
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def stored(self, connection_id: str) -> dict[str, Any]:
        """The Connection as it lies in the database, with what the API masks; empty where there is none."""
        with sqlite3.connect(self.home / "airflow.db") as database:
            database.row_factory = sqlite3.Row
            row = database.execute("SELECT * FROM connection WHERE conn_id = ?", (connection_id,)).fetchone()
        return dict(row) if row else {}

    def make(self, connection_id: str, **values: Any) -> None:
        """A Connection as somebody has made it by hand."""
        login = {"username": "admin", "password": self.passwords["admin"]}
        token = httpx.post(f"{self.url}/auth/token", json=login).json()["access_token"]
        body = {"connection_id": connection_id, "conn_type": "mysql", **values}
        answer = httpx.post(
            f"{self.url}/api/v2/connections", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        assert answer.is_success, answer.text


@pytest.fixture(scope="module")
def airflow(watched: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("airflow")
    (port,) = free_ports(1)
    environment = {
        **settings(home, port),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,guest:viewer",
        "AIRFLOW__CORE__FERNET_KEY": "",  # so that a test can read what is stored
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "no-plugins"),
    }
    subprocess.run([*AIRFLOW, "db", "migrate"], env=environment, cwd=home, check=True, capture_output=True)
    with api_server(environment, watched, "--apps", "core") as url:
        yield Airflow(home, url)


def announcer(airflow: Airflow, connection_id: str, *, user: str = "admin", password: str | None = None) -> Any:
    from relight.announcing.settings import AirflowConnectionAnnounce
    from relight_airflow.connection import ConnectionAnnouncer

    login = {
        "RELIGHT_AIRFLOW_USER": user,
        "RELIGHT_AIRFLOW_PASSWORD": airflow.passwords[user] if password is None else password,
    }
    settings = AirflowConnectionAnnounce(kind="airflow_connection", connection_id=connection_id)
    return ConnectionAnnouncer(settings, EnvironmentCredentials(login), url=airflow.url)


def test_host_and_port_change_and_all_else_stays(airflow: Airflow) -> None:
    extra = {"charset": "utf8mb4", "ssl": {"ca": "/etc/ca.pem"}, "api_token": "hunter2"}
    airflow.make(
        "shop", host="lost.example.net", port=3307, login="shop", password="s3cret", schema="orders",
        description="the shop", extra=json.dumps(extra),
    )  # fmt: skip
    for _ in range(2):
        announcer(airflow, "shop").announce(endpoint())
        found = airflow.stored("shop")
        assert (found["host"], found["port"]) == ("shop-1a.example.net", 3306)
        kept = [found[name] for name in ("conn_type", "login", "password", "schema", "description")]
        assert kept == ["mysql", "shop", "s3cret", "orders", "the shop"]
        told = json.loads(found["extra"])
        relight = told.pop("relight")
        assert told == extra, "also what the API shows masked"
        assert (relight["shard"], relight["epoch"], relight["open"]) == ("shard-1", 3, True)
        assert "gtids" not in relight


def test_a_connection_that_does_not_exist_is_made(airflow: Airflow) -> None:
    announcer(airflow, "made").announce(endpoint())
    found = airflow.stored("made")
    assert (found["conn_type"], found["host"], found["port"]) == ("mysql", "shop-1a.example.net", 3306)
    assert (found["login"], found["password"]) == (None, None)


def test_withdrawn_it_leads_nowhere_and_certainly_not_to_the_own_machine(airflow: Airflow) -> None:
    one = announcer(airflow, "withdrawn")
    one.announce(endpoint())
    for _ in range(2):
        one.withdraw(endpoint())
        found = airflow.stored("withdrawn")
        assert found["host"] == "closed.invalid"
        assert json.loads(found["extra"])["relight"]["open"] is False
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(found["host"], found["port"])
    one.announce(endpoint())
    assert airflow.stored("withdrawn")["host"] == "shop-1a.example.net"


@pytest.mark.parametrize("again", ["announce", "withdraw"])
def test_what_is_newer_or_another_shard_is_left_alone(airflow: Airflow, again: str) -> None:
    one = announcer(airflow, f"newer-{again}")
    one.announce(endpoint(4, host="newer.example.net"))
    for changed, why in (
        (endpoint(3), "epoch 4 of shard-1 is published"),
        (endpoint(5, shard="s2"), "it holds shard-1"),
    ):
        with pytest.raises(AnnounceFailed, match=why) as refused:
            getattr(one, again)(changed)
        assert refused.value.on == f"Connection newer-{again}"
    assert airflow.stored(f"newer-{again}")["host"] == "newer.example.net"


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [("admin", "wr0ng-password", "POST /auth/token: 401"), ("guest", None, "/api/v2/connections/.*: 403")],
)
def test_an_account_that_may_not_is_refused_and_its_password_not_repeated(
    airflow: Airflow, user: str, password: str | None, said: str
) -> None:
    with pytest.raises(AnnounceFailed, match=said) as refused:
        announcer(airflow, "forbidden", user=user, password=password).announce(endpoint())
    assert not refused.value.retryable
    assert "relight_airflow" in refused.value.hint
    assert (password or airflow.passwords[user]) not in repr(refused.value.args)
    assert not airflow.stored("forbidden")


def test_an_api_that_is_away_is_worth_another_try(airflow: Airflow) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = Airflow(airflow.home, f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(AnnounceUnavailable, match="Airflow's API does not answer") as failed:
            announcer(away, "shop").announce(endpoint())
    assert away.url in failed.value.why


def test_without_an_account_nothing_is_tried(airflow: Airflow) -> None:
    one = announcer(airflow, "shop")
    one._credentials = EnvironmentCredentials({})
    with pytest.raises(CredentialsMissing, match="no credentials for airflow"):
        one.announce(endpoint())


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://api:8080/execution/"}, "http://api:8080"),
        ({"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://api/af/execution"}, "http://api/af"),
        ({"AIRFLOW__API__BASE_URL": "https://airflow.example.net/"}, "https://airflow.example.net"),
        ({}, "http://localhost:8080"),
    ],
)
def test_the_api_is_looked_for_where_the_workers_find_airflow(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], url: str
) -> None:
    from relight_airflow.own_api import api_url

    for name in ("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "AIRFLOW__API__BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert api_url() == url


def test_every_credential_has_a_connection_and_a_task_can_announce_in_one() -> None:
    from typing import get_args

    from relight.credentials import Purpose
    from relight_airflow.place import ANNOUNCERS, CONNECTIONS

    assert set(CONNECTIONS) == set(get_args(Purpose))
    assert set(ANNOUNCERS) == {"airflow_connection"}


def test_a_token_for_hooks_comes_from_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    from relight_airflow.place import AirflowCredentials

    monkeypatch.setenv("AIRFLOW_CONN_RELIGHT_HOOK", '{"conn_type": "generic", "login": "any", "password": "s3cret"}')
    assert AirflowCredentials().login("hook").password == "s3cret"


@pytest.mark.parametrize("purpose", ["admin", "replication", "store", "certificate", "proxysql", "hook", "airflow"])
@pytest.mark.parametrize(("half", "said"), [({"login": "x"}, "password"), ({"password": "x"}, "login"), ({}, "login")])
def test_a_connection_with_half_a_login_is_refused(
    monkeypatch: pytest.MonkeyPatch, purpose: Any, half: dict[str, str], said: str
) -> None:
    from relight_airflow.place import AirflowCredentials

    kind = "mysql" if purpose in ("admin", "replication") else "generic"
    for empty in ({}, {"login": "", "password": ""}):
        connection = json.dumps({"conn_type": kind, **empty, **half})
        monkeypatch.setenv(f"AIRFLOW_CONN_RELIGHT_{purpose.upper()}", connection)
        with pytest.raises(FleetError, match=f"its {said} is empty"):
            AirflowCredentials().login(purpose)
