"""The contract of an object store. Implemented over S3 in :mod:`relight.store.s3`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from relight.errors import ObjectCorrupt


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


def verified(blocks: Iterable[bytes], key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
    """The blocks of an object as they come; at their end it is known whether it is the one that was stored.

    :raises ObjectCorrupt: size or digest differ.
    """
    digest, received = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        received += len(block)
        yield block
    if size is not None and received != size:
        raise _corrupt(key, f"{received} bytes instead of {size}")
    if sha256 is not None and digest.hexdigest() != sha256:
        raise _corrupt(key, f"SHA-256 is {digest.hexdigest()[:12]}... instead of {sha256[:12]}...")


def _corrupt(key: str, why: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        "an object of the store is damaged", on=key, why=why,
        hint="nothing of it was used; choose a target that an older backup reaches, or restore the object from a copy",
    )  # fmt: skip
