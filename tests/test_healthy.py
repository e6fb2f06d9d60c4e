"""The health checks of the compose deployment: what each says of a real service, and what becomes of who asks."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.servers import Servers

SCRIPT = Path(__file__).resolve().parents[1] / "include" / "deploy" / "healthy.py"


def ask(*question: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """As Docker asks, in an environment with nothing but what the question needs."""
    environment = {} if home is None else {"AIRFLOW_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, *question],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def well(*question: str, home: Path | None = None) -> bool:
    """What it says; where it is no, one line says why."""
    done = ask(*question, home=home)
    assert (done.stdout, done.stderr.count("\n")) == ("", 0 if done.returncode == 0 else 1), done.stderr
    return done.returncode == 0


@contextmanager
def serving(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()
            self.wfile.write(b"x" * 100_000)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield str(server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def silent(family: socket.AddressFamily, address: object) -> Iterator[socket.socket]:
    """Somebody who accepts, as the kernel does for a program that hangs, and never says a word."""
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()
        yield listener


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (503, False), (404, False)])
def test_a_server_is_well_when_it_says_so(status: int, is_well: bool) -> None:
    with serving(status) as port:
        assert well("http", port, "/health") == is_well


def test_a_server_that_is_not_there_is_not_well() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert not well("http", str(bound.getsockname()[1]), "/health")


@pytest.mark.parametrize(("age", "is_well"), [(0, True), (30, True), (300, False)])
def test_a_worker_is_well_while_its_heart_beats(tmp_path: Path, age: int, is_well: bool) -> None:
    (tmp_path / "worker-heartbeat").touch()
    os.utime(tmp_path / "worker-heartbeat", (time.time() - age,) * 2)
    assert well("worker", home=tmp_path) == is_well


def test_a_worker_that_never_started_is_not_well(tmp_path: Path) -> None:
    assert not well("worker", home=tmp_path)


def test_all_questions_must_be_answered(tmp_path: Path, servers: Servers) -> None:
    server = servers.make("a")
    question = ("worker", "mysqld", str(server.socket))
    assert not well(*question, home=tmp_path)
    (tmp_path / "worker-heartbeat").touch()
    assert well(*question, home=tmp_path)
    assert not well("worker", "mysqld", str(tmp_path / "none"), home=tmp_path)


def test_who_asks_somebody_who_hangs_ends_before_docker_gives_up(tmp_path: Path) -> None:
    """Otherwise one more of them waits every half minute."""
    with silent(socket.AF_UNIX, str(tmp_path / "s")), silent(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        asking = [
            subprocess.Popen([sys.executable, "-I", "-S", SCRIPT, *question], env={}, stderr=subprocess.DEVNULL)
            for question in (("mysqld", str(tmp_path / "s")), ("http", port, "/health"))
        ]
        for process in asking:
            assert process.wait(timeout=60) != 0


def test_asking_costs_next_to_nothing(tmp_path: Path) -> None:
    """Ten containers ask at once while they start. ``celery inspect ping`` and ``airflow jobs check`` cost 2.4 s each."""
    (tmp_path / "worker-heartbeat").touch()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert well("worker", home=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
