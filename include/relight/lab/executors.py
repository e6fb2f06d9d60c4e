"""How the lab's Airflow runs tasks: all by its scheduler, or by a worker for each machine."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from relight.lab import postgres, redis
from relight.lab.services import Services
from relight.lab.state import State

DURATIONS = {
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "2592000",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "2592000",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
}
"""How long a task may take, wait for its machine, and be silent, in seconds. docker-compose.yml says why."""


class Executor(Protocol):
    """One way to run tasks. ``home`` is AIRFLOW_HOME, ``ports`` maps the names in :attr:`ports` to free ports."""

    @property
    def ports(self) -> tuple[str, ...]:
        """The ports that are needed besides Airflow's own, by name."""
        ...

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that get a worker each when Airflow starts."""
        ...

    @property
    def processes(self) -> tuple[str, ...]:
        """The names of what :meth:`start` starts."""
        ...

    def start(self, state: State, home: Path, ports: Mapping[str, int]) -> None:
        """Start what must be there before Airflow's database is set up."""
        ...

    def settings(self, home: Path, ports: Mapping[str, int]) -> dict[str, str]:
        """Airflow's settings, as environment variables."""
        ...


@dataclass(frozen=True)
class Local:
    """Tasks are children of the scheduler; queues mean nothing. The database is PostgreSQL where ``services`` are
    given, otherwise SQLite."""

    services: Services | None = None

    @property
    def ports(self) -> tuple[str, ...]:
        """Of PostgreSQL, if it is used."""
        return ("postgres",) if self.services else ()

    @property
    def queues(self) -> tuple[str, ...]:
        """None: the scheduler does it all."""
        return ()

    @property
    def processes(self) -> tuple[str, ...]:
        """PostgreSQL, if it is used."""
        return ("postgres",) if self.services else ()

    def start(self, state: State, home: Path, ports: Mapping[str, int]) -> None:
        """Start PostgreSQL, if it is used, on the data that it had."""
        if self.services:
            _start_postgres(state, self.services, home, ports)

    def settings(self, home: Path, ports: Mapping[str, int]) -> dict[str, str]:
        """The executor and the database."""
        address = f"postgresql+psycopg2://{_postgres(home, ports)}" if self.services else f"sqlite:///{home}/airflow.db"
        return {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address}


@dataclass(frozen=True)
class Celery:
    """As on a fleet of several machines: a worker for each queue, Redis between them and the scheduler, the
    database is PostgreSQL."""

    services: Services
    queues: tuple[str, ...] = ("default",)

    @property
    def ports(self) -> tuple[str, ...]:
        """Of Redis and PostgreSQL."""
        return ("redis", "postgres")

    @property
    def processes(self) -> tuple[str, ...]:
        """Redis and PostgreSQL."""
        return ("redis", "postgres")

    def start(self, state: State, home: Path, ports: Mapping[str, int]) -> None:
        """Start Redis and PostgreSQL, on the data that they had."""
        redis.start(state, "redis", self.services, home / "redis", port=ports["redis"], password=_password(home))
        _start_postgres(state, self.services, home, ports)

    def settings(self, home: Path, ports: Mapping[str, int]) -> dict[str, str]:
        """The executor, both servers, and how long a task may take, wait or be silent."""
        database = _postgres(home, ports)
        return {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "relight.lab.worker_name.worker_name",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CELERY__BROKER_URL": redis.url(port=ports["redis"], password=_password(home)),
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
            **DURATIONS,
        }


def worker_arguments(queue: str, home: Path) -> list[str]:
    """What follows ``airflow`` to start the worker of a queue, two tasks at a time."""
    return [
        "celery", "worker", "--queues", queue, "--concurrency", "2", "--celery-hostname", f"{queue}@%h",
        "--pid", f"{home}/worker-{queue}.pid",
        # All of the lab's workers write into one folder, where the API finds their logs.
        "--skip-serve-logs", "--without-mingle", "--without-gossip",
    ]  # fmt: skip


def _start_postgres(state: State, services: Services, home: Path, ports: Mapping[str, int]) -> None:
    folder, password = home / "postgres", _password(home)
    postgres.start(state, "postgres", services, folder, port=ports["postgres"], password=password)


def _postgres(home: Path, ports: Mapping[str, int]) -> str:
    """The database, as it stands behind ``postgresql://`` in a URL."""
    return postgres.address(port=ports["postgres"], password=_password(home))


def _password(home: Path) -> str:
    """Of Redis and PostgreSQL; made once."""
    path = home / "services.password"
    with contextlib.suppress(FileNotFoundError):
        if known := path.read_text(encoding="ascii"):
            return known
    # Never there without its password: an empty one would let everybody in.
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(secrets.token_urlsafe(24), encoding="ascii")
    new.replace(path)
    return path.read_text(encoding="ascii")
