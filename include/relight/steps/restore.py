"""Step: unpack the snapshot into a new data directory, put it in place, start the server closed.

The directory gets its real name last, when every part was verified.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from relight.backups.manifest import SnapshotManifest, SystemZone, Value
from relight.durable import write_out_below
from relight.errors import ServerError
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.guard.clearance import clear, put_in_place
from relight.guard.looking import refuse_if_alive, refuse_if_too_small
from relight.lane import lane_progress
from relight.outdated import refuse_what_is_over
from relight.planning.plan import Plan, load_plan, load_snapshot_manifest
from relight.planning.surroundings import zone_of
from relight.server import mysqld
from relight.server.closed import start_closed, write_settings
from relight.server.rebuilt import is_beyond_proof, still_built_by, write_mark
from relight.server.session import Session
from relight.server.zone import same_zone, write_zone
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
    refuse_what_is_over(site, run)
    plan = load_plan(site.store, run)
    server = run.server(site.fleet)
    manifest = load_snapshot_manifest(site.store, plan.snapshot)
    with _alone(server):
        mine = still_built_by(server.datadir, run.run_id, site.progress.say)
        aside = "" if mine else _build(site, run, plan, manifest)
    if is_beyond_proof(server.datadir, run.run_id):
        site.progress.say(f"{run.shard} is being promoted by this run, or was: its server is left as it is")
    else:
        _start(site, plan, server, manifest)
    return RestoreSummary(
        server=server.name, snapshot=manifest.id, data_bytes=manifest.data_bytes, stored_bytes=manifest.stored_bytes,
        gtids=str(manifest.gtids), set_aside=aside,
    )  # fmt: skip


def _look_at_zone(site: Site, session: Session, zone: SystemZone | None) -> None:
    """Say it where the server's time zone is not the lost source's, as with one that another program starts."""
    if zone is None:
        site.progress.say("nobody knows the lost source's time zone: it was backed up by a version that did not ask")
    elif (here := same_zone(session, zone)) != "SYSTEM":
        instead = f"replay uses {here} instead" if here else "tables that were computed with it will be inconclusive"
        site.progress.say(
            f"the system time zone of {session.server.name} is not the lost source's ({zone.name or 'unnamed'}): "
            f"{instead}; set TZ where the server is started, or the machine's time zone"
        )


def _start(site: Site, plan: Plan, server: Server, manifest: SnapshotManifest) -> None:
    with start_closed(server, site.admin) as session:
        prepare_for_replay(session, manifest.gtids)
        _look_at_zone(site, session, zone_of(plan))
    site.progress.say(f"restored {manifest.id} to {server.name}: {manifest.data_bytes / 1e6:.0f} MB, server is closed")


@contextlib.contextmanager
def _alone(server: Server) -> Iterator[None]:
    """One try at a time: one that Airflow has given up may still be at it for a moment, and would go on writing into
    files that the next one has put in place, below a running server."""
    server.workdir.mkdir(parents=True, exist_ok=True)
    with (server.workdir / f"{server.name}.restore").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the kernel when this process ends, however it ends
        yield


def _build(site: Site, run: Run, plan: Plan, manifest: SnapshotManifest) -> str:
    """Unpack and put in place; gives where the directory lies that was there before, empty when there was none."""
    server = run.server(site.fleet)
    refuse_if_alive(server, "be rebuilt")
    refuse_if_too_small(server, manifest.data_bytes)
    incoming = unpack(
        site.store, manifest, server.workdir, ("incoming", run.run_id), site.progress,
        parallel=site.fleet.store.parallel,
    )  # fmt: skip
    write_settings(server, incoming, loading=True)
    write_zone(incoming, zone_of(plan))
    write_mark(incoming, run.run_id, "restored")
    mysqld.give_to_server_account(server, incoming)
    write_out_below(incoming)  # what gets its name is believed
    # The guard is asked once more: unpacking took its time.
    return put_in_place(clear(server, "have its data directory replaced"), incoming)


def prepare_for_replay(session: Session, gtids: GtidSet) -> None:
    """Make a fresh copy safe to work on: no replication that it inherited, a place for progress.

    :raises ServerError: it does not hold exactly the snapshot's transactions.
    """
    session.run("SET SESSION sql_log_bin = 0")
    executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    if executed != gtids:
        raise ServerError(
            "the rebuilt server does not hold what its snapshot held", on=session.server.name,
            why=f"missing {gtids - executed or 'nothing'}, extra {executed - gtids or 'nothing'}",
        )  # fmt: skip
    session.run("STOP REPLICA")
    session.run("RESET REPLICA ALL")
    lane_progress.create_table(session)
