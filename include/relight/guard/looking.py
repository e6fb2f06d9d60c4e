"""Looks at a data directory, and at everything on this machine that could use it. Changes nothing.

Any sign of life refuses, with what was seen; what cannot be looked at counts as alive.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relight.errors import GuardRefused, ObjectCorrupt, command_line
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.guard import directory, locks, logs, processes, sockets
from relight.guard.backing import used_by_kernel
from relight.guard.directory import Contents, contents_of
from relight.guard.finding import Finding, grouped
from relight.guard.made_of import made_of
from relight.guard.mounted import mounted
from relight.guard.subject import Subject
from relight.guard.views import all_views
from relight.server.identity import server_uuid
from relight.server.locality import is_this_machine
from relight.server.mysqld import port_answers
from relight.server.persisted import persisted
from relight.server.rebuilt import NEVER_OPEN, Mark, read_mark


@dataclass(frozen=True)
class Facts:
    """What a data directory says about itself. None of it speaks against touching it."""

    server_uuid: str
    settings: dict[str, str]
    """Of ``read_only``, ``super_read_only`` and ``offline_mode`` those that were persisted."""
    last_written: str
    last_write: datetime | None
    mark: Mark | None
    """Which run of Relight has built it."""


def look(
    datadir: Path, *, server: Server | None = None, archived: GtidSet | None = None, quiet: timedelta | None = None
) -> tuple[Finding, ...]:  # fmt: skip
    """Everything that speaks against touching a data directory; empty when nothing does.

    :param server: whose it is, if that is known. Then where it should answer is asked too, and the directory must be
        one that can be renamed.
    :param archived: what is backed up: other transactions in the logs speak against it. Empty: nobody knows of any
        backup. None: the logs are not read.
    :param quiet: for so long, nothing may have been written. None: that is not asked.
    """
    contents = contents_of(datadir)
    found = [*in_use(contents, to_be_renamed=server is not None)]
    if server is not None:
        found += _answering(server)
    found += _sockets_there(contents, server)
    found += directory.links(contents)
    found += directory.identity(contents)
    if quiet is not None:
        found += directory.written_lately(contents, quiet, datetime.now(UTC))
    if archived is not None:
        found += logs.unarchived(contents, archived)
    return tuple(dict.fromkeys(found))


def in_use(contents: Contents, *, to_be_renamed: bool, formerly: Path | None = None) -> Iterator[Finding]:
    """What has the directory, or something in it, in its hands at this moment.

    :param formerly: its name until a moment ago, by which somebody may have mounted it then.
    """
    views = all_views()
    subject = Subject(contents, views, formerly)
    yield from processes.used(contents)
    yield from locks.locked(contents)
    yield from mounted(contents.real, views, to_be_renamed=to_be_renamed)
    yield from made_of(subject, views)
    yield from used_by_kernel(subject, views)
    yield from directory.concealed(contents)


def _answering(server: Server) -> Iterator[Finding]:
    if not is_this_machine(server.host):
        yield Finding("identity", f"{server.host} is not this machine, so what is seen here says nothing about it")
    if port_answers(server):
        yield Finding("port", f"something answers on {server.host}:{server.port}")
    if sockets.answers(server.socket):
        yield Finding("socket", f"something answers on {server.socket}")


def _sockets_there(contents: Contents, server: Server | None) -> Iterator[Finding]:
    known = None if server is None else Path(server.socket)
    for entry in contents.of_kind(stat.S_IFSOCK):
        if entry.path != known and sockets.answers(entry.path):
            yield Finding("socket", f"something answers on {entry.path}")


def facts_of(datadir: Path) -> Facts:
    """What the directory says about itself, as far as it can be read."""
    contents = contents_of(datadir)
    newest = directory.last_written(contents)
    try:
        uuid = server_uuid(contents.real)
    except (OSError, ValueError):
        uuid = ""  # a finding of its own
    return Facts(
        server_uuid=uuid, settings=persisted(contents.real),
        last_written=newest.path.name if newest else "", last_write=directory.moment(newest) if newest else None,
        mark=_mark(contents.real),
    )  # fmt: skip


def _mark(datadir: Path) -> Mark | None:
    try:
        return read_mark(datadir)
    except (OSError, ValueError, ObjectCorrupt):
        return None  # it only tells where the directory comes from


def refuse_if_alive(server: Server, purpose: str, *, archived: GtidSet | None = None) -> None:
    """Ask before a server's data directory is touched. ``archived``: see :func:`look`.

    :raises GuardRefused: with everything that was seen.
    """
    refuse(server.name, server.datadir, look(server.datadir, server=server, archived=archived), purpose)


def refuse(name: str, datadir: Path, found: tuple[Finding, ...], purpose: str) -> None:
    """:raises GuardRefused: something was found."""
    if not found:
        return
    seen = [text for texts in grouped(found).values() for text in texts]
    mark = _mark(datadir)
    then = "If this server is really lost, stop what is still running and try again"
    if mark is not None:
        seen.append(f"the data directory was built by run {mark.run_id}, which left it {mark.state}")
        if mark.state in NEVER_OPEN:
            again = command_line("abandon", mark.run_id)
            then = f"If that run will not go on, cancel it, and then on this machine: {again}"
    if all(finding.kind == "transactions" for finding in found):
        then = "Back up the logs that lie there first: they may be the only copy"
    raise GuardRefused(
        f"the machine refuses to {purpose}", on=name, why="; ".join(seen), hint=f"nothing was touched. {then}"
    )  # fmt: skip


def refuse_if_too_small(server: Server, need_bytes: int) -> int:
    """Free bytes on the disk of the data directory. :raises GuardRefused: fewer than needed."""
    free = shutil.disk_usage(_existing(server.workdir)).free
    if free < need_bytes:
        raise GuardRefused(
            "the disk is too small", on=f"{server.name}: {server.workdir}",
            why=f"{need_bytes / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free",
            hint="free space there (see directories set aside earlier), or name a larger disk in the fleet file",
        )  # fmt: skip
    return free


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
