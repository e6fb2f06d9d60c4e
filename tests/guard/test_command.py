"""``relight guard``: what scripts rely on, without fleet file, credentials or network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relight.fleet import Server
from relight.server import mysqld
from tests.support.guarding import tree
from tests.support.servers import Servers

RELIGHT = "import sys; from relight.cli.main import main; sys.argv[0] = 'relight'; main()"

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def relight(tmp_path: Path) -> Callable[..., Done]:
    """Runs the command as a shell would, with nothing of Relight in the environment; as ``wrapped``, if asked."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
    environment = {**plain, "RELIGHT_LAB": str(tmp_path / "no-lab")}

    def call(*arguments: str | Path, wrapped: tuple[str, ...] = ()) -> Done:
        return subprocess.run(
            [*wrapped, sys.executable, "-c", RELIGHT, *arguments], env=environment, cwd=tmp_path, text=True,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip

    return call


def test_a_running_server_is_refused_on_one_screen(relight: Callable[..., Done], alive: Server) -> None:
    done = relight("guard", alive.datadir)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) < 25
    assert lines[-1] == f"{alive.datadir}: REFUSED. Leave it alone."
    assert any(line.split()[:2] == ["process", "process"] for line in lines)
    assert any(line.startswith("server UUID ") for line in lines)


def test_scripts_are_told_everything(relight: Callable[..., Done], alive: Server) -> None:
    done = relight("guard", alive.datadir, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["clear"] is False
    assert told["directory"] == str(alive.datadir)
    assert {"process", "lock", "port", "socket"} <= {one["kind"] for one in told["findings"]}
    assert set(told["facts"]) == {"server_uuid", "settings", "last_written", "last_write", "mark"}


def test_a_stopped_server_is_clear_once_its_transactions_are_known_to_be_backed_up(
    relight: Callable[..., Done], servers: Servers
) -> None:
    server = servers.make()
    with servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        executed = str(session.value("SELECT @@GLOBAL.gtid_executed"))
    mysqld.stop(server, servers.admin)
    before = tree(server.datadir.parent)
    done = relight("guard", server.datadir)
    assert done.returncode == 1
    assert "recent write" in done.stdout
    assert "hold 1 transaction and nobody said" in done.stdout
    done = relight("guard", server.datadir, "--quiet", "0", "--archived", executed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{server.datadir}: clear"
    done = relight("guard", server.datadir, "--quiet", "0", "--archived", executed, "--json")
    assert json.loads(done.stdout)["clear"] is True
    assert tree(server.datadir.parent) == before


def test_nothing_is_clear(relight: Callable[..., Done], tmp_path: Path) -> None:
    assert relight("guard", tmp_path / "absent").returncode == 0
    (tmp_path / "empty").mkdir()
    assert relight("guard", tmp_path / "empty").returncode == 0


@pytest.mark.parametrize(
    "words", [[], [""], ["/etc/passwd"], ["/nowhere", "--archived", "x"], ["/nowhere", "--quiet", "-1"]]
)
def test_wrong_usage_is_no_permission(relight: Callable[..., Done], words: list[str]) -> None:
    assert relight("guard", *words).returncode == 2


def test_it_needs_no_network(relight: Callable[..., Done], alive: Server) -> None:
    if os.geteuid() or subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("network namespaces are not allowed here")
    done = relight("guard", alive.datadir, "--json", wrapped=("unshare", "--net"))
    assert done.returncode == 1, done.stderr
    # Who listens where is known of another network namespace too.
    assert f"listens on {alive.host}:{alive.port}" in done.stdout


def test_a_server_outside_one_s_own_container_is_noticed_by_its_lock(
    relight: Callable[..., Done], alive: Server
) -> None:
    container = ("unshare", "--pid", "--fork", "--mount-proc")
    if os.geteuid() or subprocess.run([*container, "true"], check=False, capture_output=True).returncode:
        pytest.skip("process namespaces are not allowed here")
    done = relight("guard", alive.datadir, "--json", wrapped=container)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["findings"]
    assert "process" not in {one["kind"] for one in found}, "it cannot be seen"
    (lock,) = [one["what"] for one in found if one["kind"] == "lock"]
    assert lock.startswith("a process that cannot be seen from here (another container, or host) holds the InnoDB lock")


@pytest.mark.parametrize("living", [True, False])
def test_an_install_script_that_asks_first_does_no_harm(
    relight: Callable[..., Done], servers: Servers, tmp_path: Path, living: bool
) -> None:
    """The lines of the README, with a harmless harm behind them."""
    server = servers.make("victim", start=living)
    if not living:
        shutil.rmtree(server.datadir)
    program = tmp_path / "relight"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{RELIGHT}" "$@"\n')
    program.chmod(0o755)
    script = f"{program} guard {server.datadir} || exit 1\ntouch {tmp_path}/reinstalled\n"
    done = subprocess.run(["sh", "-c", script], check=False, capture_output=True, timeout=120)
    assert done.returncode == (1 if living else 0)
    assert (tmp_path / "reinstalled").exists() is not living


def test_it_takes_seconds_also_for_many_files(relight: Callable[..., Done], tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / "data" / str(folder)).mkdir(parents=True)
        for number in range(500):
            (tmp_path / "data" / str(folder) / f"t{number}.ibd").touch()
    began = time.monotonic()
    assert relight("guard", tmp_path / "data", "--quiet", "0").returncode == 0
    assert time.monotonic() - began < 60
