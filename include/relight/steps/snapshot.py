"""Step: a full backup of a shard.

The copy exists as a backup only once it has booted: a scratch server on it yields the exact GTID
set, row counts and schema, and checks every table. The manifest, uploaded last, makes it visible.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from relight.backups.catalog import load_catalog
from relight.backups.manifest import Definition, Event, Extent, Part, SnapshotManifest, Table, Value
from relight.backups.names import data_path, is_of_one_server
from relight.backups.packing import pack, part_keys, upload_part
from relight.backups.present import refuse_foreign
from relight.errors import ServerError, ServerUnreachable, StatementFailed
from relight.fleet import Shard
from relight.gtid import GtidSet
from relight.server import definitions, schema
from relight.server.copied import Asked, Found, ask_before, ask_source, compare
from relight.server.local_copy import local_copy
from relight.server.programs import refuse_unusable
from relight.server.scratch import scratch_boot
from relight.server.session import Session, ask, connect
from relight.server.zone import environment_of
from relight.site import Site
from relight.store import layout
from relight.store.parallel import in_parallel


class SnapshotSummary(Value):
    """What a full backup came to."""

    shard: str
    id: str
    manifest_key: str
    manifest_sha256: str
    server: str
    taken_at: datetime
    gtids: str
    databases: int
    tables: int
    rows: int
    parts: int
    data_bytes: int
    stored_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()
    """What an operator should know about this backup; empty when all is as it should be."""


@dataclass(frozen=True)
class _Booted:
    gtids: GtidSet
    databases: tuple[str, ...]
    tables: tuple[Table, ...]
    events: tuple[Event, ...]
    definitions: tuple[Definition, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Origin:
    server_uuid: str
    mysql_version: str
    taken_at: datetime


def take_snapshot(site: Site, shard: str) -> SnapshotSummary:
    """Take a full backup of ``shard`` from its backup server. Runs on that server's machine.

    :raises ServerBusy: (retryable) another one is under way. GuardRefused: the disk is too small. Nothing was touched.
    :raises ServerError: the server cannot be cloned. BackupRefused: its copy would not be one of the shard.
        ValidationFailed: a table is damaged.
    :raises HistoryConflict: the server's history was begun anew, or is not the one that the shard has now.
    """
    began = datetime.now(UTC)
    the_shard = site.fleet.shard(shard)
    server = the_shard.backup_server
    refuse_unusable(server)
    with connect(server, site.admin) as session:
        uuid, executed = session.row("SELECT @@server_uuid, @@GLOBAL.gtid_executed")
        known = load_catalog(site.store, shard, parallel=site.fleet.store.parallel)
        refuse_foreign(known, server.name, str(uuid), GtidSet.parse(str(executed)))
        before = ask_before(the_shard, site.admin, session)
        site.progress.say(f"{shard}: cloning {server.name}")
        with local_copy(server, session) as copy:
            # Taken after the clone, which holds everything up to its end: nothing in it is newer.
            origin = _Origin(
                str(session.value("SELECT @@server_uuid")), str(session.value("SELECT VERSION()")), datetime.now(UTC)
            )
            asked = ask_source(the_shard, site.admin, session)
            site.progress.say(f"{shard}: booting the copy and checking its tables")
            zone = environment_of(asked.surroundings.zone)
            with scratch_boot(server, site.admin, copy, environment=zone) as scratch:
                booted = _read(site, the_shard, scratch)
            found = compare(the_shard, before, asked, booted.gtids)
            booted = replace(booted, notes=(*booted.notes, *found.notes))
            manifest = _upload(site, the_shard, copy, origin, booted, asked, found)
    key = layout.snapshot_manifest(shard, manifest.id)
    content = manifest.model_dump_json().encode()
    site.store.put(key, content)
    site.progress.say(f"{shard}: snapshot {manifest.id} is complete")
    for note in found.notes:
        site.progress.say(f"{shard}: {note}")
    return SnapshotSummary(
        shard=shard, id=manifest.id, manifest_key=key, manifest_sha256=hashlib.sha256(content).hexdigest(),
        server=server.name, taken_at=manifest.taken_at, gtids=str(manifest.gtids), databases=len(manifest.databases),
        tables=len(manifest.tables), rows=sum(table.rows for table in manifest.tables), parts=len(manifest.parts),
        data_bytes=manifest.data_bytes, stored_bytes=manifest.stored_bytes,
        seconds=(datetime.now(UTC) - began).total_seconds(), notes=booted.notes,
    )  # fmt: skip


def _read(site: Site, shard: Shard, scratch: Session) -> _Booted:
    """What the booted copy tells. Also forgets whom it replicated from, and with which password."""
    label = f"{shard.name}: tables checked"
    site.progress.start(label, len(schema.engines(scratch)))
    tables = schema.read_tables(scratch, lambda _: site.progress.advance(label, 1))
    scratch.run(_forget_source_statement(str(scratch.value("SELECT VERSION()"))))
    events, notes = _events(site, shard, schema.event_status(scratch))
    databases = schema.databases(scratch)
    unreadable = tuple(f"{table.full_name}: {table.unreadable}" for table in tables if table.unreadable)
    for note in unreadable:
        site.progress.say(f"{shard.name}: {note}")
    return _Booted(
        gtids=GtidSet.parse(str(scratch.value("SELECT @@GLOBAL.gtid_executed"))), databases=databases, tables=tables,
        events=events, definitions=_definitions(scratch, databases), notes=(*notes, *unreadable),
    )  # fmt: skip


def _definitions(scratch: Session, databases: tuple[str, ...]) -> tuple[Definition, ...]:
    """Of everything but tables, which have theirs with them."""
    inside = (one for database in databases for one in definitions.of_database(scratch, database))
    return (*(one for one in inside if one.kind != "table"), *definitions.of_accounts(scratch))


def _forget_source_statement(version: str) -> str:
    number = tuple(int(part) for part in version.partition("-")[0].split(".")[:3])
    return "RESET REPLICA ALL" if number >= (8, 0, 22) else "RESET SLAVE ALL"


def _events(site: Site, shard: Shard, status: dict[schema.TableName, str]) -> tuple[tuple[Event, ...], tuple[str, ...]]:
    if shard.backup_server == shard.source or not status:
        return schema.merge_events(status, status), ()
    try:
        with ask(shard.source, site.admin) as source:
            return schema.merge_events(status, schema.event_status(source)), ()
    except (ServerUnreachable, StatementFailed) as error:
        note = f"events count as on, since the source could not be asked: {error}"
        site.progress.say(f"{shard.name}: {note}")
        return schema.merge_events(status, {}), (note,)


def _upload(
    site: Site, shard: Shard, copy: Path, origin: _Origin, booted: _Booted, asked: Asked, found: Found
) -> SnapshotManifest:  # fmt: skip
    snapshot = layout.snapshot_id(origin.taken_at, origin.server_uuid)
    files, directories = contents(copy)
    data_bytes = sum(size for _, size in files)
    label = f"{shard.name}: upload"
    site.progress.start(label, data_bytes)

    def upload(job: tuple[str, tuple[Extent, ...]]) -> Part:
        return upload_part(site.store, job[0], copy, job[1], lambda moved: site.progress.advance(label, moved))

    cut = pack(files, site.fleet.store.part_size_mib * 2**20)
    jobs = zip(part_keys(shard.name, snapshot), cut, strict=False)
    parts = tuple(in_parallel(upload, jobs, site.fleet.store.parallel))
    return SnapshotManifest(
        id=snapshot, shard=shard.name, server_uuid=origin.server_uuid, server_name=shard.backup_server.name,
        mysql_version=origin.mysql_version, taken_at=origin.taken_at, gtids=booted.gtids, databases=booted.databases,
        tables=booted.tables, events=booted.events, definitions=booted.definitions, files=files,
        directories=directories, parts=parts, data_bytes=data_bytes, stored_bytes=sum(part.size for part in parts),
        surroundings=asked.surroundings, left_out=asked.left_out, behind=found.behind, as_of=found.as_of,
        notes=booted.notes,
    )  # fmt: skip


def contents(copy: Path) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Files with their sizes, and directories, of a data directory: what belongs into a backup of it."""
    files, directories = [], []
    for path in sorted(copy.rglob("*")):
        name = path.relative_to(copy).as_posix()
        if is_of_one_server(name):
            continue
        try:
            data_path(name)
        except ValueError as error:
            raise ServerError(
                "the data directory holds a name that no backup can give back", on=str(path), why=str(error),
                hint="rename the tablespace's file, or drop what it belongs to",
            ) from None  # fmt: skip
        if path.is_dir():
            directories.append(name)
        elif path.is_file() and not path.is_symlink():
            files.append((name, path.stat().st_size))
    return tuple(files), tuple(directories)
