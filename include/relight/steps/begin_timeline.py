"""A person says that a living server is the shard from now on, whatever the store holds.

Not a step of a restore: it is for what was done by other means. The server was made by hand, restored by another tool,
or its history was begun anew. Without it nothing more of the shard is backed up, since nobody could tell what a restore
should follow.
"""

from __future__ import annotations

import getpass
import socket
from datetime import UTC, datetime

from relight.backups.branches import timeline_of
from relight.backups.catalog import Catalog, load_catalog
from relight.backups.collisions import refuse_restarted
from relight.backups.manifest import GtidField, Value
from relight.backups.present import refuse_other_content
from relight.backups.shipping import file_digest
from relight.errors import ClaimRefused, PromotionRefused
from relight.fencing.epochs import Claim, claim, win
from relight.fleet import Server
from relight.gtid import Gtid, GtidSet
from relight.server.birth import begin_timeline
from relight.server.logs import log_files
from relight.server.mysqld import give_to_server_account
from relight.server.rebuilt import mark_path, read_mark, write_mark
from relight.server.session import Session, connect
from relight.site import Site


class BegunTimeline(Value):
    """A new timeline, and what it began with."""

    shard: str
    number: int
    parent: int
    server: str
    server_uuid: str
    began_with: GtidField


def begin_timeline_here(site: Site, shard: str, why: str) -> BegunTimeline:
    """Make the shard's source, as it is, the beginning of a new timeline. Runs on its machine.

    :raises PromotionRefused: it takes no writes. ClaimRefused: it follows the present timeline anyway, or a restore is
        under way. HistoryConflict: its transactions have numbers that stand for others in the store.
    """
    server = site.fleet.shard(shard).source
    catalog = load_catalog(site.store, shard, parallel=site.fleet.store.parallel)
    with connect(server, site.admin) as session:
        uuid, executed = _asked(session)
        _refuse_without_need(catalog, server, executed)
        refuse_restarted(catalog, uuid, executed)
        for path in log_files(session):
            refuse_other_content(catalog, path, uuid, file_digest(path))
        mine = claim(site.store, _wanted(shard, server, why))
        birth = _next(executed, uuid)
        begin_timeline(session, str(birth))
    parent = timeline_of(executed, catalog.timelines)
    win(
        site.store, mine, server_uuid=uuid, who=mine.who, why=why, gtids=executed, birth=str(birth), parent=parent
    )  # fmt: skip
    if read_mark(server.datadir) is not None:  # else it would find out that it is not the source, and close
        write_mark(server.datadir, mine.run_id, "promoted", mine.epoch)
        give_to_server_account(server, mark_path(server.datadir))
    site.progress.say(f"{shard}: timeline {mine.epoch} begins with {server.name}")
    return BegunTimeline(
        shard=shard, number=mine.epoch, parent=parent, server=server.name, server_uuid=uuid, began_with=executed
    )


def _asked(session: Session) -> tuple[str, GtidSet]:
    uuid, executed, read_only, offline = session.row(
        "SELECT @@server_uuid, @@GLOBAL.gtid_executed, @@GLOBAL.read_only, @@GLOBAL.offline_mode"
    )
    if read_only or offline:
        raise PromotionRefused(
            "the server takes no writes", on=session.server.name, why=f"read_only {read_only}, offline_mode {offline}",
            hint="a timeline begins with the shard's source; open it first",
        )  # fmt: skip
    return str(uuid), GtidSet.parse(str(executed))


def _refuse_without_need(catalog: Catalog, server: Server, executed: GtidSet) -> None:
    present = catalog.timelines[-1] if catalog.timelines else None
    if present is not None and present.has(executed):
        raise ClaimRefused(
            "the server follows the present timeline", on=f"{catalog.shard}, {server.name}",
            why=f"it has {present.birth}, with which timeline {present.number} began", hint="there is nothing to do",
        )  # fmt: skip


def _wanted(shard: str, server: Server, why: str) -> Claim:
    now = datetime.now(UTC)
    return Claim(
        shard=shard, epoch=0, run_id=f"timeline-{now:%Y%m%dT%H%M%S%fZ}", server=server.name, host=server.host,
        port=server.port, machine=socket.gethostname(), who=getpass.getuser(), why=why, at=now,
    )  # fmt: skip


def _next(executed: GtidSet, uuid: str) -> Gtid:
    """The number that the server would give next. Should somebody else be given it first, it is as good: nobody but
    this server has it."""
    spans = executed.streams.get(uuid)
    return Gtid(uuid, spans[-1][1] + 1 if spans else 1)
