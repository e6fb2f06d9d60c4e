"""The binary log files of a running server."""

from __future__ import annotations

from pathlib import Path

from relight.errors import ServerError
from relight.server.session import Session


def log_files(session: Session) -> list[Path]:
    """Where they lie, oldest first; the last is the one being written.

    :raises ServerError: the server keeps none, or they are encrypted.
    """
    if not session.value("SELECT @@GLOBAL.log_bin"):
        raise ServerError(
            "the source keeps no binary log", on=session.server.name, hint="set log-bin in its options file"
        )
    rows = session.rows("SHOW BINARY LOGS")
    if any(row[2:3] == ("Yes",) for row in rows):
        raise ServerError(
            "the binary logs are encrypted", on=session.server.name, why="the server's key is needed to read them",
            hint="set binlog_encryption=OFF; the store's own encryption protects segments",
        )  # fmt: skip
    folder = Path(str(session.value("SELECT @@GLOBAL.log_bin_basename"))).parent
    return [folder / str(row[0]) for row in rows]
