"""Real mysqld processes, each on an address of its own and MySQL's port, in folders that go away."""

from __future__ import annotations

import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from relight.credentials import Login
from relight.fleet import ProcessControl, Server
from relight.lab.addresses import PORT, free_addresses
from relight.lab.fleet import follow, mysqlds_below
from relight.lab.mysql import MySQL
from relight.lab.options import write_options
from relight.lab.state import end_processes, mark
from relight.lab.template import Template
from relight.server import mysqld
from relight.server.session import Session, connect

FAST = {"innodb-flush-log-at-trx-commit": "0", "sync-binlog": "0", "innodb-redo-log-capacity": "16M"}
"""The last commits may be lost when the server is killed (seen: with 2 just as with 0): see DURABLE."""

DURABLE = {"innodb-flush-log-at-trx-commit": "1", "sync-binlog": "1"}
"""For tests that kill a server and count its commits afterwards."""


@dataclass
class Servers:
    """Makes servers below one folder, and ends them all."""

    folder: Path
    mysql: MySQL
    template: Template
    made: list[Server] = field(default_factory=list)

    @property
    def admin(self) -> Login:
        """The administrative account of every server made here."""
        return self.template.logins.admin

    def make(
        self, name: str = "", *, options: dict[str, str] | None = None, start: bool = True, empty: bool = False
    ) -> Server:
        """A new server; running, unless ``start`` is off; without a data directory if ``empty``."""
        number = len(self.made) + 1
        name = name or f"server-{number}"
        home = self.folder / name
        server = Server(
            name=name, host=free_addresses(1)[0], port=PORT, datadir=home / "data",
            socket=home / "mysqld.sock", options_file=home / "my.cnf", workdir=home / "work", mysqld=self.mysql.mysqld,
            mysqlbinlog=self.mysql.mysqlbinlog, control=ProcessControl(kind="process"),
        )  # fmt: skip
        self.made.append(server)
        write_options(server, self.mysql, server_id=number, extra={**FAST, **(options or {})})
        server.workdir.mkdir(parents=True)
        if not empty:
            self.template.copy_to(server.datadir)
            if start:
                mysqld.start(server, self.admin).close()
        return server

    def connect(self, server: Server) -> Session:
        """A session of the administrative account."""
        return connect(server, self.admin)

    def make_replicas(self, source: Server, count: int) -> list[Server]:
        """Servers that follow ``source``, by GTID and TLS."""
        with ThreadPoolExecutor(max(count, 1)) as pool:
            jobs = [pool.submit(self.make, f"{source.name}-replica-{i + 1}") for i in range(count)]
            replicas = [job.result() for job in jobs]
        for replica in replicas:
            follow(replica, source, self.admin, self.template.logins.replication)
        return replicas

    def close(self) -> None:
        """Kill whatever runs on the folders made here, then remove them."""
        for server in self.made:
            kill(server)
            shutil.rmtree(server.datadir.parent, ignore_errors=True)
        self.made.clear()


def remove_under(server: Server) -> None:
    """Remove the data directory of a server that runs on: it may make files there while the directory is emptied."""
    while server.datadir.exists():
        shutil.rmtree(server.datadir, ignore_errors=True)


def kill(server: Server) -> None:
    """SIGKILL every mysqld that has a system tablespace open below the server's folder, and wait."""
    pids = mysqlds_below(server.datadir.parent)
    end_processes({pid: mark(pid) for pid in pids}, grace=10, ask=signal.SIGKILL)
