"""Where a task works: the fleet file, the logins of Airflow's Connections, progress as log lines."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException

from relight.announcing.base import Factory
from relight.credentials import Login, Purpose
from relight.errors import CredentialsMissing, FleetError
from relight.fleet import Fleet
from relight.fleet_file import load_fleet
from relight.progress import Lines
from relight.site import Site
from relight_airflow.connection import ConnectionAnnouncer
from relight_airflow.live import Live, memory_of_this_task

CONNECTIONS: dict[Purpose, str] = {
    "admin": "relight_admin",
    "replication": "relight_replication",
    "store": "relight_store",
    "certificate": "relight_certificate",
    "proxysql": "relight_proxysql",
    "hook": "relight_hook",
    "airflow": "relight_airflow",
}
"""The Airflow Connection that holds each login."""

ANNOUNCERS: Mapping[str, Factory] = {"airflow_connection": ConnectionAnnouncer}
"""What shards can be announced by besides what the library knows itself."""


def fleet_path() -> Path:
    """The fleet file: ``RELIGHT_FLEET`` in the environment, else the Variable ``relight_fleet``."""
    path = os.environ.get("RELIGHT_FLEET") or Variable.get("relight_fleet", default=None)
    if not path:
        raise FleetError(
            "no fleet file is named", why="neither RELIGHT_FLEET nor the Airflow Variable relight_fleet is set",
            hint="set one of them to the path of the fleet file, on every machine that runs a worker",
        )  # fmt: skip
    return Path(path)


def fleet() -> Fleet:
    """The fleet of this Airflow installation. :raises FleetError: it is missing or has mistakes."""
    return fleet_in(fleet_path())


def fleet_in(path: Path) -> Fleet:
    """The fleet in a file, which is read again only when it has changed: with thousands of shards that takes a second.

    :raises FleetError: it is missing or has mistakes.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0  # reading it says why
    return _read(path, changed)


@lru_cache(maxsize=2)
def _read(path: Path, _changed: int) -> Fleet:
    return load_fleet(path)


class AirflowCredentials:
    """Logins from Airflow's Connections; each is looked up once."""

    def __init__(self) -> None:
        self._known: dict[Purpose, Login] = {}
        # Lanes and uploads ask from several threads.
        self._lock = Lock()

    def login(self, purpose: Purpose) -> Login:
        """The login for a purpose; CredentialsMissing when its Connection is, FleetError when login or password is."""
        with self._lock:
            if purpose not in self._known:
                self._known[purpose] = _look_up(purpose)
            return self._known[purpose]


def _look_up(purpose: Purpose) -> Login:
    connection_id = CONNECTIONS[purpose]
    hint = f"create the Connection {connection_id}; the README lists the accounts that are needed"
    try:
        connection = _connection(connection_id, mysql=purpose in ("admin", "replication"))
    except AirflowNotFoundException:
        raise CredentialsMissing(
            f"no credentials for {purpose}", on=connection_id, why="no such Connection", hint=hint
        ) from None
    for name, value in (("login", connection.login), ("password", connection.password)):
        if not value:
            raise FleetError(f"no credentials for {purpose}", on=connection_id, why=f"its {name} is empty", hint=hint)
    return Login(connection.login, connection.password)


def _connection(connection_id: str, *, mysql: bool) -> Any:
    if not mysql:
        return BaseHook.get_connection(connection_id)
    from airflow.providers.mysql.hooks.mysql import MySqlHook

    return MySqlHook(mysql_conn_id=connection_id).get_connection(connection_id)


class LogProgress(Lines):
    """Progress as lines of the task's log, and as bars that the pages show."""

    def __init__(self, log: Any, interval: float = 5.0, live: Live | None = None) -> None:
        super().__init__(interval=interval)
        self._log: logging.Logger = log
        self._live = live or Live(None, log)

    def start(self, label: str, total: int) -> None:
        """Remember the total."""
        super().start(label, total)
        self._live.start(label, total)

    def advance(self, label: str, amount: int) -> None:
        """A line and a bar, when the last ones are old enough."""
        super().advance(label, amount)
        self._live.advance(label, amount)

    def say(self, text: str) -> None:
        """One line at level INFO."""
        self._log.info("%s", text)


def open_site(log: Any) -> Site:
    """The site of this installation, for one task."""
    # boto3 takes a third of a second to import: only for tasks that need it
    from relight.store.s3 import open_store

    here = fleet()
    credentials = AirflowCredentials()
    store = open_store(here.store, credentials.login("store"))
    return Site(
        fleet=here, store=store, credentials=credentials,
        progress=LogProgress(log, live=Live(memory_of_this_task(), log)), announcers=ANNOUNCERS,
    )  # fmt: skip
