"""Fleets that nothing runs on, for what only reads the fleet file."""

from __future__ import annotations

from relight.fleet import Fleet, Server, Shard, StoreSettings


def server(name: str, host: str, queue: str = "default") -> Server:
    home = f"/srv/{name}"
    return Server.model_validate(
        {
            "name": name, "host": host, "port": 3306, "datadir": f"{home}/data", "socket": f"{home}/s",
            "workdir": f"{home}/work", "options_file": f"{home}/my.cnf", "control": {"kind": "process"}, "queue": queue,
        }
    )  # fmt: skip


def fleet(*shards: str, scratch: bool = True, replicas: int = 2) -> Fleet:
    """Shards whose servers each have a queue that is called like the server, and an address where nobody answers."""
    made = []
    for number, name in enumerate(shards):
        names = [f"{name}-{letter}" for letter in "abcdefgh"[: replicas + 1]]
        servers = [server(each, f"127.1.{number}.{i + 1}", each) for i, each in enumerate(names)]
        spare = server(f"{name}-x", f"127.1.{number}.9", f"{name}-x") if scratch else None
        made.append(Shard(name=name, source=servers[0], replicas=tuple(servers[1:]), scratch=spare))
    return Fleet(fleet="test", store=StoreSettings(bucket="backups"), shards=tuple(made))
