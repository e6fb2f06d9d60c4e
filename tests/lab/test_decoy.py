"""The decoy hears of everybody who comes, lets nobody in, and fails the run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from relight.credentials import Login
from relight.errors import StatementFailed
from relight.lab.addresses import free_addresses
from relight.lab.mysql import MySQL
from relight.server.session import connect
from tests.support.decoy import PORT, Decoy
from tests.support.servers import Servers

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def decoy() -> Iterator[Decoy]:
    """One at an address of its own, which is nobody's default."""
    made = Decoy.at(free_addresses(1))
    assert not made.absent
    yield made
    made.close()


def test_a_login_is_heard_and_refused(decoy: Decoy) -> None:
    with pytest.raises(pymysql.err.OperationalError, match=r"1045.*Access denied"):
        pymysql.connect(host=decoy.addresses[0], user="relight", password="x", port=0)
    (visit,) = decoy.close()
    assert visit.user == "relight"
    assert f"process {os.getpid()} (" in str(visit)
    assert f"logged in as 'relight' at {decoy.addresses[0]}:{PORT}" in str(visit)


def test_what_is_tested_is_refused_too_and_gets_no_further(decoy: Decoy, servers: Servers) -> None:
    server = servers.make("elsewhere", empty=True).model_copy(update={"host": decoy.addresses[0]})
    with pytest.raises(StatementFailed, match="the server refused the login"):
        connect(server, Login("relight", "x"), timeout=5)
    assert len(decoy.close()) == 1


def test_the_standard_client_is_heard_too(decoy: Decoy, mysql: MySQL) -> None:
    arguments = [mysql.mysql, "--no-defaults", f"--host={decoy.addresses[0]}", "--user=joe", "--ssl-mode=DISABLED"]
    done = subprocess.run([*arguments, "-e", "SELECT 1"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "1045" in done.stderr
    assert [visit.user for visit in decoy.close()] == ["joe"]


def test_who_only_knocks_is_heard_too(decoy: Decoy) -> None:
    with socket.create_connection((decoy.addresses[0], PORT)) as knocking:
        assert knocking.recv(100)[4] == 10, "it greets as a server does"
    with socket.create_connection((decoy.addresses[0], PORT)):
        pass
    visits = decoy.close()
    assert [visit.user for visit in visits] == [None, None]
    assert f"process {os.getpid()} (" in str(visits[0])
    assert "connected at" in str(visits[0])


def test_a_port_that_is_taken_is_told_and_no_failure(decoy: Decoy) -> None:
    second = Decoy.at([decoy.addresses[0]])
    assert second.absent == [f"{decoy.addresses[0]}, port {PORT}: taken by another program"]
    assert second.close() == []


CONFTEST = """
from tests.support.decoy_watch import DecoyWatch

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(DecoyWatch([{address!r}]))
"""
TESTS = """
import socket, pymysql, pytest

def test_that_goes_where_it_should_not():
    with pytest.raises(pymysql.err.OperationalError):
        pymysql.connect(host={address!r}, user="stray")

def test_that_stays_at_home():
    pass

def test_that_fails():
    assert False
"""


def run_of(folder: Path, chosen: str, *more: str) -> subprocess.CompletedProcess[str]:
    """A run of tests with a decoy of its own."""
    (address,) = free_addresses(1)
    (folder / "conftest.py").write_text(CONFTEST.format(address=address), encoding="utf-8")
    (folder / "test_it.py").write_text(TESTS.format(address=address), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", folder, "-p", "no:cacheprovider", *more,
         "-k", chosen, folder], cwd=folder, env={**environment, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_run_in_which_somebody_came_has_failed_and_says_who(tmp_path: Path, workers: tuple[str, ...]) -> None:
    done = run_of(tmp_path, "should_not", *workers)
    assert "1 passed" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "the decoy was visited" in done.stdout
    assert "logged in as 'stray'" in done.stdout
    assert "test_that_goes_where_it_should_not" in done.stdout or not workers


def test_a_run_in_which_nobody_came_ends_as_it_does(tmp_path: Path) -> None:
    quiet, failed, none = (run_of(tmp_path, chosen) for chosen in ("at_home", "fails", "not_one_of_them"))
    assert (quiet.returncode, failed.returncode, none.returncode) == (
        pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED
    )  # fmt: skip
    assert "decoy" not in quiet.stdout + failed.stdout
