"""Step: unpack the snapshot into a new data directory, put it in place, start the server closed.

Parts stream from the store through decompression straight into the new directory; nothing lands
twice. The directory gets its real name last, when every part was verified.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard

from relight.backups.manifest import Part, SnapshotManifest, Value
from relight.errors import ObjectCorrupt, ServerError
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.lane import lane_progress
from relight.planning.plan import load_plan, load_snapshot_manifest
from relight.server import guard, mysqld
from relight.server.rebuilt import built_by, write_mark
from relight.server.session import Session
from relight.site import Run, Site
from relight.steps.stepping import step


class RestoreSummary(Value):
    """What was restored, and where."""

    server: str
    snapshot: str
    data_bytes: int
    stored_bytes: int
    gtids: str
    set_aside: str
    """Where the directory that was there before lies now; empty when there was none."""


@step("restore")
def restore_snapshot(site: Site, run: Run) -> RestoreSummary:
    """Bring the plan's snapshot up as a closed server. Run again, it goes on where it can.

    :raises GuardRefused: the machine shows signs of life. ObjectCorrupt: a part is not what was stored.
        ServerStartFailed: mysqld did not come up on it.
    """
    plan = load_plan(site.store, run)
    server = run.server(site.fleet)
    manifest = load_snapshot_manifest(site.store, plan.snapshot)
    aside = ""
    if not built_by(server.datadir, run.run_id):
        guard.refuse_if_alive(server, "be rebuilt")
        guard.refuse_if_too_small(server, manifest.data_bytes)
        incoming = server.workdir / "incoming" / run.run_id
        unpack(site, manifest, incoming)
        mysqld.write_closed_settings(incoming, loading=True)
        write_mark(incoming, run.run_id, "restored")
        mysqld.give_to_server_account(server, incoming)
        aside = put_in_place(server, incoming)
    with mysqld.start(server, site.admin) as session:
        prepare_for_replay(session, manifest.gtids)
    site.progress.say(f"restored {manifest.id} to {server.name}: {manifest.data_bytes / 1e6:.0f} MB, server is closed")
    return RestoreSummary(
        server=server.name, snapshot=manifest.id, data_bytes=manifest.data_bytes, stored_bytes=manifest.stored_bytes,
        gtids=str(manifest.gtids), set_aside=aside,
    )  # fmt: skip


def unpack(site: Site, manifest: SnapshotManifest, incoming: Path) -> None:
    """Write every file of the snapshot below ``incoming``, several parts at a time.

    Writing a part again ends in the same bytes, so an earlier attempt needs no cleaning up.
    """
    incoming.mkdir(parents=True, exist_ok=True)
    incoming.chmod(0o750)
    for directory in manifest.directories:
        (incoming / directory).mkdir(parents=True, exist_ok=True)
    for path, size in manifest.files:
        (incoming / path).parent.mkdir(parents=True, exist_ok=True)
        with (incoming / path).open("ab") as stream:
            stream.truncate(size)
    site.progress.start("snapshot", manifest.stored_bytes)
    stop = threading.Event()

    def fetch(part: Part) -> None:
        try:
            _unpack_part(site, part, incoming, stop)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(site.fleet.store.parallel) as pool:
        for done in [pool.submit(fetch, part) for part in manifest.parts]:
            done.result()


def _unpack_part(site: Site, part: Part, incoming: Path, stop: threading.Event) -> None:
    extents = iter(part.extents)
    room = 0
    stream = None
    try:
        for chunk in _decompressed(site, part, stop):
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


def _decompressed(site: Site, part: Part, stop: threading.Event) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    for chunk in site.store.stream(part.key, size=part.size, sha256=part.sha256):
        if stop.is_set():  # another part has failed: the attempt is over
            return
        site.progress.advance("snapshot", len(chunk))
        data = decompressor.decompress(chunk)
        if data:
            yield data


def put_in_place(server: Server, incoming: Path) -> str:
    """Ask the guard once more, set an existing directory aside, give the new one its name.

    Gives where the old directory lies, empty text when there was none.
    """
    aside = ""
    clearance = guard.clear(server, "have its data directory replaced")
    if clearance is not None:
        aside = str(guard.set_aside(clearance))
    server.datadir.parent.mkdir(parents=True, exist_ok=True)
    try:
        incoming.rename(server.datadir)
    except OSError as error:
        raise ServerError(
            "the new data directory cannot be put in place", on=server.name, why=str(error),
            hint="workdir and datadir must lie on the same file system",
        ) from None  # fmt: skip
    return aside


def prepare_for_replay(session: Session, gtids: GtidSet) -> None:
    """Make a fresh copy safe to work on: no replication that it inherited, a place for progress.

    :raises ServerError: it is not closed, or does not hold exactly the snapshot's transactions.
    """
    session.run("SET SESSION sql_log_bin = 0")
    closed = session.row("SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only, @@GLOBAL.event_scheduler")
    if closed != (1, 1, "OFF"):
        raise ServerError("the rebuilt server is not closed", on=session.server.name, why=str(closed))
    executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    if executed != gtids:
        raise ServerError(
            "the rebuilt server does not hold what its snapshot held", on=session.server.name,
            why=f"missing {gtids - executed or 'nothing'}, extra {executed - gtids or 'nothing'}",
        )  # fmt: skip
    session.run("STOP REPLICA")
    session.run("RESET REPLICA ALL")
    lane_progress.create_table(session)
