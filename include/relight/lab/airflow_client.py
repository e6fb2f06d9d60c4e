"""A small client of Airflow's REST API: trigger a DAG, watch it, read its logs and results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_exponential

from relight.errors import LabError

_PAGE = 100
"""Task instances per request; the API gives no more than this by default."""
_HARMLESS = frozenset({"GET", "PATCH"})
"""What may be asked twice."""


@dataclass(frozen=True)
class TaskState:
    """A task instance of a run. ``state`` is None before it is scheduled; ``part`` names a mapped
    task (``shard-1/orders``) once it has started. ``host`` is empty until then."""

    task_id: str
    map_index: int
    part: str
    state: str | None
    try_number: int
    start: datetime | None
    end: datetime | None
    queue: str = ""
    host: str = ""

    @property
    def name(self) -> str:
        """``replay shard-1/orders``, or the task's id alone."""
        return f"{self.task_id} {self.part or self.map_index}" if self.map_index >= 0 else self.task_id


@dataclass(frozen=True)
class RunState:
    """A run and its tasks, as they stand now."""

    run_id: str
    state: str
    tasks: tuple[TaskState, ...]

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("success", "failed")

    @property
    def failures(self) -> tuple[TaskState, ...]:
        """The tasks that failed by themselves, in the order in which they did."""
        failed = [t for t in self.tasks if t.state == "failed" and t.task_id != "watcher"]
        return tuple(sorted(failed, key=lambda task: str(task.end)))


class AirflowClient:
    """Talks to one Airflow. Safe for one thread.

    Every method raises LabError when Airflow does not answer or refuses, with what it said.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._http = httpx.Client(base_url=self.url, timeout=60)

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def health(self) -> dict[str, str | None]:
        """Each component's status: ``healthy``, ``unhealthy``, or None where it never reported."""
        answer = self._send("GET", "/api/v2/monitor/health", signed=False)
        return {name: part.get("status") for name, part in answer.items()}

    def dags(self) -> set[str]:
        """The DAGs that Airflow knows."""
        return {str(dag["dag_id"]) for dag in self._send("GET", "/api/v2/dags?limit=100")["dags"]}

    def import_errors(self) -> list[str]:
        """Files that are no DAGs because they cannot be imported, with the reason."""
        errors = self._send("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    def unpause(self, dag_id: str) -> None:
        """Let runs of the DAG start; a new DAG is paused and its runs would wait silently."""
        self._send("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any], *, run_id: str | None = None) -> str:
        """Start a run and give its id. Unpauses the DAG."""
        self.unpause(dag_id)
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf)}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> RunState:
        """The run and all of its tasks."""
        path = _run_path(dag_id, run_id)
        state = str(self._send("GET", path)["state"])
        tasks: list[TaskState] = []
        while True:
            page = self._send("GET", f"{path}/taskInstances?limit={_PAGE}&offset={len(tasks)}&order_by=id")
            tasks += [_task(item) for item in page["task_instances"]]
            if not page["task_instances"] or len(tasks) >= page["total_entries"]:
                return RunState(run_id, state, tuple(tasks))

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        on_update: Callable[[RunState], None] | None = None,
        timeout: float = 3600,
        interval: float = 1.0,
    ) -> RunState:
        """Wait until the run is over and give it. ``on_update`` gets it every ``interval`` seconds.

        :raises LabError: it is not over within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            run = self.run(dag_id, run_id)
            if on_update is not None:
                on_update(run)
            if run.over:
                return run
            if time.monotonic() > deadline:
                raise LabError(
                    "the run takes too long", on=f"{dag_id}/{run_id}", why=f"not over after {timeout:.0f} s",
                    hint=f"look at it: {self.run_page(dag_id, run_id)}",
                )  # fmt: skip
            time.sleep(interval)

    def log_tail(self, dag_id: str, run_id: str, task: TaskState, *, lines: int = 20) -> list[str]:
        """The last lines of what a task's last try wrote."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task.task_id}/logs/{max(task.try_number, 1)}"
        content = self._send("GET", f"{path}?map_index={task.map_index}&full_content=true")["content"]
        texts = [_line(item) for item in content]
        return [text for text in texts if text and not text.startswith("::")][-lines:]

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task handed on."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        return self._send("GET", f"{path}?map_index={map_index}&deserialize=true")["value"]

    def question(self, dag_id: str, run_id: str, task_id: str) -> str:
        """What a task that waits for a person shows them."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        return str(self._send("GET", path)["body"])

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str, values: Mapping[str, str]) -> None:
        """Answer for the person who is signed in; the run goes on. ``values``: of the form's fields."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        self._send("PATCH", path, {"chosen_options": [option], "params_input": dict(values)})

    def ask(self, path: str) -> Any:
        """Whatever else the API tells at ``path``, as it says it."""
        return self._send("GET", path)

    def page(self, path: str) -> str:
        """A page for people, as the one who is signed in gets it."""
        if "Authorization" not in self._http.headers:
            self._sign_in()
        answer = self._http.get(path)
        if answer.is_error:
            raise LabError(f"Airflow refused {path}", on=self.url, why=_reason(answer))
        return answer.text

    def run_page(self, dag_id: str, run_id: str) -> str:
        """The run's page in the UI."""
        return f"{self.url}/dags/{dag_id}/runs/{quote(run_id, safe='')}"

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, signed: bool = True) -> Any:
        try:
            if signed and "Authorization" not in self._http.headers:
                self._sign_in()
            answer = self._ask(method, path, body)
            if answer.status_code == httpx.codes.UNAUTHORIZED and signed:
                self._sign_in()  # the token is valid for a day; Airflow may also have been started anew
                answer = self._ask(method, path, body)
        except httpx.HTTPError as error:
            raise LabError(
                "Airflow does not answer", on=self.url, why=str(error) or type(error).__name__,
                hint="is it running? see `relight lab status`",
            ) from None  # fmt: skip
        if answer.is_error:
            raise LabError(f"Airflow refused {method} {path.partition('?')[0]}", on=self.url, why=_reason(answer))
        return answer.json()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        """Ask; again where Airflow's SQLite was busy and asking twice does no harm."""
        patient: Retrying = Retrying(
            retry=retry_if_result(lambda answer: method in _HARMLESS and _is_busy(answer)), stop=stop_after_attempt(6),
            wait=wait_exponential(0.5), retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )  # fmt: skip
        answer: httpx.Response = patient(
            self._http.request, method, path, json=body, headers={"Accept": "application/json"}
        )
        return answer

    def _sign_in(self) -> None:
        answer = self._http.post("/auth/token", json=self._login)
        if answer.is_error:
            raise LabError("Airflow refused the login", on=self.url, why=_reason(answer))
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _is_busy(answer: httpx.Response) -> bool:
    return answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and "Database error" in answer.text


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _task(item: Mapping[str, Any]) -> TaskState:
    return TaskState(
        task_id=item["task_id"], map_index=item["map_index"], part=item.get("rendered_map_index") or "",
        state=item["state"], try_number=item["try_number"],
        start=_time(item["start_date"]), end=_time(item["end_date"]),
        queue=item["queue"] or "", host=item["hostname"] or "",
    )  # fmt: skip


def _line(item: str | Mapping[str, Any]) -> str:
    if isinstance(item, str):
        return item
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in item.get("error_detail") or ()]
    return ": ".join([str(item.get("event", "")), *errors])


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _reason(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text
    return f"{answer.status_code} {' '.join(str(detail).split())[:500]}"
