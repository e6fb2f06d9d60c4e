"""A client of the lab's Airflow: what everybody may ask, and what only its tests and its demo want to know."""

from __future__ import annotations

from relight.airflow_api.client import AirflowApi
from relight.airflow_api.states import RunState, TaskState
from relight.credentials import Login

__all__ = ["AirflowClient", "RunState", "TaskState"]


class AirflowClient(AirflowApi):
    """Talks to the lab's Airflow."""

    def __init__(self, url: str, user: str, password: str) -> None:
        super().__init__(url, Login(user, password))

    def health(self) -> dict[str, str | None]:
        """Each component's status: ``healthy``, ``unhealthy``, or None where it never reported."""
        answer = self.send("GET", "/api/v2/monitor/health", signed=False)
        return {name: part.get("status") for name, part in answer.items()}

    def dags(self) -> set[str]:
        """The DAGs that Airflow knows."""
        return {str(dag["dag_id"]) for dag in self.send("GET", "/api/v2/dags?limit=100")["dags"]}

    def import_errors(self) -> list[str]:
        """Files that are no DAGs because they cannot be imported, with the reason."""
        errors = self.send("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    def page(self, path: str) -> str:
        """A page for people, as the one who is signed in gets it."""
        return self.ask("GET", path).text
