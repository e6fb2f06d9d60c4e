"""One closed binary log file into the store: the compressed file first, its manifest last."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import zstandard

from relight.backups.manifest import LeftOut, SegmentManifest, SegmentSurvey, Surroundings
from relight.binlog.transactions import summarize
from relight.errors import ObjectCorrupt, ObjectExists
from relight.gtid import GtidSet
from relight.store import layout
from relight.store.base import Store

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


class Digests:
    """SHA-256 of closed log files, remembered in a file, so that each is read for it only once.

    A file is the same as long as inode, size and time of change are: names repeat.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        try:
            self._known: dict[str, str] = json.loads(memory.read_text(encoding="ascii"))
        except (OSError, ValueError):
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
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._memory.with_suffix(".new")
        temporary.write_text(json.dumps(self._used), encoding="ascii")
        temporary.replace(self._memory)


def ship(
    store: Store, origin: Origin, path: Path, digest: str, moved: Callable[[int], None],
    survey: Callable[[Path], SegmentSurvey],
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
    manifest = SegmentManifest(
        key=key, shard=origin.shard, server_uuid=origin.server_uuid, file=path.name,
        previous_gtids=summary.previous_gtids | origin.purged, gtids=summary.gtids,
        first_commit=summary.first_commit, last_commit=summary.last_commit, transactions=summary.transactions,
        log_bytes=path.stat().st_size, stored_bytes=size, sha256=sha256, log_sha256=digest,
        shipped_at=datetime.now(UTC), survey=survey(path), surroundings=origin.surroundings, left_out=origin.left_out,
    )  # fmt: skip
    manifest_key = layout.segment_manifest(key)
    try:
        store.put(manifest_key, manifest.model_dump_json().encode())
    except ObjectExists:
        return _same(SegmentManifest.model_validate_json(store.get(manifest_key)), manifest)
    return manifest


def _upload(store: Store, key: str, path: Path, digest: str, moved: Callable[[int], None]) -> tuple[int, str]:
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with _Told(path, moved) as log:
        try:
            with compressor.stream_reader(log, size=path.stat().st_size, read_size=_READ) as compressed:
                return store.put_stream(key, cast("io.BufferedReader", compressed))
        except ObjectExists:
            return _found(store, key, digest)


def _found(store: Store, key: str, digest: str) -> tuple[int, str]:
    """Size and SHA-256 of an object that another attempt uploaded, once its content has been verified."""
    size, stored, log = 0, hashlib.sha256(), hashlib.sha256()
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        for block in store.stream(key, size=None, sha256=None):
            size += len(block)
            stored.update(block)
            log.update(decompressor.decompress(block))
    except zstandard.ZstdError as error:
        raise _foreign(key, str(error)) from None
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
