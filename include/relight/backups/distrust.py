"""Manifests as they are read: nothing in them is believed that can be checked, against where
they lie or against itself.

What is found wrong is ObjectCorrupt, which names the object. Who could write to the store could still replace a backup
by another whole one; what cannot be had is that a manifest makes a restore write, or read, anything else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from relight.backups.manifest import Part, SegmentManifest, SnapshotManifest
from relight.errors import ObjectCorrupt
from relight.reading import read_json
from relight.store import layout

_HINT: Final = "nothing of it was used; restore the object from a copy, or move it away"
_PART: Final = re.compile(r"[0-9]{4,}\.zst")


def read_snapshot(content: bytes, key: str) -> SnapshotManifest:
    """The manifest of a snapshot that lies under ``key``. :raises ObjectCorrupt: it is none that can be believed."""
    manifest = read_json(SnapshotManifest, content, on=key, what="a snapshot's manifest")
    try:
        _refuse_displaced(manifest, key)
        _refuse_contradictions(manifest)
    except ValueError as error:
        raise _unbelievable("a snapshot's manifest", key, error) from None
    return manifest


def read_segment(content: bytes, key: str) -> SegmentManifest:
    """The manifest of a segment that lies under ``key``. :raises ObjectCorrupt: it is none that can be believed."""
    manifest = read_json(SegmentManifest, content, on=key, what="a segment's manifest")
    refuse_displaced_segment(manifest, key, key.partition("/")[0])
    return manifest


def refuse_displaced_segment(manifest: SegmentManifest, key: str, shard: str) -> None:
    """:raises ObjectCorrupt: it speaks of another segment than its key, or of another shard's."""
    own = layout.segment(manifest.shard, manifest.server_uuid, manifest.file, manifest.log_sha256)
    if manifest.shard != shard or manifest.key != own or layout.segment_manifest(own) != key:
        why = ValueError(f"it is for {manifest.key} of shard {manifest.shard}")
        raise _unbelievable("a segment's manifest", key, why) from None


def _refuse_displaced(manifest: SnapshotManifest, key: str) -> None:
    if layout.snapshot_manifest(manifest.shard, manifest.id) != key or "/" in manifest.shard + manifest.id:
        raise ValueError(f"it is for snapshot {manifest.id} of shard {manifest.shard}")
    folder = layout.parts(manifest.shard, manifest.id)
    for part in manifest.parts:
        if not part.key.startswith(folder) or not _PART.fullmatch(part.key.removeprefix(folder)):
            raise ValueError(f"its part {part.key} is not in its folder")


def _refuse_contradictions(manifest: SnapshotManifest) -> None:
    """Whether lists and sums agree, so that every byte of every file comes from exactly one place."""
    sizes = dict(manifest.files)
    if len(sizes) != len(manifest.files):
        raise ValueError("a file is in it twice")
    folders = set(manifest.directories)
    if len(folders) != len(manifest.directories):
        raise ValueError("a directory is in it twice")
    for path in (*sizes, *folders):
        above = path.rpartition("/")[0]
        if above and above not in folders:
            raise ValueError(f"{path} is in no directory of it")
    if both := sizes.keys() & folders:
        raise ValueError(f"{min(both)} is a file and a directory")
    if len({part.key for part in manifest.parts}) != len(manifest.parts):
        raise ValueError("a part is in it twice")
    _refuse_gaps(sizes, manifest.parts)
    if sum(sizes.values()) != manifest.data_bytes:
        raise ValueError(f"its files have {sum(sizes.values())} bytes, and not {manifest.data_bytes}")
    if sum(part.size for part in manifest.parts) != manifest.stored_bytes:
        raise ValueError(f"its parts have not {manifest.stored_bytes} bytes")


def _refuse_gaps(sizes: dict[str, int], parts: Iterable[Part]) -> None:
    extents: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for part in parts:
        for extent in part.extents:
            extents[extent.path].append((extent.offset, extent.length))
    if unknown := extents.keys() - sizes.keys():
        raise ValueError(f"a part holds bytes of {min(unknown)}, which is no file of it")
    for path, size in sizes.items():
        end = 0
        for offset, length in sorted(extents.get(path, ())):
            if offset != end:
                raise ValueError(f"bytes of {path} are in {'two parts' if offset < end else 'no part'}")
            end += length
        if end != size:
            raise ValueError(f"{path} has {size} bytes, and its parts hold {end}")


def _unbelievable(what: str, key: str, why: ValueError) -> ObjectCorrupt:
    return ObjectCorrupt(f"{what} cannot be believed", on=key, why=str(why), hint=_HINT)
