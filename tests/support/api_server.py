"""Airflow's API server by itself: nothing runs what it is asked to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

AIRFLOW = [sys.executable, "-m", "airflow"]
_SECONDS = 180


def settings(home: Path, port: int) -> dict[str, str]:
    """The environment of a server on that port, with its database below ``home``."""
    return {
        **os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}", "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port), "AIRFLOW__API__WORKERS": "1",
    }  # fmt: skip


@contextmanager
def api_server(environment: Mapping[str, str], watched: Path, *arguments: str) -> Iterator[str]:
    """Start one and wait until it answers; gives its address. It ends with the tests, as it runs in a watched folder."""
    home, url = Path(environment["AIRFLOW_HOME"]), environment["AIRFLOW__API__BASE_URL"]
    log = home / "api-server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*AIRFLOW, "api-server", *arguments], env=environment, cwd=watched, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _SECONDS
        while not _answers(url):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=5).is_success
    except httpx.HTTPError:
        return False
