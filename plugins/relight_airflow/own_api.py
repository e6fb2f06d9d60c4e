"""This Airflow's own REST API, for what a task cannot do by the Task SDK: as the account of Connection
``relight_airflow``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relight.credentials import Credentials

if TYPE_CHECKING:
    from relight.airflow_api.client import AirflowApi

HINT = "the Connection relight_airflow must hold an account that may change Connections and make pools"


def open_api(credentials: Credentials, url: str | None = None) -> AirflowApi:
    """A client; it signs in when it is used. :raises CredentialsMissing: there is no Connection ``relight_airflow``."""
    # Takes a while to import: only for tasks that need it.
    from relight.airflow_api.client import AirflowApi

    return AirflowApi(url or api_url(), credentials.login("airflow"))


def api_url() -> str:
    """Where Airflow's API is, as its settings say. Workers always know the one of the execution API, which is below."""
    from airflow.sdk.configuration import conf

    execution = str(conf.get("core", "execution_api_server_url", fallback="") or "")
    url = execution.rstrip("/").removesuffix("/execution") or str(conf.get("api", "base_url", fallback="") or "")
    return url.rstrip("/") or "http://localhost:8080"
