"""A slow, obvious reading of binary logs: what the compiled loops are measured against."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from relight.binlog import format as f
from relight.binlog.gtid_events import moment, read_tagged_gtid
from relight.binlog.reader import Event, LogFile
from relight.binlog.transactions import query_text
from relight.errors import CorruptEvent, TruncatedLog, UnsupportedEvent
from relight.gtid import Gtid


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction: its identity, when it was committed on its source, and its events
    without the GTID event."""

    gtid: Gtid
    position: int
    committed: datetime
    events: tuple[Event, ...]

    @property
    def size(self) -> int:
        """Bytes of its events."""
        return sum(len(e.data) for e in self.events)


def transactions(log: LogFile) -> Iterator[Transaction]:
    """Every transaction of the file, in order.

    :raises TruncatedLog: the file ends inside a transaction.
        UnsupportedEvent: a transaction without a GTID, or an event nobody here understands.
    """
    head: Event | None = None
    body: list[Event] = []
    for event in log.events():
        if event.type in (f.GTID, f.GTID_TAGGED):
            if head is not None:
                yield _transaction(log, head, body)
            head, body = event, []
        elif event.type == f.ANONYMOUS_GTID:
            raise log.error(UnsupportedEvent, event.position, event.type, "a transaction without a GTID")
        elif event.type in (f.ROTATE, f.STOP):
            break
        elif event.type == f.TRANSACTION_PAYLOAD:
            body.extend(unpacked(log, event))
        elif head is not None:
            body.append(event)
        elif event.type not in f.NOT_ABOUT_DATA and not event.flags & f.MAY_BE_IGNORED:
            raise log.error(UnsupportedEvent, event.position, event.type, "an event outside any transaction")
    if head is not None:
        yield _last_transaction(log, head, body)


def _last_transaction(log: LogFile, head: Event, body: list[Event]) -> Transaction:
    """The one that no other follows, which would show that it is whole."""
    last = _transaction(log, head, body)
    if not _complete(last):
        raise log.error(TruncatedLog, head.position, head.type, f"the file ends inside transaction {last.gtid}")
    return last


def _complete(transaction: Transaction) -> bool:
    if not transaction.events:
        return False
    last = transaction.events[-1]
    if last.type in (f.XID, f.XA_PREPARE):
        return True
    if last.type not in (f.QUERY, f.EXECUTE_LOAD_QUERY):
        return False
    first = transaction.events[0]
    begun = first.type == f.QUERY and (query_text(first) == b"BEGIN" or query_text(first).startswith(b"XA START "))
    return not begun or query_text(last) in (b"COMMIT", b"ROLLBACK") or query_text(last).startswith(b"XA COMMIT ")


def _transaction(log: LogFile, head: Event, body: list[Event]) -> Transaction:
    try:
        gtid, committed = _decode_gtid(head)
    except (struct.error, IndexError, ValueError):
        raise log.error(CorruptEvent, head.position, head.type, "the GTID cannot be decoded") from None
    return Transaction(gtid, head.position, committed, tuple(body))


def _decode_gtid(event: Event) -> tuple[Gtid, datetime]:
    if event.type == f.GTID_TAGGED:
        gtid, micros = read_tagged_gtid(event.body)
        return gtid, moment(micros or event.timestamp * 1_000_000)
    body = event.body
    stream = str(uuid.UUID(bytes=bytes(body[1:17])))
    (number,) = struct.unpack_from("<q", body, 17)
    micros = event.timestamp * 1_000_000  # sources before 8.0.1 tell seconds only
    if len(body) >= 49:
        immediate = int.from_bytes(body[42:49], "little")
        micros = immediate & ((1 << 55) - 1)
        if immediate >> 55 & 1:  # a transaction that came by replication carries its origin's time too
            micros = int.from_bytes(body[49:56], "little")
    return Gtid(stream, number), moment(micros)


def unpacked(log: LogFile, event: Event) -> Iterator[Event]:
    """The events inside a compressed transaction."""
    content = log.unpacked(event)
    position = 0
    while position < len(content):
        if position + f.HEADER_SIZE > len(content):
            raise log.error(CorruptEvent, event.position, event.type, "the payload ends inside an event")
        timestamp, kind, _, length, _, flags = f.HEADER.unpack_from(content, position)
        if length < f.HEADER_SIZE or position + length > len(content):
            raise log.error(CorruptEvent, event.position, event.type, "the payload ends inside an event")
        yield Event(event.position, kind, timestamp, flags, content[position : position + length])
        position += length
