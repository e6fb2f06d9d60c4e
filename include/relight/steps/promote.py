"""Step: make a proved server the shard's source.

Promotion is a row of states, each of which survives a crash: the mark in the data directory says how far the server is,
the epoch in the store who may open it. Every step looks first whether it was done, so running it again finishes a
half-done promotion, and nothing is ever open to writes before its epoch was won.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable
from datetime import UTC, datetime

from relight.backups.manifest import GtidField, SnapshotManifest, Value
from relight.certificate import approval
from relight.certificate.document import Certificate
from relight.errors import CertificateRefused, ClaimRefused, PromotionRefused
from relight.fencing.asking import Answer, ask, keep_closed
from relight.fencing.epochs import Claim, claim, load_epochs, newest, win
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
    epoch: int
    gtids: GtidField
    events_enabled: tuple[str, ...]
    asked: tuple[str, ...] = ()
    """What the shard's other servers said before it was opened."""


@step("promote")
def promote(site: Site, run: Run) -> Promotion:
    """Open the rebuilt server for applications. This function is the order, and the order is the safety.

    1. The certificate: a server that was not proved is not worth a claim.
    2. The others are asked before anything is claimed, so that a restore that was started by mistake, while the source
       lives, takes nothing away from it.
    3. The claim: from here on no other run can promote this shard, until this one is through or given up.
    4. History and durable settings, by a clean restart that is still closed. Killed in it, it is done again.
    5. The others are asked once more: restarting took a while.
    6. The epoch is won, in one conditional put. It is the only thing that allows the next step.
    7. The doors.

    :raises PromotionRefused: a rehearsal, the server is not this run's, or another one takes writes.
        CertificateRefused: there is no certificate that holds for exactly this server and plan, or none with the name
        that the shard's tier asks for. ClaimRefused: another run has the shard.
    """
    server = run.server(site.fleet)
    _refuse_what_is_not_meant(run, server)
    with mysqld.start(server, site.admin) as session:
        uuid = str(session.value("SELECT @@server_uuid"))
        if _state(server) == "restored":
            _refuse_unapproved(site, run, check_certificate(site, run, session))
    _refuse_if_overtaken(site, run, server)
    _refuse_second_writer(site, run, uuid)
    mine = claim(site.store, _wanted(run, server))
    site.progress.say(f"{run.shard}: claimed, epoch {mine.epoch}")
    enabled = _make_durable(site, run, server) if _state(server) == "restored" else ()
    answers = _refuse_second_writer(site, run, uuid)
    win(site.store, mine, server_uuid=uuid, who=_who(run), why=f"run {run.run_id}")
    write_mark(server.datadir, run.run_id, "promoted", mine.epoch)
    mysqld.give_to_server_account(server, mark_path(server.datadir))
    with mysqld.start(server, site.admin) as session:
        _open(session, server)
        executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    site.progress.say(f"promoted {server.name} at {server.host}:{server.port}: it takes writes")
    return Promotion(
        server=server.name, host=server.host, port=server.port, server_uuid=uuid, epoch=mine.epoch, gtids=executed,
        events_enabled=tuple(enabled), asked=tuple(f"{one.server}: {one.said}" for one in answers),
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


def _refuse_if_overtaken(site: Site, run: Run, server: Server) -> None:
    """A server that was open once, and lost the shard since, does not take it back because its task is cleared."""
    mark, last = read_mark(server.datadir), newest(site.store, run.shard)
    if mark is not None and mark.epoch is not None and last is not None and last.claim.epoch != mark.epoch:
        raise ClaimRefused(
            "the shard has moved on", on=run.shard, why=f"this server was opened in epoch {mark.epoch}, and run "
            f"{last.claim.run_id} has claimed {last.claim.epoch}", hint="relight fence show says who has it now",
        )  # fmt: skip


def _wanted(run: Run, server: Server) -> Claim:
    return Claim(
        shard=run.shard, epoch=0, run_id=run.run_id, server=server.name, host=server.host, port=server.port,
        machine=socket.gethostname(), who=_who(run), why=f"restore to {run.target}", at=datetime.now(UTC),
    )  # fmt: skip


def _who(run: Run) -> str:
    return run.requested_by or getpass.getuser()


def _refuse_second_writer(site: Site, run: Run, uuid: str) -> list[Answer]:
    """Ask the old source and the replicas. A former source that is alive and closed is made to stay so.

    :raises PromotionRefused: one of them takes writes, or receives from somebody who may.
    """
    former = list(_former_sources(site, run))
    answers = ask([*former, *run.shard_of(site.fleet).replicas], site.admin, rebuilt_uuid=uuid)
    if problems := [answer.problem for answer in answers if answer.problem]:
        raise PromotionRefused(
            "the shard has a source already", on=run.shard, why="; ".join(problems),
            hint="the server stays closed. If the other one is not to be the source, close it first, then clear this "
            "task",
        )  # fmt: skip
    closed = {answer.server for answer in answers if answer.closed}
    for server in former:
        if server.name in closed:
            keep_closed(server, site.admin)
            site.progress.say(f"{server.name} is alive and closed, and was made to stay so")
    return answers


def _former_sources(site: Site, run: Run) -> Iterable[Server]:
    """The source of the fleet file, and whatever the last epochs were opened on."""
    source = run.shard_of(site.fleet).source
    yield source
    known = {(source.host, source.port)}
    for epoch in load_epochs(site.store, run.shard, last=3):
        place = (epoch.claim.host, epoch.claim.port)
        if place not in known:
            known.add(place)
            yield source.model_copy(
                update={"name": epoch.claim.server, "host": epoch.claim.host, "port": epoch.claim.port}
            )


def _make_durable(site: Site, run: Run, server: Server) -> tuple[str, ...]:
    """History and durable settings. Gives the events that were switched on."""
    manifest = load_snapshot_manifest(site.store, load_plan(site.store, run).snapshot)
    history = load_lanes(run.folder(site.fleet)).end_gtids
    mysqld.write_closed_settings(server.datadir, loading=False)
    mysqld.stop(server, site.admin)
    # The log is emptied behind the restart: a server rolls back at its start what XA transactions have prepared
    # and its log does not tell of.
    with mysqld.start(server, site.admin) as session:
        enabled = _set_history(session, manifest, history)
        _check_closed_and_durable(session, history)
    write_mark(server.datadir, run.run_id, "promoted")
    mysqld.give_to_server_account(server, mark_path(server.datadir))
    return tuple(enabled)


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
