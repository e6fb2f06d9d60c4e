"""Decodes the events that carry GTIDs: those with a tag, and sets. Plain ones are decoded in the kernels."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, datetime, timedelta

from relight.binlog import format as f
from relight.binlog.reader import packed_integer
from relight.gtid import Gtid, GtidSet, Interval

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES_END = 1 << 55
"""Commit times have 55 bits where they are of fixed length, which is enough until the year 3111."""

_COMMIT_TIMES_AT = 42
"""Where they begin in an event of fixed layout."""
_IMMEDIATE_VERSION, _ORIGINAL_VERSION = 9, 10
"""Numbers of fields in an event of variable layout."""


def moment(micros: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return _EPOCH + timedelta(microseconds=micros)


def micros(time: datetime) -> int:
    """A time as microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def uuid_text(high: int, low: int) -> str:
    """A UUID from its halves, as signed numbers of 64 bits."""
    return str(uuid.UUID(bytes=struct.pack(">qq", high, low)))


def read_tagged_gtid(body: memoryview) -> tuple[Gtid, int]:
    """The GTID, and the commit time in microseconds since 1970, 0 where the event does not tell.

    Worklog 15294: fields are numbered, in the variable-length encoding of ``mysql::serialization``.

    :raises ValueError, IndexError: the event is malformed.
    """
    position = 0
    for _ in range(3):  # format version, message size, last field that must be understood
        _, position = varlen(body, position)
    stream, tag, number = "", "", 0
    immediate = original = 0
    while position < len(body):
        field, position = varlen(body, position)
        if field == 1:
            raw = bytearray()
            for _ in range(16):
                value, position = varlen(body, position)
                raw.append(value)
            stream = str(uuid.UUID(bytes=bytes(raw)))
        elif field == 3:
            length, position = varlen(body, position)
            tag = bytes(body[position : position + length]).decode("ascii")
            position += length
        else:
            value, position = varlen(body, position)
            if field == 2:
                number = value >> 1 if not value & 1 else -((value >> 1) + 1)
            elif field == 6:
                immediate = value
            elif field == 7:
                original = value
    return _identity(stream, tag, number), _time(original or immediate)


def original_version(kind: int, body: memoryview) -> int | None:
    """The version of the server where the transaction began, such as 80030; 0 where the server that wrote the event did
    not know it. None: the event does not say; servers before 8.0.14 did not.

    :raises ValueError, IndexError: the event is malformed.
    """
    if kind == f.GTID_TAGGED:
        return _version_in_tagged(body)
    if len(body) <= _COMMIT_TIMES_AT:
        return None
    position = _COMMIT_TIMES_AT + 7
    if body[position - 1] >> 7:  # a transaction that came by replication carries its origin's time too
        position += 7
    if position >= len(body):
        return None
    _, position = packed_integer(body, position)
    if position + 4 > len(body):
        return None
    immediate = int.from_bytes(body[position : position + 4], "little")
    if immediate >> 31:
        return int.from_bytes(body[position + 4 : position + 8], "little")
    return immediate


def _version_in_tagged(body: memoryview) -> int | None:
    position, found = 0, {}
    for _ in range(3):
        _, position = varlen(body, position)
    while position < len(body):
        field, position = varlen(body, position)
        if field == 1:
            for _ in range(16):
                _, position = varlen(body, position)
        elif field == 3:
            length, position = varlen(body, position)
            position += length
        else:
            found[field], position = varlen(body, position)
    return found.get(_ORIGINAL_VERSION, found.get(_IMMEDIATE_VERSION))


def _identity(stream: str, tag: str, number: int) -> Gtid:
    if not stream or number <= 0:
        raise ValueError("no GTID")
    return Gtid(f"{stream}:{tag}" if tag else stream, number)


def _time(micros: int) -> int:
    if micros >= _TIMES_END:
        raise ValueError("no time")
    return micros


def varlen(data: memoryview, position: int) -> tuple[int, int]:
    """The number of trailing one bits in the first byte is the number of bytes that follow it."""
    first = data[position]
    extra = 0
    while extra < 8 and first >> extra & 1:
        extra += 1
    whole = int.from_bytes(data[position : position + 1 + extra], "little")
    if position + 1 + extra > len(data):
        raise IndexError("number cut short")
    return (whole >> (extra + 1) if extra < 8 else whole >> 8), position + 1 + extra


def read_gtid_set(body: memoryview) -> GtidSet:
    """Gtid_set::encode; since 8.3 a set with tags has a 1 in the first and last of its 8 leading bytes.

    :raises struct.error, ValueError, IndexError: it is malformed.
    """
    (head,) = struct.unpack_from("<Q", body)
    tagged = head >> 56 == 1
    count = (head >> 8) & 0xFFFFFFFFFFFF if tagged else head
    position = 8
    streams: dict[str, tuple[Interval, ...]] = {}
    for _ in range(count):
        stream = str(uuid.UUID(bytes=bytes(body[position : position + 16])))
        position += 16
        if tagged:
            length, position = varlen(body, position)
            if length:
                stream += ":" + bytes(body[position : position + length]).decode("ascii")
            position += length
        (intervals,) = struct.unpack_from("<Q", body, position)
        position += 8
        bounds = struct.unpack_from(f"<{2 * intervals}q", body, position)
        position += 16 * intervals
        if bounds:
            streams[stream] = tuple((bounds[i], bounds[i + 1] - 1) for i in range(0, len(bounds), 2))
    return GtidSet(streams)
