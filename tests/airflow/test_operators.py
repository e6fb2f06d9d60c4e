"""What an operator adds to a step: errors that people can read, and a clean end when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from relight.credentials import Login
from relight.errors import GuardRefused, LaneBlocked, ObjectCorrupt, RelightError, ServerUnreachable, StoreUnavailable
from relight.fleet import Server
from relight.server.session import connect
from tests.airflow.conftest import PROJECT


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, text: str, *values: object) -> None:
        self.lines.append(text % values)

    warning = info = error


def raised(error: RelightError) -> tuple[BaseException, list[str]]:
    from relight_airflow.failures import plain_errors

    log = Log()
    with pytest.raises(SystemExit) as caught, plain_errors(log):
        raise error
    return caught.value, log.lines


@pytest.mark.parametrize("kind", [StoreUnavailable, ServerUnreachable])
def test_what_may_pass_is_tried_again(kind: type[RelightError]) -> None:
    assert action_on(kind("it is away")) == "retry"


@pytest.mark.parametrize("kind", [GuardRefused, ObjectCorrupt])
def test_what_cannot_pass_fails_at_once(kind: type[RelightError]) -> None:
    assert action_on(kind("it is wrong")) == "fail"


def action_on(error: RelightError) -> str:
    """What the retry policy of the DAGs makes of it."""
    from relight_airflow.steps import DEFAULTS

    return str(DEFAULTS["retry_policy"].evaluate(raised(error)[0], 1, 4).action.value)


def test_the_log_says_what_on_which_object_why_and_what_to_do() -> None:
    error, lines = raised(GuardRefused("the server is alive", on="db-1", why="pid 7", hint="stop it"))
    assert lines == ["the server is alive", "  on: db-1", "  why: pid 7", "  hint: stop it"]
    assert str(error) == "the server is alive (db-1): pid 7 -- stop it"
    assert error.__suppress_context__, "the library's own traceback is of no use to an operator"


def test_a_mistake_in_the_code_keeps_its_traceback() -> None:
    from relight_airflow.failures import plain_errors

    with pytest.raises(TypeError), plain_errors(Log()):
        raise TypeError("a mistake")


def test_a_lane_that_needs_another_is_put_off_while_the_rest_goes_on() -> None:
    from relight_airflow.operators import PutOff, ReplayOperator

    def step(site: Any, run: Any, number: int) -> PutOff:
        if number == 1:
            raise LaneBlocked("a view of another database is missing")
        return PutOff(number=number, put_off=False)

    operator = ReplayOperator(task_id="replay", step="not.used", keys=[0, 1, 2])
    done = operator._call(step, None, None)
    assert [(one["number"], one["put_off"]) for one in done] == [(0, False), (1, True), (2, False)]


KILLED = """
import json, signal, subprocess, sys, threading, time
from pathlib import Path
from relight.credentials import Login
from relight.fleet import Server
from relight.server.session import connect
from relight.server import command
from relight_airflow.operators import StepOperator

arguments = json.loads(sys.argv[1])
server = Server.model_validate(arguments["server"])
operator = StepOperator(task_id="replay", step="not.used")
signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
kept = subprocess.Popen(["sleep", "300"], start_new_session=True)
child = subprocess.Popen(["sleep", "300"])
session = connect(server, Login(*arguments["login"]))
Path(arguments["ready"]).write_text(json.dumps([kept.pid, child.pid]))
try:
    session.run("SELECT SLEEP(300)")
    time.sleep(300)
finally:
    Path(arguments["cleaned"]).touch()
"""


def test_a_killed_task_ends_its_statements_and_programs_but_not_the_server_it_started(
    mysql_server: Callable[..., Server], admin: Login, tmp_path: Path
) -> None:
    server = mysql_server()
    ready, cleaned = tmp_path / "ready", tmp_path / "cleaned"
    arguments = {
        "server": server.model_dump(mode="json"), "login": [admin.user, admin.password],
        "ready": str(ready), "cleaned": str(cleaned),
    }  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "plugins")}
    task = subprocess.Popen([sys.executable, "-c", KILLED, json.dumps(arguments)], env=environment)
    with connect(server, admin) as session:

        def sleeping() -> int:
            return int(
                session.value("SELECT COUNT(*) FROM performance_schema.processlist WHERE info LIKE 'SELECT SLEEP%%'")
            )

        wait(lambda: ready.exists() and sleeping() == 1)
        kept, child = json.loads(ready.read_text())
        task.send_signal(signal.SIGTERM)
        # Airflow waits 5 seconds before it sends SIGKILL.
        assert task.wait(5) == 143
        wait(lambda: sleeping() == 0, 2)
    assert cleaned.exists(), "the step must be able to put away what it has begun"
    assert not psutil.pid_exists(child)
    assert psutil.pid_exists(kept)
    os.kill(kept, signal.SIGKILL)


def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
