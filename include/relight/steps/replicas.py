"""Step: rebuild one replica as a clone of the new source, attach it, wait for it, compare it.

Runs on the replica's own machine. One failed replica undoes nothing: the task can be cleared alone.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from relight.backups.manifest import Value
from relight.credentials import Login
from relight.errors import FleetError, ServerError, ServerUnreachable, StatementFailed, ValidationFailed
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.server import command, guard, mysqld
from relight.server.local_copy import check_clone_plugin
from relight.server.rebuilt import built_by, read_mark, write_mark
from relight.server.scheduled_events import disable_for_replica
from relight.server.session import Session, connect
from relight.server.table_checksums import checksums
from relight.site import Run, Site
from relight.steps.stepping import step

_CLONE_SECONDS = 48 * 3600
_DONOR_BUSY = " 3634 "
"""The source is giving a clone to somebody else, or takes one itself."""
_RESTART_FAILED = "3707 "
"""The clone is complete, but nobody supervises mysqld, so it stopped instead of restarting."""


class ReplicaSummary(Value):
    """A replica that follows the new source."""

    server: str
    source: str
    compared_at: str
    """The GTID set at which it was compared with the source."""
    tables_compared: int
    set_aside: str
    clone_seconds: float


@step("replica")
def rebuild_replica(site: Site, run: Run, server: str) -> ReplicaSummary:
    """Clone the shard's new source onto the replica named ``server``.

    :raises GuardRefused: the replica's machine shows signs of life. ServerError: the clone or the
        replication failed. ValidationFailed: its tables are not the source's.
    """
    shard = run.shard_of(site.fleet)
    replica = next((r for r in shard.replicas if r.name == server), None)
    if replica is None:
        raise FleetError("unknown replica", on=server, why=f"shard {shard.name} has no replica of that name")
    aside, seconds = "", 0.0
    if not built_by(replica.datadir, run.run_id):
        aside = _put_empty_server_in_place(replica, site.admin, run.run_id)
    mark = read_mark(replica.datadir)
    if mark is None or mark.state != "replica":
        started = time.monotonic()
        _clone(replica, shard.source, site)
        seconds = time.monotonic() - started
        write_mark(replica.datadir, run.run_id, "replica")
    with mysqld.start(replica, site.admin) as session:
        _attach(session, shard.source, site.credentials.login("replication"))
        at, tables = _compare(session, shard.source, site.admin)
        _open_for_reading(session, replica)
    site.progress.say(f"replica {server} follows {shard.source.name}: {tables} tables are equal")
    return ReplicaSummary(
        server=server, source=shard.source.name, compared_at=str(at), tables_compared=tables, set_aside=aside,
        clone_seconds=round(seconds, 3),
    )  # fmt: skip


def _put_empty_server_in_place(replica: Server, admin: Login, run_id: str) -> str:
    """Initialise a fresh data directory beside the real one, then give it that name."""
    guard.refuse_if_alive(replica, "be replaced by a clone")
    incoming = replica.workdir / "incoming" / f"{run_id}.{time.time_ns()}"
    incoming.parent.mkdir(parents=True, exist_ok=True)
    mysqld.give_to_server_account(replica, incoming.parent)
    with tempfile.NamedTemporaryFile("w", prefix="relight-", suffix=".sql") as first:
        # Only the administrative account can log in from the first moment on.
        first.write(
            f"CREATE USER {_text(admin.user)}@'%' IDENTIFIED BY {_text(admin.password)};\n"
            f"GRANT ALL ON *.* TO {_text(admin.user)}@'%' WITH GRANT OPTION;\n"
            "ALTER USER root@localhost ACCOUNT LOCK;\n"
        )
        first.flush()
        mysqld.give_to_server_account(replica, Path(first.name))
        command.run([
            replica.mysqld, f"--defaults-file={replica.options_file}", f"--datadir={incoming}",
            *mysqld.run_as_options(replica), "--initialize-insecure", f"--init-file={first.name}",
            f"--log-error={incoming}.log",
        ], timeout=300)  # fmt: skip
    mysqld.write_closed_settings(incoming, loading=False)
    write_mark(incoming, run_id, "restored")
    mysqld.give_to_server_account(replica, incoming)
    clearance = guard.clear(replica, "be replaced by a clone")
    aside = str(guard.set_aside(clearance)) if clearance else ""
    incoming.rename(replica.datadir)
    return aside


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _clone(replica: Server, source: Server, site: Site) -> None:
    """Fill the empty server from the source; it restarts with the source's data, and still closed."""
    login = site.credentials.login("replication")
    site.progress.say(f"cloning {source.name} to {replica.name}")
    with mysqld.start(replica, site.admin) as session:
        session.run("SET GLOBAL super_read_only = OFF")
        check_clone_plugin(session, "the replica is a clone of its source")
        session.run("SET GLOBAL clone_valid_donor_list = %s", f"{source.host}:{source.port}")
        pid = mysqld.running_pid(replica)
        try:
            _copy_when_the_source_is_free(session, source, login)
        except StatementFailed as error:
            if not error.why.startswith(_RESTART_FAILED):
                raise ServerError(
                    "the clone failed", on=replica.name, why=error.why,
                    hint="does the source have the clone plugin, and the replication account BACKUP_ADMIN?",
                ) from None  # fmt: skip
            mysqld.wait_until_down(replica, pid)
        except ServerUnreachable:
            site.progress.say(f"{replica.name} restarts with the cloned data")
    _wait_for_clone(replica, site.admin)


