"""What a server, and every other program that Relight starts, can tell of the environment of whoever started it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from relight.credentials import Login
from relight.fleet import CommandControl, Server
from relight.lab.state import State
from relight.server import command, mysqld
from relight.server.empty import empty_server, initialise
from relight.server.environment import USER_SESSION, child_environment
from relight.server.scratch import scratch_boot
from relight.server.session import Session
from tests.support.servers import Servers

SECRETS = {
    "RELIGHT_STORE_PASSWORD": "hunter2-store", "RELIGHT_CERTIFICATE_PASSWORD": "hunter2-key",
    "AIRFLOW_CONN_RELIGHT_STORE": "hunter2-connection", "AIRFLOW__CORE__FERNET_KEY": "hunter2-fernet",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "hunter2-database", "AWS_SECRET_ACCESS_KEY": "hunter2-aws",
    "FOO_TOKEN": "hunter2-foo", "MYSQL_PWD": "hunter2-client", "_AIRFLOW__X": "hunter2-x", "path": "hunter2-path",
}  # fmt: skip


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def environment_of_process(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_bytes().replace(b"\0", b"\n").decode()


def read_by_an_account_with_file(session: Session) -> str:
    """What somebody with the privilege FILE gets of the server's own environment."""
    session.run("SET SESSION sql_log_bin = 0")
    session.run("CREATE DATABASE thief")
    session.run("CREATE TABLE thief.t (line BLOB)")
    session.run(
        "LOAD DATA INFILE '/proc/self/environ' INTO TABLE thief.t FIELDS ESCAPED BY '' LINES TERMINATED BY '\\0'"
    )
    lines = [bytes(line).decode() for (line,) in session.rows("SELECT line FROM thief.t")]
    lines.append(str(session.value("SELECT LOAD_FILE('/proc/self/environ')")))
    session.run("DROP DATABASE thief")
    return "\n".join(lines)


def test_an_account_with_file_finds_no_secret_in_the_environment_of_a_server(servers: Servers) -> None:
    server = servers.make()
    pid = mysqld.running_pid(server)
    assert pid is not None
    assert "hunter2" not in environment_of_process(pid)
    with servers.connect(server) as session:
        seen = read_by_an_account_with_file(session)
        assert "PATH=" in seen, "nothing could be read, so this test shows nothing"
        assert "hunter2" not in seen


def test_nor_in_that_of_a_scratch_server(servers: Servers) -> None:
    server = servers.make(start=False)
    with empty_server(server) as session:
        seen = read_by_an_account_with_file(session)
    assert "PATH=" in seen
    assert "hunter2" not in seen


def test_a_server_gets_the_variables_that_it_is_started_with(servers: Servers) -> None:
    server = servers.make(start=False)
    process = mysqld.spawn(server, outlives=False, environment={"TZ": "Asia/Kathmandu"})
    try:
        with mysqld.wait_until_up(server, servers.admin, process=process) as session:
            assert session.value("SELECT @@system_time_zone") == "+0545"
        assert "hunter2" not in environment_of_process(process.pid)
    finally:
        process.kill()
        process.wait()


def test_no_program_that_is_run_sees_a_secret_nor_one_that_the_lab_starts(tmp_path: Path) -> None:
    ran = command.run(["env"], environment={"APT_CONFIG": "given"}).decode()
    assert "hunter2" not in ran
    assert "APT_CONFIG=given" in ran
    assert f"PATH={os.environ['PATH']}" in ran.splitlines()
    state = State(tmp_path / "state.json")
    state.start("sleeper", ["sh", "-c", "env; exec sleep 60"], cwd=tmp_path, log=tmp_path / "log")
    try:
        assert "hunter2" not in environment_of_process(state.running()["sleeper"])
    finally:
        state.end("sleeper")


def test_a_command_that_starts_a_server_finds_its_user_s_systemd_and_no_secret(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    told = tmp_path / "told"
    server = servers.make(start=False)
    started = _by_command(server, ("sh", "-c", f"env > {told}; exit 3"))
    with pytest.raises(Exception, match="status 3"):
        mysqld.start(started, Login("nobody", ""), timeout=5)
    assert "XDG_RUNTIME_DIR=/run/user/1" in told.read_text()
    assert "hunter2" not in told.read_text()


def _by_command(server: Server, start: tuple[str, ...]) -> Server:
    return server.model_copy(update={"control": CommandControl(kind="command", start=start, stop=("true",))})


def test_only_what_is_named_is_passed_on_and_what_is_added_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LC_TIME": "de_DE.UTF-8", "TZ": "UTC", "PATH": "/bin", "NOTIFY_SOCKET": "/run/x"}.items():
        monkeypatch.setenv(name, value)
    made = child_environment({"TZ": "Asia/Tokyo", "RELIGHT_SHARD": "a"})
    assert made["LC_TIME"] == "de_DE.UTF-8"
    assert made["TZ"] == "Asia/Tokyo"
    assert made["RELIGHT_SHARD"] == "a"
    assert "NOTIFY_SOCKET" not in made
    assert "hunter2" not in json.dumps(made)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert "XDG_RUNTIME_DIR" not in child_environment()
    assert child_environment(also=USER_SESSION)["XDG_RUNTIME_DIR"] == "/run/user/1"


def test_passwords_of_a_new_data_directory_are_in_no_file_that_a_killed_process_would_leave(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "temporary").mkdir()
    server, seen = servers.make(start=False, empty=True), tmp_path / "seen"
    watching = tmp_path / "mysqld"
    watching.write_text(
        f'#!/bin/sh\necho "$@" > {seen}\nls {tmp_path}/temporary >> {seen}\nexec {server.mysqld} "$@"\n'
    )
    watching.chmod(0o755)
    initialise(
        server.model_copy(update={"mysqld": watching}), server.datadir,
        ["CREATE USER me@localhost IDENTIFIED BY 'swordfish'", "GRANT ALL ON *.* TO me@localhost"],
    )  # fmt: skip
    said = seen.read_text()
    assert "swordfish" not in said
    assert len(said.splitlines()) == 1, "there is a file in the folder for temporary ones"
    assert list((tmp_path / "temporary").iterdir()) == []
    with scratch_boot(server, Login("me", "swordfish"), server.datadir) as session:
        assert session.value("SELECT CURRENT_USER()") == "me@localhost"
