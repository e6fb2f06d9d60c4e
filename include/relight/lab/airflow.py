"""The lab's Airflow: its components as detached processes, on a port of its own."""

from __future__ import annotations

import contextlib
import json
import secrets as secrets_of_python
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relight.credentials import Credentials, EnvironmentCredentials, Login, Purpose
from relight.errors import AirflowError, LabError, command_line
from relight.lab import secrets, worker_name
from relight.lab.airflow_client import AirflowClient
from relight.lab.executors import Executor, Local, worker_arguments
from relight.lab.place import Place
from relight.lab.ports import free_ports
from relight.lab.state import State
from relight.server.environment import PYTHON, child_environment

DAGS = (
    "backup_binlogs", "backup_full", "fence_check", "fleet_overview", "rehearse", "rehearse_in_turn", "restore",
    "restore_fleet",
)  # fmt: skip

_COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
_USER = "admin"
_CONNECTIONS: Mapping[Purpose, str] = {
    "admin": "mysql",
    "replication": "mysql",
    "store": "aws",
    "certificate": "generic",
}


@dataclass(frozen=True)
class LabAirflow:
    """Airflow below ``<lab>/airflow``. ``project`` is the folder with ``dags/`` and ``plugins/``.

    ``parallel`` tasks run or wait for a worker at the same time: more than the machine has cores makes all
    slower. ``executor`` runs them. ``accounts`` are further users and their roles, ``settings`` further variables of
    the environment.
    """

    place: Place
    project: Path
    credentials: Credentials
    parallel: int = 4
    executor: Executor = field(default_factory=Local)
    dags_folder: Path | None = None
    """Other DAG files than the project's."""
    dags: tuple[str, ...] = DAGS
    """What is in them."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    """More settings, as environment variables."""

    @classmethod
    def of(cls, place: Place) -> LabAirflow:
        """The Airflow of a lab that is up, with the DAGs of the project that this module lies in."""
        return cls(place, Path(__file__).resolve().parents[3], EnvironmentCredentials(secrets.read(place)))

    @property
    def home(self) -> Path:
        """``AIRFLOW_HOME``."""
        return self.place.root / "airflow"

    @property
    def _ports_file(self) -> Path:
        return self.home / "ports.json"

    def start(self, *, timeout: float = 300) -> AirflowClient:
        """Start what is not running, and wait until every DAG can be triggered.

        :raises LabError: a component ends, a DAG cannot be imported, or it takes too long; says
            where the log is.
        """
        state = State(self.place.state_file)
        if not self._running(state):
            self.stop()
            self.home.mkdir(parents=True, exist_ok=True)
            names = ("api", "worker_log", "triggerer_log", *self.executor.ports)
            ports = dict(zip(names, free_ports(len(names)), strict=True))
            self._ports_file.write_text(json.dumps(ports), encoding="ascii")
            self._make_password()
            self.executor.start(state, self.home, ports)
            self._migrate()
            for component in _COMPONENTS:
                self._start(component, [component])
            for queue in self.executor.queues:
                self.start_worker(queue)
        return self._wait(state, time.monotonic() + timeout)

    def start_worker(self, queue: str) -> None:
        """Start the worker that a machine with this queue has. Tasks call it by the name of the queue."""
        self._start(_worker(queue), worker_arguments(queue, self.home), {worker_name.VARIABLE: queue})

    def _start(self, component: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
        State(self.place.state_file).start(
            _name(component), [sys.executable, "-m", "airflow", *arguments], cwd=self.home, log=self._log(component),
            environment={**self.environment(), **(environment or {})}, also=PYTHON,
        )  # fmt: skip

    def stop(self) -> bool:
        """Stop every component, workers included; gives whether any was running.

        Tasks that are under way are killed and are retried when Airflow is started again.
        """
        state = State(self.place.state_file)
        # The scheduler first: its tasks report to the api-server until they have ended.
        workers = sorted(name for name in state.running() if name.startswith(_name(_worker(""))))
        rest = [_name(component) for component in ("dag-processor", "triggerer", "api-server")]
        order = [_name("scheduler"), *workers, *rest, *self.executor.processes]
        ended = [state.end(name) for name in order]
        return any(ended)

    def client(self) -> AirflowClient:
        """A client of the running Airflow. :raises LabError: it was never started."""
        try:
            password = json.loads(self._passwords.read_text(encoding="utf-8"))[_USER]
        except (OSError, ValueError, KeyError):
            raise LabError(
                "Airflow was not started", on=str(self.home), hint=f"start it: {command_line('lab', 'up')}"
            ) from None
        return AirflowClient(self.url, _USER, password)

    def password(self, user: str) -> str:
        """Of one of ``accounts``, once Airflow is up."""
        return str(json.loads(self._passwords.read_text(encoding="utf-8"))[user])

    @property
    def url(self) -> str:
        """Where API and UI are."""
        return f"http://127.0.0.1:{self._ports()['api']}"

    @property
    def login(self) -> tuple[str, str]:
        """User and password of the UI."""
        return _USER, str(json.loads(self._passwords.read_text(encoding="utf-8"))[_USER])

    @property
    def _passwords(self) -> Path:
        return self.home / "simple_auth_manager_passwords.json.generated"

    def _make_password(self) -> None:
        """Before Airflow makes one: tasks use the account too, and are told how by the environment."""
        if not self._passwords.exists():
            self._passwords.touch(mode=0o600)
            self._passwords.write_text(json.dumps({_USER: secrets_of_python.token_urlsafe(18)}), encoding="ascii")

    def _ports(self) -> dict[str, int]:
        try:
            ports: dict[str, int] = json.loads(self._ports_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            raise LabError(
                "Airflow was not started", on=str(self.home), hint=f"start it: {command_line('lab', 'up')}"
            ) from None
        return ports

    def environment(self) -> dict[str, str]:
        """The settings of every component, as environment variables."""
        ports = self._ports()
        return {
            "AIRFLOW_HOME": str(self.home),
            "RELIGHT_FLEET": str(self.place.fleet_file),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder or self.project / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.project / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": str(self.parallel),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(ports["api"]),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            # The DAG files do not change while the lab runs; parsing them again only takes CPU time.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports["worker_log"]),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports["triggerer_log"]),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                f"{user}:{role}" for user, role in {_USER: "admin", **self.accounts}.items()
            ),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **self.executor.settings(self.home, ports),
            **{f"AIRFLOW_CONN_RELIGHT_{purpose.upper()}": self._connection(purpose) for purpose in _CONNECTIONS},
            "AIRFLOW_CONN_RELIGHT_AIRFLOW": _connection_of("generic", Login(*self.login)),
            **self.settings,
        }

    def _connection(self, purpose: Purpose) -> str:
        return _connection_of(_CONNECTIONS[purpose], self.credentials.login(purpose))

    def _running(self, state: State) -> bool:
        components = [*_COMPONENTS, *map(_worker, self.executor.queues)]
        return {*map(_name, components), *self.executor.processes} <= set(state.running())

    def _migrate(self) -> None:
        log = self._log("migrate")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"], cwd=self.home, check=False,
                env=child_environment(self.environment(), also=PYTHON), stdout=output, stderr=output,
            )  # fmt: skip
        if done.returncode:
            raise LabError("Airflow's database cannot be set up", on=str(self.home), hint=f"see {log}")

    def _wait(self, state: State, deadline: float) -> AirflowClient:
        status = "nothing answers yet"
        while time.monotonic() < deadline:
            if not self._running(state):
                raise LabError("Airflow ended while starting", on=str(self.home), hint=f"see {self._log('*')}")
            # Nobody answers at first, and the password file is there only when somebody does.
            with contextlib.suppress(LabError, AirflowError):
                client = self.client()
                status = ", ".join(f"{name} {value}" for name, value in client.health().items())
                missing = set(self.dags) - client.dags()
                if not missing and status.count(" healthy") == len(client.health()):
                    return client
                if errors := client.import_errors():
                    status = errors[0]
            time.sleep(0.5)
        raise LabError("Airflow does not come up", on=str(self.home), why=status, hint=f"see {self._log('*')}")

    def _log(self, component: str) -> Path:
        return self.home / "logs" / "components" / f"{component}.log"


def _connection_of(kind: str, login: Login) -> str:
    return json.dumps({"conn_type": kind, "login": login.user, "password": login.password})


def _name(component: str) -> str:
    return f"airflow {component}"


def _worker(queue: str) -> str:
    return f"worker {queue}"
