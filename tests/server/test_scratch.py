"""A throw-away server does no harm to the real one beside it."""

from __future__ import annotations

from pathlib import Path

from relight.server.scratch import scratch_boot
from tests.support.servers import Servers


def test_the_real_servers_temporary_tables_survive(servers: Servers, tmp_path: Path) -> None:
    # Both have the same options file, and a server that starts removes the temporary tables that it finds.
    shared = servers.folder / "shared"
    shared.mkdir()
    real = servers.make("real", options={"tmpdir": str(shared)})
    copy = servers.folder / "copy" / "data"
    copy.parent.mkdir()
    servers.template.copy_to(copy)
    with servers.connect(real) as session:
        session.run("CREATE DATABASE a")
        session.run("CREATE TEMPORARY TABLE a.open (id INT) ENGINE=MyISAM")
        session.run("INSERT INTO a.open VALUES (1)")
        with scratch_boot(real, servers.admin, copy) as scratch:
            assert Path(str(scratch.value("SELECT @@tmpdir"))) != shared
        session.run("ALTER TABLE a.open ADD COLUMN more INT")
        assert session.rows("SELECT * FROM a.open") == [(1, None)]
