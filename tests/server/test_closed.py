"""A server that is being rebuilt is closed whatever its own options say, or it is stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.errors import ServerError, ServerUnreachable
from relight.fencing.asking import close_to_writes
from relight.fleet import Server
from relight.lab.template import Logins
from relight.server import mysqld
from relight.server.closed import set_event_scheduler, start_as_left, start_closed, why_open, write_settings
from relight.server.session import ask
from tests.support.servers import Servers, kill

HARMLESS = {
    "event-scheduler": "DISABLED",
    "offline-mode": "OFF",
    "read-only": "OFF",
    "super-read-only": "ON",
    "skip-replica-start": "OFF",
    "max-allowed-packet": "16M",
    "innodb-flush-log-at-trx-commit": "1",
    "persist-only-admin-x509-subject": "",
    "init-connect": "SET NAMES utf8mb4",
}
"""Each collides with a setting that closes the server, or with how such settings are read."""


def closed(servers: Servers, name: str, options: dict[str, str]) -> Server:
    """A server whose directory says closed; not started."""
    server = servers.make(name, options=options, start=False)
    write_settings(server, server.datadir, loading=True)
    return server


def lets_applications_in(server: Server, logins: Logins) -> bool:
    try:
        ask(server, logins.application).close()
    except ServerUnreachable:
        return False
    return True


@pytest.mark.parametrize("option", HARMLESS)
def test_options_that_collide_with_closing_do_not_open_the_server(
    servers: Servers, logins: Logins, option: str
) -> None:
    server = closed(servers, f"with-{option}", {option: HARMLESS[option]})
    # By whomever it is started: the machine's own scripts know nothing of Relight.
    with mysqld.start(server, servers.admin) as session:
        assert why_open(session) == ""
    assert not lets_applications_in(server, logins)
    kill(server)
    with start_closed(server, servers.admin) as session:
        assert why_open(session) == ""
    assert not lets_applications_in(server, logins)


@pytest.mark.parametrize("options", [
    {"persisted-globals-load": "OFF"}, {"skip-grant-tables": "ON"}, {"skip-grant-tables": "ON", "event-scheduler": "DISABLED"},
])  # fmt: skip
def test_options_that_would_open_the_server_are_refused_before_it_is_started(
    servers: Servers, options: dict[str, str]
) -> None:
    with pytest.raises(ServerError, match="would come up open") as refused:
        closed(servers, "refused", options)
    assert next(iter(options)) in refused.value.hint


@pytest.mark.parametrize(("option", "value"), [
    ("event-scheduler", "DISABLED"), ("persisted-globals-load", "OFF"), ("init-file", "open.sql"), ("skip-grant-tables", "ON"),
])  # fmt: skip
def test_a_server_that_comes_up_open_all_the_same_is_stopped_before_anything_is_said(
    servers: Servers, logins: Logins, option: str, value: str
) -> None:
    server = servers.make(f"opened-by-{option}", start=False)
    # As a change to the options behind Relight's back, or a unit's own arguments, would have it.
    mysqld.write_closed_settings(server.datadir, loading=True)
    statements = server.options_file.with_name("open.sql")
    statements.write_text("SET GLOBAL offline_mode = OFF;\nSET GLOBAL read_only = OFF;\n")
    add_option(server, option, str(statements) if value == "open.sql" else value)
    mysqld.start(server, servers.admin).close()
    assert lets_applications_in(server, logins), "the setting of this test must open it"
    with pytest.raises(ServerError, match="came up open") as found:
        start_closed(server, servers.admin)
    assert "stopped" in found.value.why
    assert mysqld.running_pid(server) is None


def add_option(server: Server, option: str, value: str) -> None:
    with server.options_file.open("a") as options:
        options.write(f"{option}={value}\n")


def test_a_server_that_cannot_be_asked_to_stop_is_killed(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    server = servers.make("stubborn", start=False)
    mysqld.write_closed_settings(server.datadir, loading=True)
    add_option(server, "persisted-globals-load", "OFF")
    mysqld.start(server, servers.admin).close()

    def no_answer(*_: object, **__: object) -> None:
        raise ServerUnreachable("no answer", on=server.name)

    monkeypatch.setattr(mysqld, "stop", no_answer)
    with pytest.raises(ServerError, match="it was killed"):
        start_closed(server, servers.admin)
    assert mysqld.running_pid(server) is None


def test_a_server_that_was_opened_on_purpose_is_never_stopped(servers: Servers) -> None:
    server = servers.make("live")
    with pytest.raises(ServerError, match="opened on purpose"):
        start_closed(server, servers.admin)
    with servers.connect(server) as session:
        assert "offline_mode is OFF" in why_open(session)


def test_a_server_that_was_opened_is_not_stopped_when_its_step_runs_again(servers: Servers) -> None:
    server = closed(servers, "again", {})
    with start_as_left(server, servers.admin) as session:
        assert why_open(session) == ""
        mysqld.forget_closed_settings(session)
        session.run("SET GLOBAL read_only = OFF")
        session.run("SET GLOBAL offline_mode = OFF")
    with start_as_left(server, servers.admin) as session:
        assert "offline_mode is OFF" in why_open(session)


def test_closing_a_server_with_a_disabled_event_scheduler_outlasts_its_next_start(
    servers: Servers, logins: Logins
) -> None:
    server = servers.make("fenced", options={"event-scheduler": "DISABLED"})
    with servers.connect(server) as session:
        close_to_writes(session)
        set_event_scheduler(session, "DISABLED")
        set_event_scheduler(session, "ON")
    assert not lets_applications_in(server, logins)
    kill(server)
    mysqld.start(server, servers.admin).close()
    assert not lets_applications_in(server, logins)


def test_nothing_of_the_library_starts_a_closed_server_without_looking() -> None:
    """Steps that rebuild a server start it by functions that look whether it is closed."""
    steps = Path(__file__).resolve().parents[2] / "include" / "relight" / "steps"
    assert [path.name for path in steps.glob("*.py") if "mysqld.start(" in path.read_text()] == []
    assert [path.name for path in steps.glob("*.py") if "write_closed_settings(" in path.read_text()] == []
