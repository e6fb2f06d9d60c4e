"""The contract of an object store. Implemented over S3 in :mod:`relight.store.s3`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class StoredObject:
    """What a listing tells of one object."""

    key: str
    size: int
    modified: datetime


class Store(Protocol):
    """Keys are relative to the configured prefix and use ``/``. Every method may raise
    StoreUnavailable (retryable) and StoreDenied."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object below ``prefix``, in key order."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write a small object that must not exist yet (conditional put).

        :raises ObjectExists: the key is taken. Of several writers exactly one wins.
        """
        ...

    def put_stream(self, key: str, source: BinaryIO) -> tuple[int, str]:
        """Write an object of any size, in parts, that must not exist yet; gives size and SHA-256.

        The object appears whole or not at all.

        :raises ObjectExists: the key is taken.
        """
        ...

    def get(self, key: str) -> bytes:
        """A small object, whole. :raises ObjectMissing: there is none."""
        ...

    def stream(self, key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
        """The object's bytes as they arrive. The digest is known only at the end, so the caller
        must not publish what it made of them before the iterator is exhausted. With None for what
        is not known, the caller checks the bytes by other means.

        :raises ObjectMissing: there is none. ObjectCorrupt: size or digest differ.
        """
        ...

    def fetch(self, key: str, target: Path, *, size: int, sha256: str) -> None:
        """Download to a file that appears under its name only when it is verified."""
        ...
