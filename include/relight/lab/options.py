"""The options file of one server of the lab."""

from __future__ import annotations

from pathlib import Path

from relight.fleet import Server
from relight.lab.mysql import MySQL

_OPTIONS = {
    "mysqlx": "OFF",
    "skip-name-resolve": "ON",
    "secure-file-priv": "",
    "gtid-mode": "ON",
    "enforce-gtid-consistency": "ON",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "binlog-row-metadata": "FULL",
    "log-bin": "binlog",
    "log-replica-updates": "ON",
    "relay-log": "relay",
    "relay-log-recovery": "ON",
    # A clock that is set forward, as tests do, must not make the server purge what nobody has shipped.
    "binlog-expire-logs-seconds": "0",
    # Small files, so that a short demo has several closed ones to ship.
    "max-binlog-size": "16M",
    "plugin-load-add": "mysql_clone.so",
    # Six servers share one machine: small memory, few threads, the instruments that steps read.
    "innodb-buffer-pool-size": "64M",
    "innodb-redo-log-capacity": "64M",
    "innodb-buffer-pool-load-at-startup": "OFF",
    # The kernel has few slots for it, which some twenty servers on one machine take up.
    "innodb-use-native-aio": "OFF",
    "max-connections": "120",
    "performance-schema": "ON",
    "performance-schema-max-table-instances": "200",
    "performance-schema-max-table-handles": "200",
    "performance-schema-digests-size": "200",
    "performance-schema-events-statements-history-long-size": "100",
    "performance-schema-max-thread-instances": "200",
    "max-allowed-packet": "1G",
    "local-infile": "OFF",
    "log-error-verbosity": "2",
    "replica-parallel-workers": "2",
}


def write_options(server: Server, mysql: MySQL, *, server_id: int, extra: dict[str, str] | None = None) -> None:
    """Write the server's my.cnf. ``extra`` options win over the lab's."""
    own = {
        "server-id": str(server_id),
        "bind-address": server.host,
        "port": str(server.port),
        "datadir": str(server.datadir),
        "socket": str(server.socket),
        "pid-file": str(server.datadir.parent / "mysqld.pid"),
        "log-error": str(server.datadir.parent / "error.log"),
        # A server that starts removes the temporary tables that it finds there: each needs a folder of its own.
        "tmpdir": str(_made(server.options_file.parent / "tmp")),
        "report-host": server.host,
        "report-port": str(server.port),
    }
    merged = {**_OPTIONS, **mysql.options, **own, **(extra or {})}
    if mysql.version < (8, 0, 30):
        del merged["innodb-redo-log-capacity"]  # the options before it only make larger redo logs
    if mysql.version < (8, 0, 26):
        former = {"log-replica-updates": "log-slave-updates", "replica-parallel-workers": "slave-parallel-workers"}
        merged = {former.get(name, name): value for name, value in merged.items()}
    server.options_file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}={value}" for name, value in merged.items()]
    _write(server.options_file, "[mysqld]\n" + "\n".join(lines) + "\n")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
