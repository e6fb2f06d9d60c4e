"""What the store holds of one shard, seen from few requests: two listings and some small objects.

How much log a restore would replay is what the plan would say: each log's manifest is read once, and what is known of
them goes on from look to look. Of more new ones than :data:`_MOST_READ` the rest is estimated from their stored sizes
until the next look. The clocks of store and server may differ, so that a log around the full backup may be missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from relight.backups.distrust import read_segment, read_snapshot
from relight.backups.manifest import SegmentManifest, Value
from relight.errors import ObjectCorrupt, ObjectMissing
from relight.fencing.timelines import Timeline
from relight.gtid import GtidSet
from relight.overview.card import Card, ToReplay
from relight.overview.health import Health
from relight.store import layout
from relight.store.base import MOST_MANIFEST, Store, StoredObject

_MOST_TRIED = 5
"""So many full backups are looked at, newest first, until one is usable."""
_MOST_READ = 64
"""The manifests of so many logs are read at one look."""
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
    if before is not None and before.snapshot == name and before.to_replay is not None:
        kept = {"snapshot", "snapshot_at", "stored_bytes", "data_bytes", "databases", "notes", "to_replay"}
        return card.model_copy(update={field: getattr(before, field) for field in kept})
    key = layout.snapshot_manifest(card.shard, name)
    try:
        manifest = read_snapshot(store.get(key, most=MOST_MANIFEST), key)
    except (ObjectCorrupt, ObjectMissing):
        concerns.append(Concern(health="warning", text=f"the manifest of the full backup {name} cannot be read: {key}"))
        return None
    if not _is_of(present, manifest.gtids):
        return None
    return card.model_copy(update={
        "snapshot": name, "snapshot_at": manifest.taken_at, "stored_bytes": manifest.stored_bytes,
        "data_bytes": manifest.data_bytes, "databases": len(manifest.databases), "notes": manifest.notes,
        "to_replay": ToReplay(held=manifest.gtids),
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
    commits = _commits(newest, present)
    logs = {key: log.size for key, log in stored.items() if log is not None}
    counted, rest = _counted(store, later, logs, card.to_replay, present, {one.key: one for one in newest})
    unread = sum(logs.get(one.key, 0) for one in rest)
    return card.model_copy(update={
        "segments": (counted.segments if counted else 0) + len(rest), "to_replay": counted,
        "log_bytes": (counted.log_bytes if counted else 0) + round(unread * _ratio(newest)),
        "shipped_at": max((one.modified for one in later), default=None),
        # Where no log has followed, the full backup is the newest that there is.
        "last_commit": max([*commits, *filter(None, [card.snapshot_at])], default=None),
    })  # fmt: skip


def _counted(
    store: Store, later: list[StoredObject], logs: Mapping[str, int], known: ToReplay | None, present: Timeline | None,
    read: Mapping[str, SegmentManifest],
) -> tuple[ToReplay | None, list[StoredObject]]:  # fmt: skip
    """What there is to replay, and the logs that were not read yet. ``read``: manifests by the key of their log."""
    if known is None:
        return None, later  # there is no full backup
    ordered = sorted(later, key=_age)
    done = known.read
    if known.until is not None and [_age(one) <= (known.until, known.key) for one in ordered].count(True) != done:
        return None, later  # some are gone, or came late: what was counted is no longer so
    for entry in ordered[done : done + _MOST_READ]:
        known = _with(known, entry, _manifest(store, entry, read) if entry.key in logs else None, present)
    return known, ordered[known.read :]


def _with(known: ToReplay, entry: StoredObject, log: SegmentManifest | None, present: Timeline | None) -> ToReplay:
    """With one more log. One that is gone, cannot be read, is of another timeline or holds nothing new adds nothing."""
    told: dict[str, object] = {"read": known.read + 1, "until": entry.modified, "key": entry.key}
    if log is not None and log.gtids - known.held and _is_of(present, log.previous_gtids | log.gtids):
        told |= {
            "log_bytes": known.log_bytes + log.log_bytes, "segments": known.segments + 1,
            "held": known.held | log.gtids,
        }  # fmt: skip
    return known.model_copy(update=told)


def _manifest(store: Store, entry: StoredObject, read: Mapping[str, SegmentManifest]) -> SegmentManifest | None:
    found = read.get(entry.key.removesuffix(".json") + ".zst")
    if found is not None:
        return found
    try:
        return read_segment(store.get(entry.key, most=MOST_MANIFEST), entry.key)
    except (ObjectCorrupt, ObjectMissing):
        return None


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
            yield read_segment(store.get(entry.key, most=MOST_MANIFEST), entry.key)
        except (ObjectCorrupt, ObjectMissing):
            concerns.append(Concern(health="bad", text=f"the manifest of the newest log cannot be read: {entry.key}"))


def _ratio(newest: list[SegmentManifest]) -> float:
    stored = sum(one.stored_bytes for one in newest)
    return sum(one.log_bytes for one in newest) / stored if stored else 1.0


def _age(entry: StoredObject) -> tuple[datetime, str]:
    return entry.modified, entry.key
