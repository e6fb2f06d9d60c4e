"""Redis and PostgreSQL for Airflow: real ones, private, and gone when they are stopped."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis as client_of_redis

from relight.lab import postgres, redis
from relight.lab.ports import free_ports
from relight.lab.services import STAMP, Services
from relight.lab.state import State

PASSWORD = "for-the-tests"


@dataclass
class Running:
    state: State
    services: Services
    folder: Path
    redis: int
    postgres: int

    def start(self) -> None:
        redis.start(self.state, "redis", self.services, self.folder / "redis", port=self.redis, password=PASSWORD)
        postgres.start(
            self.state, "postgres", self.services, self.folder / "postgres", port=self.postgres, password=PASSWORD
        )

    def stop(self) -> None:
        assert self.state.end("redis")
        assert self.state.end("postgres")

    def query(self, text: str, password: str = PASSWORD) -> list[tuple[object, ...]]:
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.postgres, user=postgres.USER, password=password, dbname=postgres.DATABASE
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(text)
            rows = cursor.fetchall() if cursor.description else []
        connection.close()
        return rows

    def cache(self, password: str = PASSWORD) -> client_of_redis.Redis:
        return client_of_redis.Redis.from_url(redis.url(port=self.redis, password=password))


@pytest.fixture(scope="module")
def running(watched: Path, services: Services) -> Iterator[Running]:
    folder = watched / "services"
    folder.mkdir()
    running = Running(State(folder / "state.json"), services, folder, *free_ports(2))
    running.start()
    yield running
    running.state.end_all()


def test_they_keep_their_data_over_a_stop_and_a_start(running: Running) -> None:
    running.query("CREATE TABLE t AS SELECT 1 AS n")
    running.cache().set("key", "value")
    running.stop()
    running.start()
    assert running.query("SELECT n FROM t") == [(1,)]
    assert running.cache().get("key") == b"value"


def test_strangers_are_refused(running: Running) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password"):
        running.query("SELECT 1", password="wrong")
    with pytest.raises(client_of_redis.AuthenticationError):
        running.cache(password="wrong").ping()


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_they_listen_on_the_loopback_address_only(running: Running, name: str) -> None:
    port = getattr(running, name)
    listening = [c.laddr for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening if address.port == port} == {"127.0.0.1"}
    assert not any(path.is_socket() for path in running.folder.rglob("*"))


def test_postgresql_never_runs_as_root(running: Running) -> None:
    assert psutil.Process(running.state.running()["postgres"]).uids().effective != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another account")
def test_postgresql_runs_from_a_folder_that_other_accounts_cannot_enter(
    watched: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, open_to_all = watched / "closed", Path(tempfile.mkdtemp())
    (closed / "usr" / "lib").mkdir(parents=True)
    closed.chmod(0o700)
    open_to_all.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(open_to_all))
    for part in ("usr/lib/postgresql", "usr/share/postgresql"):
        shutil.copytree(services.prefix / part, closed / part, ignore=shutil.ignore_patterns("bitcode"))
    for libraries in services.prefix.glob("usr/lib/*-linux-gnu"):
        (closed / "usr" / "lib" / libraries.name).symlink_to(libraries)
    (closed / STAMP).touch()
    moved = replace(services, prefix=closed, postgres=closed / services.postgres.relative_to(services.prefix))
    state = State(closed / "state.json")
    for _ in range(2):
        postgres.start(state, "postgres", moved, closed / "data", port=free_ports(1)[0], password=PASSWORD)
        assert state.end("postgres")
    (copy,) = open_to_all.iterdir()
    assert copy.stat().st_uid == 0
    shutil.rmtree(open_to_all)


def test_nothing_is_left_running_when_they_are_stopped(running: Running) -> None:
    pids = set(running.state.running().values())
    pids |= {child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)}
    running.stop()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    for port in (running.redis, running.postgres):
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass
    running.start()


def test_postgresql_shut_down_cleanly(running: Running) -> None:
    running.stop()
    log = (running.folder / "postgres.log").read_text()
    running.start()
    assert "database system was not properly shut down" not in log
    assert log.rstrip().endswith("database system is shut down")
