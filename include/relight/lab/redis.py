"""A Redis server for the lab and the tests, on the loopback address only."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from relight.errors import LabError
from relight.lab.services import Services
from relight.lab.state import State

_TIMEOUT = 30.0


def start(state: State, name: str, services: Services, folder: Path, *, port: int, password: str) -> None:
    """Start a server that keeps its data in ``folder`` as a detached process, and wait until it answers.

    :raises LabError: it ended, or does not answer in time.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = folder / "redis.conf"
    settings.touch(mode=0o600)
    settings.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir \"{folder}\"\nappendonly yes\nsave ''\n",
        encoding="utf-8",
    )
    log = folder / "redis.log"
    state.start(name, [services.redis, settings], cwd=folder, log=log, environment=services.environment)
    deadline = time.monotonic() + _TIMEOUT
    while not _answers(port, password):
        if name not in state.running() or time.monotonic() > deadline:
            raise LabError("Redis does not answer", on=f"127.0.0.1:{port}", hint=f"see {log}")
        time.sleep(0.1)


def url(*, port: int, password: str) -> str:
    """Where Celery finds it."""
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            with connection.makefile("rb") as answers:
                return (answers.readline(), answers.readline()) == (b"+OK\r\n", b"+PONG\r\n")
    except OSError:
        return False
