"""Step: rebuild one replica as a clone, attach it to the new source, wait for it, compare it.

Runs on the replica's own machine. One failed replica undoes nothing: the task can be cleared alone. A server gives one
clone at a time, so a finished replica of the shard is as good a donor as the source, and spares it.
"""

from __future__ import annotations

import time

from relight.backups.manifest import SystemZone, Value
from relight.credentials import Login
from relight.durable import write_out_below
from relight.errors import FleetError, ServerError, ServerUnreachable, StatementFailed
from relight.fleet import Server, Shard
from relight.guard.clearance import clear, put_in_place
from relight.guard.looking import refuse_if_alive
from relight.planning.plan import load_plan
from relight.planning.surroundings import zone_of
from relight.server import mysqld
from relight.server.closed import set_event_scheduler, start_as_left, start_closed, write_settings
from relight.server.durably import durably
from relight.server.empty import initialise
from relight.server.following import follows, in_turn
from relight.server.letting_in import is_let_in, shut_out
from relight.server.local_copy import check_clone_plugin
from relight.server.programs import refuse_unusable
from relight.server.rebuilt import read_mark, still_built_by, write_mark
from relight.server.replication import attach, compare_with_source
from relight.server.session import Session, connect_elsewhere
from relight.server.zone import write_zone
from relight.site import Run, Site
from relight.step_records import last_done, load_records
from relight.steps.stepping import step

_CLONE_SECONDS = 48 * 3600
_PAUSE_SECONDS = 10
"""The longest between two rounds of asking for a copy."""
_DONOR_BUSY = " 3634 "
"""The donor is giving a clone to somebody else, or takes one itself."""
_RESTART_FAILED = "3707 "
"""The clone is complete, but nobody supervises mysqld, so it stopped instead of restarting."""


class ReplicaSummary(Value):
    """A replica that follows the new source."""

    server: str
    source: str
    donor: str
    """Whose copy it is; empty where an earlier attempt has made it."""
    compared_at: str
    """The GTID set at which it was compared with the source."""
    tables_compared: int
    set_aside: str
    clone_seconds: float


@step("replica")
def rebuild_replica(site: Site, run: Run, server: str) -> ReplicaSummary:
    """Make the server named ``server`` a replica of the shard's new source, from a clone of it or of another replica.

    :raises GuardRefused: the replica's machine shows signs of life. ServerError: the clone or the
        replication failed. ReplicaBehind, ReplicaDiffers: it is not what its source is.
    """
    shard = run.shard_of(site.fleet)
    replica = next((r for r in shard.replicas if r.name == server), None)
    if replica is None:
        raise FleetError("unknown replica", on=server, why=f"shard {shard.name} has no replica of that name")
    refuse_unusable(replica)
    source_uuid = _source_uuid(site, run)
    aside, donor, seconds = "", "", 0.0
    if not still_built_by(replica.datadir, run.run_id, site.progress.say):
        zone = zone_of(load_plan(site.store, run))
        aside = _put_empty_server_in_place(replica, site.admin, run.run_id, zone)
    mark = read_mark(replica.datadir)
    if mark is None or mark.state != "replica":
        started = time.monotonic()
        donor = _clone(replica, shard, site, source_uuid)
        seconds = time.monotonic() - started
        write_mark(replica.datadir, run.run_id, "replica")
    with start_as_left(replica, site.admin) as session, durably(session):
        _shut_out_the_replicas_account(session, site.credentials.login("replication"))
        attach(session, shard.source, site.credentials.login("replication"))
        at, tables = compare_with_source(session, shard.source, site.admin, source_uuid)
        _open_for_reading(session, replica)
    site.progress.say(f"replica {server} follows {shard.source.name}: {tables} tables are equal")
    return ReplicaSummary(
        server=server, source=shard.source.name, donor=donor, compared_at=str(at), tables_compared=tables,
        set_aside=aside, clone_seconds=round(seconds, 3),
    )  # fmt: skip


def _source_uuid(site: Site, run: Run) -> str:
    """Of the server that this run has prepared: whatever answers at its address must be that one."""
    prepared = last_done(load_records(site.store, run), "prepare")
    if prepared is None:
        raise ServerError(
            "there is no source to follow yet", on=run.shard, why=f"run {run.run_id} has prepared none",
            hint="run prepare first",
        )  # fmt: skip
    return str(prepared.summary["server_uuid"])


