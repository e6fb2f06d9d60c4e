"""Announcing in an Airflow Connection: DAGs that use it find the shard where it takes writes now.

A task cannot change a Connection by the Task SDK, so this asks Airflow's REST API, as an account that may
(credential ``airflow``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from relight.announcing.base import Endpoint, published_in, refuse_to_overwrite
from relight.announcing.settings import AirflowConnectionAnnounce
from relight.credentials import Credentials
from relight.errors import AnnounceFailed, AnnounceUnavailable

if TYPE_CHECKING:
    import httpx

CLOSED = "closed.invalid"
"""The host of a withdrawn Connection: a name that never exists. With none at all, clients try their own machine."""

TIMEOUT = 30


class ConnectionAnnouncer:
    """Sets the Connection's host and port, and says in its extra which shard and epoch that is.

    Login, password, schema and the rest of the extra stay. A Connection that does not exist is made, without a login.
    """

    def __init__(self, settings: AirflowConnectionAnnounce, credentials: Credentials, url: str | None = None) -> None:
        self._id = settings.connection_id
        self._credentials = credentials
        self._url = url

    @property
    def name(self) -> str:
        """The Connection."""
        return f"Connection {self._id}"

    def announce(self, endpoint: Endpoint) -> None:
        """Point the Connection at the endpoint."""
        self._publish(endpoint, endpoint.host, is_open=True)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Point the Connection at nothing."""
        self._publish(endpoint, CLOSED, is_open=False)

    def _publish(self, endpoint: Endpoint, host: str, *, is_open: bool) -> None:
        told = endpoint.document(is_open=is_open)
        del told["gtids"]  # a set can be long, and whoever uses the Connection reads all of this
        with self._api() as api:
            found = self._found(api)
            extra = json.loads(found.get("extra") or "{}")
            refuse_to_overwrite(self.name, published_in(extra.get("relight") or {}), endpoint)
            # What Airflow has masked in its answer it takes for unchanged when it comes back.
            body = {
                "connection_id": self._id, "conn_type": found.get("conn_type") or "mysql", "host": host,
                "port": endpoint.port, "extra": json.dumps({**extra, "relight": told}),
            }  # fmt: skip
            if found:
                self._ask(api, "PATCH", self._path, body, {"update_mask": ["host", "port", "extra"]})
            else:
                self._ask(api, "POST", "/api/v2/connections", body)

    @property
    def _path(self) -> str:
        return f"/api/v2/connections/{self._id}"

    def _found(self, api: httpx.Client) -> dict[str, Any]:
        """The Connection as it is; empty where there is none."""
        return self._ask(api, "GET", self._path, missing_is_fine=True)

    @contextmanager
    def _api(self) -> Iterator[httpx.Client]:
        import httpx

        login = self._credentials.login("airflow")
        with httpx.Client(base_url=self._url or api_url(), timeout=TIMEOUT) as api:
            token = self._ask(api, "POST", "/auth/token", {"username": login.user, "password": login.password})
            api.headers["Authorization"] = f"Bearer {token['access_token']}"
            yield api

    def _ask(
        self, api: httpx.Client, method: str, path: str, body: Any = None, params: Any = None, *,
        missing_is_fine: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        import httpx

        try:
            answer = api.request(method, path, json=body, params=params)
        except httpx.HTTPError as error:
            raise AnnounceUnavailable(
                "Airflow's API does not answer", on=self.name, why=f"{api.base_url}: {error or type(error).__name__}",
                hint="it is looked for at api.base_url, or where core.execution_api_server_url is",
            ) from None  # fmt: skip
        if answer.status_code == HTTPStatus.NOT_FOUND and missing_is_fine:
            return {}
        if answer.is_error:
            kind = AnnounceUnavailable if answer.is_server_error else AnnounceFailed
            raise kind(
                "Airflow has refused it", on=self.name, why=f"{method} {path}: {answer.status_code}",
                hint="the Connection relight_airflow must hold an account that may change Connections",
            )  # fmt: skip
        try:
            given: dict[str, Any] = answer.json()
        except ValueError:
            raise AnnounceFailed("what answers is not Airflow's API", on=self.name, why=str(api.base_url)) from None
        return given


def api_url() -> str:
    """Where Airflow's API is, as its settings say. Workers always know the one of the execution API, which is below."""
    from airflow.sdk.configuration import conf

    execution = str(conf.get("core", "execution_api_server_url", fallback="") or "")
    url = execution.rstrip("/").removesuffix("/execution") or str(conf.get("api", "base_url", fallback="") or "")
    return url.rstrip("/") or "http://localhost:8080"
