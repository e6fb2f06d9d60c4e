"""What the store holds of one shard, seen from few requests: two listings and two or three small objects.

How much log a restore would replay is an estimate: the stored sizes of the logs that came after the full backup, times
what the newest of them says of compression. A log that two servers have shipped counts twice, and the clocks of store
and server may differ. The plan (``relight plan``) is exact, and reads the manifest of every log for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from pydantic import ValidationError

from relight.backups.manifest import SegmentManifest, SnapshotManifest, Value
from relight.errors import ObjectMissing
from relight.fencing.timelines import Timeline
from relight.gtid import GtidSet
from relight.overview.card import Card, Health
from relight.store import layout
from relight.store.base import Store, StoredObject

_MOST_TRIED = 5
"""So many full backups are looked at, newest first, until one is usable."""
_MOST_SERVERS = 3
"""The newest logs of so many servers are read: the source, and those it took over from."""


class Concern(Value):
    """Something that is wrong, and how bad that is."""

    health: Health
    text: str


def holdings(
    store: Store, card: Card, before: Card | None, present: Timeline | None = None
) -> tuple[Card, tuple[Concern, ...]]:
    """Look at the full backups and logs of the card's shard; gives the card with what is known of them, and what is
    wrong with them.

    :param before: the card of an earlier look, which saves reading the full backup's manifest again.
    :param present: the shard's present timeline: what is not of it does not count. None: there is only one.
    """
    concerns: list[Concern] = []
    found = _snapshot(store, card, before, present, concerns)
    listed = {entry.key: entry for entry in store.list(layout.segments(card.shard)) if entry.size}
    manifests = [entry for key, entry in listed.items() if layout.segment_identity(key)]
    later = [one for one in manifests if found.snapshot_at is None or one.modified >= found.snapshot_at]
    found = _logs(store, found, listed, later, present, concerns)
    if manifests and not later:
        found = _last_log(store, found, manifests, present, concerns)
    return found, tuple(concerns)


def _snapshot(store: Store, card: Card, before: Card | None, present: Timeline | None, concerns: list[Concern]) -> Card:
    """The newest full backup that can be read, is of the present timeline, and whose parts are there."""
    sizes: dict[str, int] = {}
    manifests: list[str] = []
    for entry in store.list(layout.snapshots(card.shard)):
        name = entry.key.removeprefix(layout.snapshots(card.shard)).split("/")[0]
        if layout.is_snapshot_manifest(entry.key):
            manifests += [name] if entry.size else []
        else:
            sizes[name] = sizes.get(name, 0) + entry.size
    for name in sorted(manifests, reverse=True)[:_MOST_TRIED]:
        found = _read_snapshot(store, card, name, before, present, concerns)
        if found is None:
            continue
        if sizes.get(name, 0) == found.stored_bytes:
            concerns += [Concern(health="warning", text=f"of the last full backup: {note}") for note in found.notes]
            return found
        concerns.append(Concern(health="warning", text=f"parts of the full backup {name} are gone"))
    return card


def _read_snapshot(
    store: Store, card: Card, name: str, before: Card | None, present: Timeline | None, concerns: list[Concern]
) -> Card | None:  # fmt: skip
    if before is not None and before.snapshot == name:
        kept = {"snapshot", "snapshot_at", "stored_bytes", "data_bytes", "databases", "notes"}
        return card.model_copy(update={field: getattr(before, field) for field in kept})
    key = layout.snapshot_manifest(card.shard, name)
    try:
        manifest = SnapshotManifest.model_validate_json(store.get(key))
    except ValidationError:
        concerns.append(Concern(health="warning", text=f"the manifest of the full backup {name} cannot be read: {key}"))
        return None
    if not _is_of(present, manifest.gtids):
        return None
    return card.model_copy(update={
        "snapshot": name, "snapshot_at": manifest.taken_at, "stored_bytes": manifest.stored_bytes,
        "data_bytes": manifest.data_bytes, "databases": len(manifest.databases), "notes": manifest.notes,
    })  # fmt: skip


def _logs(
    store: Store, card: Card, listed: Mapping[str, StoredObject], later: list[StoredObject], present: Timeline | None,
    concerns: list[Concern],
) -> Card:  # fmt: skip
    """What would be replayed, and the newest commit of it."""
    stored = {one.key: listed.get(one.key.removesuffix(".json") + ".zst") for one in later}
    gone = [key for key, log in stored.items() if log is None]
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        text = f"logs that were shipped are gone, and a restore ends there: {gone[0].removesuffix('.json')}.zst{more}"
        concerns.append(Concern(health="bad", text=text))
    newest = list(_readable(store, _newest_per_server(later), concerns))
    concerns += _left_out(newest)
    sizes = sum(log.size for log in stored.values() if log is not None)
    commits = _commits(newest, present)
    return card.model_copy(update={
        "segments": len(later), "log_bytes": round(sizes * _ratio(newest)),
        "shipped_at": max((one.modified for one in later), default=None),
        # Where no log has followed, the full backup is the newest that there is.
        "last_commit": max([*commits, *filter(None, [card.snapshot_at])], default=None),
    })  # fmt: skip


def _last_log(
    store: Store, card: Card, manifests: list[StoredObject], present: Timeline | None, concerns: list[Concern]
) -> Card:
    """When a log was shipped last, where that was before the full backup."""
    newest = max(manifests, key=_age)
    readable = list(_readable(store, [newest], concerns))
    concerns += _left_out(readable)
    commits = _commits(readable, present)
    return card.model_copy(update={
        "shipped_at": newest.modified, "last_commit": max([*commits, *filter(None, [card.last_commit])], default=None),
    })  # fmt: skip


def _commits(newest: Iterable[SegmentManifest], present: Timeline | None) -> list[datetime]:
    """The newest commits that a restore would bring back. What a timeline began with is whole until it began."""
    found = [one.last_commit for one in newest if one.last_commit and _is_of(present, one.previous_gtids | one.gtids)]
    return found or ([present.began_at] if present is not None else [])


def _is_of(present: Timeline | None, held: GtidSet) -> bool:
    """Whether somebody with these transactions holds nothing that the present timeline has given up."""
    return present is None or present.agrees_with(held)


def _left_out(newest: list[SegmentManifest]) -> Iterator[Concern]:
    """What the source does not log, as it was when the newest log was shipped."""
    for one in newest[:1]:
        for text in one.left_out.told if one.left_out else ():
            yield Concern(health="warning", text=f"not all may be restored: {text}")


def _newest_per_server(manifests: Iterable[StoredObject]) -> list[StoredObject]:
    newest: dict[str, StoredObject] = {}
    for one in sorted(manifests, key=_age):
        server, _ = layout.segment_identity(one.key) or ("", "")
        newest[server] = one
    return sorted(newest.values(), key=_age, reverse=True)[:_MOST_SERVERS]


def _readable(
    store: Store, entries: Iterable[StoredObject], concerns: list[Concern]
) -> Iterator[SegmentManifest]:  # fmt: skip
    for entry in entries:
        try:
            yield SegmentManifest.model_validate_json(store.get(entry.key))
        except (ValidationError, ObjectMissing):
            concerns.append(Concern(health="bad", text=f"the manifest of the newest log cannot be read: {entry.key}"))


def _ratio(newest: list[SegmentManifest]) -> float:
    stored = sum(one.stored_bytes for one in newest)
    return sum(one.log_bytes for one in newest) / stored if stored else 1.0


def _age(entry: StoredObject) -> tuple[datetime, str]:
    return entry.modified, entry.key
