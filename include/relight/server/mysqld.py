"""Starting, stopping and closing one mysqld.

A server under rebuilding is *closed*: ``offline_mode``, ``read_only``, no event scheduler, no
replication. The closing settings are written into the data directory itself, as the persisted
variables that mysqld reads before it lets anyone in (manual, "Persisted System Variables"):
however the server is started, by whom and how often, it comes up closed until it is opened.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket as sockets
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from relight.credentials import Login
from relight.durable import write_whole
from relight.errors import ServerError, ServerStartFailed, ServerUnreachable, StatementFailed, WrongServer
from relight.fleet import CommandControl, Server, SystemdControl
from relight.server import command
from relight.server.environment import USER_SESSION, child_environment
from relight.server.programs import account_of
from relight.server.session import Session, connect
from relight.server.zone import zone_environment

CLOSED: Mapping[str, str] = {"offline_mode": "ON", "read_only": "ON", "event_scheduler": "OFF"}
"""What keeps applications out, and the server from doing anything by itself."""

LOADING: Mapping[str, str] = {
    "innodb_flush_log_at_trx_commit": "0",
    "sync_binlog": "0",
    "max_allowed_packet": str(2**30),
}
"""What makes loading fast at the price of durability: a crash while loading means a resume."""

_STATIC: Mapping[str, str] = {"skip_replica_start": "ON"}


def write_closed_settings(datadir: Path, *, loading: bool, leave_out: Collection[str] = ()) -> None:
    """Make the server of ``datadir`` come up closed, and tuned for loading if asked.

    Replaces ``mysqld-auto.cnf``, which a fresh clone does not have. Format: version 2, as
    written by servers since 8.0.30. A server that cannot take one of the settings takes none of them, so those that its
    options collide with are left out: :func:`relight.server.closed.write_settings` knows which.
    """
    stamp = {"Host": "localhost", "User": "relight", "Timestamp": time.time_ns() // 1000}

    def entries(values: Mapping[str, str]) -> dict[str, object]:
        return {name: {"Value": value, "Metadata": stamp} for name, value in values.items()}

    document = {
        "Version": 2,
        "mysql_dynamic_variables": entries(
            {name: value for name, value in {**CLOSED, **(LOADING if loading else {})}.items() if name not in leave_out}
        ),
        "mysql_static_variables": entries(_STATIC),
    }
    write_whole(datadir / "mysqld-auto.cnf", json.dumps(document))


def start(server: Server, login: Login, *options: str, timeout: float = 120) -> Session:
    """Start the server as its fleet entry says and wait until it lets ``login`` in.

    A server that already answers is left as it is; of several callers at once, one starts it. The
    session is the caller's to close.

    :param options: more of them, where Relight itself starts mysqld.
    :raises ServerStartFailed: it did not come up; carries the end of its error log. WrongServer: another server
        answers in its place.
    """
    with contextlib.suppress(ServerUnreachable):
        return connect(server, login)
    server.workdir.mkdir(parents=True, exist_ok=True)
    with (server.workdir / f"{server.name}.start").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(ServerUnreachable):
            return connect(server, login)
        return _start(server, login, options, timeout)


def _start(server: Server, login: Login, options: Sequence[str], timeout: float) -> Session:
    process = None
    if isinstance(server.control, SystemdControl):
        sudo = ["sudo"] if server.control.sudo else []
        command.run([*sudo, "systemctl", "start", server.control.unit], timeout=timeout)
    elif isinstance(server.control, CommandControl):
        command.run(server.control.start, also=USER_SESSION, timeout=timeout)
    else:
        process = spawn(server, *options)
    try:
        return wait_until_up(server, login, process=process, timeout=timeout)
    except WrongServer:
        if process is not None:  # nobody would find it, since another one answers in its place
            process.kill()
            process.wait()
        raise


def spawn(
    server: Server, *options: str, datadir: Path | None = None, outlives: bool = True,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start mysqld as a process of its own, in its own session, so that it outlives the task if it shall.

    :param environment: further variables; of this process's own it sees what :func:`child_environment` passes on, and
        the time zone of a directory that Relight built.
    """
    arguments = [str(server.mysqld), f"--defaults-file={server.options_file}"]
    arguments += [f"--datadir={datadir or server.datadir}", *run_as_options(server), *options]
    log = server.workdir / f"{server.name}.mysqld.out"
    log.parent.mkdir(parents=True, exist_ok=True)
    _remove_lock_of_dead_server(server.socket)
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                cwd=datadir or server.datadir,
                env=child_environment({**zone_environment(datadir or server.datadir), **(environment or {})}),
                preexec_fn=None if outlives else command.die_with_parent,  # noqa: PLW1509
            )  # fmt: skip
    except OSError as error:
        raise ServerStartFailed("mysqld cannot be started", on=server.name, why=str(error)) from None


