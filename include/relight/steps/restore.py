"""Step: unpack the snapshot into a new data directory, put it in place, start the server closed.

The directory gets its real name last, when every part was verified.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from relight.backups.manifest import SnapshotManifest, Value
from relight.errors import ServerError
from relight.gtid import GtidSet
from relight.guard.clearance import clear, put_in_place
from relight.guard.looking import refuse_if_alive, refuse_if_too_small
from relight.lane import lane_progress
from relight.planning.plan import load_plan, load_snapshot_manifest
from relight.server import mysqld
from relight.server.rebuilt import built_by, write_mark
from relight.server.session import Session
from relight.site import Run, Site
from relight.steps.stepping import step
from relight.unpacking import unpack


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
    incoming = server.workdir / "incoming" / run.run_id
    with _alone(incoming):
        aside = "" if built_by(server.datadir, run.run_id) else _build(site, run, manifest, incoming)
    with mysqld.start(server, site.admin) as session:
        prepare_for_replay(session, manifest.gtids)
    site.progress.say(f"restored {manifest.id} to {server.name}: {manifest.data_bytes / 1e6:.0f} MB, server is closed")
    return RestoreSummary(
        server=server.name, snapshot=manifest.id, data_bytes=manifest.data_bytes, stored_bytes=manifest.stored_bytes,
        gtids=str(manifest.gtids), set_aside=aside,
    )  # fmt: skip


@contextlib.contextmanager
def _alone(incoming: Path) -> Iterator[None]:
    """One try at a time: one that Airflow has given up may still be at it for a moment, and would go on writing into
    files that the next one has put in place, below a running server."""
    incoming.parent.mkdir(parents=True, exist_ok=True)
    with incoming.with_name(f"{incoming.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the kernel when this process ends, however it ends
        yield


def _build(site: Site, run: Run, manifest: SnapshotManifest, incoming: Path) -> str:
    """Unpack and put in place; gives where the directory lies that was there before, empty when there was none."""
    server = run.server(site.fleet)
    refuse_if_alive(server, "be rebuilt")
    refuse_if_too_small(server, manifest.data_bytes)
    unpack(site.store, manifest, incoming, site.progress, parallel=site.fleet.store.parallel)
    mysqld.write_closed_settings(incoming, loading=True)
    write_mark(incoming, run.run_id, "restored")
    mysqld.give_to_server_account(server, incoming)
    # The guard is asked once more: unpacking took its time.
    return put_in_place(clear(server, "have its data directory replaced"), incoming)


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
