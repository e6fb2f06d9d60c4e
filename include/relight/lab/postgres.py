"""A PostgreSQL server for the lab and the tests, on the loopback address only.

PostgreSQL refuses to run as root. Where the lab is root's, it runs as ``nobody``, in a folder that
belongs to that account. The folders above may be closed to other accounts, as /root is: it keeps the
one right to pass through them, which is enough for its data and libraries. Its programs look for each
other without any rights (with access(2)): where they cannot be reached so, a copy of them is run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from relight.errors import CommandFailed, LabError
from relight.lab.services import STAMP, Services
from relight.lab.state import State
from relight.server import command

USER = "airflow"
DATABASE = "postgres"

_TIMEOUT = 60.0

_NOBODY = (
    "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
    "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
)  # fmt: skip

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # What it commits survives its own end, however that comes; only the machine's would lose it.
    "fsync": "off",
    "full_page_writes": "off",
    # In the data directory, which goes with the lab; not in /dev/shm, where it would stay when it is killed.
    "dynamic_shared_memory_type": "mmap",
    "jit": "off",
    "timezone": "GMT",
    "log_timezone": "GMT",
}


def start(state: State, name: str, services: Services, folder: Path, *, port: int, password: str) -> None:
    """Start a server with its data in ``folder``, made if it is new, and wait until it answers.

    It runs as a detached process. ``password`` is that of :data:`USER`, and must be the one the data were made with.

    :raises LabError: it ended, or does not answer in time.
    """
    try:
        programs = _programs(services)
        if not folder.exists():
            _initialise(services, programs, folder, password)
        log = folder.with_name(f"{folder.name}.log")
        options = [f"--{key}={value}" for key, value in {**_SETTINGS, "port": str(port)}.items()]
        state.start(
            name, _unprivileged([programs / "postgres", "-D", folder, *options]), cwd=folder, log=log,
            environment=services.environment,
        )  # fmt: skip
        deadline = time.monotonic() + _TIMEOUT
        while not _answers(services, port):
            if name not in state.running() or time.monotonic() > deadline:
                raise LabError("PostgreSQL does not answer", on=f"127.0.0.1:{port}", hint=f"see {log}")
            time.sleep(0.1)
    except CommandFailed as error:
        raise LabError("PostgreSQL cannot be set up", on=str(folder), why=str(error)) from None


def address(*, port: int, password: str) -> str:
    """What stands behind ``postgresql://`` in a URL of the database."""
    return f"{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def _programs(services: Services) -> Path:
    """The folder with the programs to run: the private ones, or a copy that ``nobody`` can reach."""
    if os.geteuid() != 0 or _is_reached(services.postgres / "postgres"):
        return services.postgres
    installed = f"{services.prefix} {(services.prefix / STAMP).stat().st_mtime_ns}"
    mark = hashlib.sha256(os.fsencode(installed)).hexdigest()[:12]
    copy = Path(tempfile.gettempdir()) / f"relight-postgresql-{mark}"
    if not copy.exists():
        _copy(services, copy)
    if copy.stat().st_uid != 0:
        raise LabError("a folder that root would run programs from is not root's", on=str(copy), hint="remove it")
    return copy / services.postgres.relative_to(services.prefix)


def _copy(services: Services, copy: Path) -> None:
    new = Path(tempfile.mkdtemp(prefix=f"{copy.name}-"))
    for part in ("lib", "share"):
        # Bitcode is for the JIT compiler, which is off.
        source, ignored = services.prefix / "usr" / part / "postgresql", shutil.ignore_patterns("bitcode")
        shutil.copytree(source, new / "usr" / part / "postgresql", ignore=ignored)
        (new / "usr" / part).chmod(0o755)
    for folder in (new / "usr", new):
        folder.chmod(0o755)
    try:
        new.rename(copy)
    except OSError:
        shutil.rmtree(new)  # somebody else was faster


def _is_reached(program: Path) -> bool:
    try:
        command.run(_unprivileged(["test", "-x", program]), timeout=10)
    except CommandFailed:
        return False
    return True


def _initialise(services: Services, programs: Path, folder: Path, password: str) -> None:
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True, mode=0o700)
    secret = folder.with_name(f"{folder.name}.password")
    secret.touch(mode=0o600)
    secret.write_text(password, encoding="utf-8")
    if os.geteuid() == 0:
        shutil.chown(new, "nobody", "nogroup")
    arguments: list[str | Path] = [
        programs / "initdb", "-D", new, f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={secret}",
        "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions",
    ]  # fmt: skip
    command.run(_unprivileged(arguments), environment=services.environment, cwd=new, timeout=120)
    secret.unlink()
    new.rename(folder)


def _answers(services: Services, port: int) -> bool:
    try:
        command.run(
            [services.postgres / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-d", DATABASE],
            environment=services.environment, timeout=10,
        )  # fmt: skip
    except CommandFailed:
        return False
    return True


def _unprivileged(arguments: Sequence[str | Path]) -> list[str | Path]:
    return [*_NOBODY, *arguments] if os.geteuid() == 0 else list(arguments)
