"""Groups the events of a binary log file into transactions."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relight.binlog import format as f
from relight.binlog.reader import Event, LogFile, open_log
from relight.errors import BinlogError, CorruptEvent, TruncatedLog, UnsupportedEvent
from relight.gtid import Gtid, GtidSet, Interval

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
            return _decode_gtid_set(log, event)
        if event.type in (f.GTID, f.GTID_TAGGED, f.ANONYMOUS_GTID, f.QUERY):
            break
    raise UnsupportedEvent(
        "the binary log does not say which transactions came before it", on=log.path.name,
        hint="Relight needs gtid_mode=ON on the source",
    )  # fmt: skip


def summarize(path: Path) -> LogSummary:
    """Read a whole file for its summary. :raises BinlogError: what is wrong with it, and where."""
    found: list[Gtid] = []
    times: list[datetime] = []
    with open_log(path) as log:
        before = previous_gtids(log)
        for transaction in transactions(log):
            found.append(transaction.gtid)
            times.append(transaction.committed)
        size = log.size
    return LogSummary(
        previous_gtids=before, gtids=GtidSet.of(found), first_commit=times[0] if times else None,
        last_commit=max(times, default=None), transactions=len(found), size=size,
    )  # fmt: skip


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
            body.extend(log.unpacked(event))
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
    if last.type != f.QUERY:
        return False
    first = transaction.events[0]
    begun = first.type == f.QUERY and query_text(first) == b"BEGIN"
    return not begun or query_text(last) in (b"COMMIT", b"ROLLBACK")


def query_text(event: Event) -> bytes:
    """The statement of a query event."""
    body = event.body
    database_length = body[8]
    (status_length,) = struct.unpack_from("<H", body, 11)
    return bytes(body[13 + status_length + database_length + 1 :])


def _transaction(log: LogFile, head: Event, body: list[Event]) -> Transaction:
    try:
        gtid, committed = _decode_gtid(head)
    except (struct.error, IndexError, ValueError):
        raise log.error(CorruptEvent, head.position, head.type, "the GTID cannot be decoded") from None
    return Transaction(gtid, head.position, committed, tuple(body))


def _decode_gtid(event: Event) -> tuple[Gtid, datetime]:
    if event.type == f.GTID_TAGGED:
        return _decode_tagged_gtid(event)
    body = event.body
    stream = str(uuid.UUID(bytes=bytes(body[1:17])))
    (number,) = struct.unpack_from("<q", body, 17)
    micros = event.timestamp * 1_000_000  # sources before 8.0.1 tell seconds only
    if len(body) >= 49:
        immediate = int.from_bytes(body[42:49], "little")
        micros = immediate & ((1 << 55) - 1)
        if immediate >> 55 & 1:  # a transaction that came by replication carries its origin's time too
            micros = int.from_bytes(body[49:56], "little")
    return Gtid(stream, number), _EPOCH + timedelta(microseconds=micros)


def _decode_tagged_gtid(event: Event) -> tuple[Gtid, datetime]:
    """Worklog 15294: fields are numbered, in the variable-length encoding of ``mysql::serialization``."""
    body = event.body
    position = 0
    for _ in range(3):  # format version, message size, last field that must be understood
        _, position = _varlen(body, position)
    stream, tag, number = "", "", 0
    immediate = original = 0
    while position < len(body):
        field, position = _varlen(body, position)
        if field == 1:
            raw = bytearray()
            for _ in range(16):
                value, position = _varlen(body, position)
                raw.append(value)
            stream = str(uuid.UUID(bytes=bytes(raw)))
        elif field == 3:
            length, position = _varlen(body, position)
            tag = bytes(body[position : position + length]).decode("ascii")
            position += length
        else:
            value, position = _varlen(body, position)
            if field == 2:
                number = value >> 1 if not value & 1 else -((value >> 1) + 1)
            elif field == 6:
                immediate = value
            elif field == 7:
                original = value
    if not stream or number <= 0:
        raise ValueError("no GTID")
    micros = original or immediate or event.timestamp * 1_000_000
    return Gtid(f"{stream}:{tag}" if tag else stream, number), _EPOCH + timedelta(microseconds=micros)


def _varlen(data: memoryview, position: int) -> tuple[int, int]:
    """The number of trailing one bits in the first byte is the number of bytes that follow it."""
    first = data[position]
    extra = 0
    while extra < 8 and first >> extra & 1:
        extra += 1
    whole = int.from_bytes(data[position : position + 1 + extra], "little")
    if position + 1 + extra > len(data):
        raise IndexError("number cut short")
    return (whole >> (extra + 1) if extra < 8 else whole >> 8), position + 1 + extra


def _decode_gtid_set(log: LogFile, event: Event) -> GtidSet:
    """Gtid_set::encode; since 8.3 a set with tags has a 1 in the first and last of its 8 leading bytes."""
    body = event.body
    try:
        (head,) = struct.unpack_from("<Q", body)
        tagged = head >> 56 == 1
        count = (head >> 8) & 0xFFFFFFFFFFFF if tagged else head
        position = 8
        streams: dict[str, tuple[Interval, ...]] = {}
        for _ in range(count):
            stream = str(uuid.UUID(bytes=bytes(body[position : position + 16])))
            position += 16
            if tagged:
                length, position = _varlen(body, position)
                if length:
                    stream += ":" + bytes(body[position : position + length]).decode("ascii")
                position += length
            (intervals,) = struct.unpack_from("<Q", body, position)
            position += 8
            bounds = struct.unpack_from(f"<{2 * intervals}q", body, position)
            position += 16 * intervals
            streams[stream] = tuple((bounds[i], bounds[i + 1] - 1) for i in range(0, len(bounds), 2))
        return GtidSet(streams)
    except (struct.error, ValueError, IndexError) as error:
        problem: BinlogError = log.error(CorruptEvent, event.position, event.type, str(error))
        raise problem from None
