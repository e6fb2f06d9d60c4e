"""A server that is being rebuilt comes up closed, or it does not stay up.

The settings that close it lie in the data directory (see :mod:`relight.server.mysqld`). That the server takes them is
not taken for granted: of persisted settings it drops all when it cannot take one, its options may tell it to ignore
them, and what it runs at its start may undo them. So options that are known to collide are heeded beforehand, and
every server that is started here is looked at before anybody goes on; one that is found open is stopped at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from relight.credentials import Login
from relight.errors import RelightError, ServerError
from relight.fleet import Server
from relight.server import mysqld
from relight.server.persisted import persisted
from relight.server.session import Session

_HINT = "nobody was let in on purpose. Look at the server's options: event_scheduler, persisted_globals_load, init_file"
_OPTIONS = ("--offline-mode=ON", "--read-only=ON", "--event-scheduler=OFF")
"""The same once more where Relight starts mysqld itself: for the moment before it is looked at."""


def write_settings(server: Server, datadir: Path, *, loading: bool) -> None:
    """Make the server come up closed on ``datadir``, by whomever it is started.

    :raises ServerError: its own options would open it; nothing was written.
    """
    options = mysqld.all_configured(server)
    for option, value, what in (
        ("persisted-globals-load", "FALSE", "it is told to ignore persisted settings"),
        ("skip-grant-tables", "TRUE", "it lets in everybody without a password"),
    ):
        if options.get(option) == value:
            raise ServerError(
                "the server would come up open", on=server.name, why=f"{what} ({option} in its options)",
                hint=f"take {option} out of {server.options_file} and run this again",
            )  # fmt: skip
    # What is disabled at the start cannot be set to anything later, not even to OFF.
    disabled = options.get("event-scheduler", "").upper() == "DISABLED"
    mysqld.write_closed_settings(datadir, loading=loading, leave_out=("event_scheduler",) if disabled else ())


def start_closed(server: Server, login: Login, *, timeout: float = 120) -> Session:
    """Start a server that nobody may use yet; one that runs already is looked at all the same.

    :raises ServerError: it is open although its data directory says closed, and was stopped before anything else; or
        it was opened on purpose, and nothing was done to it. Others as for :func:`mysqld.start`.
    """
    session = mysqld.start(server, login, *_OPTIONS, timeout=timeout)
    try:
        why = why_open(session)
    except BaseException:
        session.close()
        raise
    if not why:
        return session
    if not _says_closed(server.datadir):
        session.close()
        raise ServerError(
            "the server was opened on purpose", on=server.name, why=why,
            hint="nothing was done to it. A step that works on closed servers was run again behind its promotion",
        )  # fmt: skip
    then = _stop_at_once(session)
    raise ServerError("the server came up open", on=server.name, why=f"{why}; {then}", hint=_HINT)


def start_as_left(server: Server, login: Login, *, timeout: float = 120) -> Session:
    """Start a server that was perhaps opened already: closed, if its data directory still says so."""
    start = start_closed if _says_closed(server.datadir) else mysqld.start
    return start(server, login, timeout=timeout)


def _says_closed(datadir: Path) -> bool:
    return persisted(datadir).get("offline_mode", "").upper() == "ON"


def why_open(session: Session) -> str:
    """What lets applications in, or lets the server do something by itself; empty where it is closed."""
    offline, read_only, scheduler, user = session.row(
        "SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only, @@GLOBAL.event_scheduler, CURRENT_USER()"
    )
    found = [f"{name} is OFF" for name, on in (("offline_mode", offline), ("read_only", read_only)) if not on]
    if scheduler not in ("OFF", "DISABLED"):
        found.append(f"event_scheduler is {scheduler}")
    if str(user).startswith("skip-grants "):
        found.append("it lets in everybody without a password (skip_grant_tables)")
    return ", ".join(found)


def set_event_scheduler(session: Session, wanted: str) -> None:
    """``ON`` or ``OFF``. A server that was started with it disabled can only be started anew to change that."""
    if wanted.upper() != "DISABLED" and session.value("SELECT @@GLOBAL.event_scheduler") != "DISABLED":
        session.run("SET GLOBAL event_scheduler = %s", wanted)


def _stop_at_once(session: Session) -> str:
    """Gives what became of it."""
    server, login = session.server, session.login
    with contextlib.suppress(RelightError):  # it is stopped below anyway
        session.run("SET GLOBAL offline_mode = ON")
        session.run("SET GLOBAL super_read_only = ON")
    session.close()
    try:
        mysqld.stop(server, login)
    except RelightError as failure:
        pid = mysqld.running_pid(server)
        if pid is None:
            return f"it is down ({failure})"
        os.kill(pid, signal.SIGKILL)
        mysqld.wait_until_down(server, pid)
        return f"it was killed ({failure})"
    return "it was stopped"
