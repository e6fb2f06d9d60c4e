"""Whether a living server is what the store takes the shard for: asked before anything of it is backed up."""

from __future__ import annotations

from pathlib import Path

from relight.backups.branches import timeline_of
from relight.backups.catalog import Catalog
from relight.backups.collisions import CLOCKS, conflict, refuse_later, refuse_restarted
from relight.binlog.gtid_events import micros, moment
from relight.binlog.reader import open_log
from relight.binlog.scan import scan
from relight.errors import HistoryConflict, command_line
from relight.gtid import GtidSet


def refuse_foreign(catalog: Catalog, server: str, server_uuid: str, executed: GtidSet) -> None:
    """Hold what a server says of itself against the store.

    :raises HistoryConflict: it has forgotten what it had, or follows a timeline that the shard has left.
    """
    refuse_restarted(catalog, server_uuid, executed)
    present = catalog.timelines[-1] if catalog.timelines else None
    if present is None or present.agrees_with(executed):
        return
    raise HistoryConflict(
        "the server follows a timeline that the shard has left", on=f"{catalog.shard}, {server}",
        why=f"timeline {present.number} was begun at {present.began_at:%Y-%m-%d %H:%M:%S} UTC by run {present.run_id}, "
        f"and the server is of timeline {timeline_of(executed, catalog.timelines)}: it does not have {present.birth}",
        hint="nothing was backed up. If it is a former source, it must take no writes: "
        f"{command_line('fence', 'show', catalog.shard)}; if it is the shard's source from now on: "
        f"{command_line('timeline', 'begin', catalog.shard, '--why', 'it is the source from now on')}",
    )  # fmt: skip


def refuse_other_content(catalog: Catalog, path: Path, server_uuid: str, digest: str) -> None:
    """Hold a log file against what the store has of the same numbers.

    :raises HistoryConflict: it holds other transactions.
    """
    with open_log(path) as log:
        found = scan(log).transactions
    if not len(found):
        return
    gtids, first = found.gtids(), moment(int(found.commit_times[0]))
    for snapshot in catalog.snapshots:
        if both := gtids & snapshot.reference.gtids:
            until = micros(snapshot.reference.taken_at + CLOCKS)
            later = found.among(both) & (found.commit_times > until)
            refuse_later(found.gtids(later), path.name, snapshot, catalog.shard)
    for segment in catalog.segments:
        if segment.server_uuid != server_uuid or segment.log_sha256 == digest or not gtids & segment.gtids:
            continue
        # A file that was read before it was closed, as a lost server's last one is, begins as the whole one does.
        if (segment.file, segment.first_commit) != (path.name, first):
            raise conflict(
                catalog.shard, f"{gtids & segment.gtids} are in {path.name} and, different, in {segment.key}"
            )
