"""One closed binary log file into the store: the compressed file first, its manifest last."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import zstandard
from pydantic import RootModel

from relight.backups.distrust import read_segment
from relight.backups.inflating import inflated
from relight.backups.manifest import LeftOut, SegmentManifest, SegmentSurvey, Sha256, Surroundings
from relight.binlog.transactions import summarize
from relight.durable import write_whole
from relight.errors import ObjectCorrupt, ObjectExists
from relight.gtid import GtidSet
from relight.reading import read_json_file
from relight.store import layout
from relight.store.base import MOST_MANIFEST, Store, again_if_damaged

_LEVEL = 3
_READ = 4 * 2**20


@dataclass(frozen=True)
class Origin:
    """Where the log files come from."""

    shard: str
    server_uuid: str
    purged: GtidSet
    """What the server has executed and has in none of its log files: purged with older files, or never in
    any, because it was cloned or restored with it. Of the latter its files say nothing, yet build on it."""
    surroundings: Surroundings | None = None
    """What the server computes with; None where it could not be asked."""
    left_out: LeftOut | None = None
    """What the server does not log; None where it could not be asked."""


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Known(RootModel[dict[str, Sha256]]):
    """By what a file is known: its digest."""


class Digests:
    """SHA-256 of closed log files, remembered in a file, so that each is read for it only once.

    A file is the same as long as inode, size and time of change are: names repeat.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        try:
            self._known = dict(read_json_file(_Known, memory, "the digests of log files").root)
        except (OSError, ObjectCorrupt):
            self._known = {}  # it only saves work: without it every file is read once more
        self._used: dict[str, str] = {}

    def of(self, path: Path) -> str:
        """The digest of one file, in hex."""
        stat = path.stat()
        identity = f"{path.name} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"
        if identity not in self._known:
            self._known[identity] = file_digest(path)
        self._used[identity] = self._known[identity]
        return self._used[identity]

    def save(self) -> None:
        """Remember the digests asked for, and forget all others."""
        write_whole(self._memory, _Known(self._used).model_dump_json())


def ship(
    store: Store, origin: Origin, path: Path, digest: str, moved: Callable[[int], None],
    survey: Callable[[Path, bool], SegmentSurvey],
) -> SegmentManifest | None:  # fmt: skip
    """Upload one closed log file. None if it holds no transactions and was not uploaded.

    Two that ship the same file at once both succeed: one of them finds that it is there already.

    :param moved: told of the bytes of the log read, as they are. ``survey``: what tells what the file means for
        the lanes of a restore.
    :raises BinlogError: the file cannot be read as a binary log. ObjectCorrupt: something else lies
        in the store under its name.
    """
    summary = summarize(path)
    if not summary.gtids:
        return None
    key = layout.segment(origin.shard, origin.server_uuid, path.name, digest)
    size, sha256 = _upload(store, key, path, digest, moved)
    folds = origin.surroundings is not None and origin.surroundings.folds_names
    manifest = SegmentManifest(
        key=key, shard=origin.shard, server_uuid=origin.server_uuid, file=path.name,
        previous_gtids=summary.previous_gtids | origin.purged, gtids=summary.gtids,
        first_commit=summary.first_commit, last_commit=summary.last_commit, transactions=summary.transactions,
        log_bytes=path.stat().st_size, stored_bytes=size, sha256=sha256, log_sha256=digest,
        shipped_at=datetime.now(UTC), survey=survey(path, folds), surroundings=origin.surroundings,
        left_out=origin.left_out,
    )  # fmt: skip
    manifest_key = layout.segment_manifest(key)
    try:
        store.put(manifest_key, manifest.model_dump_json().encode())
    except ObjectExists:
        return _same(read_segment(store.get(manifest_key, most=MOST_MANIFEST), manifest_key), manifest)
    return manifest


def _upload(store: Store, key: str, path: Path, digest: str, moved: Callable[[int], None]) -> tuple[int, str]:
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with _Told(path, moved) as log:
        try:
            with compressor.stream_reader(log, size=path.stat().st_size, read_size=_READ) as compressed:
                return store.put_stream(key, cast("io.BufferedReader", compressed))
        except ObjectExists:
            return again_if_damaged(lambda: _found(store, key, digest, path.stat().st_size))


def _found(store: Store, key: str, digest: str, log_bytes: int) -> tuple[int, str]:
    """Size and SHA-256 of an object that another attempt uploaded, once its content has been verified."""
    size, stored, log = 0, hashlib.sha256(), hashlib.sha256()

    def told() -> Iterator[bytes]:
        nonlocal size
        for block in store.stream(key, size=None, sha256=None):
            size += len(block)
            stored.update(block)
            yield block

    try:
        for block in inflated(told(), log_bytes, on=key, what="a segment"):
            log.update(block)
    except ObjectCorrupt as error:
        raise _foreign(key, error.why or error.what) from None
    if log.hexdigest() != digest:
        raise _foreign(key, "it is not this log file")
    return size, stored.hexdigest()


def _same(found: SegmentManifest, made: SegmentManifest) -> SegmentManifest:
    if (found.log_sha256, found.gtids) != (made.log_sha256, made.gtids):
        raise _foreign(layout.segment_manifest(made.key), "it describes another log file")
    return found


def _foreign(key: str, why: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        "something else lies in the store where a segment belongs", on=key, why=why,
        hint="move it away by hand, then ship again",
    )  # fmt: skip


class _Told(io.FileIO):
    """A file that tells how many bytes were read from it."""

    def __init__(self, path: Path, moved: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._moved = moved

    def read(self, size: int | None = -1, /) -> bytes:
        """Bytes, as of any file."""
        block = super().read(-1 if size is None else size) or b""
        self._moved(len(block))
        return block
