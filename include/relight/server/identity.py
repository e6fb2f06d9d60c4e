"""Which server a data directory belongs to, as the directory itself says."""

from __future__ import annotations

from pathlib import Path

from relight.errors import ServerError
from relight.gtid import is_server_uuid


def server_uuid(directory: Path) -> str:
    """Who the directory says it is, in auto.cnf; empty where it says nothing.

    :raises ValueError: what it says is no UUID. OSError: it cannot be read.
    """
    try:
        text = (directory / "auto.cnf").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""  # as in a copy that was never started
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.strip().replace("_", "-") == "server-uuid":
            if not is_server_uuid(value.strip().lower()):
                break
            return value.strip().lower()
    raise ValueError("auto.cnf holds no server UUID")


def recorded_uuid(directory: Path) -> str:
    """The same, for whoever must not go on without. :raises ServerError: it cannot be told."""
    try:
        return server_uuid(directory)
    except (ValueError, OSError) as error:
        raise ServerError(
            "it cannot be told whose data directory it is", on=str(directory), why=str(error),
            hint="run this as root, or as the account that owns the directory",
        ) from None  # fmt: skip
