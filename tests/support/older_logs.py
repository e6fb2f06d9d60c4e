"""Rewrites binary logs into what older servers would have written, or into what no server should write.

Lengths, positions and checksums are computed anew, so only what was changed differs.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from relight.binlog import format as f
from relight.binlog.reader import open_log, packed_integer

LAST_TYPE = {"5.6.51": f.PREVIOUS_GTIDS, "5.7.44": f.XA_PREPARE, "8.0.20": f.TRANSACTION_PAYLOAD}
"""The highest event type that these servers know."""

_V1 = {
    f.WRITE_ROWS: f.WRITE_ROWS_V1, f.UPDATE_ROWS: f.UPDATE_ROWS_V1, f.DELETE_ROWS: f.DELETE_ROWS_V1,
}  # fmt: skip
_VERSION_AT, _LENGTHS_AT = 2, 57
"""Where a format description's body holds the server's version, and the table of post-header lengths."""


@dataclass(frozen=True)
class Raw:
    """An event of which nothing is understood. Its length, position and checksum follow from the rest."""

    type: int
    body: bytes
    timestamp: int = 0
    server_id: int = 1
    flags: int = 0


Change = Callable[[Raw], Iterable[Raw]]


def read(log: Path) -> list[Raw]:
    """Every event of a log file, the format description first."""
    content = log.read_bytes()
    with open_log(log) as opened:
        tail = opened.tail
    found = []
    position = len(f.MAGIC)
    while position < len(content):
        timestamp, kind, server_id, length, _, flags = f.HEADER.unpack_from(content, position)
        end = position + length - (tail if found else f.CHECKSUM_SIZE)
        found.append(Raw(kind, content[position + f.HEADER_SIZE : end], timestamp, server_id, flags))
        position += length
    return found


def write(log: Path, events: Iterable[Raw], *, checksums: bool = True) -> Path:
    """Write a log file of these events."""
    description, *others = events
    parts = [f.MAGIC]
    position = len(f.MAGIC)
    algorithm = bytes([f.CHECKSUM_CRC32 if checksums else f.CHECKSUM_OFF])
    for event in (replace(description, body=description.body[:-1] + algorithm), *others):
        tail = f.CHECKSUM_SIZE if checksums or event.type == f.FORMAT_DESCRIPTION else 0
        size = f.HEADER_SIZE + len(event.body) + tail
        position += size
        header = f.HEADER.pack(event.timestamp, event.type, event.server_id, size, position & 0xFFFFFFFF, event.flags)
        parts += [header, event.body]
        if tail:
            # The flag that says that the file is open is not part of the checksum.
            covered = header[:17] + struct.pack("<H", event.flags & ~f.IN_USE) if event is description else header
            parts.append(struct.pack("<I", zlib.crc32(covered + event.body)))
    log.write_bytes(b"".join(parts))
    return log


def rewritten(log: Path, folder: Path, *changes: Change, checksums: bool = True) -> Path:
    """A copy of a log, every event of which went through the changes; each may give none or several events."""
    events: Iterable[Raw] = read(log)
    for change in changes:
        events = [new for event in events for new in change(event)]
    folder.mkdir(parents=True, exist_ok=True)
    return write(folder / log.name, events, checksums=checksums)


def by_server(version: str) -> Change:
    """The format description of an older server, which knows fewer types of events."""
    text = f"{version}-log".encode().ljust(50, b"\0")

    def change(event: Raw) -> Iterator[Raw]:
        if event.type == f.FORMAT_DESCRIPTION:
            body = event.body[:_VERSION_AT] + text + event.body[_VERSION_AT + 50 : _LENGTHS_AT + LAST_TYPE[version]]
            event = replace(event, body=body + event.body[-1:])
        yield event

    return change


def rows_v1(event: Raw) -> Iterator[Raw]:
    """Rows events of version 1, as ``log_bin_use_v1_row_events`` made them: without extra information."""
    if event.type in _V1:
        (extra,) = struct.unpack_from("<H", event.body, 8)
        event = replace(event, type=_V1[event.type], body=event.body[:8] + event.body[8 + extra :])
    yield event


def no_gtid_events(event: Raw) -> Iterator[Raw]:
    """Nothing in front of a transaction, as 5.6 wrote it with ``gtid_mode=OFF``."""
    if event.type not in (f.GTID, f.ANONYMOUS_GTID, f.GTID_TAGGED, f.PREVIOUS_GTIDS):
        yield event


def short_gtids(size: int) -> Change:
    """GTID events of so many bytes: 25 in 5.6 (flags, UUID, number), 42 in 5.7 (and logical timestamps)."""

    def change(event: Raw) -> Iterator[Raw]:
        yield replace(event, body=event.body[:size]) if event.type in (f.GTID, f.ANONYMOUS_GTID) else event

    return change


def bare_table_maps(event: Raw) -> Iterator[Raw]:
    """Table maps that end with the null bits, as all did before 8.0."""
    if event.type == f.TABLE_MAP:
        position = 8
        for _ in range(2):  # database, table
            position += event.body[position] + 2
        columns, position = packed_integer(event.body, position)
        size, position = packed_integer(event.body, position + columns)
        event = replace(event, body=event.body[: position + size + (columns + 7) // 8])
    yield event


def replaced_text(end: bytes, new: bytes) -> Change:
    """Another end of the statements that end so."""

    def change(event: Raw) -> Iterator[Raw]:
        if event.type == f.QUERY and event.body.endswith(end):
            event = replace(event, body=event.body.removesuffix(end) + new)
        yield event

    return change


def replaced(number: int, *events: Raw) -> Change:
    """Other events instead of the one with that number, counted from 0."""
    left = iter(range(1 << 62))

    def change(event: Raw) -> Iterator[Raw]:
        if next(left) == number:
            yield from events
        else:
            yield event

    return change
