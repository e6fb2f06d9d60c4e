"""What is registered is ended with all of its family, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from relight.lab.state import State, end_processes, mark


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state.json")


def test_a_process_that_outlives_its_starter_is_found_and_ended(state: State, tmp_path: Path) -> None:
    pid = state.start("sleeper", ["sleep", "300"], cwd=tmp_path, log=tmp_path / "log")
    assert State(tmp_path / "state.json").running() == {"sleeper": pid}
    assert state.end("sleeper")
    assert mark(pid) == ""
    assert state.running() == {}
    assert not state.end("sleeper")


def test_children_are_ended_even_if_they_left_the_session(state: State, tmp_path: Path) -> None:
    script = "setsid sleep 301 & sleep 302 & echo $! ; wait"
    pid = state.start("parent", ["bash", "-c", script], cwd=tmp_path, log=tmp_path / "log")
    deadline = time.monotonic() + 10
    while len(_children(pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    children = _children(pid)
    assert len(children) == 2
    state.end_all()
    assert [child for child in children if mark(child)] == []


def test_what_ignores_the_request_is_killed(state: State, tmp_path: Path) -> None:
    pid = state.start("stubborn", ["bash", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
                      cwd=tmp_path, log=tmp_path / "log")  # fmt: skip
    while "ready" not in (tmp_path / "log").read_text():
        time.sleep(0.02)
    assert state.end("stubborn", grace=0.3)
    assert mark(pid) == ""


def test_a_reused_process_id_is_left_alone(state: State, tmp_path: Path) -> None:
    pid = state.start("gone", ["sleep", "303"], cwd=tmp_path, log=tmp_path / "log")
    file = tmp_path / "state.json"
    file.write_text(file.read_text().replace(mark(pid), "another-boot:1"))
    assert state.running() == {}
    assert not state.end("gone")
    assert mark(pid) != ""
    assert end_processes({pid: "another-boot:1"}, grace=0.1) is False
    assert mark(pid) != ""
    os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    done = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]
