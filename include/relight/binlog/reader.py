"""Reads a binary log file event by event, verifying lengths and checksums on the way."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from relight.binlog import format as f
from relight.errors import BinlogError, CorruptEvent, TruncatedLog, UnsupportedEvent

_CHECKSUM = struct.Struct("<I")
_OLDEST = 50601


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``data`` is header and body without the checksum."""

    position: int
    """Where it starts in the file; the events of a compressed transaction have their envelope's."""
    type: int
    timestamp: int
    flags: int
    data: bytes

    @property
    def body(self) -> memoryview:
        """What follows the header."""
        return memoryview(self.data)[f.HEADER_SIZE :]


@dataclass(frozen=True, slots=True)
class FormatDescription:
    """The first event of a file: who wrote it, whether events carry checksums."""

    server_version: str
    checksum: int
    plain: bytes
    """The event as it is sent to a server, as long as in the file: no checksums on what follows, and no
    creation time, which would make the server roll back and drop temporary tables."""


class LogFile:
    """An open binary log file.

    ``bytes`` is all of it; events begin at ``first_event``, each with ``tail`` bytes of checksum behind it.
    ``in_use``: its server had not closed it, so it may end anywhere.
    """

    def __init__(self, path: Path, content: mmap.mmap | bytes) -> None:
        self.path = path
        self._content = content
        self.size = len(content)
        self.format = self._read_format()
        self.bytes: NDArray[np.uint8] = np.frombuffer(content, dtype=np.uint8)
        self.first_event = len(f.MAGIC) + len(self.format.plain)
        self.tail = f.CHECKSUM_SIZE if self.format.checksum == f.CHECKSUM_CRC32 else 0
        self.in_use = bool(content[len(f.MAGIC) + 17] & f.IN_USE)
        self._decompressor = zstandard.ZstdDecompressor()

    def events(self, start: int | None = None, stop: int | None = None) -> Iterator[Event]:
        """Every event after the format description, or from ``start`` to before ``stop``, in order.

        :raises CorruptEvent: a checksum or length is wrong. TruncatedLog: the file ends inside an
            event. Both name the file and the position.
        """
        content, tail = self._content, self.tail
        position = self.first_event if start is None else start
        size = self.size if stop is None else stop
        while position < size:
            if position + f.HEADER_SIZE > size:
                raise self.error(TruncatedLog, position, None, "the file ends inside an event header")
            timestamp, kind, _, length, _, flags = f.HEADER.unpack_from(content, position)
            end = position + length
            if length < f.HEADER_SIZE + tail:
                raise self.error(CorruptEvent, position, kind, f"an event of {length} bytes")
            if end > size:
                raise self.error(TruncatedLog, position, kind, "the file ends inside the event")
            data = content[position : end - tail]
            if tail and zlib.crc32(data) != _CHECKSUM.unpack_from(content, end - tail)[0]:
                raise self.error(CorruptEvent, position, kind, "the checksum is wrong")
            yield Event(position, kind, timestamp, flags, data)
            position = end

    def _read_format(self) -> FormatDescription:
        magic = self._content[:4]
        if magic == f.ENCRYPTED_MAGIC:
            raise UnsupportedEvent(
                "the binary log is encrypted", on=str(self.path), why="its keys are in the server's keyring only",
                hint="ship logs with mysqlbinlog --read-from-remote-server, or switch binlog_encryption off",
            )  # fmt: skip
        if magic != f.MAGIC:
            raise CorruptEvent("not a binary log", on=str(self.path), why="the file does not begin with its magic")
        start = len(f.MAGIC)
        header = self._content[start : start + f.HEADER_SIZE]
        if len(header) < f.HEADER_SIZE:
            raise self.error(TruncatedLog, start, f.FORMAT_DESCRIPTION, "the file holds no event")
        _, kind, server_id, length, _, flags = f.HEADER.unpack(header)
        data = self._content[start : start + length]
        if kind == f.START_V3:
            raise self._too_old(data, kind)
        if kind != f.FORMAT_DESCRIPTION or length < 100 or len(data) < length:
            raise self.error(CorruptEvent, start, kind, "the first event is not a whole format description")
        if flags & f.RELAY_LOG:
            problem = self.error(UnsupportedEvent, start, kind, "it is a relay log, not a server's own binary log")
            problem.hint = "use the binary logs of the source, or of a replica with log-replica-updates"
            raise problem
        return self._described(data, server_id)

    def _described(self, data: bytes, server_id: int) -> FormatDescription:
        start, kind = len(f.MAGIC), f.FORMAT_DESCRIPTION
        if not _format_is_intact(data):
            if 0 < server_version(data) < _OLDEST:
                raise self._too_old(data, kind)
            raise self.error(CorruptEvent, start, kind, "the checksum is wrong")
        checksum = data[-5]
        if checksum not in (f.CHECKSUM_OFF, f.CHECKSUM_CRC32):
            raise self.error(UnsupportedEvent, start, kind, f"unknown checksum algorithm {checksum}")
        body = bytearray(data[:-5])
        body[71:75] = bytes(4)
        body.append(f.CHECKSUM_OFF)
        whole = len(body) + f.CHECKSUM_SIZE
        f.HEADER.pack_into(body, 0, 0, f.FORMAT_DESCRIPTION, server_id, whole, start + whole, 0)
        # This one event carries a checksum even when checksums are off.
        plain = bytes(body) + struct.pack("<I", zlib.crc32(body))
        version = data[21:71].split(b"\0")[0].decode("ascii", "replace")
        return FormatDescription(version, checksum, plain)

    def _too_old(self, data: bytes, kind: int) -> BinlogError:
        """Servers before 5.6.1 wrote no checksum here, but no GTIDs either."""
        version = data[21:71].split(b"\0")[0].decode("ascii", "replace")
        problem = self.error(UnsupportedEvent, len(f.MAGIC), kind, f"it was written by MySQL {version}")
        problem.hint = "logs of MySQL 5.6 and later can be read; older ones have neither checksums nor GTIDs"
        return problem

    def error(self, kind: type[BinlogError], position: int, event_type: int | None, why: str) -> BinlogError:
        """An error that names file, position and event type."""
        where = f"{self.path.name} at {position}"
        if event_type is not None:
            where += f", {f.type_name(event_type)}"
        return kind("the binary log cannot be read", on=where, why=why)

    def unpacked(self, event: Event) -> bytes:
        """What is inside a compressed transaction (worklog 3549): events without checksums, one behind the other."""
        body = event.body
        position, compression, size = 0, 255, 0
        try:
            while True:
                field, position = packed_integer(body, position)
                if field == 0:
                    break
                length, position = packed_integer(body, position)
                value, _ = packed_integer(body, position)
                if field == 2:
                    compression = value
                elif field == 3:
                    size = value
                position += length
            payload = body[position:]
            if compression == 255:
                return bytes(payload)
            if compression == 0:
                return self._decompressed(payload, size)
        except (IndexError, struct.error, ValueError, zstandard.ZstdError) as error:
            raise self.error(CorruptEvent, event.position, event.type, f"the payload is broken: {error}") from None
        raise self.error(UnsupportedEvent, event.position, event.type, f"unknown compression {compression}")

    def _decompressed(self, payload: memoryview, size: int) -> bytes:
        """Grows with what comes out: what the log says of sizes is not trusted with memory."""
        stream = self._decompressor.decompressobj()
        content: bytes = stream.decompress(payload)
        if not stream.eof or len(content) != size:
            raise ValueError(f"{len(content)} bytes instead of {size}")
        return content