def _remove_lock_of_dead_server(socket: Path) -> None:
    """A killed mysqld leaves the lock file of its socket behind, which names its process id.

    The next one refuses to start for as long as that id is taken, be it by a zombie: those stay
    for a while, or for ever, in containers whose first process collects them late or never.
    """
    lock = socket.with_name(socket.name + ".lock")
    with contextlib.suppress(OSError, ValueError):  # no lock, or not one of mysqld's: nothing to help
        if not _alive(int(lock.read_text(encoding="ascii"))):
            lock.unlink()


def run_as_options(server: Server) -> list[str]:
    """Mysqld refuses to run as root unless told so; with ``run_as`` it changes to that account."""
    if server.run_as:
        return [f"--user={server.run_as}"]
    return ["--user=root"] if os.geteuid() == 0 else []


def give_to_server_account(server: Server, directory: Path) -> None:
    """Make a file, or everything below a directory, belong to the account that mysqld runs as."""
    account = account_of(server)
    if account is not None and os.geteuid() == 0:
        owner = account.pw_uid, account.pw_gid
        # From the bottom up, and below handles: who owns a directory may put a link in place of what is in it.
        for _, folders, files, handle in os.fwalk(directory, topdown=False) if directory.is_dir() else ():
            for name in (*folders, *files):
                os.chown(name, *owner, dir_fd=handle, follow_symlinks=False)
        os.chown(directory, *owner, follow_symlinks=False)


def wait_until_up(
    server: Server, login: Login, *, process: subprocess.Popen[bytes] | None = None, timeout: float = 120
) -> Session:
    """Wait for a server that is being started until it lets ``login`` in, and give that session."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return connect(server, login, timeout=2)
        except ServerUnreachable as error:
            dead = process is not None and process.poll() is not None
            if dead or time.monotonic() > deadline:
                why = f"mysqld ended with status {process.poll()}" if dead and process else str(error)
                raise ServerStartFailed(
                    "the server did not come up", on=server.name, why=f"{why}. {last_log_errors(server)}",
                    hint=f"see the error log of {server.name}",
                ) from None  # fmt: skip
            time.sleep(0.1)


def stop(server: Server, login: Login, *, timeout: float = 120) -> None:
    """Shut the server down cleanly and wait until it is gone. A server that is not running is fine.

    :raises ServerError: it did not stop in time. WrongServer: what answers in its place, or what its unit runs, is
        another server; that one was not touched.
    """
    pid = running_pid(server)
    _refuse_another(server, login)
    if isinstance(server.control, SystemdControl):
        sudo = ["sudo"] if server.control.sudo else []
        _refuse_unit_of_another(server, server.control, pid)
        command.run([*sudo, "systemctl", "stop", server.control.unit], timeout=timeout)
    elif isinstance(server.control, CommandControl):
        command.run(server.control.stop, also=USER_SESSION, timeout=timeout)
    else:
        try:
            with connect(server, login) as session:
                session.run("SHUTDOWN")
        except ServerUnreachable:
            pass  # not running, or gone before it could answer: checked below either way
    wait_until_down(server, pid, timeout=timeout)


def _refuse_another(server: Server, login: Login) -> None:
    """:raises WrongServer: what answers in the server's place is another one."""
    with contextlib.suppress(ServerUnreachable, StatementFailed):  # nobody, or nobody who lets us in
        connect(server, login, timeout=5).close()


def _refuse_unit_of_another(server: Server, control: SystemdControl, pid: int | None) -> None:
    """:raises WrongServer: the unit runs something that is not the process on the server's data directory."""
    shown = command.run(["systemctl", "show", "--property=MainPID", "--value", control.unit], timeout=60)
    main = int(shown.decode("ascii", "replace").strip() or 0)
    if main and main != pid and main not in _parents(pid):
        raise WrongServer(
            "the unit runs something else", on=f"{server.name}, {control.unit}",
            why=f"its process is {main}, and {f'process {pid}' if pid else 'nobody'} runs on {server.datadir}",
            hint="nothing was stopped. Compare unit and datadir of this server in the fleet file",
        )  # fmt: skip


