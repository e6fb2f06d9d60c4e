"""Airflow's REST API, for what a task cannot do by the Task SDK: as the account of Connection ``relight_airflow``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from relight.credentials import Credentials
from relight.errors import AirflowError, AirflowUnavailable
from relight_airflow.connection import TIMEOUT, api_url

if TYPE_CHECKING:
    import httpx

_POOLS_PER_CALL = 500
_ABOUT = "Restores of a fleet take turns here. restore_fleet sets the size, from the fleet file's limits."


class AirflowApi:
    """Talks to Airflow's API while it is open: see :func:`open_api`.

    Every method raises AirflowUnavailable (retryable) when it does not answer, AirflowError when it refuses.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def make_pools(self, sizes: Mapping[str, int]) -> None:
        """Make sure that every pool is there with its size."""
        pools = [{"name": name, "slots": slots, "description": _ABOUT} for name, slots in sorted(sizes.items())]
        for begin in range(0, len(pools), _POOLS_PER_CALL):
            entities = pools[begin : begin + _POOLS_PER_CALL]
            action = {"action": "create", "action_on_existence": "overwrite", "entities": entities}
            given = self._ask("PATCH", "/api/v2/pools", {"actions": [action]})
            if errors := (given.get("create") or {}).get("errors"):
                raise AirflowError("Airflow does not make the pools", on=self._where, why=str(errors[0])[:300])

    def sign_in(self, user: str, password: str) -> None:
        """Begin as that account."""
        token = self._ask("POST", "/auth/token", {"username": user, "password": password})
        self._http.headers["Authorization"] = f"Bearer {token['access_token']}"

    @property
    def _where(self) -> str:
        return str(self._http.base_url)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        import httpx

        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise AirflowUnavailable(
                "Airflow's own API does not answer", on=self._where, why=str(error) or type(error).__name__,
                hint="it is looked for at api.base_url, or where core.execution_api_server_url is",
            ) from None  # fmt: skip
        if answer.is_error:
            kind = AirflowUnavailable if answer.is_server_error else AirflowError
            raise kind(
                "Airflow's own API has refused it", on=self._where, why=f"{method} {path}: {answer.status_code}",
                hint="the Connection relight_airflow must hold an account that may make pools",
            )  # fmt: skip
        return answer.json()


@contextmanager
def open_api(credentials: Credentials, url: str | None = None) -> Iterator[AirflowApi]:
    """A client that is signed in. :raises CredentialsMissing: there is no Connection ``relight_airflow``."""
    import httpx

    login = credentials.login("airflow")
    with httpx.Client(base_url=url or api_url(), timeout=TIMEOUT) as http:
        api = AirflowApi(http)
        api.sign_in(login.user, login.password)
        yield api
