"""Step: make a prepared server the shard's source. See :mod:`relight.promotion`."""

from __future__ import annotations

from relight.backups.manifest import GtidField, Value
from relight.errors import ClaimRefused, PromotionRefused
from relight.fencing.epochs import Claim, newest, win
from relight.fencing.timelines import birth_of
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.planning.plan import load_plan
from relight.promotion import (
    history_lacks,
    keep_former_sources_closed,
    mark_of,
    refuse_if_overtaken,
    refuse_second_writer,
    who,
)
from relight.run_files import load_lanes
from relight.server import mysqld
from relight.server.closed import set_event_scheduler, start_as_left
from relight.server.durably import durably
from relight.server.following import follows
from relight.server.letting_in import shut_out
from relight.server.rebuilt import Mark, mark_path, write_mark
from relight.server.session import Session
from relight.site import Run, Site
from relight.step_records import load_records
from relight.steps.stepping import step


class Promotion(Value):
    """The shard's new source."""

    server: str
    host: str
    port: int
    server_uuid: str
    epoch: int
    gtids: GtidField
    replicas_first: tuple[str, ...] = ()
    """Those that followed before it was opened."""
    asked: tuple[str, ...] = ()
    """What the shard's other servers said before it was opened."""


@step("promote")
def promote(site: Site, run: Run) -> Promotion:
    """Open the prepared server for applications: 6 to 10 of :mod:`relight.promotion`.

    :raises PromotionRefused: a rehearsal, the server is not this run's or not prepared, replicas that the fleet file
        wants first do not follow it, or another server takes writes. ClaimRefused: this run has the shard no longer.
    """
    server = run.server(site.fleet)
    mark = mark_of(run, server)
    mine = _claimed(site, run, mark)
    with start_as_left(server, site.admin) as session:
        uuid = str(session.value("SELECT @@server_uuid"))
        # One that is open already stays open, whatever has become of it and of its replicas.
        if mark.state == "prepared":
            _refuse_without_history(site, run, session)
        first = _replicas_first(site, run, session) if mark.state == "prepared" else ()
    answers = refuse_second_writer(site, run, uuid)
    keep_former_sources_closed(site, run, answers)
    win(
        site.store, mine, server_uuid=uuid, who=who(run), why=f"run {run.run_id}", birth=birth_of(uuid),
        gtids=load_lanes(run.folder(site.fleet)).end_gtids, parent=load_plan(site.store, run).timeline,
    )  # fmt: skip
    write_mark(server.datadir, run.run_id, "promoted", mine.epoch)
    mysqld.give_to_server_account(server, mark_path(server.datadir))
    with start_as_left(server, site.admin) as session, durably(session):
        refuse_if_overtaken(site, run, mark_of(run, server))
        _open(session, server)
        shut_out(session, site.credentials.login("replication"))
        executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    site.progress.say(f"promoted {server.name} at {server.host}:{server.port}: it takes writes")
    return Promotion(
        server=server.name, host=server.host, port=server.port, server_uuid=uuid, epoch=mine.epoch, gtids=executed,
        replicas_first=first, asked=tuple(f"{one.server}: {one.said}" for one in answers),
    )  # fmt: skip


def _claimed(site: Site, run: Run, mark: Mark) -> Claim:
    """The claim that the server was prepared under."""
    if mark.state not in ("prepared", "promoted"):
        raise PromotionRefused(
            "the server was not prepared", on=run.shard, why=f"run {run.run_id} has left it {mark.state}",
            hint="the server stays closed; run prepare first",
        )  # fmt: skip
    refuse_if_overtaken(site, run, mark)
    last = newest(site.store, run.shard)
    if last is None or last.claim.run_id != run.run_id or last.claim.epoch != mark.epoch:
        now = f"run {last.claim.run_id} in epoch {last.claim.epoch}" if last else "nobody"
        raise ClaimRefused(
            "this run has lost its claim on the shard", on=f"{run.shard}, epoch {mark.epoch}",
            why=f"it is claimed by {now}", hint="the server stays closed",
        )  # fmt: skip
    return last.claim


def _refuse_without_history(site: Site, run: Run, session: Session) -> None:
    """Replicas and later backups go by it: a number that is missing would be given to another transaction."""
    if lacks := history_lacks(session, load_lanes(run.folder(site.fleet)).end_gtids):
        raise PromotionRefused(
            "the prepared server has lost a part of its history", on=session.server.name, why=f"it lacks {lacks}",
            hint="the server stays closed; run prepare again: it sets the history once more",
        )  # fmt: skip


def _replicas_first(site: Site, run: Run, session: Session) -> tuple[str, ...]:
    """The replicas that were found equal in this run and follow at this moment, if there are as many as are wanted."""
    shard = run.shard_of(site.fleet)
    wanted = len(site.fleet.first_replicas(shard))
    if not wanted:
        return ()
    equal = {one.key for one in load_records(site.store, run) if (one.step, one.outcome) == ("replica", "done")}
    lacking = follows(shard.replicas, session, site.admin)
    for name in lacking.keys() - equal:
        lacking[name] = lacking[name] or "this run has not found it equal"
    ready = tuple(name for name, why in lacking.items() if not why)
    if len(ready) < wanted:
        raise PromotionRefused(
            "too few replicas follow the new source", on=run.shard, why=f"{len(ready)} of {wanted}; "
            + "; ".join(f"{name}: {why}" for name, why in lacking.items() if why),
            hint="the server stays closed. Clear first_replicas with downstream; or lower promotion.replicas_first in "
            "the fleet file, and clear this task",
        )  # fmt: skip
    return ready


def _open(session: Session, server: Server) -> None:
    """Let applications in; what the server's own options file says about events holds again."""
    session.run("SET SESSION sql_log_bin = 0")
    mysqld.forget_closed_settings(session)
    set_event_scheduler(session, mysqld.configured(server, "event-scheduler"))
    session.run("SET GLOBAL super_read_only = OFF")
    session.run("SET GLOBAL read_only = OFF")
    session.run("SET GLOBAL offline_mode = OFF")
    if session.row("SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only, @@GLOBAL.super_read_only") != (0, 0, 0):
        raise PromotionRefused("the server did not open", on=session.server.name)
