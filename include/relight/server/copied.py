"""Whether a copy of a replica is a copy of its shard: asked of the replica, and of the source behind it.

A replica that leaves something out, or has something of its own, is not what its source is; a backup of it would be
restored as if it were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from relight.backups.manifest import LeftOut, Surroundings
from relight.credentials import Login
from relight.errors import BackupRefused, ServerUnreachable, StatementFailed
from relight.fleet import Shard
from relight.gtid import GtidSet
from relight.server.left_out import may_not_ask, what_is_left_out
from relight.server.session import Session, ask
from relight.server.surroundings import read_surroundings

_GROUP = "group_replication_"
"""What the channels of group replication are called by: their source is the group, not a server."""


@dataclass(frozen=True)
class Channel:
    """One that a replica receives on. ``source_uuid`` is empty where it has never been connected."""

    name: str
    host: str
    port: int
    source_uuid: str
    receives: bool
    applies: bool
    delay: int
    problem: str

    def __str__(self) -> str:
        place = f"{self.host}:{self.port}"
        return f"{place} on channel '{self.name}'" if self.name else place


@dataclass(frozen=True)
class Before:
    """What was known before anything was copied. ``as_of``: the newest commit time that the replica has applied,
    where it knows; ``source_had``: what its source had executed, where that could be asked."""

    notes: tuple[str, ...] = ()
    as_of: datetime | None = None
    source_had: GtidSet | None = None
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What the source said when the copy was there. ``executed`` is None where it said nothing: the surroundings are
    those of the copied server then."""

    surroundings: Surroundings
    executed: GtidSet | None = None
    left_out: LeftOut | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What the copy is. ``behind``: what the source had and the copy has not, None where nobody knows; ``as_of``: the
    commit time up to which it goes then."""

    behind: GtidSet | None
    as_of: datetime | None
    notes: tuple[str, ...]


def ask_before(shard: Shard, login: Login, session: Session) -> Before:
    """Look at the server that is to be copied, before anything is. The source itself is what it is.

    :raises BackupRefused: it leaves out what its source sends, or is not the replica that it should be.
    """
    if shard.backup_server == shard.source:
        return Before()
    try:
        _refuse_filters(session)
        channels = tuple(_channels(session))
        as_of = _newest_applied(session)
    except StatementFailed as error:
        if not may_not_ask(error):
            raise
        return Before((f"nobody knows what the replica leaves out, since the account may not ask: {error.why}",))
    here = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    had = None
    try:
        with ask(shard.source, login) as source:
            had = GtidSet.parse(str(source.value("SELECT @@GLOBAL.gtid_executed")))
    except (ServerUnreachable, StatementFailed):
        pass  # it is asked once more behind the copy, and then it is said
    if had is not None:
        _refuse_own(shard, here, had)
    return Before(tuple(_about(channels)), as_of, had, channels)


def ask_source(shard: Shard, login: Login, session: Session) -> Asked:
    """Ask the source, as soon as the copy is there: it has everything that the copy can have got from it.

    :param session: on the server that was copied.
    """
    if shard.backup_server == shard.source:
        return Asked(read_surroundings(session))
    try:
        with ask(shard.source, login) as source:
            executed = GtidSet.parse(str(source.value("SELECT @@GLOBAL.gtid_executed")))
            left_out, surroundings = what_is_left_out(source), read_surroundings(source)
    except (ServerUnreachable, StatementFailed) as error:
        note = (
            f"{shard.source.name} could not be asked what it has and does not log, nor for its time zone and settings: "
            f"nobody knows whether the replica has transactions of its own or lacks some: {error}"
        )
        return Asked(read_surroundings(session), notes=(note,))
    other = _computed_otherwise(read_surroundings(session), surroundings)
    return Asked(surroundings, executed, left_out, (*left_out.missing, *other))


def compare(shard: Shard, before: Before, asked: Asked, copy: GtidSet) -> Found:
    """What follows from all that for a copy with these transactions.

    :raises BackupRefused: the copy has what its source has not.
    """
    if shard.backup_server == shard.source:
        return Found(GtidSet(), None, ())
    if asked.executed is None:
        return Found(None, before.as_of, (*before.notes, *asked.notes))
    _refuse_own(shard, copy, asked.executed)
    notes = (*before.notes, *_others(shard, before, asked.surroundings), *asked.notes, *_age(before, copy))
    missing = asked.executed - copy
    return Found(missing, before.as_of if missing else None, notes)


def _refuse_own(shard: Shard, copy: GtidSet, source: GtidSet) -> None:
    """:raises BackupRefused: the copy has what its source has not. ``source`` was asked later."""
    own = copy - source
    if not own:
        return
    if not set(copy.streams) & set(source.streams):
        raise BackupRefused(
            "the replica is none of this shard's", on=shard.backup_server.name,
            why=f"it has nothing of {shard.source.name}, which it should follow, and has {own}",
            hint="correct the fleet file, or rebuild the replica from its source",
        )  # fmt: skip
    raise BackupRefused(
        "the replica has transactions that its source has not", on=shard.backup_server.name, why=str(own),
        hint="look at them with mysqlbinlog: if they changed data, rebuild the replica; if not, run each as an empty "
        "transaction on the source: SET gtid_next = 'UUID:N'; BEGIN; COMMIT; SET gtid_next = 'AUTOMATIC'",
    )  # fmt: skip


def _refuse_filters(session: Session) -> None:
    if rules := sorted(set(_filters(session))):
        raise BackupRefused(
            "the replica leaves out what its source sends", on=session.server.name, why="; ".join(rules),
            hint="put a replica without replication filters first in the fleet file, or rebuild this one without "
            "replicate-* options: a filter that is removed does not bring back what it kept out",
        )  # fmt: skip


def _filters(session: Session) -> Iterator[str]:
    """Those of every channel, and those that channels begin with. One that was taken back stays listed without a
    rule."""
    for channel, name, rule, by in session.rows(
        "SELECT channel_name, filter_name, filter_rule, configured_by"
        " FROM performance_schema.replication_applier_filters WHERE filter_rule <> ''"
    ):
        yield f"{name} {rule}" + (f" on channel '{channel}'" if channel else "") + f" ({by})"
    for name, rule, by in session.rows(
        "SELECT filter_name, filter_rule, configured_by FROM performance_schema.replication_applier_global_filters"
        " WHERE filter_rule <> ''"
    ):
        yield f"{name} {rule} ({by})"


def _channels(session: Session) -> Iterator[Channel]:
    problems = dict[str, dict[str, None]]()
    for table in ("connection_status", "applier_status_by_coordinator", "applier_status_by_worker"):
        for channel, number, text, at in session.rows(
            "SELECT channel_name, last_error_number, last_error_message, last_error_timestamp"
            f" FROM performance_schema.replication_{table} WHERE last_error_number <> 0"
        ):
            problems.setdefault(str(channel), {})[f"since {at}: {number} {text}"] = None
    for name, host, port, uuid, receives, applies, delay in session.rows(
        "SELECT configured.channel_name, configured.host, configured.port, status.source_uuid,"
        " status.service_state <> 'OFF', applier.service_state = 'ON', settings.desired_delay"
        " FROM performance_schema.replication_connection_configuration configured"
        " JOIN performance_schema.replication_connection_status status USING (channel_name)"
        " JOIN performance_schema.replication_applier_status applier USING (channel_name)"
        " JOIN performance_schema.replication_applier_configuration settings USING (channel_name)"
    ):
        yield Channel(
            str(name), str(host), int(port), str(uuid), bool(receives), bool(applies), int(delay),
            "; ".join(problems.get(str(name), {})),
        )  # fmt: skip


def _about(channels: tuple[Channel, ...]) -> Iterator[str]:
    if not channels:
        yield "it is a replica in the fleet file, and receives from nobody: it is as old as its newest transaction"
    for channel in channels:
        if channel.name.startswith(_GROUP):
            continue  # such a member is stopped or started as a whole
        why = f" ({channel.problem})" if channel.problem else ""
        if not channel.receives:
            yield f"the replica does not receive from {channel}{why}"
        if not channel.applies:
            yield f"the replica does not apply what it receives from {channel}{why}"
        if channel.delay:
            yield f"the replica stays {channel.delay} s behind {channel} on purpose"


def _others(shard: Shard, before: Before, source: Surroundings) -> Iterator[str]:
    """Servers in between may leave something out, which shows in no set of GTIDs."""
    for channel in before.channels:
        if channel.name.startswith(_GROUP) or channel.source_uuid in ("", source.server_uuid):
            continue
        yield f"the replica receives from {channel}, not from {shard.source.name}: nobody knows what that leaves out"


def _computed_otherwise(here: Surroundings, source: Surroundings) -> Iterator[str]:
    """Statements that reached a replica were computed with its own settings, see :mod:`relight.server.surroundings`."""
    other = [name for name, value in source.variables.items() if here.variables.get(name, value) != value]
    other += ["the system time zone"] if here.zone.digest != source.zone.digest else []
    if other:
        yield (
            f"the replica has other settings than its source ({', '.join(other)}): what ALTER TABLE computed on it may "
            "not be what the source has"
        )


def _age(before: Before, copy: GtidSet) -> Iterator[str]:
    """How old the data are, where the copy lacks what the source had before the copying began."""
    missing = before.source_had - copy if before.source_had is not None else GtidSet()
    if missing:
        until = f"{before.as_of:%Y-%m-%d %H:%M:%S} UTC" if before.as_of else "an unknown time"
        yield f"the replica is {missing.count()} transactions behind: the data go up to {until}; missing: {missing}"


def _newest_applied(session: Session) -> datetime | None:
    """The newest commit, by the clock of who committed it, that the replica has applied since it was started."""
    found = session.value(
        "SELECT UNIX_TIMESTAMP(MAX(last_applied_transaction_original_commit_timestamp))"
        " FROM performance_schema.replication_applier_status_by_worker"
    )
    return datetime.fromtimestamp(float(found), UTC) if found else None
