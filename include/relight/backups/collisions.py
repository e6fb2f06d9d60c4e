"""GTIDs that stand for two different transactions. Pure.

A server numbers its transactions once. After ``RESET BINARY LOGS AND GTIDS`` it begins anew at 1, after a crash without
``sync_binlog`` it may use its last numbers once more; a machine that was set back to an earlier image does as well.
From then on the numbers in the store and those of the server mean different transactions: what is new would be taken
for what is there already, and left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from relight.backups.catalog import Catalog, CatalogSnapshot
from relight.backups.chain import history
from relight.backups.manifest import SegmentManifest
from relight.errors import HistoryConflict, command_line
from relight.gtid import GtidSet

CLOCKS = timedelta(minutes=15)
"""How far the clocks of two servers may differ. A machine whose clock is further off is refused by S3 as well."""


def refuse_overlaps(segments: Sequence[SegmentManifest], shard: str) -> None:
    """:raises HistoryConflict: logs of one server overlap with other contents."""
    ends: dict[str, dict[str, int]] = {}
    for segment in segments:
        known = ends.setdefault(segment.server_uuid, {})
        if _may_overlap(segment.gtids, known):
            _refuse_overlap(segment, segments, shard)
        for stream, spans in segment.gtids.streams.items():
            known[stream] = max(known.get(stream, 0), spans[-1][1])


def refuse_older_than_what_it_holds(
    snapshot: CatalogSnapshot, segments: Iterable[SegmentManifest], shard: str
) -> None:  # fmt: skip
    """:raises HistoryConflict: a log holds what the snapshot holds too, and was written long after that was taken."""
    until = snapshot.reference.taken_at + CLOCKS
    ends = {stream: spans[-1][1] for stream, spans in snapshot.reference.gtids.streams.items()}
    for segment in segments:
        later = segment.first_commit is not None and segment.first_commit > until
        if later and _may_overlap(segment.gtids, ends):
            refuse_later(segment.gtids & snapshot.reference.gtids, segment.file, snapshot, shard)


def refuse_restarted(catalog: Catalog, server_uuid: str, executed: GtidSet) -> None:
    """What one server has executed only grows, and it never forgets what it has numbered itself.

    :raises HistoryConflict: it lacks something that it had.
    """
    mine = [history(s) for s in catalog.segments if s.server_uuid == server_uuid]
    mine += [s.reference.gtids for s in catalog.snapshots if s.reference.server_uuid == server_uuid]
    everything = [history(s) for s in catalog.segments] + [s.reference.gtids for s in catalog.snapshots]
    numbered = (GtidSet(_of_server(one, server_uuid)) for one in everything)
    lost = GtidSet.union([*mine, *numbered]) - executed
    if lost:
        raise conflict(catalog.shard, f"server {server_uuid} has had {lost}, and does not know of it any more")


def refuse_later(both: GtidSet, file: str, snapshot: CatalogSnapshot, shard: str) -> None:
    """:raises HistoryConflict: there is something that the snapshot holds, and that was committed after it."""
    if both:
        raise conflict(
            shard, f"{both} in {file} were committed long after snapshot {snapshot.reference.id} was taken, which "
            "holds transactions of these numbers",
        )  # fmt: skip


def _of_server(gtids: GtidSet, server_uuid: str) -> dict[str, tuple[tuple[int, int], ...]]:
    return {stream: spans for stream, spans in gtids.streams.items() if stream.partition(":")[0] == server_uuid}


def _may_overlap(gtids: GtidSet, ends: Mapping[str, int]) -> bool:
    return any(spans[0][0] <= ends.get(stream, 0) for stream, spans in gtids.streams.items())


def _refuse_overlap(segment: SegmentManifest, segments: Iterable[SegmentManifest], shard: str) -> None:
    for other in segments:
        if other is segment:
            return
        if other.server_uuid == segment.server_uuid and other.log_sha256 != segment.log_sha256:
            both = other.gtids & segment.gtids
            if both and not begins_alike(other, segment):
                raise conflict(
                    shard,
                    f"{both} are in {other.key} and in {segment.key}, two logs of one server with different contents",
                )


def begins_alike(one: SegmentManifest, other: SegmentManifest) -> bool:
    """Whether both are the same file, of which one was read before the server had closed it."""
    same = (one.file, one.first_commit) == (other.file, other.first_commit)
    return same and (one.gtids <= other.gtids or other.gtids <= one.gtids)


def conflict(shard: str, why: str) -> HistoryConflict:
    """What it is, and what to do about it."""
    return HistoryConflict(
        "one number stands for two transactions", on=shard, why=why,
        hint="the server's history was begun anew. Give it an identity of its own: stop it, move auto.cnf out of its "
        "data directory, start it, RESET BINARY LOGS AND GTIDS. Then say that it is the shard from now on: "
        f"{command_line('timeline', 'begin', shard, '--why', 'its numbering was begun anew')}; rebuild its replicas, "
        f"and take a full backup: {command_line('backup', 'full', shard)}",
    )  # fmt: skip
