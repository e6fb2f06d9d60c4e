"""Every announcer is told, whatever becomes of the others, and every failure is named."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relight.announcing.base import Announcer, Endpoint, Factory
from relight.announcing.publish import announce_all, withdraw_all
from relight.announcing.registry import announcers_of
from relight.announcing.settings import (
    AirflowConnectionAnnounce,
    Announce,
    CommandAnnounce,
    FileAnnounce,
    HttpAnnounce,
    ProxySQLAnnounce,
)
from relight.credentials import Credentials
from relight.errors import AnnounceFailed, AnnounceUnavailable
from tests.announcing.endpoints import endpoint, logins

CONNECTION = AirflowConnectionAnnounce(kind="airflow_connection", connection_id="shop")
NO_LOGIN = ProxySQLAnnounce(kind="proxysql", hostgroup=10)
TELL: list[Callable[..., tuple[str, ...]]] = [announce_all, withdraw_all]


def command(script: str) -> CommandAnnounce:
    return CommandAnnounce(kind="command", announce=("sh", "-c", script), withdraw=("sh", "-c", script))


def file(path: Path) -> FileAnnounce:
    return FileAnnounce(kind="file", path=path)


def made(*settings: Announce, extra: dict[str, Factory] | None = None) -> list[Announcer]:
    return announcers_of(settings, logins(), extra or {})


@pytest.mark.parametrize("tell", TELL)
def test_all_are_told_in_the_order_of_the_fleet_file(tmp_path: Path, tell: Callable[..., tuple[str, ...]]) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    told = tell(made(file(one), command(f"test -e {one} && ! test -e {two}"), file(two)), endpoint())
    assert told == (f"file {one}", "command sh", f"file {two}")
    assert json.loads(two.read_text())["open"] is (tell is announce_all)


def test_a_shard_that_is_announced_nowhere_is_no_failure() -> None:
    assert announce_all([], endpoint()) == ()


@pytest.mark.parametrize("tell", TELL)
def test_those_that_fail_are_all_named_and_the_others_told(
    tmp_path: Path, tell: Callable[..., tuple[str, ...]]
) -> None:
    path = tmp_path / "one.json"
    announcers = made(command("echo no route >&2; exit 1"), NO_LOGIN, file(path), command("exit 2"), CONNECTION)
    with pytest.raises(AnnounceFailed, match="4 of 5 failed") as failed:
        tell(announcers, endpoint())
    assert path.exists()
    assert failed.value.on == "shard-1 at shop-1a.example.net:3306"
    for part in (
        "command sh: the command ended with status 1 (no route)", "the command ended with status 2",
        "ProxySQL 127.0.0.1:6032, hostgroup 10: no credentials for proxysql (not set: RELIGHT_PROXYSQL_USER,",
        "Connection shop: this kind of announcement works inside Airflow only",
    ):  # fmt: skip
        assert part in failed.value.why
    assert not failed.value.retryable
    assert failed.value.hint.count("run it by hand") == 1


def test_where_one_may_come_back_another_try_is_worth_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = HttpAnnounce(kind="http", url=f"http://127.0.0.1:{taken.getsockname()[1]}/", timeout_s=1)
        with pytest.raises(AnnounceUnavailable, match="2 of 2 failed") as failed:
            announce_all(made(command("exit 1"), away), endpoint())
    assert failed.value.retryable


def test_what_the_library_cannot_reach_is_made_by_who_can() -> None:
    told: list[tuple[str, Endpoint]] = []

    class Made:
        name = "made elsewhere"

        def __init__(self, settings: Any, credentials: Credentials) -> None:
            assert (settings, credentials) == (CONNECTION, logins())

        def announce(self, endpoint: Endpoint) -> None:
            told.append(("announce", endpoint))

        def withdraw(self, endpoint: Endpoint) -> None:
            told.append(("withdraw", endpoint))

    announcers = made(CONNECTION, extra={"airflow_connection": Made})
    assert announce_all(announcers, endpoint()) == withdraw_all(announcers, endpoint()) == ("made elsewhere",)
    assert told == [("announce", endpoint()), ("withdraw", endpoint())]


def test_a_mistake_in_the_code_is_not_taken_for_an_announcer_that_is_away() -> None:
    class Broken:
        name = "broken"

        def announce(self, endpoint: Endpoint) -> None:
            raise TypeError("a mistake")

        withdraw = announce

    with pytest.raises(TypeError):
        announce_all([Broken()], endpoint())


def test_a_time_without_its_zone_is_not_announced() -> None:
    with pytest.raises(ValueError, match="timezone"):
        endpoint(at="2026-11-24T03:04:05")
