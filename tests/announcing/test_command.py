"""Real commands: they get the endpoint and no secret, and none of them can hold a promotion up for ever."""

from __future__ import annotations

import json
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

import psutil
import pytest

from relight.announcing.command import CommandAnnouncer
from relight.announcing.settings import CommandAnnounce
from relight.errors import AnnounceFailed, AnnounceUnavailable
from relight.server.environment import PASSED_ON
from tests.announcing.endpoints import endpoint

WRITES_DOWN = """
import json, os, sys
json.dump({"environment": dict(os.environ), "given": json.load(sys.stdin), "arguments": sys.argv[2:]}, open(sys.argv[1], "w"))
"""


def announcer(*announce: str, withdraw: tuple[str, ...] = ("true",), timeout_s: float = 20) -> CommandAnnouncer:
    return CommandAnnouncer(
        CommandAnnounce(kind="command", announce=announce, withdraw=withdraw, timeout_s=timeout_s)
    )  # fmt: skip


def test_the_command_is_told_the_endpoint_in_its_environment_and_as_json(tmp_path: Path) -> None:
    def told(name: str) -> dict[str, dict[str, str]]:
        return dict(json.loads((tmp_path / name).read_text()))

    def writing(name: str) -> tuple[str, ...]:
        return (sys.executable, "-c", WRITES_DOWN, str(tmp_path / name), "$HOME; not a shell")

    one = announcer(*writing("announced"), withdraw=writing("withdrawn"))
    one.announce(endpoint())
    one.withdraw(endpoint())
    for name, is_open in (("announced", True), ("withdrawn", False)):
        assert told(name)["given"] == endpoint().document(is_open=is_open)
        assert told(name)["arguments"] == ["$HOME; not a shell"]
        told_of = {key: value for key, value in told(name)["environment"].items() if key.startswith("RELIGHT_")}
        assert told_of == {
            "RELIGHT_SHARD": "shard-1", "RELIGHT_ROLE": "source", "RELIGHT_SERVER": "shop-1a",
            "RELIGHT_HOST": "shop-1a.example.net", "RELIGHT_PORT": "3306", "RELIGHT_EPOCH": "3",
            "RELIGHT_SERVER_UUID": "3e11fa47-71ca-11e1-9e33-c80aa9429562", "RELIGHT_AT": "2026-11-24T03:04:05Z",
            "RELIGHT_OPEN": "1" if is_open else "0",
        }  # fmt: skip


def test_the_command_sees_no_secret_of_relight_or_airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "RELIGHT_ADMIN_PASSWORD",
        "AIRFLOW_CONN_RELIGHT_ADMIN",
        "AIRFLOW__CORE__FERNET_KEY",
        "AWS_SECRET_ACCESS_KEY",
    ):
        monkeypatch.setenv(name, "hunter2")
    announcer(sys.executable, "-c", WRITES_DOWN, str(tmp_path / "told")).announce(endpoint())
    text = (tmp_path / "told").read_text()
    assert "hunter2" not in text
    seen = {name for name in json.loads(text)["environment"] if not name.startswith("RELIGHT_")}
    assert {name for name in seen if not any(fnmatchcase(name, one) for one in PASSED_ON)} == set()


def test_a_command_that_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(AnnounceFailed, match=r"status 3 \(command sh\).*no such route: shard-1") as failed:
        announcer("sh", "-c", "echo ignored; echo no such route: $RELIGHT_SHARD >&2; exit 3").announce(endpoint())
    assert not failed.value.retryable
    assert failed.value.hint


def test_of_a_long_complaint_the_end_is_shown() -> None:
    with pytest.raises(AnnounceFailed) as failed:
        announcer("sh", "-c", "seq 100000 >&2; echo the end >&2; exit 1").announce(endpoint())
    assert failed.value.why.endswith("99999 100000 the end")
    assert len(failed.value.why) <= 400


def test_a_command_can_say_that_another_try_may_help() -> None:
    with pytest.raises(AnnounceUnavailable) as failed:
        announcer("sh", "-c", "exit 75").announce(endpoint())
    assert failed.value.why == "It has said nothing."


def test_a_command_that_was_killed_is_a_failure() -> None:
    with pytest.raises(AnnounceFailed, match="status -9"):
        announcer("sh", "-c", "kill -9 $$").announce(endpoint())


@pytest.mark.parametrize("name", ["no-such-command-anywhere", "/etc/passwd", "/no/such/path"])
def test_a_command_that_cannot_be_started_is_named(name: str) -> None:
    with pytest.raises(AnnounceFailed, match="cannot be started") as failed:
        announcer(name).announce(endpoint())
    assert name in failed.value.on
    assert not failed.value.retryable


def test_a_command_that_hangs_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/pid; echo waiting >&2; sleep 300"
    began = time.monotonic()
    with pytest.raises(AnnounceUnavailable, match=r"killed after 1 s. waiting"):
        announcer("sh", "-c", script, timeout_s=1).announce(endpoint())
    assert time.monotonic() - began < 10
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_command_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    announcer("sh", "-c", f"sleep 30 & echo $! > {tmp_path}/pid").announce(endpoint())
    assert time.monotonic() - began < 10
    psutil.Process(int((tmp_path / "pid").read_text())).kill()


def test_a_command_that_reads_nothing_is_fine_however_much_there_is_to_read() -> None:
    announcer("true").announce(endpoint(gtids="x" * 1_000_000))
    announcer("sh", "-c", "exec test $(wc -c) -gt 1000000").announce(endpoint(gtids="x" * 1_000_000))
