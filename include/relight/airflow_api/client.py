"""A small client of Airflow's REST API: trigger a DAG, watch it, read its logs and results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx
from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_exponential

from relight.airflow_api.states import RunState, TaskState, task_of
from relight.credentials import Login
from relight.errors import AirflowConflict, AirflowError, AirflowRefused, AirflowUnavailable

_PAGE = 100
"""Items per request; the API gives no more than this by default."""
_POOLS_PER_CALL = 500
_HARMLESS = frozenset({"GET", "PATCH"})
"""What may be asked twice."""


class AirflowApi:
    """Talks to one Airflow, as one account. Safe for one thread.

    Every method raises AirflowUnavailable when Airflow does not answer, AirflowRefused when it does not want to, with
    what it said.
    """

    def __init__(self, url: str, login: Login) -> None:
        self.url = url.rstrip("/")
        self._login = login
        self._http = httpx.Client(base_url=self.url, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def is_paused(self, dag_id: str) -> bool:
        """Whether runs of the DAG wait, silently. :raises AirflowRefused: there is no such DAG."""
        return bool(self.send("GET", f"/api/v2/dags/{dag_id}")["is_paused"])

    def unpause(self, dag_id: str) -> None:
        """Let runs of the DAG start; a new DAG is paused and its runs would wait silently."""
        self.send("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any], *, run_id: str | None = None) -> str:
        """Unpause the DAG, start a run and give its id."""
        self.unpause(dag_id)
        return self.start(dag_id, conf, run_id=run_id)

    def start(self, dag_id: str, conf: Mapping[str, Any], *, run_id: str | None = None) -> str:
        """Start a run and give its id. :raises AirflowConflict: there is a run of that id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf)}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.send("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> RunState:
        """The run and all of its tasks."""
        path = _run_path(dag_id, run_id)
        run = self.send("GET", path)
        tasks = tuple(task_of(item) for item in self._items(f"{path}/taskInstances", "task_instances", order_by="id"))
        return RunState(run_id, str(run["state"]), tasks, dag_id, run["conf"] or {})

    def runs_named(self, dag_id: str, begin: str) -> list[str]:
        """The id of every run of the DAG whose id begins so."""
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        return [
            str(one["dag_run_id"]) for one in self._items(path, "dag_runs", run_id_prefix_pattern=begin, order_by="id")
        ]

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

        :raises AirflowError: it is not over within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            run = self.run(dag_id, run_id)
            if on_update is not None:
                on_update(run)
            if run.over:
                return run
            if time.monotonic() > deadline:
                raise AirflowError(
                    "the run takes too long", on=f"{dag_id}/{run_id}", why=f"not over after {timeout:.0f} s",
                    hint=f"look at it: {self.run_page(dag_id, run_id)}",
                )  # fmt: skip
            time.sleep(interval)

    def log_tail(self, dag_id: str, run_id: str, task: TaskState, *, lines: int = 20) -> list[str]:
        """The last lines of what a task's last try wrote."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task.task_id}/logs/{max(task.try_number, 1)}"
        content = self.send("GET", f"{path}?map_index={task.map_index}&full_content=true")["content"]
        texts = [_line(item) for item in content]
        return [text for text in texts if text and not text.startswith("::")][-lines:]

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task handed on."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.send("GET", f"{path}?map_index={map_index}&deserialize=true")["value"]

    def question(self, dag_id: str, run_id: str, task_id: str) -> str:
        """What a task that waits for a person shows them."""
        return str(self.send("GET", _question_path(dag_id, run_id, task_id))["body"])

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str, values: Mapping[str, str]) -> None:
        """Answer for the person who is signed in; the run goes on. ``values``: of the form's fields."""
        body = {"chosen_options": [option], "params_input": dict(values)}
        self.send("PATCH", _question_path(dag_id, run_id, task_id), body)

    def run_page(self, dag_id: str, run_id: str) -> str:
        """The run's page in the UI."""
        return f"{self.url}/dags/{dag_id}/runs/{quote(run_id, safe='')}"

    def make_pools(self, sizes: Mapping[str, int], about: str) -> None:
        """Make sure that every pool is there with its size. :raises AirflowRefused: one of them is not taken."""
        pools = [{"name": name, "slots": slots, "description": about} for name, slots in sorted(sizes.items())]
        for begin in range(0, len(pools), _POOLS_PER_CALL):
            entities = pools[begin : begin + _POOLS_PER_CALL]
            action = {"action": "create", "action_on_existence": "overwrite", "entities": entities}
            given = self.send("PATCH", "/api/v2/pools", {"actions": [action]})
            if errors := (given.get("create") or {}).get("errors"):
                raise AirflowRefused("Airflow does not make the pools", on=self.url, why=str(errors[0])[:300])

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, signed: bool = True) -> Any:
        """One request and the JSON that it is answered with."""
        return self._json(self.ask(method, path, body, signed=signed))

    def find(self, path: str) -> Any | None:
        """The JSON at a path; None: nothing is there."""
        answer = self._answer("GET", path, None, signed=True)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._json(self._accepted("GET", path, answer))

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, signed: bool = True
    ) -> httpx.Response:
        """One request and its answer, which is no error."""
        return self._accepted(method, path, self._answer(method, path, body, signed=signed))

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise AirflowRefused("what answers is not Airflow's API", on=self.url, why="it is no JSON") from None

    def _accepted(self, method: str, path: str, answer: httpx.Response) -> httpx.Response:
        if answer.is_error:
            raise _refusal(f"Airflow refused {method} {path.partition('?')[0]}", self.url, answer)
        return answer

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None, *, signed: bool) -> httpx.Response:
        try:
            if signed and "Authorization" not in self._http.headers:
                self._sign_in()
            answer = self._patiently(method, path, body)
            if answer.status_code == httpx.codes.UNAUTHORIZED and signed:
                self._sign_in()  # the token is valid for a day; Airflow may also have been started anew
                answer = self._patiently(method, path, body)
        except httpx.HTTPError as error:
            raise AirflowUnavailable(
                "Airflow does not answer", on=self.url, why=str(error) or type(error).__name__,
                hint="is it running, and is that its address?",
            ) from None  # fmt: skip
        return answer

    def _items(self, path: str, name: str, **query: str) -> Iterator[Mapping[str, Any]]:
        """Every item of a list, which the API gives in pages."""
        seen = 0
        while True:
            page = self.send("GET", f"{path}?{urlencode({'limit': _PAGE, 'offset': seen, **query})}")
            yield from page[name]
            seen += len(page[name])
            if not page[name] or seen >= page["total_entries"]:
                return

    def _patiently(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
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
        path, body = "/auth/token", {"username": self._login.user, "password": self._login.password}
        told = self._json(self._accepted("POST", path, self._http.post(path, json=body)))
        self._http.headers["Authorization"] = f"Bearer {told['access_token']}"


def _refusal(what: str, url: str, answer: httpx.Response) -> AirflowError:
    kinds: dict[int, type[AirflowError]] = {httpx.codes.CONFLICT: AirflowConflict}
    kind = AirflowUnavailable if answer.is_server_error else kinds.get(answer.status_code, AirflowRefused)
    forbidden = answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
    hint = "the README says what the account must be allowed" if forbidden else ""
    return kind(what, on=url, why=_reason(answer), hint=hint)


def _is_busy(answer: httpx.Response) -> bool:
    return answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and "Database error" in answer.text


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _question_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/-1/hitlDetails"


def _line(item: str | Mapping[str, Any]) -> str:
    if isinstance(item, str):
        return item
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in item.get("error_detail") or ()]
    return ": ".join([str(item.get("event", "")), *errors])


def _reason(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text
    return f"{answer.status_code} {' '.join(str(detail).split())[:500]}"