def _parents(pid: int | None) -> set[int]:
    """A server may be started by a wrapper, such as mysqld_safe, which is what the unit knows."""
    try:
        return {parent.pid for parent in psutil.Process(pid).parents()} if pid else set()
    except psutil.Error:
        return set()  # it has ended, so it is nobody's child


def wait_until_down(server: Server, pid: int | None, *, timeout: float = 120) -> None:
    """Wait until the process ``pid`` has ended and nobody answers on the port."""
    deadline = time.monotonic() + timeout
    while (pid is not None and _alive(pid)) or port_answers(server):
        if time.monotonic() > deadline:
            raise ServerError("the server did not stop", on=server.name, why=f"still there after {timeout:.0f} s")
        time.sleep(0.05)


def running_pid(server: Server) -> int | None:
    """The process that holds the server's InnoDB system tablespace open, from /proc; None if none does."""
    # /proc names files without symbolic links, and a folder above the data directory may be one.
    wanted = server.datadir.resolve() / "ibdata1"
    for pid, path in open_files(server.datadir):
        if path == wanted:
            return pid
    return None


def open_files(directory: Path) -> Iterator[tuple[int, Path]]:
    """Process and path of every file below ``directory`` that is open, as far as /proc shows."""
    real = directory.resolve()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            descriptors = list((entry / "fd").iterdir())
        except OSError:
            continue  # ended meanwhile, or another user's: the guard tells those two apart
        for descriptor in descriptors:
            try:
                path = descriptor.readlink()
            except OSError:
                continue
            if real in path.parents or path == real:
                yield int(entry.name), path


def port_answers(server: Server, timeout: float = 1.0) -> bool:
    """Whether anything accepts connections where the server would."""
    try:
        with sockets.create_connection((server.host, server.port), timeout=timeout):
            return True
    except OSError:
        return False


def _alive(pid: int) -> bool:
    try:
        # A child of ours that has ended stays as a zombie until it is waited for.
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def last_log_errors(server: Server) -> str:
    """The last lines marked as errors of the server's own error log, for a message."""
    candidates = [server.datadir.parent / "error.log", server.workdir / f"{server.name}.mysqld.out"]
    with contextlib.suppress(OSError):
        for line in server.options_file.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name.strip().replace("_", "-") == "log-error":
                candidates.insert(0, Path(value.strip()))
    return next(filter(None, map(errors_in, candidates)), "Its error log shows no error.")


def errors_in(path: Path) -> str:
    """The last lines marked as errors of one error log; empty where there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 20_000))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""  # a log that cannot be read only means a message with less in it
    return " | ".join([line for line in lines if "[ERROR]" in line][-2:])


def persisted_by_relight(session: Session) -> list[str]:
    """Names of the persisted variables that :func:`write_closed_settings` left."""
    ours = {*CLOSED, *LOADING, *_STATIC}
    rows = session.rows("SELECT variable_name FROM performance_schema.persisted_variables")
    return sorted(str(name) for (name,) in rows if name in ours)


def forget_closed_settings(session: Session) -> None:
    """No longer persist what :func:`write_closed_settings` left; what is in force now stays."""
    for name in persisted_by_relight(session):
        session.run(f"RESET PERSIST IF EXISTS {name}")


def configured(server: Server, option: str) -> str:
    """What the server's own options file, or the built-in default, says about an option.

    :raises ServerError: mysqld does not know the option.
    """
    try:
        return all_configured(server)[option]
    except KeyError:
        raise ServerError("mysqld does not know an option", on=option) from None


def all_configured(server: Server) -> dict[str, str]:
    """Every option, with what the server's own options file or the built-in default says about it."""
    text = command.run(
        [server.mysqld, f"--defaults-file={server.options_file}", *run_as_options(server), "--verbose", "--help"],
        timeout=60,
    ).decode("utf-8", "replace")  # fmt: skip
    # The list of values comes last; above it, lines that begin with a word explain options.
    listed = text.rpartition("--------- ---")[2] if "--------- ---" in text else text
    pairs = (line.partition(" ") for line in listed.splitlines())
    return {name: value.strip() for name, _, value in pairs if name}


def gtid_history_reset_statement(session: Session) -> str:
    """The statement that empties a server's GTID history: its name changed in 8.2."""
    version = str(session.value("SELECT VERSION()")).split("-")[0]
    major, minor = (int(part) for part in version.split(".")[:2])
    return "RESET BINARY LOGS AND GTIDS" if (major, minor) >= (8, 2) else "RESET MASTER"
