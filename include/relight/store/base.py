"""The contract of an object store. Implemented over S3 in :mod:`relight.store.s3`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

from relight.errors import ObjectCorrupt

Result = TypeVar("Result")

MOST_RECORD: Final = 64 * 2**20
"""Bytes. No record, claim or report comes near it; what is larger is not one of them."""
MOST_MANIFEST: Final = 512 * 2**20
"""Bytes of the largest manifest or plan: the definitions of some 200,000 tables. Nothing larger is put."""

_TRANSFERS = 3
"""So often is an object fetched before it, and not the line, is called damaged."""


@dataclass(frozen=True)
class StoredObject:
    """What a listing tells of one object."""

    key: str
    size: int
    modified: datetime


class Store(Protocol):
    """Keys are relative to the configured prefix and use ``/``. Every method may raise
    StoreUnavailable (retryable) and StoreDenied.

    What passes by itself is waited for here, a bounded time: an answer that says "not now" (5xx, 429, 409), a
    connection that breaks, bytes that are damaged on their way. An error that is raised has outlasted that.
    """

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object below ``prefix``, in key order. A listing that breaks off is an error, never a shorter one."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write a small object that must not exist yet (conditional put).

        :raises ObjectExists: the key is taken. Of several writers exactly one wins.
            StoreError: it has more than :data:`MOST_MANIFEST` bytes.
        """
        ...

    def put_stream(self, key: str, source: BinaryIO) -> tuple[int, str]:
        """Write an object of any size, in parts, that must not exist yet; gives size and SHA-256.

        The object appears whole or not at all.

        :raises ObjectExists: the key is taken.
        """
        ...

    def get(self, key: str, *, most: int = MOST_RECORD) -> bytes:
        """A small object, whole, as :meth:`put` has written it. No more than ``most`` bytes are ever held.

        :raises ObjectMissing: there is none. ObjectCorrupt: it is larger than ``most``, or not what was written.
        """
        ...

    def stream(self, key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
        """The object's bytes as they arrive. The digest is known only at the end, so the caller
        must not publish what it made of them before the iterator is exhausted. With None for what
        is not known, the caller checks the bytes by other means.

        This is one transfer: whose bytes are not right may be right the next time, which is for the caller to try
        (see :func:`again_if_damaged`), since only the caller can undo what it has made of them.

        :raises ObjectMissing: there is none. ObjectCorrupt: size or digest differ.
        """
        ...

    def fetch(self, key: str, target: Path, *, size: int, sha256: str) -> None:
        """Download to a file that appears under its name only when it is verified, and survives a power failure.

        :raises ObjectMissing: there is none. ObjectCorrupt: size or digest differ, every time.
        """
        ...


def verified(blocks: Iterable[bytes], key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
    """The blocks of an object as they come; at their end it is known whether it is the one that was stored.

    :raises ObjectCorrupt: size or digest differ.
    """
    digest, received = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        received += len(block)
        if size is not None and received > size:
            raise damaged(key, f"more than {size} bytes")
        yield block
    if size is not None and received != size:
        raise damaged(key, f"{received} bytes instead of {size}")
    if sha256 is not None and digest.hexdigest() != sha256:
        raise damaged(key, f"SHA-256 is {digest.hexdigest()[:12]}... instead of {sha256[:12]}...")


def again_if_damaged(
    transfer: Callable[[], Result], told: Callable[[ObjectCorrupt], None] = lambda _error: None
) -> Result:
    """Do a transfer again whose bytes were not right: it may have been the line, and not the object.

    :param transfer: must undo what an earlier attempt of it has done. ``told``: of each attempt that is followed by
        another one.
    :raises ObjectCorrupt: so it was every time.
    """
    for left in reversed(range(_TRANSFERS)):
        try:
            return transfer()
        except ObjectCorrupt as error:
            if not left:
                raise
            told(error)
    raise AssertionError("unreachable")  # pragma: no cover


def damaged(key: str, why: str) -> ObjectCorrupt:
    """The error for an object whose bytes are not those that were stored."""
    return ObjectCorrupt(
        "an object of the store is damaged", on=key, why=why,
        hint="nothing of it was used; choose a target that an older backup reaches, or restore the object from a copy",
    )  # fmt: skip
