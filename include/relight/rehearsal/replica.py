"""Sabotage of a replica: one that follows the rebuilt server is left behind."""

from __future__ import annotations

import secrets

from relight.credentials import Login
from relight.errors import ReplicaBehind, ReplicaDiffers
from relight.fleet import Server
from relight.lane.lane_progress import DATABASE
from relight.sabotage import REPLICAS, Damage
from relight.server.letting_in import let_in
from relight.server.local_copy import local_copy
from relight.server.replication import attach, compare_with_source
from relight.server.scratch import scratch_boot
from relight.server.session import connect


def leave_behind(source: Server, admin: Login, replication: Login) -> tuple[Damage, list[tuple[str, str]]] | None:
    """Make a throw-away replica of the rebuilt server, as the shard's own are made and compared; then let it miss
    what the source writes. Gives what was done, and what comparing them says. None: the server keeps no log.

    :raises ReplicaBehind, ReplicaDiffers: the replica was not right before anything was done to it.
    """
    with connect(source, admin) as session:
        if not session.value("SELECT @@GLOBAL.log_bin"):
            return None
        # For good, on this server that nobody keeps.
        session.run("SET SESSION sql_log_bin = 0")
        let_in(session, replication)
        session.run("SET SESSION sql_log_bin = 1")
        # Any number but the source's own.
        number = secrets.randbelow(2**31 - 2) + 1
        number += number >= int(session.value("SELECT @@GLOBAL.server_id"))
        with (
            local_copy(source, session) as copy,
            scratch_boot(source, admin, copy, f"--server-id={number}", "--gtid-mode=ON",
                         "--enforce-gtid-consistency=ON") as replica,
        ):  # fmt: skip
            attach(replica, source, replication)
            uuid = str(session.value("SELECT @@server_uuid"))
            compare_with_source(replica, source, admin, uuid)
            replica.run("STOP REPLICA IO_THREAD")
            session.run(
                f"CREATE TABLE IF NOT EXISTS `{DATABASE}`.`unreplicated`"
                " (n INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB"
            )
            session.run(f"INSERT INTO `{DATABASE}`.`unreplicated` VALUES ()")
            what = f"a replica of {source.name} was cut off, and {source.name} was written to"
            damage = Damage(sabotage="leave_replica_behind", check=REPLICAS, on=(source.name,), what=what)
            try:
                compare_with_source(replica, source, admin, uuid)
            except (ReplicaBehind, ReplicaDiffers) as found:
                return damage, [(REPLICAS, str(found))]
            return damage, []
