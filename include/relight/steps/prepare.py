"""Step: give a proved server everything that a source needs, but for its doors. See :mod:`relight.promotion`."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

from relight.backups.manifest import SnapshotManifest, Value
from relight.certificate import approval
from relight.certificate.document import Certificate
from relight.errors import CertificateRefused, PromotionRefused
from relight.fencing.epochs import Claim, claim
from relight.fencing.timelines import birth_of
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.lane.lane_progress import DATABASE
from relight.planning.plan import load_plan, load_snapshot_manifest
from relight.promotion import history_lacks, mark_of, refuse_if_overtaken, refuse_second_writer, who
from relight.proof import check_certificate
from relight.run_files import load_lanes
from relight.server import mysqld
from relight.server.birth import begin_timeline
from relight.server.closed import start_as_left, start_closed, write_settings
from relight.server.durably import durably
from relight.server.letting_in import let_in
from relight.server.rebuilt import State, mark_path, write_mark
from relight.server.scheduled_events import enable_for_source
from relight.server.session import Session
from relight.site import Run, Site
from relight.steps.stepping import step


class Prepared(Value):
    """A closed server that can be opened, and cloned."""

    server: str
    server_uuid: str
    epoch: int
    """That it has claimed, or was opened in."""
    events_enabled: tuple[str, ...]
    replicas_first: tuple[str, ...]
    """Which must follow before it is opened."""


@step("prepare")
def prepare(site: Site, run: Run) -> Prepared:
    """Claim the shard and make the server durable, still closed: 1 to 5 of :mod:`relight.promotion`.

    :raises PromotionRefused: a rehearsal, the server is not this run's, or another one takes writes.
        CertificateRefused: there is no certificate that holds for exactly this server and plan, or none with the name
        that the shard's tier asks for. ClaimRefused: another run has the shard.
    """
    server = run.server(site.fleet)
    mark = mark_of(run, server)
    with start_as_left(server, site.admin) as session:
        uuid = str(session.value("SELECT @@server_uuid"))
        if mark.state in ("restored", "preparing"):
            _refuse_unapproved(site, run, check_certificate(site, run, session))
        forgotten = mark.state == "prepared" and bool(
            history_lacks(session, load_lanes(run.folder(site.fleet)).end_gtids)
        )
    refuse_if_overtaken(site, run, mark)
    refuse_second_writer(site, run, uuid)
    mine = claim(site.store, _wanted(run, server))
    site.progress.say(f"{run.shard}: claimed, epoch {mine.epoch}")
    enabled: tuple[str, ...] = ()
    if mark.state in ("restored", "preparing") or forgotten:
        # Behind this the server is not one that replay or proof could go on with.
        _mark(server, run, "preparing", mine)
        enabled = _make_durable(site, run, server)
    first = site.fleet.first_replicas(run.shard_of(site.fleet))
    if mark.state != "promoted":
        if first:
            _let_replicas_in(site, server)
        _mark(server, run, "prepared", mine)
    return Prepared(
        server=server.name, server_uuid=uuid, epoch=mine.epoch, events_enabled=enabled,
        replicas_first=tuple(replica.name for replica in first),
    )  # fmt: skip


def _refuse_unapproved(site: Site, run: Run, certificate: Certificate) -> None:
    """The certificate may have been signed before the fleet file asked for a name in it."""
    lacks = approval.lacking(
        site.fleet.tier_of(run.shard_of(site.fleet)).approval, doubts=certificate.verdict == "inconclusive",
        approved_by=certificate.approved_by, reason=certificate.approval_reason,
    )  # fmt: skip
    if lacks:
        raise CertificateRefused(
            "the certificate has no approval that counts", on=run.shard, why=lacks,
            hint="the server stays closed; have a person approve, and certify again",
        )  # fmt: skip


def _mark(server: Server, run: Run, state: State, mine: Claim) -> None:
    write_mark(server.datadir, run.run_id, state, mine.epoch)
    mysqld.give_to_server_account(server, mark_path(server.datadir))


def _wanted(run: Run, server: Server) -> Claim:
    return Claim(
        shard=run.shard, epoch=0, run_id=run.run_id, server=server.name, host=server.host, port=server.port,
        machine=socket.gethostname(), who=who(run), why=f"restore to {run.target}", at=datetime.now(UTC),
    )  # fmt: skip


def _let_replicas_in(site: Site, server: Server) -> None:
    with start_closed(server, site.admin) as session, durably(session):
        session.run("SET SESSION sql_log_bin = 0")
        let_in(session, site.credentials.login("replication"))


def _make_durable(site: Site, run: Run, server: Server) -> tuple[str, ...]:
    """History and durable settings. Gives the events that were switched on."""
    manifest = load_snapshot_manifest(site.store, load_plan(site.store, run).snapshot)
    history = load_lanes(run.folder(site.fleet)).end_gtids
    write_settings(server, server.datadir, loading=False)
    mysqld.stop(server, site.admin)
    # The log is emptied behind the restart: a server rolls back at its start what XA transactions have prepared
    # and its log does not tell of.
    with start_closed(server, site.admin) as session, durably(session):
        enabled = _set_history(session, manifest, history)
        _check_closed_and_durable(session, history)
    return tuple(enabled)


def _set_history(session: Session, manifest: SnapshotManifest, history: GtidSet) -> list[str]:
    """Everything that must not be in the server's own log, then the log itself: emptied, with the
    history of the lost source, so that replicas and downstream readers continue; and with one transaction of its own,
    by which all that follows it is known."""
    session.run("SET SESSION sql_log_bin = 0")
    session.run(f"DROP DATABASE IF EXISTS `{DATABASE}`")
    enabled = enable_for_source(session, manifest.events)
    session.run(mysqld.gtid_history_reset_statement(session))
    if history:
        session.run("SET GLOBAL gtid_purged = %s", str(history))
    begin_timeline(session, birth_of(str(session.value("SELECT @@server_uuid"))))
    return enabled


def _check_closed_and_durable(session: Session, history: GtidSet) -> None:
    executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    history = history | GtidSet.parse(birth_of(str(session.value("SELECT @@server_uuid"))))
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