def events_in(
    data: NDArray[np.uint8], start: int, stop: int, tail: int, envelope: int | None = None
) -> Iterator[Event]:
    """The events from ``start`` to before ``stop``, which were checked before; ``envelope``: they were compressed."""
    position = start
    while position < stop:
        timestamp, kind, _, length, _, flags = f.HEADER.unpack(data[position : position + f.HEADER_SIZE].tobytes())
        content = data[position : position + length - tail].tobytes()
        yield Event(position if envelope is None else envelope, kind, timestamp, flags, content)
        position += length


@contextmanager
def open_log(path: Path) -> Iterator[LogFile]:
    """Open a binary log file for reading. :raises CorruptEvent: it is none, or empty."""
    with path.open("rb") as stream:
        if path.stat().st_size == 0:
            raise TruncatedLog("not a binary log", on=str(path), why="the file is empty")
        # Not closed here: arrays that were made of it may live on, and it goes with the last of them.
        yield LogFile(path, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def packed_integer(data: memoryview | bytes, position: int) -> tuple[int, int]:
    """A length-encoded integer of the MySQL protocol, and the position after it."""
    first = data[position]
    if first < 251:
        return first, position + 1
    width = {252: 2, 253: 3, 254: 8}.get(first)
    if width is None or position + 1 + width > len(data):
        raise IndexError("not a length-encoded integer")
    return int.from_bytes(data[position + 1 : position + 1 + width], "little"), position + 1 + width


def server_version(format_description: bytes) -> int:
    """The version of the server that wrote a format description event, such as 80030; 0 where it is no version."""
    text = format_description[21:71].split(b"\0")[0].decode("ascii", "replace")
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return sum(int(part) * unit for part, unit in zip(found.groups(), (10000, 100, 1), strict=True)) if found else 0


def _format_is_intact(data: bytes) -> bool:
    """This event carries a checksum even where others do not. The "in use" flag is not part of it."""
    plain = bytearray(data[: -f.CHECKSUM_SIZE])
    plain[17] &= ~f.IN_USE
    return struct.pack("<I", zlib.crc32(plain)) == data[-f.CHECKSUM_SIZE :]
