"""A throw-away mysqld on a copy of a data directory: what a backup is read and proved with."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from relight.credentials import Login
from relight.errors import ServerError, ServerStartFailed, ServerUnreachable
from relight.fleet import Server
from relight.server.mysqld import errors_in, give_to_server_account, spawn, wait_until_up
from relight.server.passing import passing_folder
from relight.server.session import Session, SocketServer

_MEMORY = 256 * 2**20
"""Bytes of a scratch server's buffer pool: the real server's memory is not there twice."""

_PLACES = ("innodb-data-home-dir", "innodb-log-group-home-dir", "innodb-undo-directory", "loose-innodb-doublewrite-dir")


@contextlib.contextmanager
def scratch_boot(
    server: Server, login: Login, datadir: Path, *options: str, environment: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> Iterator[Session]:  # fmt: skip
    """Run a throw-away mysqld on ``datadir``, reachable by a socket of its own only, and shut it down.

    The server's own options apply, except that nothing is logged, replicated or scheduled, that every
    file lies below ``datadir``, and that memory is small. It dies with this process. Leaves a data
    directory that was shut down cleanly and slowly.

    :param options: more of them, which count most. ``environment``: what its environment holds besides.
    :raises ServerStartFailed: it did not come up.
    """
    # A Unix socket's path is limited to 107 bytes, so it does not lie below the data directory.
    with (
        passing_folder(Path(tempfile.gettempdir()), ".relight") as folder,
        _booted(server, login, datadir, folder, options, environment, timeout) as session,
    ):
        yield session


@contextlib.contextmanager
def _booted(
    server: Server, login: Login, datadir: Path, folder: Path, options: Sequence[str],
    environment: Mapping[str, str] | None, timeout: float,
) -> Iterator[Session]:  # fmt: skip
    give_to_server_account(server, folder)
    # Before the socket is there, and after it has gone, no session may end up on the real server instead.
    scratch = SocketServer.model_construct(**{**dict(server), "socket": folder / "s", "datadir": datadir})
    log = datadir.parent / "scratch-error.log"
    places = [f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}", f"--log-error={log}"]
    # A server that starts empties its folder for temporary tables. The real server's would lose its own.
    places += [f"--tmpdir={folder}", f"--innodb-tmpdir={folder}"]
    process = spawn(
        scratch, *places, *_scratch_options(datadir), *options, datadir=datadir, outlives=False,
        environment=environment,
    )  # fmt: skip
    try:
        with _scratch_session(scratch, login, process, log, timeout) as session:
            yield session
            with contextlib.suppress(ServerUnreachable):
                session.run("SET GLOBAL innodb_fast_shutdown = 0")
                session.run("SHUTDOWN")
        if process.wait(10 * timeout) != 0:
            raise ServerError("the scratch server did not shut down cleanly", on=str(datadir), why=errors_in(log))
    except subprocess.TimeoutExpired:
        raise ServerError("the scratch server did not shut down", on=str(datadir), why="no end in sight") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _scratch_session(
    scratch: Server, login: Login, process: subprocess.Popen[bytes], log: Path, timeout: float
) -> Session:
    try:
        return wait_until_up(scratch, login, process=process, timeout=timeout)
    except ServerStartFailed as error:
        raise ServerStartFailed(
            "a scratch server did not come up", on=str(scratch.datadir), why=errors_in(log) or error.why,
            hint="the data directory it was started on may be damaged",
        ) from None  # fmt: skip


def _scratch_options(datadir: Path) -> list[str]:
    return [
        # The options file may name places of the real server's, which must not be touched.
        *(f"--{place}={datadir}" for place in _PLACES), "--relay-log=relight-relay", "--relay-log-index=relight-relay",
        "--general-log=OFF", "--slow-query-log=OFF", "--skip-log-bin", "--skip-networking", "--loose-mysqlx=OFF",
        "--event-scheduler=OFF", "--loose-skip-replica-start", "--loose-skip-slave-start",
        "--loose-group-replication-start-on-boot=OFF", "--read-only=OFF", "--super-read-only=OFF",
        "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-load-at-startup=OFF",
        f"--innodb-buffer-pool-size={_MEMORY}",
    ]  # fmt: skip
