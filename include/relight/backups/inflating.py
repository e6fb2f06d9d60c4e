"""Decompression of what came out of the store: never more than was promised, never more in memory than a few blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import zstandard

from relight.errors import ObjectCorrupt

_BLOCK: Final = 2**20
_WINDOW: Final = 2**23
"""Bytes that a frame may make its reader remember. What Relight compresses asks for 2 MiB at most."""


def inflated(blocks: Iterable[bytes], most: int, *, on: str, what: str) -> Iterator[bytes]:
    """The bytes behind a compressed object, block by block.

    A kilobyte of it can stand for gigabytes, so nothing is decompressed that is not asked for.

    :param most: how many bytes there may be. ``on``: the object's key, ``what``: what it is, for people.
    :raises ObjectCorrupt: there are more, or it cannot be decompressed. What ``blocks`` raises passes.
    """
    source = _Source(blocks)
    # One frame after the other, to the end: whatever follows the first counts too, or is an error.
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    left = most
    with decompressor.stream_reader(source, read_size=_BLOCK, read_across_frames=True) as reader:  # type: ignore[arg-type]
        while True:
            try:
                block = reader.read(_BLOCK)
            except zstandard.ZstdError as error:
                raise ObjectCorrupt(f"{what} cannot be decompressed", on=on, why=str(error)) from None
            if not block:
                return
            left -= len(block)
            if left < 0:
                raise ObjectCorrupt(f"{what} holds more than its manifest says", on=on, why=f"more than {most} bytes")
            yield block


class _Source:
    """Blocks, as something that is read."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; none at the end."""
        block = self._left or next(self._blocks, b"")
        self._left = block[size:] if 0 <= size < len(block) else b""
        return block[: len(block) - len(self._left)]
