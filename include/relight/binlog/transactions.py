"""What a binary log file holds, in short; and single transactions, event by event."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from relight.binlog import format as f
from relight.binlog.gtid_events import moment, read_gtid_set
from relight.binlog.query import LOAD_HEAD, QUERY_HEAD
from relight.binlog.reader import Event, LogFile, open_log
from relight.binlog.scan import scan
from relight.errors import CorruptEvent, UnsupportedEvent
from relight.gtid import GtidSet


@dataclass(frozen=True)
class LogSummary:
    """What a binary log file holds, from its headers and GTID events."""

    previous_gtids: GtidSet
    gtids: GtidSet
    first_commit: datetime | None
    last_commit: datetime | None
    """The latest, which is not always the last one's: clocks are set."""
    transactions: int
    size: int


def previous_gtids(log: LogFile) -> GtidSet:
    """What the server had executed before this file, from the event that says so."""
    for event in log.events():
        if event.type == f.PREVIOUS_GTIDS:
            try:
                return read_gtid_set(event.body)
            except (struct.error, ValueError, IndexError) as error:
                raise log.error(CorruptEvent, event.position, event.type, str(error)) from None
        if event.type in (f.GTID, f.GTID_TAGGED, f.ANONYMOUS_GTID, f.QUERY):
            break
    raise UnsupportedEvent(
        "the binary log does not say which transactions came before it", on=log.path.name,
        hint="Relight needs gtid_mode=ON on the source",
    )  # fmt: skip


def summarize(path: Path) -> LogSummary:
    """Read a whole file for its summary. :raises BinlogError: what is wrong with it, and where."""
    with open_log(path) as log:
        before = previous_gtids(log)
        found = scan(log).transactions
        if (anonymous := found.anonymous).any():
            at = int(found.begins[anonymous.argmax()])
            raise log.error(UnsupportedEvent, at, f.ANONYMOUS_GTID, "a transaction without a GTID")
        times = found.commit_times
        return LogSummary(
            previous_gtids=before, gtids=found.gtids(), first_commit=moment(int(times[0])) if len(found) else None,
            last_commit=moment(int(times.max())) if len(found) else None, transactions=len(found), size=log.size,
        )  # fmt: skip


def query_text(event: Event) -> bytes:
    """The statement of a query event."""
    body = event.body
    database_length = body[8]
    (status_length,) = struct.unpack_from("<H", body, 11)
    fixed = QUERY_HEAD + (LOAD_HEAD if event.type == f.EXECUTE_LOAD_QUERY else 0)
    return bytes(body[fixed + status_length + database_length + 1 :])
