"""What the store holds for a shard: snapshots, segments, and what is damaged."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from relight.backups.distrust import read_segment, read_snapshot
from relight.backups.manifest import SegmentManifest, Value
from relight.errors import ObjectCorrupt, ObjectMissing
from relight.fencing.timelines import Timeline, load_timelines
from relight.gtid import GtidSet
from relight.planning.plan import SnapshotReference
from relight.store import layout
from relight.store.base import MOST_MANIFEST, Store
from relight.store.parallel import in_parallel

Entry = TypeVar("Entry", bound=Value)


class CatalogSnapshot(Value):
    """A snapshot, as far as choosing one takes."""

    reference: SnapshotReference
    server_name: str
    databases: int
    tables: int
    rows: int
    missing: tuple[str, ...] = ()
    """Keys of its parts that are not there, or not of the size they should be."""


class Unreadable(Value):
    """A manifest that is there and cannot be understood."""

    key: str
    why: str


class Catalog(Value):
    """Everything that a plan is made from. Objects of unknown names are not in it."""

    shard: str
    snapshots: tuple[CatalogSnapshot, ...]
    """Oldest first."""
    segments: tuple[SegmentManifest, ...]
    """By server and file name."""
    missing: tuple[str, ...] = ()
    """Keys of segments whose manifest is there without them."""
    unreadable: tuple[Unreadable, ...] = ()
    timelines: tuple[Timeline, ...] = ()
    """Those that were begun by restores, oldest first."""
    undecided: str = ""
    """Why it cannot be told which of them there are; empty where it can. Nothing may be planned then."""


def load_catalog(store: Store, shard: str, *, parallel: int = 8) -> Catalog:
    """Read every manifest of the shard, ``parallel`` at a time.

    A damaged or missing object is noted, not raised: it matters only if a plan needs it.
    """
    listed = [*store.list(layout.snapshots(shard)), *store.list(layout.segments(shard))]
    sizes = {entry.key: entry.size for entry in listed if entry.size}  # an empty object was never finished
    unreadable: list[Unreadable] = []

    def load(key: str) -> CatalogSnapshot | SegmentManifest | None:
        try:
            content = store.get(key, most=MOST_MANIFEST)
            if layout.is_snapshot_manifest(key):
                return _snapshot(key, content, sizes)
            return read_segment(content, key)
        except (ObjectCorrupt, ObjectMissing) as error:
            unreadable.append(Unreadable(key=key, why=error.why or error.what))
            return None

    keys = [key for key in sizes if layout.is_snapshot_manifest(key) or layout.segment_identity(key)]
    found = in_parallel(load, keys, parallel)
    snapshots = [entry for entry in found if isinstance(entry, CatalogSnapshot)]
    segments = [entry for entry in found if isinstance(entry, SegmentManifest)]
    timelines, undecided = _timelines(store, shard)
    return Catalog(
        shard=shard, snapshots=_sorted(snapshots, lambda s: (s.reference.taken_at, s.reference.id)),
        segments=_sorted(segments, lambda s: (s.server_uuid, s.previous_gtids.count(), s.file)),
        missing=tuple(s.key for s in segments if sizes.get(s.key) != s.stored_bytes),
        unreadable=_sorted(unreadable, lambda entry: entry.key), timelines=timelines,
        undecided=undecided,
    )  # fmt: skip


def _timelines(store: Store, shard: str) -> tuple[tuple[Timeline, ...], str]:
    try:
        return load_timelines(store, shard), ""
    except ObjectCorrupt as error:
        return (), str(error)


def archived_in(catalog: Catalog) -> GtidSet:
    """Every transaction that the store holds, or that came before something it holds."""
    found = [snapshot.reference.gtids for snapshot in catalog.snapshots]
    found += [segment.previous_gtids | segment.gtids for segment in catalog.segments]
    return functools.reduce(GtidSet.__or__, found, GtidSet())


def _snapshot(key: str, content: bytes, sizes: Mapping[str, int]) -> CatalogSnapshot:
    manifest = read_snapshot(content, key)
    return CatalogSnapshot(
        reference=SnapshotReference(
            id=manifest.id, manifest_key=key, manifest_sha256=hashlib.sha256(content).hexdigest(),
            server_uuid=manifest.server_uuid, mysql_version=manifest.mysql_version, taken_at=manifest.taken_at,
            gtids=manifest.gtids, data_bytes=manifest.data_bytes, stored_bytes=manifest.stored_bytes,
            surroundings=manifest.surroundings, left_out=manifest.left_out, behind=manifest.behind,
            as_of=manifest.as_of,
        ),
        server_name=manifest.server_name, databases=len(manifest.databases), tables=len(manifest.tables),
        rows=sum(table.rows for table in manifest.tables),
        missing=tuple(part.key for part in manifest.parts if sizes.get(part.key) != part.size),
    )  # fmt: skip


def _sorted(entries: list[Entry], key: Callable[[Entry], object]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=key))  # type: ignore[arg-type]
