"""A data directory with the accounts in it, made once and copied for every new server.

``mysqld --initialize`` takes seconds; a copy takes a fraction of one.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from relight.credentials import Login
from relight.fleet import ProcessControl, Server
from relight.lab.addresses import PORT, free_addresses
from relight.lab.mysql import MySQL
from relight.lab.options import write_options
from relight.lab.place import Place
from relight.server import command, mysqld
from relight.server.scratch import scratch_boot
from relight.server.session import Session

_RECIPE = "1"
"""Changed whenever the template's content is: an older one is made anew."""

# What the recovery steps need would be a long list of single privileges, but replaying a log means to
# repeat whatever statement stands in it, so the administrative account has everything.
_ADMIN = "GRANT ALL PRIVILEGES ON *.* TO %s@'%%' WITH GRANT OPTION"
# BACKUP_ADMIN lets the account be the donor's side of a remote clone.
_REPLICATION = "GRANT REPLICATION SLAVE, BACKUP_ADMIN ON *.* TO %s@'%%'"


@dataclass(frozen=True)
class Logins:
    """The accounts of a new server. The application's gets its rights with the databases."""

    admin: Login
    replication: Login
    application: Login

    @classmethod
    def random(cls) -> Logins:
        """New passwords."""
        return cls(*(Login(name, secrets.token_urlsafe(18)) for name in ("relight", "replication", "shop")))


@dataclass(frozen=True)
class Template:
    """A cleanly shut down data directory without history, and the accounts in it."""

    data: Path
    logins: Logins

    def copy_to(self, datadir: Path) -> None:
        """Make a new server's data directory. It gets its own server UUID when it first starts."""
        shutil.copytree(self.data, datadir, ignore=shutil.ignore_patterns("auto.cnf", "binlog.*"))
        datadir.chmod(0o750)


def ensure_template(folder: Path, mysql: MySQL) -> Template:
    """The template in ``folder``, made if it is missing, unfinished or of another version.

    Several processes may ask at once: one makes it, the others wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = f"{mysql.mysqld} {mysql.text} {_RECIPE}"
        described = folder / "template.json"
        with suppress(FileNotFoundError):
            known = json.loads(described.read_text(encoding="utf-8"))
            if known["mark"] == mark:
                return Template(folder / "data", Logins(**{k: Login(**v) for k, v in known["logins"].items()}))
        described.unlink(missing_ok=True)
        logins = Logins.random()
        _make(folder, mysql, logins)
        described.touch(mode=0o600)
        described.write_text(json.dumps({"mark": mark, "logins": asdict(logins)}), encoding="utf-8")
        return Template(folder / "data", logins)


def _make(folder: Path, mysql: MySQL, logins: Logins) -> None:
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    server = Server(
        name="template", host=free_addresses(1)[0], port=PORT, datadir=data,
        socket=Place(folder).socket("template"), options_file=folder / "my.cnf", workdir=folder / "work",
        mysqld=mysql.mysqld, mysqlbinlog=mysql.mysqlbinlog, control=ProcessControl(kind="process"),
    )  # fmt: skip
    write_options(server, mysql, server_id=1, extra={"innodb-redo-log-capacity": "8M"})
    command.run(
        [mysql.mysqld, f"--defaults-file={server.options_file}", "--initialize-insecure",
         f"--datadir={data}", *mysqld.run_as_options(server), f"--log-error={folder}/initialize.log"],
        timeout=300,
    )  # fmt: skip
    with scratch_boot(server, Login("root", ""), data) as session:
        _make_accounts(session, logins)
    for path in [data / "auto.cnf", *data.glob("binlog.*")]:
        path.unlink(missing_ok=True)


def _make_accounts(session: Session, logins: Logins) -> None:
    # The scratch server writes no binary log, so the copies begin without history.
    for login, grant in ((logins.admin, _ADMIN), (logins.replication, _REPLICATION), (logins.application, None)):
        session.run("CREATE USER %s@'%%' IDENTIFIED BY %s", login.user, login.password)
        if grant:
            session.run(grant, login.user)
    # Nobody knows root's password; the administrative account does everything.
    session.run("ALTER USER root@localhost IDENTIFIED BY %s ACCOUNT LOCK", secrets.token_urlsafe(32))
