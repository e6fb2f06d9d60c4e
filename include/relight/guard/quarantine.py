"""What was set aside and never deleted: old data directories of the fleet's servers on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from relight.errors import GuardRefused, command_line
from relight.fleet import Fleet, Server
from relight.guard.clearance import ASIDE, TIME
from relight.guard.directory import contents_of
from relight.guard.logs import Held, held_in
from relight.server.identity import server_uuid
from relight.server.locality import is_this_machine


@dataclass(frozen=True)
class SetAside:
    """A directory that was set aside."""

    server: Server
    path: Path
    when: datetime
    size: int
    server_uuid: str
    held: Held
    """What its logs hold, perhaps nowhere else."""


def set_aside_directories(fleet: Fleet) -> list[SetAside]:
    """Those of every server of the fleet that is on this machine, oldest first."""
    found = [_described(server, *one) for server in servers_here(fleet) for one in directories_of(server).items()]
    return sorted(found, key=lambda one: (one.when, str(one.path)))


def servers_here(fleet: Fleet) -> Iterator[Server]:
    """Every server of the fleet on this machine, scratch servers too."""
    for shard in fleet.shards:
        for server in shard.with_scratch:
            if is_this_machine(server.host):
                yield server


def directories_of(server: Server) -> dict[Path, datetime]:
    """The directories that were set aside of one server, and when."""
    folder, found = server.datadir.parent, {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = ASIDE.match(path.name)
        if name is not None and name["name"] == server.datadir.name and path.is_dir() and not path.is_symlink():
            found[path] = datetime.strptime(name["time"], TIME).replace(tzinfo=UTC)
    return found


def _described(server: Server, path: Path, when: datetime) -> SetAside:
    contents = contents_of(path)
    try:
        uuid = server_uuid(path)
    except (OSError, ValueError):
        uuid = ""
    return SetAside(
        server=server, path=path, when=when, size=sum(entry.info.st_size for entry in contents.entries),
        server_uuid=uuid, held=held_in(contents, None),
    )  # fmt: skip


def owner_of(fleet: Fleet, path: Path) -> Server:
    """The server that a directory was set aside of.

    :raises GuardRefused: of none; or the path is a server's data directory, or holds one.
    """
    real = path.resolve()
    for server in servers_here(fleet):
        if server.datadir.resolve().is_relative_to(real):
            raise GuardRefused("a server's data directory is never removed", on=str(path), why=f"{server.name} uses it")
    for server in servers_here(fleet):
        if path in directories_of(server):
            return server
    raise GuardRefused(
        "not a directory that was set aside", on=str(path), why="the fleet has no server here whose it was",
        hint=f"those that were are listed, with their whole paths, by: {command_line('quarantine')}",
    )  # fmt: skip
