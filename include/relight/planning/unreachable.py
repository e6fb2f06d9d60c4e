"""Why a target cannot be reached, and the nearest point that can be."""

from __future__ import annotations

from datetime import UTC, datetime

from relight.backups.branches import Branch
from relight.backups.catalog import Catalog, CatalogSnapshot
from relight.backups.chain import Chain
from relight.backups.manifest import SegmentManifest
from relight.errors import GapError, ObjectMissing, TargetError, command_line
from relight.planning.target import Target


def before_first(target: Target, first: CatalogSnapshot) -> TargetError:
    """The target is older than the oldest snapshot ``first``."""
    return TargetError(
        "the target lies before the first snapshot", on=str(target),
        why=f"the first one was taken at {text_of(first.reference.taken_at)}",
        hint=f"the nearest reachable point: {at(first.reference.taken_at)}",
    )  # fmt: skip


def not_before_file(target: Target, segment: SegmentManifest, first: CatalogSnapshot) -> TargetError:
    """Even the oldest snapshot ``first`` may hold what lies behind a position in ``segment``."""
    held, taken = first.reference.gtids - segment.previous_gtids, text_of(first.reference.taken_at)
    return TargetError(
        "no snapshot is known to lie before the position", on=str(target),
        why=f"the first one, taken at {taken}, holds {held.count()} transactions that were not there when "
        f"{segment.file} of {segment.server_uuid} began, and only the file itself tells on which side of the position "
        f"they lie: {held}",
        hint="mysqlbinlog shows the GTID at that position, and --target before:UUID:N needs no such snapshot; "
        f"the nearest point that is certain: {at(first.reference.taken_at)}",
    )  # fmt: skip


def segment_gone(segment: SegmentManifest, reaches: datetime) -> ObjectMissing:
    """A segment on the way has a manifest, and its object is not there."""
    return ObjectMissing(
        "a segment is gone", on=segment.key, why=f"its manifest says that it holds {segment.gtids}",
        hint=f"the last reachable point before it: {at(reaches)}",
    )  # fmt: skip


def gap(catalog: Catalog, snapshot: CatalogSnapshot, chain: Chain, target: Target) -> GapError:
    """The chain breaks off and goes on later."""
    missing, end = chain.missing, reached(snapshot, chain)
    behind = [
        other.reference.taken_at for other in catalog.snapshots
        if not other.missing and missing <= other.reference.gtids and other.reference.taken_at > end
    ]  # fmt: skip
    after = f"; the nearest one after them: {at(min(behind))}" if behind else ""
    nearest = chain.beyond[0]
    return GapError(
        "transactions are missing on the way to the target", on=str(target),
        why=f"{missing.count()} of them are in no log of the store: {missing}, "
        f"which come before {nearest.file} of {nearest.server_uuid}",
        hint=f"the last reachable point before them: {at(end)}{after}",
    )  # fmt: skip


def unknown(catalog: Catalog, snapshot: CatalogSnapshot, chain: Chain, target: Target) -> TargetError:
    """Nothing in the catalog knows the transaction."""
    stream = (target.before if target.kind == "before" else target.gtid).stream
    sets = [*(s.gtids for s in catalog.segments), *(s.reference.gtids for s in catalog.snapshots)]
    known = [spans[-1][1] for gtids in sets if (spans := gtids.streams.get(stream))]
    return TargetError(
        "no log in the store holds the transaction", on=str(target),
        why=f"those of {stream} go up to {max(known)}" if known else f"nothing of {stream} is known for this shard",
        hint=f"the nearest reachable point: {at(reached(snapshot, chain)) if chain.beyond else 'latest'}",
    )  # fmt: skip


def parts_missing(catalog: Catalog, snapshot: CatalogSnapshot) -> ObjectMissing:
    """The only snapshot that would do is damaged."""
    return ObjectMissing(
        "parts of a snapshot are gone", on=snapshot.missing[0], why=damage(snapshot),
        hint="no intact snapshot is old enough; restore the object from a copy, "
        f"or take a backup if a server is left: {command_line('backup', 'full', catalog.shard)}",
    )  # fmt: skip


def damage(snapshot: CatalogSnapshot) -> str:
    """What is wrong with a snapshot, in a few words."""
    return f"{len(snapshot.missing)} parts of snapshot {snapshot.reference.id} are missing"


def reached(snapshot: CatalogSnapshot, chain: Chain) -> datetime:
    """The time of the last transaction in the chain; without any, the moment that the snapshot shows."""
    times = [link.segment.last_commit for link in chain.links if link.segment.last_commit]
    return max(times, default=snapshot.reference.shows or snapshot.reference.taken_at)


def whole_until(branch: Branch, snapshot: CatalogSnapshot, chain: Chain) -> datetime:
    """Up to when the chain holds all that was committed in a timeline. Where no log of it was shipped yet, that is
    the moment in which it began, whenever its last transaction was."""
    if branch.began_at is not None and not branch.segments and branch.began_with <= chain.end:
        return branch.began_at
    return reached(snapshot, chain)


def at(time: datetime) -> str:
    """How to ask for a time on the command line."""
    return f"--target time:{text_of(time)}"


def text_of(time: datetime) -> str:
    """A time as people and targets write it: UTC, with a Z."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
