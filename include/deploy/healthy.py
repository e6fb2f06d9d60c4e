"""Whether the service of this container is well: exit status 0, else 1 and one line that says why.

    python -I -S healthy.py http PORT PATH     a server answers 200
    python -I -S healthy.py worker             the Celery worker's loop is running and has its broker
    python -I -S healthy.py mysqld SOCKET      mysqld greets
    python -I healthy.py job TYPE              Airflow's job of this type on this machine has a heartbeat

Several are asked one after the other: ``worker mysqld SOCKET``. Containers ask every half minute, all at once when they
start: so nothing of Airflow or Celery is imported here, which alone takes seconds. And who asks never stays: the
process ends itself before Docker gives up on it, and it has no children.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

DEADLINE = 10
"""Seconds that all questions together may take. Less than the ``timeout`` in docker-compose.yml."""

OLDEST_HEARTBEAT = 60
"""Seconds. A worker tells that it lives every 2 s, a job every 5 s; the rest is for a machine with much to do."""


class Unwell(Exception):
    """What is wrong, in one line."""


def http(port: str, path: str) -> None:
    """Ask a server of this container. Written by hand: http.client and what it imports cost more than the question."""
    with socket.create_connection(("127.0.0.1", int(port)), timeout=DEADLINE) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            status = answer.readline().split()
            answer.read()  # all of it, so that the server has nobody hanging up on it
    if len(status) < 2 or status[1] != b"200":
        raise Unwell(f"port {port} answers {b' '.join(status).decode(errors='replace') or 'nothing'}")


def worker() -> None:
    """Look at the file that the worker touches with each heartbeat, as celery_settings.py has told it to."""
    try:
        age = time.time() - os.stat(worker_heartbeat()).st_mtime  # noqa: PTH116  pathlib costs more than the question
    except FileNotFoundError:
        raise Unwell("the worker has not started") from None
    if age > OLDEST_HEARTBEAT:
        raise Unwell(f"the worker's last heartbeat is {age:.0f} s old")


def worker_heartbeat() -> str:
    """The file whose time of change is that of the worker's last heartbeat."""
    return os.path.join(os.environ["AIRFLOW_HOME"], "worker-heartbeat")  # noqa: PTH118


def mysqld(path: str) -> None:
    """Wait for the greeting: the kernel accepts connections also for a server that hangs."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(path)
        greeting = connection.recv(5)
    # Behind the four bytes of the packet's head: the version of the protocol, or 255 and an error.
    if greeting[4:] != b"\x0a":
        raise Unwell("mysqld takes no connections")


def job(kind: str) -> None:
    """Ask Airflow's database for the heartbeat of this machine's job of a kind, as ``airflow jobs check`` does."""
    import psycopg2  # noqa: PLC0415  not there with -S

    address = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "", 1)
    database = psycopg2.connect(address, connect_timeout=DEADLINE)
    try:
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT EXTRACT(EPOCH FROM now() - max(latest_heartbeat))::float FROM job "
                "WHERE job_type = %s AND hostname IN (%s, %s) AND state = 'running'",
                (kind, socket.gethostname(), socket.getfqdn()),
            )
            (age,) = cursor.fetchone()
    finally:
        database.close()
    if age is None:
        raise Unwell(f"no {kind} has started on {socket.gethostname()}")
    if age > OLDEST_HEARTBEAT:
        raise Unwell(f"the last heartbeat of {kind} is {age:.0f} s old")


QUESTIONS = {"http": (http, 2), "worker": (worker, 0), "mysqld": (mysqld, 1), "job": (job, 1)}
"""Each question, and how many arguments follow its name."""


def main(arguments: list[str]) -> None:
    """Ask what is named, in this order. :raises Unwell: the first thing that is wrong."""
    while arguments:
        question, count = QUESTIONS[arguments.pop(0)]
        question(*[arguments.pop(0) for _ in range(count)])


if __name__ == "__main__":
    signal.alarm(DEADLINE)
    try:
        main(sys.argv[1:])
    except Exception as error:  # noqa: BLE001  whatever it is, it is what Docker shows as the state of the container
        sys.exit(f"{type(error).__name__}: {error}")
