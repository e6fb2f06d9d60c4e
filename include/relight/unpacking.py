"""Unpacks a snapshot. Parts stream from the store through decompression straight into the files that they are of;
nothing lands twice. Whatever a manifest says, nothing outside the directory is made, written to or read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from relight.backups.inflating import inflated
from relight.backups.manifest import Part, SnapshotManifest
from relight.beneath import Beneath
from relight.errors import ObjectCorrupt
from relight.progress import Progress
from relight.store.base import Store, again_if_damaged

_LABEL = "snapshot"


def unpack(
    store: Store, manifest: SnapshotManifest, above: Path, below: Sequence[str], progress: Progress, *, parallel: int
) -> Path:
    """Write every file of the snapshot below ``above/below...``, several parts at a time; gives that directory.

    It is made anew: what an earlier attempt has left there goes. It is not written out: see :mod:`relight.durable`.

    :raises ObjectCorrupt: a part is not what was stored. ServerError: a file cannot be written.
    """
    with Beneath.new(above, *below, mode=0o750) as incoming:
        for directory in manifest.directories:
            incoming.make_directory(directory)
        for path, size in manifest.files:
            incoming.make_file(path, size)
        progress.start(_LABEL, manifest.stored_bytes)
        stop = threading.Event()

        def fetch(part: Part) -> None:
            try:
                again_if_damaged(
                    lambda: _unpack_part(store, part, incoming, progress, stop),
                    lambda error: progress.say(f"fetched again: {error}"),
                )
            except BaseException:
                stop.set()
                raise

        with ThreadPoolExecutor(parallel) as pool:
            for done in [pool.submit(fetch, part) for part in manifest.parts]:
                done.result()
    return above.joinpath(*below)


def _unpack_part(store: Store, part: Part, incoming: Beneath, progress: Progress, stop: threading.Event) -> None:
    """Write a part; written again, it ends in the same bytes."""
    moved = 0

    def stored() -> Iterator[bytes]:
        nonlocal moved
        for chunk in store.stream(part.key, size=part.size, sha256=part.sha256):
            if stop.is_set():  # another part has failed: the attempt is over
                raise _Stopped
            moved += len(chunk)
            progress.advance(_LABEL, len(chunk))
            yield chunk

    try:
        size = sum(extent.length for extent in part.extents)
        _write(inflated(stored(), size, on=part.key, what="a part"), part, incoming)
    except ObjectCorrupt:
        progress.advance(_LABEL, -moved)
        raise
    except _Stopped:
        return


class _Stopped(Exception):
    """Another part has failed."""


def _write(data: Iterable[bytes], part: Part, incoming: Beneath) -> None:
    extents = iter(part.extents)
    room = 0
    with ExitStack() as opened:
        file: BinaryIO | None = None
        for block in data:
            view = memoryview(block)
            while view:
                if not room:
                    opened.close()
                    extent = next(extents)  # there is one: no more comes than they have room for
                    file, room = opened.enter_context(incoming.writing(extent.path, extent.offset)), extent.length
                written = file.write(view[:room]) if file is not None else 0
                room -= written
                view = view[written:]
    if room or next(extents, None) is not None:
        raise ObjectCorrupt("a part holds less than its manifest says", on=part.key)
