"""Step: make a proved server the shard's source.

The order is the safety: history first, then durable settings by a clean restart that is still
closed, checked, and only then the doors. Killed anywhere and run again, it ends the same.
"""

from __future__ import annotations

from relight.backups.manifest import GtidField, SnapshotManifest, Value
from relight.errors import PromotionRefused
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.lane.lane_progress import DATABASE
from relight.planning.plan import load_plan, load_snapshot_manifest
from relight.proof import check_certificate
from relight.run_files import load_lanes
from relight.server import mysqld
from relight.server.rebuilt import mark_path, read_mark, write_mark
from relight.server.scheduled_events import enable_for_source
from relight.server.session import Session
from relight.site import Run, Site
from relight.steps.stepping import step


class Promotion(Value):
    """The shard's new source."""

    server: str
    host: str
    port: int
    server_uuid: str
    gtids: GtidField
    events_enabled: tuple[str, ...]


@step("promote")
def promote(site: Site, run: Run) -> Promotion:
    """Open the rebuilt server for applications.

    :raises PromotionRefused: a rehearsal, or the server is not this run's. CertificateRefused: there is no certificate
        that holds for exactly this server and plan.
    """
    server = run.server(site.fleet)
    folder = run.folder(site.fleet)
    _refuse_what_is_not_meant(run, server)
    plan = load_plan(site.store, run)
    manifest = load_snapshot_manifest(site.store, plan.snapshot)
    history = load_lanes(folder).end_gtids
    enabled: list[str] = []
    if _state(server) == "restored":
        with mysqld.start(server, site.admin) as session:
            check_certificate(site, run, session)
        mysqld.write_closed_settings(server.datadir, loading=False)
        mysqld.stop(server, site.admin)
        # The log is emptied behind the restart: a server rolls back at its start what XA transactions have prepared
        # and its log does not tell of.
        with mysqld.start(server, site.admin) as session:
            enabled = _set_history(session, manifest, history)
            _check_closed_and_durable(session, history)
        write_mark(server.datadir, run.run_id, "promoted")
        mysqld.give_to_server_account(server, mark_path(server.datadir))
    with mysqld.start(server, site.admin) as session:
        _open(session, server)
        uuid = str(session.value("SELECT @@server_uuid"))
        executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    site.progress.say(f"promoted {server.name} at {server.host}:{server.port}: it takes writes")
    return Promotion(
        server=server.name, host=server.host, port=server.port, server_uuid=uuid, gtids=executed,
        events_enabled=tuple(enabled),
    )  # fmt: skip


def _refuse_what_is_not_meant(run: Run, server: Server) -> None:
    mark = read_mark(server.datadir)
    why = ""
    if run.mode == "rehearse":
        why = "this is a rehearsal"
    elif mark is None or mark.run_id != run.run_id:
        why = f"{server.datadir} was not built by run {run.run_id}"
    if why:
        raise PromotionRefused("promotion refused", on=run.shard, why=why, hint="the server stays closed")


def _state(server: Server) -> str:
    mark = read_mark(server.datadir)
    return mark.state if mark else ""


def _set_history(session: Session, manifest: SnapshotManifest, history: GtidSet) -> list[str]:
    """Everything that must not be in the server's own log, then the log itself: emptied, with the
    history of the lost source, so that replicas and downstream readers continue."""
    session.run("SET SESSION sql_log_bin = 0")
    session.run(f"DROP DATABASE IF EXISTS `{DATABASE}`")
    enabled = enable_for_source(session, manifest.events)
    session.run(mysqld.gtid_history_reset_statement(session))
    if history:
        session.run("SET GLOBAL gtid_purged = %s", str(history))
    return enabled


def _check_closed_and_durable(session: Session, history: GtidSet) -> None:
    executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    closed = session.row("SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only")
    kept = session.rows(
        "SELECT variable_name FROM performance_schema.persisted_variables WHERE variable_name IN ("
        + ", ".join(f"'{name}'" for name in mysqld.LOADING)
        + ")"
    )
    why = ""
    if closed != (1, 1):
        why = f"offline_mode and read_only are {closed}"
    elif executed != history:
        why = f"its history is {executed}, not {history}"
    elif kept:
        why = f"settings for loading are still in force: {', '.join(str(name) for (name,) in kept)}"
    if why:
        raise PromotionRefused("the server is not fit to be opened", on=session.server.name, why=why)


def _open(session: Session, server: Server) -> None:
    """Let applications in; what the server's own options file says about events holds again."""
    session.run("SET SESSION sql_log_bin = 0")
    mysqld.forget_closed_settings(session)
    session.run("SET GLOBAL event_scheduler = %s", mysqld.configured(server, "event-scheduler"))
    session.run("SET GLOBAL super_read_only = OFF")
    session.run("SET GLOBAL read_only = OFF")
    session.run("SET GLOBAL offline_mode = OFF")
    if session.row("SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only, @@GLOBAL.super_read_only") != (0, 0, 0):
        raise PromotionRefused("the server did not open", on=session.server.name)
