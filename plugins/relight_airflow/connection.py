"""Announcing in an Airflow Connection: DAGs that use it find the shard where it takes writes now.

A task cannot change a Connection by the Task SDK, so this asks Airflow's REST API, as an account that may
(credential ``airflow``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from relight.announcing.base import Endpoint, published_in, refuse_to_overwrite
from relight.announcing.settings import AirflowConnectionAnnounce
from relight.credentials import Credentials
from relight.errors import AirflowError, AirflowUnavailable, AnnounceFailed, AnnounceUnavailable
from relight_airflow.own_api import HINT, open_api

if TYPE_CHECKING:
    from relight.airflow_api.client import AirflowApi

CLOSED = "closed.invalid"
"""The host of a withdrawn Connection: a name that never exists. With none at all, clients try their own machine."""


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
        try:
            with open_api(self._credentials, self._url) as api:
                self._write(api, endpoint, host, told)
        except AirflowUnavailable as error:
            raise AnnounceUnavailable(
                "Airflow's API does not answer", on=self.name, why=f"{error.on}: {error.why}",
                hint="it is looked for at api.base_url, or where core.execution_api_server_url is",
            ) from None  # fmt: skip
        except AirflowError as error:
            raise AnnounceFailed(
                "Airflow has refused it", on=self.name, why=f"{error.what}: {error.why}", hint=HINT
            ) from None

    def _write(self, api: AirflowApi, endpoint: Endpoint, host: str, told: dict[str, Any]) -> None:
        found = api.find(self._path) or {}
        extra = json.loads(found.get("extra") or "{}")
        refuse_to_overwrite(self.name, published_in(extra.get("relight") or {}), endpoint)
        # What Airflow has masked in its answer it takes for unchanged when it comes back.
        body = {
            "connection_id": self._id, "conn_type": found.get("conn_type") or "mysql", "host": host,
            "port": endpoint.port, "extra": json.dumps({**extra, "relight": told}),
        }  # fmt: skip
        if found:
            api.send("PATCH", f"{self._path}?update_mask=host&update_mask=port&update_mask=extra", body)
        else:
            api.send("POST", "/api/v2/connections", body)

    @property
    def _path(self) -> str:
        return f"/api/v2/connections/{self._id}"
