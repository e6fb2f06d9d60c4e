"""Unpacks a snapshot. Parts stream from the store through decompression straight into the files that they are of;
nothing lands twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard

from relight.backups.manifest import Part, SnapshotManifest
from relight.errors import ObjectCorrupt
from relight.progress import Progress
from relight.store.base import Store


def unpack(
    store: Store, manifest: SnapshotManifest, incoming: Path, progress: Progress, *, parallel: int
) -> None:  # fmt: skip
    """Write every file of the snapshot below ``incoming``, several parts at a time.

    Writing a part again ends in the same bytes, so an earlier attempt needs no cleaning up.

    :raises ObjectCorrupt: a part is not what was stored.
    """
    incoming.mkdir(parents=True, exist_ok=True)
    incoming.chmod(0o750)
    for directory in manifest.directories:
        (incoming / directory).mkdir(parents=True, exist_ok=True)
    for path, size in manifest.files:
        (incoming / path).parent.mkdir(parents=True, exist_ok=True)
        with (incoming / path).open("ab") as stream:
            stream.truncate(size)
    progress.start("snapshot", manifest.stored_bytes)
    stop = threading.Event()

    def fetch(part: Part) -> None:
        try:
            _unpack_part(_decompressed(store, part, progress, stop), part, incoming)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(parallel) as pool:
        for done in [pool.submit(fetch, part) for part in manifest.parts]:
            done.result()


def _unpack_part(data: Iterable[bytes], part: Part, incoming: Path) -> None:
    extents = iter(part.extents)
    room = 0
    stream = None
    try:
        for chunk in data:
            view = memoryview(chunk)
            while view:
                if not room:
                    extent = next(extents, None)
                    if extent is None:
                        raise ObjectCorrupt("a part holds more than its manifest says", on=part.key)
                    if stream is not None:
                        stream.close()
                    stream = (incoming / extent.path).open("r+b", buffering=0)
                    stream.seek(extent.offset)
                    room = extent.length
                written = stream.write(view[:room]) if stream is not None else 0
                room -= written or 0
                view = view[written:]
        if room or next(extents, None) is not None:
            raise ObjectCorrupt("a part holds less than its manifest says", on=part.key)
        if stream is not None:
            os.fsync(stream.fileno())
    except zstandard.ZstdError as error:
        raise ObjectCorrupt("a part cannot be decompressed", on=part.key, why=str(error)) from None
    finally:
        if stream is not None:
            stream.close()


def _decompressed(store: Store, part: Part, progress: Progress, stop: threading.Event) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    for chunk in store.stream(part.key, size=part.size, sha256=part.sha256):
        if stop.is_set():  # another part has failed: the attempt is over
            return
        progress.advance("snapshot", len(chunk))
        data = decompressor.decompress(chunk)
        if data:
            yield data
