"""Step: an incremental backup. Every closed binary log file of the source becomes a segment.

What is in a file that is not closed, and what was purged before it was shipped, would be lost with
the shard; both are said.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from relight.backups.catalog import Catalog, load_catalog
from relight.backups.manifest import SegmentManifest, Value
from relight.backups.present import refuse_foreign, refuse_other_content
from relight.backups.shipping import Digests, Origin, ship
from relight.errors import GapError, command_line
from relight.gtid import GtidSet
from relight.lane.survey import survey
from relight.server.left_out import what_is_left_out
from relight.server.logs import log_files
from relight.server.session import Session, connect
from relight.server.surroundings import read_surroundings
from relight.site import Site
from relight.store import layout


class ShippedSummary(Value):
    """What was shipped, and what would be lost if the shard were lost now."""

    shard: str
    server: str
    server_uuid: str
    files: int
    transactions: int
    log_bytes: int
    stored_bytes: int
    newest_commit: datetime | None
    """Commit time of the newest shipped transaction, else when the newest snapshot was taken, else None."""
    unshipped_transactions: int
    """Transactions of the source that are neither in a segment nor in the newest snapshot."""
    loss_window_seconds: float | None
    """Age of the newest transaction in the store if there are unshipped ones, else 0. None if nothing
    is in the store at all."""
    seconds: float
    notes: tuple[str, ...] = ()
    """What is in no log of the source, or may not be; empty when all is as it should be."""


def ship_segments(site: Site, shard: str, *, rotate: bool = True) -> ShippedSummary:
    """Ship the closed log files of the shard's source. Runs on the source's machine; any number at once.

    :param rotate: close the file being written first, if it holds transactions.
    :raises GapError: transactions were purged before they were shipped. What could be shipped was.
    :raises ServerError: the source does not answer or keeps no binary log.
    :raises HistoryConflict: its history was begun anew, or is not the one that the shard has now. Nothing was shipped.
    """
    began = datetime.now(UTC)
    source = site.fleet.shard(shard).source
    with connect(source, site.admin) as session:
        uuid = str(session.value("SELECT @@server_uuid"))
        # Asked before the list of files, so that it holds nothing that is in one of them.
        purged = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_purged")))
        left_out = what_is_left_out(session)
        origin = Origin(shard, uuid, purged, read_surroundings(session), left_out)
        with _alone(source.workdir / "shipping") as folder:
            catalog = load_catalog(site.store, shard, parallel=site.fleet.store.parallel)
            executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
            refuse_foreign(catalog, source.name, uuid, executed)
            closed = _closed_files(session, rotate=rotate)
            shipped = _ship_all(site, origin, closed, folder / f"{uuid}.json", catalog)
        executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    for note in left_out.told:
        site.progress.say(f"{shard}: {note}")
    segments = [segment for segment in (*catalog.segments, *shipped) if segment.key not in catalog.missing]
    held = functools.reduce(GtidSet.__or__, (segment.gtids for segment in segments), GtidSet())
    newest = max((segment.last_commit for segment in segments if segment.last_commit), default=None)
    intact = [snapshot.reference for snapshot in catalog.snapshots if not snapshot.missing]
    if intact:
        held = held | intact[-1].gtids
        newest = newest or intact[-1].taken_at
        _refuse_hole(shard, purged - held)
    unshipped = (executed - held).count()
    ended = datetime.now(UTC)
    return ShippedSummary(
        shard=shard, server=source.name, server_uuid=uuid, files=len(shipped),
        transactions=sum(segment.transactions for segment in shipped),
        log_bytes=sum(segment.log_bytes for segment in shipped),
        stored_bytes=sum(segment.stored_bytes for segment in shipped), newest_commit=newest,
        unshipped_transactions=unshipped,
        loss_window_seconds=_window(unshipped, newest, ended),
        seconds=(ended - began).total_seconds(), notes=left_out.told,
    )  # fmt: skip


def _closed_files(session: Session, *, rotate: bool) -> list[Path]:
    files = log_files(session)
    if rotate and _holds_transactions(session, files[-1].name):
        session.run("FLUSH BINARY LOGS")
        files = log_files(session)
    return files[:-1]


def _holds_transactions(session: Session, file: str) -> bool:
    """Whether the file has any event behind its header, which says what was executed before it."""
    kinds = [str(row[2]) for row in session.rows("SHOW BINLOG EVENTS IN %s LIMIT 8", file)]
    return any("gtid" in kind.lower() and kind != "Previous_gtids" for kind in kinds)


def _ship_all(site: Site, origin: Origin, closed: list[Path], memory: Path, catalog: Catalog) -> list[SegmentManifest]:
    listed = site.store.list(layout.segments(origin.shard, origin.server_uuid))
    there = {entry.key for entry in listed if entry.size}  # an empty object was never finished
    digests = Digests(memory)
    shipped: list[SegmentManifest] = []
    for path in closed:
        label = f"{origin.shard}: ship {path.name}"
        try:
            digest = digests.of(path)
            key = layout.segment(origin.shard, origin.server_uuid, path.name, digest)
            if layout.segment_manifest(key) in there:
                continue
            refuse_other_content(catalog, path, origin.server_uuid, digest)
            site.progress.start(label, path.stat().st_size)
            moved = functools.partial(site.progress.advance, label)
            manifest = ship(site.store, origin, path, digest, moved, survey)
        except FileNotFoundError:
            site.progress.say(f"{path.name} was purged while files were being shipped")
            continue  # whether anything was lost by that is found out by comparing GTIDs, after all files
        if manifest is not None:
            shipped.append(manifest)
    digests.save()
    return shipped


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """One at a time on this machine: a second one waits, and then finds everything shipped."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the kernel when this process ends, however it ends
        yield folder


def _refuse_hole(shard: str, lost: GtidSet) -> None:
    if lost:
        raise GapError(
            "transactions were purged before they were shipped", on=shard,
            why=f"{lost.count()} transactions are in no log any more: {lost}",
            hint="no restore can cross this gap; take a full backup now: "
            f"{command_line('backup', 'full', shard)}",
        )  # fmt: skip


def _window(unshipped: int, newest: datetime | None, now: datetime) -> float | None:
    if not unshipped:
        return 0.0
    return None if newest is None else max(0.0, (now - newest).total_seconds())
