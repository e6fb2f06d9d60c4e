"""Data files into parts and back to bytes: which bytes of which file go into which object.

A part is cut from the files laid end to end, so that it is always of the same size: small files
share one, large files span several.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import zstandard

from relight.backups.manifest import Extent, Part
from relight.errors import ServerError
from relight.store import layout
from relight.store.base import Store

_LEVEL = 3
_READ = 4 * 2**20


def pack(files: Iterable[tuple[str, int]], part_bytes: int) -> Iterator[tuple[Extent, ...]]:
    """Cut files (path, size in bytes) into parts of ``part_bytes``; only the last one is smaller.

    Empty files are in no part.
    """
    extents: list[Extent] = []
    room = part_bytes
    for path, size in files:
        offset = 0
        while offset < size:
            length = min(room, size - offset)
            extents.append(Extent(path=path, offset=offset, length=length))
            offset, room = offset + length, room - length
            if not room:
                yield tuple(extents)
                extents, room = [], part_bytes
    if extents:
        yield tuple(extents)


def upload_part(
    store: Store, key: str, folder: Path, extents: tuple[Extent, ...], moved: Callable[[int], None]
) -> Part:
    """Compress the extents into one zstd frame with a checksum while they are uploaded.

    :param moved: told of the raw bytes read, as they are.
    :raises ServerError: a file is shorter than it was. ObjectExists: the key is taken.
    """
    raw = _ExtentReader(folder, extents, moved)
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
    try:
        with compressor.stream_reader(cast("io.BufferedReader", raw), size=raw.size, read_size=_READ) as compressed:
            size, sha256 = store.put_stream(key, cast("io.BufferedReader", compressed))
    finally:
        raw.close()
    return Part(key=key, sha256=sha256, size=size, extents=extents)


def part_keys(shard: str, snapshot: str) -> Iterator[str]:
    """The keys of a snapshot's parts, one after the other."""
    number = 0
    while True:
        number += 1
        yield layout.part(shard, snapshot, number)


class _ExtentReader(io.RawIOBase):
    """The bytes of some extents, one after the other."""

    def __init__(self, folder: Path, extents: tuple[Extent, ...], moved: Callable[[int], None]) -> None:
        self.size = sum(extent.length for extent in extents)
        self._blocks = _blocks(folder, extents)
        self._left = memoryview(b"")
        self._moved = moved

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one block goes."""
        if not self._left:
            self._left = memoryview(next(self._blocks, b""))
        count = min(len(self._left), len(buffer))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        self._moved(count)
        return count


def _blocks(folder: Path, extents: tuple[Extent, ...]) -> Iterator[bytes]:
    for extent in extents:
        with (folder / extent.path).open("rb") as file:
            file.seek(extent.offset)
            left = extent.length
            while left:
                block = file.read(min(_READ, left))
                if not block:
                    raise ServerError("a data file of the copy became shorter", on=str(folder / extent.path))
                left -= len(block)
                yield block
