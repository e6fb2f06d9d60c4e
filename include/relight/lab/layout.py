"""The lab's fleet: two shards of three servers and one for rehearsals, as a fleet file."""

from __future__ import annotations

from pathlib import Path

import yaml

from relight.fleet import Fleet, ProcessControl, Server, Shard, StoreSettings
from relight.fleet_file import load_fleet
from relight.lab.addresses import PORT, free_addresses
from relight.lab.mysql import MySQL
from relight.lab.options import write_options
from relight.lab.place import Place

SHARDS = ("shard-1", "shard-2")
_ROLES = ("source", "replica-1", "replica-2", "scratch")
BUCKET = "relight-lab"


def ensure_fleet_file(place: Place, mysql: MySQL, endpoint: str) -> Fleet:
    """The lab's fleet: as its file says, or a new one on free addresses, whose file is written."""
    if place.fleet_file.exists():
        return load_fleet(place.fleet_file)
    store = StoreSettings(bucket=BUCKET, endpoint=endpoint, part_size_mib=16)
    fleet = Fleet(fleet="lab", store=store, shards=tuple(_shard(place, mysql, name) for name in SHARDS))
    text = yaml.safe_dump(fleet.model_dump(mode="json", exclude_none=True), sort_keys=False)
    temporary = place.fleet_file.with_suffix(".new")
    temporary.write_text("# The fleet of the lab, written by `relight lab up`.\n" + text, encoding="utf-8")
    temporary.replace(place.fleet_file)
    return load_fleet(place.fleet_file)


def write_all_options(fleet: Fleet, mysql: MySQL) -> None:
    """Write every server's my.cnf, and make the folders that it names."""
    for number, shard in enumerate(fleet.shards, start=1):
        for place_in_shard, server in enumerate(all_servers(shard), start=1):
            for folder in (server.workdir, server.socket.parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replica = {"super-read-only": "ON"} if server in shard.replicas else {}
            write_options(server, mysql, server_id=10 * number + place_in_shard, extra=replica)


def all_servers(shard: Shard) -> tuple[Server, ...]:
    """The shard's servers and, last, its scratch server."""
    return (*shard.servers, *([shard.scratch] if shard.scratch else []))


def _shard(place: Place, mysql: MySQL, name: str) -> Shard:
    source, first, second, scratch = (
        _server(place, mysql, f"{name}-{role}", address)
        for role, address in zip(_ROLES, free_addresses(4), strict=True)
    )
    return Shard(name=name, source=source, replicas=(first, second), scratch=scratch)


def _server(place: Place, mysql: MySQL, name: str, address: str) -> Server:
    home: Path = place.servers / name
    return Server(
        name=name, host=address, port=PORT, datadir=home / "data", socket=place.socket(name),
        options_file=home / "my.cnf", workdir=home / "work", mysqld=mysql.mysqld, mysqlbinlog=mysql.mysqlbinlog,
        control=ProcessControl(kind="process"),
    )  # fmt: skip
