"""Sabotage of what is stored: the store as it is, but for one thing. Nothing in it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from relight.errors import ObjectMissing
from relight.store.base import MOST_RECORD, Store, StoredObject, verified


class _Unchanged:
    """Another store, as it is."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._store.list(prefix)

    def put(self, key: str, data: bytes) -> None:
        self._store.put(key, data)

    def put_stream(self, key: str, source: BinaryIO) -> tuple[int, str]:
        return self._store.put_stream(key, source)

    def get(self, key: str, *, most: int = MOST_RECORD) -> bytes:
        return self._store.get(key, most=most)

    def stream(self, key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
        return self._store.stream(key, size=size, sha256=sha256)

    def fetch(self, key: str, target: Path, *, size: int, sha256: str) -> None:
        self._store.fetch(key, target, size=size, sha256=sha256)


class Without(_Unchanged):
    """A store that has lost some objects."""

    def __init__(self, store: Store, lost: frozenset[str]) -> None:
        super().__init__(store)
        self._lost = lost

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """What is left."""
        return (entry for entry in super().list(prefix) if entry.key not in self._lost)

    def get(self, key: str, *, most: int = MOST_RECORD) -> bytes:
        """An object, if it is not among the lost. :raises ObjectMissing: it is."""
        if key in self._lost:
            raise ObjectMissing("no such object", on=key)
        return super().get(key, most=most)


class Flipped(_Unchanged):
    """A store in which one bit of one object is not what it was."""

    def __init__(self, store: Store, key: str, bit: int) -> None:
        super().__init__(store)
        self._key = key
        self._bit = bit

    def stream(self, key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
        """An object as it would arrive. :raises ObjectCorrupt: size or digest differ."""
        if key != self._key:
            return super().stream(key, size=size, sha256=sha256)
        return verified(self._flipped(), key, size=size, sha256=sha256)

    def _flipped(self) -> Iterator[bytes]:
        byte, bit = divmod(self._bit, 8)
        position = 0
        for block in super().stream(self._key, size=None, sha256=None):
            changed = bytearray(block)
            if position <= byte < position + len(block):
                changed[byte - position] ^= 1 << bit
            yield bytes(changed)
            position += len(block)