def _put_empty_server_in_place(replica: Server, admin: Login, run_id: str, zone: SystemZone | None) -> str:
    """Initialise a fresh data directory beside the real one, then give it that name."""
    refuse_if_alive(replica, "be replaced by a clone")
    incoming = replica.workdir / "incoming" / f"{run_id}.{time.time_ns()}"
    incoming.parent.mkdir(parents=True, exist_ok=True)
    mysqld.give_to_server_account(replica, incoming.parent)
    initialise(replica, incoming, (
        # Only the administrative account can log in from the first moment on.
        f"CREATE USER {_text(admin.user)}@'%' IDENTIFIED BY {_text(admin.password)}",
        f"GRANT ALL ON *.* TO {_text(admin.user)}@'%' WITH GRANT OPTION",
        "ALTER USER root@localhost ACCOUNT LOCK",
    ))  # fmt: skip
    write_settings(replica, incoming, loading=False)
    write_zone(incoming, zone)
    write_mark(incoming, run_id, "restored")
    mysqld.give_to_server_account(replica, incoming)
    write_out_below(incoming)
    return put_in_place(clear(replica, "be replaced by a clone"), incoming)


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _clone(replica: Server, shard: Shard, site: Site, source_uuid: str) -> str:
    """Fill the empty server from a donor; it restarts with the donor's data, and still closed. Gives the donor."""
    with start_closed(replica, site.admin) as session:
        session.run("SET GLOBAL super_read_only = OFF")
        check_clone_plugin(session, "the replica is a clone of its source")
        # The recipient decides for both: it is sent no more than it takes.
        limit = site.fleet.limits.clone_mib_per_s
        session.run("SET GLOBAL clone_max_data_bandwidth = %s, clone_max_network_bandwidth = %s", limit, limit)
        donor = _copy_from_who_is_free(session, replica, shard, site, source_uuid)
    _wait_for_clone(replica, site.admin)
    return donor


def _copy_from_who_is_free(session: Session, replica: Server, shard: Shard, site: Site, source_uuid: str) -> str:
    """Ask the donors in turn, again and again, until one gives a copy. Gives its name."""
    deadline, pause, unfit = time.monotonic() + _CLONE_SECONDS, 1.0, set[str]()
    while True:
        for donor in _donors(replica, shard, site, unfit, source_uuid):
            try:
                _copy(session, donor, site)
            except StatementFailed as error:
                if _DONOR_BUSY in error.why:
                    continue
                if donor.name == shard.source.name:
                    raise _failed(replica, error) from None
                unfit.add(donor.name)
                site.progress.say(f"{donor.name} gives no copy, so another is asked: {error.why}")
            else:
                return donor.name
        if time.monotonic() > deadline:
            raise ServerError("nobody was free to give a copy", on=replica.name, why=f"for {_CLONE_SECONDS} s")
        time.sleep(pause)
        pause = min(2 * pause, _PAUSE_SECONDS)


def _donors(replica: Server, shard: Shard, site: Site, unfit: set[str], source_uuid: str) -> list[Server]:
    """Replicas of the shard that are finished at this moment, then the source."""
    others = [one for one in shard.replicas if one.name not in {replica.name, *unfit}]
    with connect_elsewhere(shard.source, site.admin, source_uuid) as source:
        lacking = follows(others, source, site.admin)
    number = shard.replicas.index(replica)
    return in_turn([one for one in others if not lacking[one.name]], shard.source, number)


def _copy(session: Session, donor: Server, site: Site) -> None:
    """Clone the donor, and wait until the server is down to restart with its data."""
    login, pid = site.credentials.login("replication"), mysqld.running_pid(session.server)
    session.run("SET GLOBAL clone_valid_donor_list = %s", f"{donor.host}:{donor.port}")
    try:
        session.run(
            "CLONE INSTANCE FROM %s@%s:%s IDENTIFIED BY %s REQUIRE SSL",
            login.user, donor.host, donor.port, login.password,
        )  # fmt: skip
    except ServerUnreachable:
        site.progress.say(f"{session.server.name} restarts with the data of {donor.name}")
    except StatementFailed as error:
        if not error.why.startswith(_RESTART_FAILED):
            raise
        mysqld.wait_until_down(session.server, pid)


def _failed(replica: Server, error: StatementFailed) -> ServerError:
    return ServerError(
        "the clone failed", on=replica.name, why=error.why,
        hint="does the source have the clone plugin, and the replication account BACKUP_ADMIN?",
    )  # fmt: skip


def _shut_out_the_replicas_account(session: Session, login: Login) -> None:
    """A copy of a source that was still closed lets it in, as the source does; here nobody needs that."""
    if is_let_in(session, login):
        session.run("SET SESSION sql_log_bin = 0")
        session.run("SET GLOBAL super_read_only = OFF")
        shut_out(session, login)


def _wait_for_clone(replica: Server, admin: Login) -> None:
    with start_closed(replica, admin) as session:
        state, code, message = session.row("SELECT state, error_no, error_message FROM performance_schema.clone_status")
        if state != "Completed":
            raise ServerError("the clone did not complete", on=replica.name, why=f"{state}: {code} {message}")


def _open_for_reading(session: Session, replica: Server) -> None:
    """A replica serves reads and refuses writes, also after its next restart."""
    mysqld.forget_closed_settings(session)
    session.run("SET PERSIST super_read_only = ON")
    set_event_scheduler(session, mysqld.configured(replica, "event-scheduler"))
    session.run("SET GLOBAL offline_mode = OFF")