def _copy_when_the_source_is_free(session: Session, source: Server, login: Login) -> None:
    """A server gives one clone at a time; the other replicas wait for their turn."""
    deadline = time.monotonic() + _CLONE_SECONDS
    while True:
        try:
            session.run(
                "CLONE INSTANCE FROM %s@%s:%s IDENTIFIED BY %s REQUIRE SSL",
                login.user, source.host, source.port, login.password,
            )  # fmt: skip
        except StatementFailed as error:
            if _DONOR_BUSY not in error.why or time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def _wait_for_clone(replica: Server, admin: Login) -> None:
    with mysqld.start(replica, admin) as session:
        state, code, message = session.row("SELECT state, error_no, error_message FROM performance_schema.clone_status")
        if state != "Completed":
            raise ServerError("the clone did not complete", on=replica.name, why=f"{state}: {code} {message}")


def _attach(session: Session, source: Server, login: Login) -> None:
    """Follow the source, by GTID. A replica that already does is left alone."""
    session.run("SET SESSION sql_log_bin = 0")
    session.run("SET GLOBAL super_read_only = OFF")
    disable_for_replica(session)
    session.run("STOP REPLICA")
    session.run("RESET REPLICA ALL")
    session.run(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s, SOURCE_PASSWORD = %s,"
        " SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 1",
        source.host, source.port, login.user, login.password,
    )  # fmt: skip
    session.run("SET GLOBAL super_read_only = ON")
    session.run("START REPLICA")


def _compare(session: Session, source: Server, admin: Login) -> tuple[GtidSet, int]:
    """Compare every table's checksum at one GTID set, while applications write to the source.

    The source is frozen for the moment that a consistent snapshot takes to open; the replica
    applies exactly up to the same transactions and stops there.
    """
    session.run("STOP REPLICA SQL_THREAD")
    with connect(source, admin) as frozen:
        at = _open_consistent_view(frozen)
        session.run("START REPLICA SQL_THREAD UNTIL SQL_AFTER_GTIDS = %s", str(at))
        _wait_until_executed(session, at)
        session.run("STOP REPLICA SQL_THREAD")
        here, there = checksums(session), checksums(frozen)
    session.run("START REPLICA SQL_THREAD")
    different = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    if different:
        raise ValidationFailed(
            "the replica differs from its source", on=session.server.name, why=", ".join(different[:10]),
            hint="clear this task to clone it again; the source is not affected",
        )  # fmt: skip
    return at, len(here)


def _open_consistent_view(session: Session) -> GtidSet:
    session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.run("SET SESSION lock_wait_timeout = 60")
    session.run("FLUSH TABLES WITH READ LOCK")
    try:
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        return GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    finally:
        session.run("UNLOCK TABLES")


def _wait_until_executed(session: Session, gtids: GtidSet) -> None:
    """:raises ServerError: replication stopped with an error, or made no progress for ten minutes."""
    last, since = "", time.monotonic()
    while session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 2)", str(gtids)) != 0:
        problem = _replication_error(session)
        if problem:
            raise ServerError("replication stopped", on=session.server.name, why=problem)
        now = str(session.value("SELECT @@GLOBAL.gtid_executed"))
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 600:
            raise ServerError("replication makes no progress", on=session.server.name, why=f"still at {now}")


def _replication_error(session: Session) -> str:
    for table in ("replication_connection_status", "replication_applier_status_by_worker"):
        for code, message in session.rows(
            f"SELECT last_error_number, last_error_message FROM performance_schema.{table} WHERE last_error_number <> 0"
        ):
            return f"{code} {message}"
    return ""


def _open_for_reading(session: Session, replica: Server) -> None:
    """A replica serves reads and refuses writes, also after its next restart."""
    mysqld.forget_closed_settings(session)
    session.run("SET PERSIST super_read_only = ON")
    session.run("SET GLOBAL event_scheduler = %s", mysqld.configured(replica, "event-scheduler"))
    session.run("SET GLOBAL offline_mode = OFF")
