"""Where to restore to: latest, a time, a transaction, or a position in a binary log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from relight.errors import TargetError
from relight.gtid import Gtid, is_server_uuid

FORMS = (
    "latest, time:2026-11-22T19:00:00Z, gtid:UUID:N (up to and with it), before:UUID:N (up to and without it), "
    "position:FILE:POS or position:UUID/FILE:POS"
)
"""Every way to write a target."""

FIRST_EVENT = 4
"""Where the first event of every log file lies: behind the four bytes that make it one."""

LONGEST_OFFSET = 20
"""In digits: no file is as large as that, and Python refuses to read thousands of them."""


@dataclass(frozen=True)
class LogPosition:
    """A place in a server's binary log, as ``mysqlbinlog`` shows it behind ``# at``."""

    server_uuid: str
    """Empty if not given: the file's name must do."""
    file: str
    """``binlog.000003``; or with its digest as in the store, ``binlog.000003.1a2b3c4d``."""
    offset: int

    @classmethod
    def parse(cls, text: str) -> LogPosition:
        """Read ``FILE:POS`` or ``SERVER-UUID/FILE:POS``. :raises TargetError: it is neither."""
        where, _, offset = text.strip().rpartition(":")
        server, slash, file = where.rpartition("/")
        server = server.lower()
        if not (file and offset.isascii() and offset.isdecimal() and len(offset) <= LONGEST_OFFSET):
            raise _malformed(text, "a file's name, a colon and a number are needed")
        if slash and not is_server_uuid(server):
            raise _malformed(text, f"{server!r} is not a server UUID")
        if int(offset) < FIRST_EVENT:
            raise _malformed(text, f"the first event of a log file lies at {FIRST_EVENT}")
        return cls(server, file, int(offset))

    def __str__(self) -> str:
        return f"{self.server_uuid}/{self.file}:{self.offset}" if self.server_uuid else f"{self.file}:{self.offset}"


class Target(BaseModel):
    """A point to restore to. ``value`` is empty for latest, else what the kind needs.

    - *time*, an ISO 8601 time: every transaction that was committed at or before it.
    - *gtid*: every transaction of the log up to that one, itself included.
    - *before*, a GTID: every transaction of the log up to that one, itself not included.
    - *position*: every transaction of the log that begins before that position of that file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["latest", "time", "gtid", "before", "position"]
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read one of the ``FORMS``.

        :raises TargetError: it is none of these; a time without a zone is refused, since nobody
            should have to guess one at night.
        """
        kind, _, value = text.strip().partition(":")
        if kind == "latest" and not value:
            return cls(kind="latest")
        if kind == "time":
            return cls(kind="time", value=_time(value).isoformat())
        if kind == "gtid":
            return cls(kind="gtid", value=str(Gtid.parse(value)))
        if kind == "before":
            return cls(kind="before", value=str(Gtid.parse(value)))
        if kind == "position":
            return cls(kind="position", value=str(LogPosition.parse(value)))
        raise TargetError("not a target", on=text, hint=f"use {FORMS}")

    @property
    def time(self) -> datetime:
        """The time of a time target."""
        return _time(self.value)

    @property
    def gtid(self) -> Gtid:
        """The transaction of a GTID target: the last one that is wanted."""
        return Gtid.parse(self.value)

    @property
    def before(self) -> Gtid:
        """The transaction of a before target: the first one that is not wanted."""
        return Gtid.parse(self.value)

    @property
    def position(self) -> LogPosition:
        """The place of a position target."""
        return LogPosition.parse(self.value)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.value else self.kind


def _time(text: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise TargetError("not a time", on=text, hint="write it like 2026-11-22T19:00:00Z") from None
    if parsed.tzinfo is None:
        raise TargetError("a time without a time zone", on=text, hint="end it with Z or an offset like +02:00")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise TargetError(
            "not a time", on=text, why="in UTC it lies outside of the years 1 to 9999",
            hint="write it like 2026-11-22T19:00:00Z",
        ) from None  # fmt: skip


def _malformed(text: str, why: str) -> TargetError:
    return TargetError(
        "not a position of a binary log", on=text, why=why,
        hint="write it like binlog.000003:4711 or SERVER-UUID/binlog.000003:4711",
    )  # fmt: skip
